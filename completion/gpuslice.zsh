#compdef gpuslice gpuslice-node gpuslice-sim gpuslice-kubelet
# zsh completion for gpuslice; printed by `gpuslice completion zsh`.
_gpuslice_machines()
{
    local -a machines
    machines=(${(f)"$(gpuslice completion machines 2>/dev/null)"})
    _describe machine machines
    _files
}
_gpuslice_keys()
{
    local word file
    local -a keys
    for word in $words; do [[ -f $word ]] && file=$word; done
    [[ -n $file ]] && keys=(${(f)"$(gpuslice completion keys --config $file 2>/dev/null)"})
    compadd -a keys
}
_gpuslice_sister()
{
    local -a found
    found=(${(f)"$($service --help 2>/dev/null | grep -oE -e '--[a-z][a-z-]+' | sort -u)"})
    case "$service:${words[CURRENT - 1]}" in
    gpuslice-sim:(-m|--machine|show|check)) _gpuslice_machines; return ;;
    gpuslice-node:*) found+=() ;;
    gpuslice-sim:*) found+=(list show check state path reset inject help) ;;
    gpuslice-kubelet:*) found+=(run apply delete scale get logs wait help) ;;
    esac
    compadd -a found
    _files
}
_gpuslice()
{
    if [[ $service != gpuslice ]]; then
        _gpuslice_sister
        return
    fi
    local -a verbs
    verbs=(
        'plan:show what a node would offer under a configuration'
        'check:show what is wrong with configurations, and where'
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
                '(-c --config)'{-c,--config}'[the configuration\: a file for NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-k --key)'{-k,--key}'[data key of the ConfigMap; of several, plan needs one, and check looks at all without it]:key:_gpuslice_keys' \
                '(-m --machine)'{-m,--machine}'[a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file]:machine:_gpuslice_machines' \
                '(-n --node)'{-n,--node}'[this machine, queried through its driver (libnvidia-ml.so.1)]' \
                '(-o --output)'{-o,--output}'[output format of the plan; the default is a table for people]:format:(table json yaml)' \
                '(-l --labels)'{-l,--labels}'[also list the node'\''s labels]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':file:_files'
            ;;
        check)
            _arguments \
                '(-c --config)'{-c,--config}'[the configuration\: a file for NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-k --key)'{-k,--key}'[data key of the ConfigMap; of several, plan needs one, and check looks at all without it]:key:_gpuslice_keys' \
                '(-m --machine)'{-m,--machine}'[a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file]:machine:_gpuslice_machines' \
                '(-n --node)'{-n,--node}'[this machine, queried through its driver (libnvidia-ml.so.1)]' \
                '(-o --output)'{-o,--output}'[output format of the findings; the default is text for people]:format:(text json)' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                '*:file:_files'
            ;;
        who)
            _arguments \
                '(-o --output)'{-o,--output}'[output format of the findings; the default is text for people]:format:(text json)' \
                '(-r --root)'{-r,--root}'[root of the node'\''s files, such as /host in a debugging pod; the default is /]:file:_files' \
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
                '(-c --config)'{-c,--config}'[the configuration\: a file for NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(bash zsh fish machines keys)'
            ;;
    esac
}
if [ "$funcstack[1]" = _gpuslice ]; then _gpuslice "$@"; else compdef _gpuslice gpuslice gpuslice-node gpuslice-sim gpuslice-kubelet; fi
