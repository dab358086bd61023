# bash completion for chosctl(8). chosctl itself says what may stand here: chosns/cli/completion.py

_chosctl() {
    local type value
    COMPREPLY=()
    while IFS=$'\t' read -r type value _; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
        esac
    done < <(_CHOSCTL_COMPLETE=words chosctl "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _chosctl chosctl
