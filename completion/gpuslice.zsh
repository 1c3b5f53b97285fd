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
        'audit:show who uses the memory of this node'\''s GPUs, and with what right'
        'top:show, as it changes, where the memory of this node'\''s GPUs goes'
        'enforcement:switch the memory limits of this node off and on again'
        'mig:partition GPUs by the files of NVIDIA'\''s mig-parted'
        'run:run a command with a limit on its GPU memory, without Kubernetes'
        'verify:check that memory limits hold on this machine'\''s GPU'
        'convert:turn Karpenter'\''s old Provisioners into what works today'
        'render:print what makes sliced nodes start and scale'
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
    if [[ $words[1] == (mig|render) ]] && ((CURRENT > 2)); then
        local group=$words[1]
        shift words
        ((CURRENT--))
        words[1]="$group $words[1]"
    fi
    case "$words[1]" in
        'plan')
            _arguments \
                '(-c --config)'{-c,--config}'[the configuration\: a file for NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-k --key)'{-k,--key}'[data key of the ConfigMap; of several, plan needs one, and check looks at all without it]:key:_gpuslice_keys' \
                '(-m --machine)'{-m,--machine}'[a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file]:machine:_gpuslice_machines' \
                '(-n --node)'{-n,--node}'[this machine, queried through its driver (libnvidia-ml.so.1)]' \
                '(-o --output)'{-o,--output}'[output format of the plan; the default is a table for people]:format:(table json yaml)' \
                '(-l --labels)'{-l,--labels}'[also list the node'\''s labels]' \
                '(-g --mig)'{-g,--mig}'[plan as if the GPUs were partitioned\: all-<profile> (all-1g.5gb), all-balanced, all-enabled or all-disabled; or a label of --mig-config]:value: ' \
                '--mig-config[a configuration of mig-parted, for --mig]:file:_files' \
                '--room[also tell which MIG instances would have to move so that one more device of this profile fits]:value: ' \
                '--cost[of a SliceProfile\: what a slice costs on each instance type, and the cheapest nodes for that many]:value: ' \
                '--workload[a CSV file of pods and the share of a GPU that each wants\: how many GPUs they need, by how those are sliced, and the slices for which they need the fewest]:value: ' \
                '--names[for --workload\: at most so many kinds of slice; the default is 8]:value: ' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':file:_files'
            ;;
        'check')
            _arguments \
                '(-c --config)'{-c,--config}'[the configuration\: a file for NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-k --key)'{-k,--key}'[data key of the ConfigMap; of several, plan needs one, and check looks at all without it]:key:_gpuslice_keys' \
                '(-m --machine)'{-m,--machine}'[a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file]:machine:_gpuslice_machines' \
                '(-n --node)'{-n,--node}'[this machine, queried through its driver (libnvidia-ml.so.1)]' \
                '(-o --output)'{-o,--output}'[output format of the findings; the default is text for people]:format:(text json)' \
                '--cluster[a cluster instead of files\: what its nodes are, what else is there, and which guarantees hold; reads only]' \
                '--kubeconfig[how to reach it; without it as kubectl\: KUBECONFIG, ~/.kube/config, or the pod'\''s service account]:value: ' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                '*:file:_files'
            ;;
        'who')
            _arguments \
                '(-o --output)'{-o,--output}'[output format of the findings; the default is text for people]:format:(text json)' \
                '(-r --root)'{-r,--root}'[root of the node'\''s files, such as /host in a debugging pod; the default is /]:file:_files' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                '*:process:_pids'
            ;;
        'audit')
            _arguments \
                '(-o --output)'{-o,--output}'[output format of the findings; the default is text for people]:format:(text json)' \
                '(-r --root)'{-r,--root}'[root of the node'\''s files, such as /host in a debugging pod; the default is /]:file:_files' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'top')
            _arguments \
                '(-r --root)'{-r,--root}'[root of the node'\''s files, such as /host in a debugging pod; the default is /]:file:_files' \
                '--arbiter-dir[where the arbiter'\''s socket is, below --root; the default is /run/gpuslice/arbiter]:file:_files' \
                '--plain[one table, and end; so it is without a terminal too]' \
                '--json[one JSON document, and end; with --interval one a line]' \
                '(-i --interval)'{-i,--interval}'[how often it is read again, from 0.1 to 3600; the default is 1]:value: ' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'enforcement')
            _arguments \
                '(-r --root)'{-r,--root}'[root of the node'\''s files, such as /host in a debugging pod; the default is /]:file:_files' \
                '--arbiter-dir[where the arbiter'\''s socket is, below --root; the default is /run/gpuslice/arbiter]:file:_files' \
                '(-o --output)'{-o,--output}'[output format of the status; the default is text for people]:format:(text json)' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(off on status)'
            ;;
        'mig')
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(apply assert export generate-config plan)'
            ;;
        'run')
            _arguments \
                '--arbiter-dir[where the socket of this node'\''s arbiter is; the default is /run/gpuslice/arbiter]:file:_files' \
                '--json[what is granted and what was used, on standard error\: one JSON document a line, at the start and at the end]' \
                '--own[an arbiter for this command alone, also where this node has one that would count it with the pods]' \
                '--share[which share of each device the command may have\: of its time, where this node gives turns, and without --memory of its memory; the default is the part that the memory is of the device'\''s]:value: ' \
                '(-M --memory)'{-M,--memory}'[how much memory of each device the command may use\: 16Gi, 512Mi, 4G]:value: ' \
                '(-d --device)'{-d,--device}'[the GPU or MIG device, by UUID or by index as nvidia-smi shows it, such as 1 or 1\:0; run has its command see no other, and without it all with that limit each]:value: ' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(plan check who audit top enforcement mig run verify convert render version help completion)'
            ;;
        'verify')
            _arguments \
                '(-d --device)'{-d,--device}'[the GPU or MIG device, by UUID or by index as nvidia-smi shows it, such as 1 or 1\:0; run has its command see no other, and without it all with that limit each]:value: ' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'mig apply')
            _arguments \
                '(-f --config-file)'{-f,--config-file}'[a configuration of mig-parted (YAML or JSON), or a ConfigMap manifest with it; - reads standard input]:file:_files' \
                '(-c --selected-config)'{-c,--selected-config}'[which layout of the file; needed if there are several]:value: ' \
                '(-m --mode-only)'{-m,--mode-only}'[only MIG mode, whatever the instances are]' \
                '(-k --hooks-file)'{-k,--hooks-file}'[a hooks file of mig-parted\: commands to run before, between and after]:file:_files' \
                '(-s --skip-reset)'{-s,--skip-reset}'[leave the reset that a new mode needs to somebody else]' \
                '(-d --debug)'{-d,--debug}'[explain each decision]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'mig assert')
            _arguments \
                '(-f --config-file)'{-f,--config-file}'[a configuration of mig-parted (YAML or JSON), or a ConfigMap manifest with it; - reads standard input]:file:_files' \
                '(-c --selected-config)'{-c,--selected-config}'[which layout of the file; needed if there are several]:value: ' \
                '(-m --mode-only)'{-m,--mode-only}'[only MIG mode, whatever the instances are]' \
                '(-a --valid-config)'{-a,--valid-config}'[only whether the file is valid and has the label]' \
                '--machine[a simulated machine instead of this node, as for plan]:machine:_gpuslice_machines' \
                '(-d --debug)'{-d,--debug}'[explain each decision]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'mig export')
            _arguments \
                '(-o --output-format)'{-o,--output-format}'[output format of the layout; the default is yaml]:format:(yaml json)' \
                '(-l --config-label)'{-l,--config-label}'[the label of the printed layout; the default is current]:value: ' \
                '--machine[a simulated machine instead of this node, as for plan]:machine:_gpuslice_machines' \
                '(-d --debug)'{-d,--debug}'[explain each decision]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'mig generate-config')
            _arguments \
                '(-o --output-format)'{-o,--output-format}'[output format of the layout; the default is yaml]:format:(yaml json)' \
                '(-f --config-file)'{-f,--config-file}'[where to write it; the default is standard output]:file:_files' \
                '--machine[a simulated machine instead of this node, as for plan]:machine:_gpuslice_machines' \
                '(-d --debug)'{-d,--debug}'[explain each decision]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'mig plan')
            _arguments \
                '(-f --config-file)'{-f,--config-file}'[a configuration of mig-parted (YAML or JSON), or a ConfigMap manifest with it; - reads standard input]:file:_files' \
                '(-c --selected-config)'{-c,--selected-config}'[which layout of the file; needed if there are several]:value: ' \
                '(-m --mode-only)'{-m,--mode-only}'[only MIG mode, whatever the instances are]' \
                '--machine[a simulated machine instead of this node, as for plan]:machine:_gpuslice_machines' \
                '(-d --debug)'{-d,--debug}'[explain each decision]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'convert')
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':file:_files'
            ;;
        'render')
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(karpenter placeholders cluster-autoscaler userdata)'
            ;;
        'render karpenter')
            _arguments \
                '(-t --instance-types)'{-t,--instance-types}'[only these of the instance types that the profiles select]:value: ' \
                '--ami[the images of an EC2NodeClass; the default is al2023]:format:(al2023 bottlerocket)' \
                '--no-startup-taint[nodes start without the taint gpuslice.dev/not-ready, for clusters in which nobody removes it]' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                '*:file:_files'
            ;;
        'render placeholders')
            _arguments \
                '(-t --instance-types)'{-t,--instance-types}'[only these of the instance types that the profiles select]:value: ' \
                '--ami[the images of an EC2NodeClass; the default is al2023]:format:(al2023 bottlerocket)' \
                '--no-startup-taint[nodes start without the taint gpuslice.dev/not-ready, for clusters in which nobody removes it]' \
                '--slices[how many slices there are to be nodes for]:value: ' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                '*:file:_files'
            ;;
        'render cluster-autoscaler')
            _arguments \
                '(-t --instance-types)'{-t,--instance-types}'[only these of the instance types that the profiles select]:value: ' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                '*:file:_files'
            ;;
        'render userdata')
            _arguments \
                '(-f --config-file)'{-f,--config-file}'[a configuration of mig-parted (YAML or JSON), or a ConfigMap manifest with it; - reads standard input]:file:_files' \
                '(-c --selected-config)'{-c,--selected-config}'[which layout of the file; needed if there are several]:value: ' \
                '(-m --machine)'{-m,--machine}'[the machine that will start, by instance type (p4d.24xlarge), count of a GPU model (4xA30), or machine file]:machine:_gpuslice_machines' \
                '--os[the image that will start; the default is al2023]:format:(al2023 ubuntu bottlerocket)' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'version')
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':nothing: '
            ;;
        'help')
            _arguments \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(plan check who audit top enforcement mig run verify convert render version help completion)'
            ;;
        'completion')
            _arguments \
                '(-c --config)'{-c,--config}'[the configuration\: a file for NVIDIA'\''s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input]:file:_files' \
                '(-h --help)'{-h,--help}'[print this help and exit]' \
                ':word:(bash zsh fish machines keys)'
            ;;
    esac
}
if [ "$funcstack[1]" = _gpuslice ]; then _gpuslice "$@"; else compdef _gpuslice gpuslice gpuslice-node gpuslice-sim gpuslice-kubelet; fi
