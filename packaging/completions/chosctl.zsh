#compdef chosctl
# zsh completion for chosctl(8). chosctl itself says what may stand here: chosns/cli/completion.py

local kind value text
local -a found
while IFS=$'\t' read -r kind value text; do
    case $kind in
        plain) found+=("${value//:/\\:}${text:+:$text}") ;;
        file) _files && return ;;
        dir) _files -/ && return ;;
    esac
done < <(command chosctl --complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)
_describe -t values 'chosctl' found
