#compdef chos chos-job-starter
# zsh completion for chos(1)

if [[ $service == chos-job-starter ]]; then
    _arguments '(-):command: _command_names -e' '*::arguments: _normal'
    return
fi
_arguments -S \
    '-v[say what was entered, in which generation, and how]' \
    '(- *)--which[say what a login would get]' \
    '(- *)--help[show help]' \
    '(- *)--version[show the version]' \
    '--backend=[how to enter]:backend:(auto ns kmod)' \
    '(-):command: _command_names -e' \
    '*::arguments: _normal'
