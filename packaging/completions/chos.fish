# fish completion for chos(1)

for command in chos chos-job-starter
    complete -c $command -n __fish_is_first_token -l help -d 'Show help'
    complete -c $command -n __fish_is_first_token -l version -d 'Show the version'
    complete -c $command -n __fish_is_first_token -l backend -x -a 'ns kmod userns' -d 'How to enter'
    complete -c $command -x -a '(__fish_complete_subcommand --fcs-skip=1)'
end
