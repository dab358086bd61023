# fish completion for chos(1)

# Options stand before the command.
function __fish_chos_no_command
    for word in (commandline --tokenize --cut-at-cursor --current-process)[2..-1]
        string match --quiet -- '-*' $word; or return 1
    end
    return 0
end

complete -c chos -n __fish_chos_no_command -o v -d 'Say what was entered'
complete -c chos -n __fish_chos_no_command -l which -d 'Say what a login would get'
complete -c chos -n __fish_chos_no_command -l help -d 'Show help'
complete -c chos -n __fish_chos_no_command -l version -d 'Show the version'
complete -c chos -n __fish_chos_no_command -l backend -x -a 'auto ns kmod' -d 'How to enter'
for command in chos chos-job-starter
    complete -c $command -x -a '(__fish_complete_subcommand --fcs-skip=1)'
end
