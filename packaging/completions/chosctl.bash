# bash completion for chosctl(8)

_chosctl() {
    local current=${COMP_WORDS[COMP_CWORD]} verb='' word
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in -*) ;; *) verb=$word; break ;; esac
    done
    if [ -z "$verb" ]; then
        mapfile -t COMPREPLY < <(compgen -W 'up down reload status list explain ps check install watch -h --help -V --version' -- "$current")
        return
    fi
    case $current in
        -*)
            local options='--json --help'
            case $verb in
                up | reload) options+=' --backend --renew --timeout --jobs --dry-run' ;;
                down) options+=' --dry-run' ;;
                explain) options+=' --operations' ;;
                watch) options='--help' ;;
                ps) options+=' --missed --pid' ;;
                list) options+=' --names --all' ;;
                check) options+=' --root' ;;
                install) options+=' --service --queue --option --config --dry-run --undo --print' ;;
            esac
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current") ;;
        *)
            case $verb:${COMP_WORDS[COMP_CWORD-1]} in
                up:--backend | reload:--backend)
                    mapfile -t COMPREPLY < <(compgen -W 'ns kmod ns,kmod kmod,ns' -- "$current")
                    return ;;
                up:--timeout | reload:--timeout | up:--jobs | reload:--jobs) return ;;
            esac
            case $verb in
                up | down | reload | explain | ps)
                    mapfile -t COMPREPLY < <(compgen -W "$(chosctl list --names 2>/dev/null)" -- "$current") ;;
                check) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
                install)
                    case ${COMP_WORDS[COMP_CWORD-1]} in
                        --config) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
                        --service) mapfile -t COMPREPLY < <(cd /etc/pam.d 2>/dev/null && compgen -f -- "$current") ;;
                        *) mapfile -t COMPREPLY < <(compgen -W 'pam slurm sge lsf torque openpbs htcondor globus arc kmod' -- "$current") ;;
                    esac ;;
            esac ;;
    esac
}
complete -F _chosctl chosctl
