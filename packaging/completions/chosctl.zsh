#compdef chosctl
# zsh completion for chosctl(8)

local -a verbs names
verbs=(
    'up:prepare environments'
    'down:take environments away'
    'reload:follow a change of the configuration'
    'status:show the state of every environment'
    'list:list the environments that you may enter'
    'explain:print what up would do'
    'ps:show which process lives in which environment'
    'check:report every problem of the configuration'
    'install:have a product start sessions or jobs in environments'
    'watch:restrict at once what is mounted on the base'
)
if (( CURRENT == 2 )); then
    _describe -t commands 'chosctl command' verbs
    _arguments '(-h --help)'{-h,--help}'[show help]' '(-V --version)'{-V,--version}'[show the version]'
    return
fi
names=(${(f)"$(chosctl list --names 2>/dev/null)"})
local verb=$words[2]
shift words; (( CURRENT-- ))
case $verb in
    up|reload) _arguments '--backend[what to prepare for]:backend:(ns kmod ns,kmod kmod,ns)' '--renew[make new generations]' '--timeout[limit for one environment]:seconds:' '--jobs[trees looked at side by side]:number:' '--dry-run[change nothing]' '--json[print JSON]' '--help[show help]' "*:environment:($names)" ;;
    down) _arguments '--dry-run[change nothing]' '--json[print JSON]' '--help[show help]' "*:environment:($names)" ;;
    ps) _arguments '--missed[jobs that asked for one, but are on the base]' '--pid[with --missed: this process]:process:_pids' '--json[print JSON]' '--help[show help]' ":environment:($names)" ;;
    explain) _arguments '--operations[every operation in its order]' '--json[print JSON]' '--help[show help]' ":environment:($names)" ;;
    list) _arguments '--names[names only]' '--all[also what you may not enter]' '--json[print JSON]' '--help[show help]' ;;
    check) _arguments '--root[check below a directory]:directory:_files -/' '--json[print JSON]' '--help[show help]' ;;
    install) _arguments '*--service[this PAM service]:service:_files -W /etc/pam.d' '*--queue[this queue]:queue:' '*--option[an option of the plugin]:word:' '--config[where the configuration is]:path:_files' '--dry-run[change nothing]' '--undo[take back]' '--print[print the lines]' '--json[print JSON]' '--help[show help]' ':product:(pam slurm sge lsf torque openpbs htcondor globus arc kmod)' ;;
    watch) _arguments '--help[show help]' ;;
    *) _arguments '--json[print JSON]' '--help[show help]' ;;
esac
