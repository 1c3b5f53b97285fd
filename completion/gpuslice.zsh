#compdef gpuslice
# zsh completion for gpuslice; printed by `gpuslice completion zsh`.
_gpuslice_machines()
{
    local -a machines
    machines=(${(f)"$(gpuslice completion machines 2>/dev/null)"})
    _describe machine machines
    _files
}
_gpuslice()
{
    local -a verbs
    verbs=(
        'plan:show what a node would offer under a configuration'
        'check:say what is wrong with a configuration, and where'
        'who:name the pod of a process that nvidia-smi shows'
        'version:print the version'
        'help:explain gpuslice, or one of its verbs'
        'completion:print the completion script of a shell'
    )
    if ((CURRENT == 2)); then
        _describe verb verbs
        return
    fi
    shift words
    ((CURRENT--))
    case "$words[1]" in
        plan)
            _arguments \
                '(-c --config)'{-c,--config}'[the configuration\: a file of NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-k --key)'{-k,--key}'[which data key of the ConfigMap; not needed when it has only one]:key: ' \
                '(-m --machine)'{-m,--machine}'[a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file]:machine:_gpuslice_machines' \
                '(-n --node)'{-n,--node}'[this very machine, asked through its driver (libnvidia-ml.so.1)]' \
                '(-o --output)'{-o,--output}'[how to print the plan; a table for people is the default]:format:(table json yaml)' \
                '(-l --labels)'{-l,--labels}'[list the node'\''s labels below the table, too]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':file:_files'
            ;;
        check)
            _arguments \
                '(-c --config)'{-c,--config}'[the configuration\: a file of NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-k --key)'{-k,--key}'[which data key of the ConfigMap; not needed when it has only one]:key: ' \
                '(-m --machine)'{-m,--machine}'[a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file]:machine:_gpuslice_machines' \
                '(-n --node)'{-n,--node}'[this very machine, asked through its driver (libnvidia-ml.so.1)]' \
                '(-o --output)'{-o,--output}'[how to print what was found; text for people is the default]:format:(text json)' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':file:_files'
            ;;
        who)
            _arguments \
                '(-o --output)'{-o,--output}'[how to print what was found; text for people is the default]:format:(text json)' \
                '(-r --root)'{-r,--root}'[where the node'\''s files lie, such as /host in a pod that debugs it; / is the default]:file:_files' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                '*:process:_pids'
            ;;
        version)
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        help)
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(plan check who version help completion)'
            ;;
        completion)
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(bash zsh fish machines)'
            ;;
    esac
}
if [ "$funcstack[1]" = _gpuslice ]; then _gpuslice "$@"; else compdef _gpuslice gpuslice; fi
