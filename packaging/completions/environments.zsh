#compdef env genv -value-,CHOS,-default-
# zsh: names of environments after `CHOS=`, at the beginning of a line and among the words of env(1). Everything else that
# stands after env is completed by zsh's own function.

if [[ $service != -value-* ]]; then
    if [[ $PREFIX != CHOS=* ]]; then
        _env "$@"
        return
    fi
    compset -P 1 'CHOS='
fi
local directory
local -a environments
for directory in /run/chos/env/*(N-/); do
    [[ $directory == *%* || ! -x $directory ]] || environments+=(${directory:t})
done
_wanted environments expl 'CHOS environment' compadd -a environments
