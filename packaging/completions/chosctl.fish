# fish completion for chosctl(8). chosctl itself says what may stand here: chosns/cli/completion.py

function __chosctl_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)[2..-1]
    set -l current (commandline --current-token --cut-at-cursor)
    test -n "$current"; or set current ''
    for line in (command chosctl --complete $words $current 2>/dev/null)
        set -l found (string split \t -- $line)
        switch $found[1]
            case plain
                string join \t -- $found[2..3]
            case file
                __fish_complete_path $current
            case dir
                __fish_complete_directories $current
        end
    end
end

complete -c chosctl -f -a '(__chosctl_complete)'
