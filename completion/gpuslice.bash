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
    local words="" files=""
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="plan check who version help completion"
    else case "${COMP_WORDS[1]}:$before" in
    plan:--config | plan:-c) files=1 ;;
    plan:--key | plan:-k) words="$(_gpuslice_keys)" ;;
    plan:--machine | plan:-m) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    plan:--output | plan:-o) words="table json yaml" ;;
    check:--config | check:-c) files=1 ;;
    check:--key | check:-k) words="$(_gpuslice_keys)" ;;
    check:--machine | check:-m) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    check:--output | check:-o) words="text json" ;;
    who:--output | who:-o) words="text json" ;;
    who:--root | who:-r) files=1 ;;
    completion:--config | completion:-c) files=1 ;;
    plan:*)
        words="--config --key --machine --node --output --labels --help " files=1
        ;;
    check:*)
        words="--config --key --machine --node --output --help " files=1
        ;;
    who:*)
        words="--output --root --help "
        ;;
    version:*)
        words="--help "
        ;;
    help:*)
        words="--help plan check who version help completion"
        ;;
    completion:*)
        words="--config --help bash zsh fish machines keys"
        ;;
    esac; fi
    mapfile -t COMPREPLY < <(compgen -W "$words" ${files:+-f} -- "$current")
}
complete -o filenames -F _gpuslice gpuslice
complete -o filenames -F _gpuslice_sister gpuslice-node gpuslice-sim gpuslice-kubelet
