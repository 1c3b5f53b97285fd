# bash completion for gpuslice; printed by `gpuslice completion bash`.
_gpuslice()
{
    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"
    local words="" files=""
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="plan check who version help completion"
    else case "${COMP_WORDS[1]}:$before" in
    plan:--config | plan:-c) files=1 ;;
    plan:--key | plan:-k) ;;
    plan:--machine | plan:-m) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    plan:--output | plan:-o) words="table json yaml" ;;
    check:--config | check:-c) files=1 ;;
    check:--key | check:-k) ;;
    check:--machine | check:-m) words="$(gpuslice completion machines 2>/dev/null)" files=1 ;;
    check:--output | check:-o) words="text json" ;;
    who:--output | who:-o) words="text json" ;;
    who:--root | who:-r) files=1 ;;
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
        words="--help bash zsh fish machines"
        ;;
    esac; fi
    mapfile -t COMPREPLY < <(compgen -W "$words" ${files:+-f} -- "$current")
}
complete -o filenames -F _gpuslice gpuslice
