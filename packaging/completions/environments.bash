# bash: names of environments after `env CHOS=` and `export CHOS=`. bash-completion reads this file when a shell starts, from
# /etc/bash_completion.d. Everything else that stands after these two commands is completed as it was before.
# `CHOS=` at the beginning of a line stays bash's own affair: it offers files there, and asks no completion script.

_chos_value() { # whether the word is a value of CHOS; COMPREPLY then has the environments that the user may enter
    local at=$COMP_CWORD name=${COMP_WORDS[COMP_CWORD]#[\"\']} value directory before=''
    case $name in
        CHOS=*) value=${name#*=} ;; # in quotes, or where COMP_WORDBREAKS has no `=`
        =) value='' name=${COMP_WORDS[at - 1]} ;;
        *)
            [ "$at" -ge 2 ] && [ "${COMP_WORDS[at - 1]}" = = ] || return 1
            value=$name name=${COMP_WORDS[at - 2]} ;;
    esac
    [ "${name%%=*}" = CHOS ] || return 1
    if [ "$name" = "CHOS=$value" ]; then before=CHOS=; fi
    COMPREPLY=()
    while IFS= read -r directory; do
        case $directory in *%*) continue ;; esac
        [ ! -x "$directory" ] || COMPREPLY+=("$before${directory##*/}")
    done < <(compgen -d -- "/run/chos/env/$value")
}

_chos_before() { # COMMAND...: what the command's own completion offers, unless the word is a value of CHOS
    local specification option
    if _chos_value; then return; fi
    if [ -z "${_chos_behind[$1]+set}" ]; then
        # bash-completion has not yet read what it has for this command.
        if declare -F _comp_load >/dev/null; then _comp_load -- "$1"
        elif declare -F _completion_loader >/dev/null; then _completion_loader "$1"; fi
        _chos_behind[$1]=$(complete -p -- "$1" 2>/dev/null)
        complete -F _chos_before -- "$1"
    fi
    specification=" ${_chos_behind[$1]} "
    for option in bashdefault default dirnames filenames noquote nosort nospace plusdirs; do
        case $specification in *" -o $option "*) compopt -o "$option" 2>/dev/null ;; esac
    done
    case $specification in
        *" -F _chos_before "* | '  ') compopt -o default 2>/dev/null ;;
        *" -F "*)
            specification=${specification#* -F }
            "${specification%% *}" "$@" ;;
    esac
}

# What has been said of the two so far. One that nothing was said of is looked up when it is first completed.
declare -gA _chos_behind
while read -r; do
    case $REPLY in
        *" _chos_before "*) ;; # this file is read a second time
        *" env") _chos_behind[env]=$REPLY ;;
        *" export") _chos_behind[export]=$REPLY ;;
    esac
done < <(complete -p env export 2>/dev/null)
complete -F _chos_before env export
