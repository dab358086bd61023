# bash completion for chos(1), and for the names after CHOS= is left to `chosctl list --names`

_chos() {
    local current=${COMP_WORDS[COMP_CWORD]} at
    COMPREPLY=()
    # From the first word that is no option on, it is another command's line.
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
            -* | = | ns | kmod | userns) ;;
            *)
                if declare -F _command_offset >/dev/null; then _command_offset "$at"; else mapfile -t COMPREPLY < <(compgen -f -- "$current"); fi
                return ;;
        esac
    done
    case $current in
        --backend=*) mapfile -t COMPREPLY < <(compgen -P --backend= -W 'ns kmod userns' -- "${current#--backend=}") ;;
        -*) mapfile -t COMPREPLY < <(compgen -W '--help --version --backend=ns --backend=kmod --backend=userns' -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
    esac
}
complete -F _chos chos chos-job-starter
