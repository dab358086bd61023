# bash completion for chosctl(8). chosctl itself says what may stand here: chosns/cli/completion.py

_chosctl() {
    local type value words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=()
    words[-1]=${words[-1]#[\"\']}
    while IFS=$'\t' read -r type value _; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
        esac
    done < <(command chosctl --complete "${words[@]}" 2>/dev/null)
}
complete -F _chosctl chosctl
