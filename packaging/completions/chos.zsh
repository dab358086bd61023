#compdef chos chos-job-starter
# zsh completion for chos(1)

_arguments -S \
    '(- *)--help[show help]' \
    '(- *)--version[show the version]' \
    '--backend=[how to enter]:backend:(ns kmod userns)' \
    '(-):command: _command_names -e' \
    '*::arguments: _normal'
