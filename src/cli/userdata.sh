#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Gives the GPUs of this node their MIG layout before the kubelet starts, by nvidia-smi alone; printed
# by `gpuslice render userdata`. What is as wanted stays, so it may run at each boot.
#
# A line of the layout: indices of GPUs or "all" | PCI ids, or none for any | on, off | GPU instances:
# a profile, with ":" and its first memory slice, with "=" and compute instances that do not fill it.
# The last line that is for a GPU counts.
layout=()

marker=/var/lib/gpuslice-mig.rebooted
patience=120 # seconds until the driver answers
status=0
waits=""

say() { echo "gpuslice-mig: $*" >&2; }

query() { nvidia-smi -i "$1" --query-gpu="$2" --format=csv,noheader 2>/dev/null; }

is_for() { # index, indices, ids
    local device both id
    [[ $2 == all || " $2 " == *" $1 "* ]] || return 1
    [[ $3 ]] || return 0
    device=$(query "$1" pci.device_id)
    both=$device:$(query "$1" pci.sub_device_id)
    for id in $3; do
        [[ ${id^^} == "${device^^}" || ${id^^} == "${both^^}" ]] && return 0
    done
    return 1
}

wanted_devices() { # instances
    local one
    for one in "$@"; do
        if [[ $one == *=* ]]; then tr , '\n' <<< "${one#*=}"; else echo "${one%%:*}"; fi
    done | sort
}

devices() { # index
    nvidia-smi -L | awk -v gpu="GPU $1:" '/^GPU /{on = index($0, gpu) == 1} on && $1 == "MIG" {print $2}' | sort
}

n_instances() { nvidia-smi mig -i "$1" -lgi 2>/dev/null | grep -c ' MIG '; }

clear_gpu() { # index
    nvidia-smi mig -i "$1" -dci > /dev/null 2>&1
    nvidia-smi mig -i "$1" -dgi > /dev/null 2>&1
}

# A service that watches the GPU may be in the way.
reset_gpu() { # index
    local service stopped=() result
    nvidia-smi --gpu-reset -i "$1" && return 0
    for service in nvidia-persistenced nvidia-dcgm dcgm nvsm; do
        systemctl is-active --quiet "$service" 2>/dev/null && systemctl stop "$service" && stopped+=("$service")
    done
    nvidia-smi --gpu-reset -i "$1"
    result=$?
    for service in "${stopped[@]}"; do systemctl start --no-block "$service"; done
    return "$result"
}

set_mode() { # index, on or off
    local word=Disabled number=0
    [[ $2 == on ]] && word=Enabled number=1
    [[ $(query "$1" mig.mode.current) == "$word" && $(query "$1" mig.mode.pending) == "$word" ]] && return 0
    clear_gpu "$1"
    nvidia-smi -i "$1" -mig "$number"
    [[ $(query "$1" mig.mode.current) == "$word" ]] && return 0
    [[ $(query "$1" mig.mode.pending) == "$word" ]] || return 1
    reset_gpu "$1"
    [[ $(query "$1" mig.mode.current) == "$word" ]] && return 0
    waits+=" $1"
    return 1
}

create() { # index, instances
    local index=$1 one id
    shift
    for one in "$@"; do
        if [[ $one != *=* ]]; then
            nvidia-smi mig -i "$index" -cgi "$one" -C || return 1
            continue
        fi
        id=$(nvidia-smi mig -i "$index" -cgi "${one%%=*}" | sed -n 's/.*created GPU instance ID *\([0-9][0-9]*\) .*/\1/p')
        [[ $id ]] && nvidia-smi mig -i "$index" -gi "$id" -cci "${one#*=}" || return 1
    done
}

partition() { # index, on or off, instances
    local index=$1 mode=$2
    shift 2
    set_mode "$index" "$mode" || return 1
    [[ $mode == on ]] || return 0
    [[ $(devices "$index") == "$(wanted_devices "$@")" && $(n_instances "$index") == "$#" ]] && return 0
    clear_gpu "$index"
    create "$index" "$@" && return 0
    clear_gpu "$index"
    return 1
}

look_at() { # index
    local line gpus ids mode instances wanted_mode="" wanted="" by_index=""
    for line in "${layout[@]}"; do
        IFS='|' read -r gpus ids mode instances <<< "$line"
        is_for "$1" "$gpus" "$ids" && wanted_mode=$mode wanted=$instances by_index=$gpus
    done
    [[ $wanted_mode ]] || return 0
    if [[ $(query "$1" mig.mode.current) != *abled ]]; then
        [[ $wanted_mode == off || $by_index == all ]] && return 0
        say "GPU $1 cannot be partitioned by MIG"
        return 1
    fi
    # shellcheck disable=SC2086 # a list
    partition "$1" "$wanted_mode" $wanted
}

until nvidia-smi -L > /dev/null 2>&1; do
    if ((--patience <= 0)); then
        say "the driver does not answer; no GPU is partitioned"
        exit 1
    fi
    sleep 1
done
for index in $(nvidia-smi --query-gpu=index --format=csv,noheader); do
    if ! look_at "$index"; then
        say "GPU $index does not have its layout"
        status=1
    fi
done
# An A100 keeps a mode that waits for a reset, also where it cannot be reset. Once: nothing runs yet.
if [[ $waits && ! -e $marker ]]; then
    say "the node is rebooted for the MIG mode of GPU$waits"
    : > "$marker"
    systemctl reboot
elif [[ ! $waits ]]; then
    rm -f "$marker"
fi
exit "$status"
