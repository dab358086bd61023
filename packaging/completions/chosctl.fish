# fish completion for chosctl(8)

set -l verbs up down reload status list explain ps check
complete -c chosctl -f
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -s h -l help -d 'Show help'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -s V -l version -d 'Show the version'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a up -d 'Prepare environments'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a down -d 'Take environments away'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a reload -d 'Follow a change of the configuration'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a status -d 'Show the state of every environment'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a list -d 'List the environments that you may enter'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a explain -d 'Print what up would do'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a ps -d 'Show which process lives where'
complete -c chosctl -n "not __fish_seen_subcommand_from $verbs" -a check -d 'Report problems of the configuration'
complete -c chosctl -n "__fish_seen_subcommand_from $verbs" -l json -d 'Print JSON'
complete -c chosctl -n "__fish_seen_subcommand_from $verbs" -l help -d 'Show help'
complete -c chosctl -n '__fish_seen_subcommand_from up reload' -l renew -d 'Make new generations'
complete -c chosctl -n '__fish_seen_subcommand_from up reload' -l timeout -x -d 'Seconds for one environment'
complete -c chosctl -n '__fish_seen_subcommand_from list' -l names -d 'Names only'
complete -c chosctl -n '__fish_seen_subcommand_from list' -l all -d 'Also what you may not enter'
complete -c chosctl -n '__fish_seen_subcommand_from check' -l root -r -a '(__fish_complete_directories)' -d 'Check below a directory'
complete -c chosctl -n '__fish_seen_subcommand_from up down reload explain ps' -a '(chosctl list --names 2>/dev/null)'
