# fish: names of environments after `env CHOS=`. fish reads this file when it starts, because the completion of env is its own.
# `CHOS=` at the beginning of a line stays fish's own affair: it offers files there, and asks no completion script.

function __chos_environments -d 'Environments that you may enter, each after the words given'
    for directory in /run/chos/env/*/
        set -l name (string split / -- $directory)[-2]
        string match --quiet '*%*' -- $name; or not test -x $directory; or echo $argv$name
    end
end

complete -c env -f -n 'string match --quiet "CHOS=*" -- (commandline -ct)' -a '(__chos_environments CHOS=)'
