// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The configuration files of NVIDIA's mig-parted (version v1), which its MIG manager takes from a
 * ConfigMap: labels, and under each of them which GPUs have MIG on, with how many instances of
 * which profile.
 *
 * What mig-parted refuses is refused here, with a place. It accepts more than it can apply; decided
 * here: a device filter that is no PCI id matches no GPU (a warning); a count of 0 is as good as
 * absent (a warning, because older releases of mig-parted never take such a file for applied); of
 * several entries for one GPU the last one counts (a warning if they differ, because mig-parted
 * applies them one after the other).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "slice/device.h"

struct reader;
struct yaml;

enum { MIGCONFIG_LABELS_MAX = 1024 }; /* NVIDIA's own file has about 60 */

/* A PCI id in NVML's form, device << 16 | vendor, and that of the subsystem. */
struct migconfig_filter {
    uint32_t device_id, subsystem_id;
    bool has_subsystem;
};

struct migconfig_count {
    char profile[DEVICE_PROFILE_SIZE]; /* as written: "1g.5gb", "1c.3g.20gb", "1g.5gb+me" */
    uint32_t count;                    /* at least 1 */
    struct position at;
};

struct migconfig_entry {
    struct position at;
    struct migconfig_filter *filters; /* any of them matches */
    size_t n_filters, filters_capacity;
    bool is_filtered; /* without a filter all GPUs match, and with none that is valid, no GPU */
    uint32_t *gpus;   /* indices */
    size_t n_gpus, gpus_capacity;
    bool is_for_all; /* devices: all */
    bool enabled;
    bool has_counts; /* mig-devices is there, maybe {} */
    struct migconfig_count *counts;
    size_t n_counts, counts_capacity;
};

struct migconfig_label {
    char *name;
    struct position at;
    struct migconfig_entry *entries;
    size_t n_entries, capacity;
};

struct migconfig {
    struct migconfig_label *labels; /* in the order of the file */
    size_t n_labels, capacity;
};

/*
 * Reads a document; the empty one has no label. Problems are added to the reader, and what is
 * refused is left out. 0 and *ret_config, or -ENOMEM.
 */
int migconfig_read(struct reader *reader, const struct yaml *document,
                   struct migconfig **ret_config);

void migconfig_free(struct migconfig *config);
