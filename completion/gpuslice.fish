# fish completion for gpuslice; printed by `gpuslice completion fish`.
function __gpuslice_keys
    for word in (commandline -opc)[2..]
        test -f $word; and set file $word
    end
    set -q file; and gpuslice completion keys --config $file 2>/dev/null
end
complete -c gpuslice -f
complete -c gpuslice-node -a ' (gpuslice-node --help 2>/dev/null | string match -ra -- "--[a-z][a-z-]+")'
complete -c gpuslice-sim -a 'list show check state path reset inject help (gpuslice-sim --help 2>/dev/null | string match -ra -- "--[a-z][a-z-]+")'
complete -c gpuslice-kubelet -a 'run apply delete scale get logs wait help (gpuslice-kubelet --help 2>/dev/null | string match -ra -- "--[a-z][a-z-]+")'
complete -c gpuslice-sim -s m -l machine -x -a '(gpuslice completion machines)'
complete -c gpuslice -n __fish_use_subcommand -a plan -d 'show what a node would offer under a configuration'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -s c -l config -r -F -d 'the configuration: a file for NVIDIA\'s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -s k -l key -x -a '(__gpuslice_keys)' -d 'data key of the ConfigMap; of several, plan needs one, and check looks at all without it'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -s m -l machine -r -F -a '(gpuslice completion machines 2>/dev/null)' -d 'a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -s n -l node -d 'this machine, queried through its driver (libnvidia-ml.so.1)'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -s o -l output -x -a 'table json yaml' -d 'output format of the plan; the default is a table for people'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -s l -l labels -d 'also list the node\'s labels'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -s h -l help -d 'print this help and exit'
complete -c gpuslice -n '__fish_seen_subcommand_from plan' -F
complete -c gpuslice -n __fish_use_subcommand -a check -d 'show what is wrong with configurations, and where'
complete -c gpuslice -n '__fish_seen_subcommand_from check' -s c -l config -r -F -d 'the configuration: a file for NVIDIA\'s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input'
complete -c gpuslice -n '__fish_seen_subcommand_from check' -s k -l key -x -a '(__gpuslice_keys)' -d 'data key of the ConfigMap; of several, plan needs one, and check looks at all without it'
complete -c gpuslice -n '__fish_seen_subcommand_from check' -s m -l machine -r -F -a '(gpuslice completion machines 2>/dev/null)' -d 'a simulated machine, by instance type (p3.8xlarge), count of a GPU model (4xA10G), or machine file'
complete -c gpuslice -n '__fish_seen_subcommand_from check' -s n -l node -d 'this machine, queried through its driver (libnvidia-ml.so.1)'
complete -c gpuslice -n '__fish_seen_subcommand_from check' -s o -l output -x -a 'text json' -d 'output format of the findings; the default is text for people'
complete -c gpuslice -n '__fish_seen_subcommand_from check' -s h -l help -d 'print this help and exit'
complete -c gpuslice -n '__fish_seen_subcommand_from check' -F
complete -c gpuslice -n __fish_use_subcommand -a who -d 'name the pod of a process that nvidia-smi shows'
complete -c gpuslice -n '__fish_seen_subcommand_from who' -s o -l output -x -a 'text json' -d 'output format of the findings; the default is text for people'
complete -c gpuslice -n '__fish_seen_subcommand_from who' -s r -l root -r -F -d 'root of the node\'s files, such as /host in a debugging pod; the default is /'
complete -c gpuslice -n '__fish_seen_subcommand_from who' -s h -l help -d 'print this help and exit'
complete -c gpuslice -n '__fish_seen_subcommand_from who' -a '(__fish_complete_pids)'
complete -c gpuslice -n __fish_use_subcommand -a version -d 'print the version'
complete -c gpuslice -n '__fish_seen_subcommand_from version' -s h -l help -d 'print this help and exit'
complete -c gpuslice -n __fish_use_subcommand -a help -d 'explain gpuslice, or one of its verbs'
complete -c gpuslice -n '__fish_seen_subcommand_from help' -s h -l help -d 'print this help and exit'
complete -c gpuslice -n '__fish_seen_subcommand_from help' -a 'plan check who version help completion'
complete -c gpuslice -n __fish_use_subcommand -a completion -d 'print the completion script of a shell'
complete -c gpuslice -n '__fish_seen_subcommand_from completion' -s c -l config -r -F -d 'the configuration: a file for NVIDIA\'s device plugin (YAML or JSON) or a ConfigMap manifest; - reads standard input'
complete -c gpuslice -n '__fish_seen_subcommand_from completion' -s h -l help -d 'print this help and exit'
complete -c gpuslice -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish machines keys'
