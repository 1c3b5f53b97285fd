// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Pods and what each wants of a GPU, from a CSV file whose first line names the columns:
 *
 *     share,count,model
 *     25%,12,
 *     81%,3,a10g
 *
 * Or one of Alibaba's cluster-trace-gpu-v2023, whose columns mean the same under other names.
 * Columns that say nothing about GPUs are passed over; a word that is no column of either gets a
 * warning.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/names.h"
#include "base/problem.h"

enum {
    PODLIST_MAX_BYTES = 64 << 20,
    PODLIST_MAX_PODS = 10000000, /* of one line, too */
    PODLIST_MAX_KINDS = 64,
    PODLIST_MAX_ERRORS = 20, /* then reading ends */
};

/* A line of the file. */
struct podlist_row {
    struct position at;
    uint32_t n_pods;
    uint32_t n_gpus;         /* of each pod */
    unsigned share_permille; /* of the GPU; 1000 = not shared, 0 = only the memory is given */
    uint64_t mem_bytes;      /* of the GPU, at least; 0 = any */
    size_t kind;             /* of GPU: index into `kinds` */
};

struct podlist {
    struct podlist_row *rows; /* only those that want a GPU */
    size_t n_rows, capacity;
    struct names kinds; /* as the file writes them; the first is "", any */
    size_t n_without;   /* pods that want no GPU */
};

#define PODLIST_INIT \
    {                \
        .rows = NULL \
    }

void podlist_deinit(struct podlist *podlist);
#define cleanup_podlist cleanup(podlist_deinit)

/* 0, -EBADMSG when `problems` got an error, or -ENOMEM. */
int podlist_parse(const char *text, size_t size, struct problems *problems,
                  struct podlist *ret_podlist);
