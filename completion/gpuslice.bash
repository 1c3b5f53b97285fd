# bash completion for gpuslice; printed by `gpuslice completion bash`.
_gpuslice_keys()
{
    local word file=""
    for word in "${COMP_WORDS[@]:1}"; do [[ -f $word ]] && file=$word; done
    [[ -n $file ]] && gpuslice completion keys --config "$file" 2>/dev/null
}
_gpuslice_sister()
{
    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"
    local words=""
    case "${1##*/}:$before" in
    gpuslice-sim:-m | gpuslice-sim:--machine | gpuslice-sim:show | gpuslice-sim:check)
        words="$(gpuslice completion machines 2>/dev/null)" ;;
    gpuslice-node:*)
        words=" $("$1" --help 2>/dev/null | grep -oE -e '--[a-z][a-z-]+' | sort -u)" ;;
    gpuslice-sim:*)
        words="list show check state path reset inject help $("$1" --help 2>/dev/null | grep -oE -e '--[a-z][a-z-]+' | sort -u)" ;;
    gpuslice-kubelet:*)
        words="run apply delete scale get logs wait help $("$1" --help 2>/dev/null | grep -oE -e '--[a-z][a-z-]+' | sort -u)" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -f -- "$current")
}
_gpuslice()
{
    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"
    local words="" files="" verb="${COMP_WORDS[1]}"
    ((COMP_CWORD > 2)) && [[ $verb == @(mig|render) ]] && verb+=" ${COMP_WORDS[2]}"
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="plan check who audit top enforcement mig run verify convert render version help completion"
    else case "$verb:$before" in
    'plan':--config | 'plan':-c) files=1 ;;
    'plan':--key | 'plan':-k) words="$(_gpuslice_keys)" ;;
    'plan':--machine | 'plan':-m) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    'plan':--output | 'plan':-o) words="table json yaml" ;;
    'plan':--mig | 'plan':-g) ;;
    'plan':--mig-config) files=1 ;;
    'plan':--room) ;;
    'plan':--cost) ;;
    'plan':--workload) ;;
    'plan':--names) ;;
    'check':--config | 'check':-c) files=1 ;;
    'check':--key | 'check':-k) words="$(_gpuslice_keys)" ;;
    'check':--machine | 'check':-m) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    'check':--output | 'check':-o) words="text json" ;;
    'check':--kubeconfig) ;;
    'who':--output | 'who':-o) words="text json" ;;
    'who':--root | 'who':-r) files=1 ;;
    'audit':--output | 'audit':-o) words="text json" ;;
    'audit':--root | 'audit':-r) files=1 ;;
    'top':--root | 'top':-r) files=1 ;;
    'top':--arbiter-dir) files=1 ;;
    'top':--interval | 'top':-i) ;;
    'enforcement':--root | 'enforcement':-r) files=1 ;;
    'enforcement':--arbiter-dir) files=1 ;;
    'enforcement':--output | 'enforcement':-o) words="text json" ;;
    'run':--arbiter-dir) files=1 ;;
    'run':--share) ;;
    'run':--memory | 'run':-M) ;;
    'run':--device | 'run':-d) ;;
    'verify':--device | 'verify':-d) ;;
    'mig apply':--config-file | 'mig apply':-f) files=1 ;;
    'mig apply':--selected-config | 'mig apply':-c) ;;
    'mig apply':--hooks-file | 'mig apply':-k) files=1 ;;
    'mig assert':--config-file | 'mig assert':-f) files=1 ;;
    'mig assert':--selected-config | 'mig assert':-c) ;;
    'mig assert':--machine) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    'mig export':--output-format | 'mig export':-o) words="yaml json" ;;
    'mig export':--config-label | 'mig export':-l) ;;
    'mig export':--machine) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    'mig generate-config':--output-format | 'mig generate-config':-o) words="yaml json" ;;
    'mig generate-config':--config-file | 'mig generate-config':-f) files=1 ;;
    'mig generate-config':--machine) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    'mig plan':--config-file | 'mig plan':-f) files=1 ;;
    'mig plan':--selected-config | 'mig plan':-c) ;;
    'mig plan':--machine) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    'render karpenter':--instance-types | 'render karpenter':-t) ;;
    'render karpenter':--ami) words="al2023 bottlerocket" ;;
    'render placeholders':--instance-types | 'render placeholders':-t) ;;
    'render placeholders':--ami) words="al2023 bottlerocket" ;;
    'render placeholders':--slices) ;;
    'render cluster-autoscaler':--instance-types | 'render cluster-autoscaler':-t) ;;
    'render userdata':--config-file | 'render userdata':-f) files=1 ;;
    'render userdata':--selected-config | 'render userdata':-c) ;;
    'render userdata':--machine | 'render userdata':-m) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    'render userdata':--os) words="al2023 ubuntu bottlerocket" ;;
    'completion':--config | 'completion':-c) files=1 ;;
    'plan':*)
        words="--config --key --machine --node --output --labels --mig --mig-config --room --cost --workload --names --help " files=1
        ;;
    'check':*)
        words="--config --key --machine --node --output --cluster --kubeconfig --help " files=1
        ;;
    'who':*)
        words="--output --root --help "
        ;;
    'audit':*)
        words="--output --root --help "
        ;;
    'top':*)
        words="--root --arbiter-dir --plain --json --interval --help "
        ;;
    'enforcement':*)
        words="--root --arbiter-dir --output --help off on status"
        ;;
    'mig':*)
        words="--help apply assert export generate-config plan"
        ;;
    'run':*)
        words="--arbiter-dir --json --own --share --memory --device --help plan check who audit top enforcement mig run verify convert render version help completion"
        ;;
    'verify':*)
        words="--device --help "
        ;;
    'mig apply':*)
        words="--config-file --selected-config --mode-only --hooks-file --skip-reset --debug --help "
        ;;
    'mig assert':*)
        words="--config-file --selected-config --mode-only --valid-config --machine --debug --help "
        ;;
    'mig export':*)
        words="--output-format --config-label --machine --debug --help "
        ;;
    'mig generate-config':*)
        words="--output-format --config-file --machine --debug --help "
        ;;
    'mig plan':*)
        words="--config-file --selected-config --mode-only --machine --debug --help "
        ;;
    'convert':*)
        words="--help " files=1
        ;;
    'render':*)
        words="--help karpenter placeholders cluster-autoscaler userdata"
        ;;
    'render karpenter':*)
        words="--instance-types --ami --no-startup-taint --help " files=1
        ;;
    'render placeholders':*)
        words="--instance-types --ami --no-startup-taint --slices --help " files=1
        ;;
    'render cluster-autoscaler':*)
        words="--instance-types --help " files=1
        ;;
    'render userdata':*)
        words="--config-file --selected-config --machine --os --help "
        ;;
    'version':*)
        words="--help "
        ;;
    'help':*)
        words="--help plan check who audit top enforcement mig run verify convert render version help completion"
        ;;
    'completion':*)
        words="--config --help bash zsh fish machines keys"
        ;;
    esac; fi
    mapfile -t COMPREPLY < <(compgen -W "$words" ${files:+-f} -- "$current")
}
complete -o filenames -F _gpuslice gpuslice
complete -o filenames -F _gpuslice_sister gpuslice-node gpuslice-sim gpuslice-kubelet
