# bash completion for chos(1). Names of environments are not completed: CHOS=NAME stands before the command.

_chos() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} at=1
    COMPREPLY=()
    # From the first word that is no option on, it is another command's line. bash takes `--backend=ns` apart at the `=`.
    if [ "${1##*/}" = chos ]; then
        while ((at < COMP_CWORD)); do
            case ${COMP_WORDS[at]} in
                --) ((at++)); break ;;
                -* | =) ;;
                *) [ "${COMP_WORDS[at - 1]}" = = ] || break ;;
            esac
            ((at++))
        done
        if ((at == COMP_CWORD)); then
            if [ "$current" = = ] || [ "$before" = = ]; then
                mapfile -t COMPREPLY < <(compgen -W 'auto ns kmod' -- "${current#=}")
                return
            elif [[ $current == -* && $before != -- ]]; then
                mapfile -t COMPREPLY < <(compgen -W '-v --which --help --version --backend=auto --backend=ns --backend=kmod' -- "$current")
                return
            fi
        fi
    fi
    if declare -F _command_offset >/dev/null; then
        _command_offset "$at"
    elif ((at < COMP_CWORD)); then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
    fi
}
complete -F _chos chos chos-job-starter
