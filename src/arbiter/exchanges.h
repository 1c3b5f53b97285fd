// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which containers of one device exchanged handles of its memory or events, by what their processes
 * claim (limits/exchange.h): kernels of theirs may wait for each other.
 *
 * Two containers are linked where a process of one gave a handle out and a process of the other one
 * opened it. A link holds until one of the two processes is gone, whatever they write meanwhile. A
 * handle that processes of several containers claim to have given out links nobody: the driver
 * gives out none twice, so someone lies, or two handles look the same. Containers that are linked,
 * also by way of others, are a group.
 *
 * What a descriptor is named by can be read by everybody on the machine (/proc/locks): such a name
 * is another one with each owner, so that nobody is linked with strangers by it.
 *
 * Claims are limited: EXCHANGE_NAMES of a process, EXCHANGES_OF_CONTAINER of a container, one link
 * between two containers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/claimspage.h"

enum {
    EXCHANGES_OF_CONTAINER = 512, /* names, of its first processes */
    EXCHANGES_LINKS_MAX = 1024,   /* of a device */
};

struct exchanges;

/* A process that has a page of claims. */
struct exchanges_process {
    const struct claimspage *page;
    size_t container; /* a number of the caller's, below n_containers */
    size_t device;    /* by its position in the container's page */
    size_t owner;     /* a number of the caller's, the same for containers of one owner */
};

/* NULL without memory. */
struct exchanges *exchanges_new(void);
void exchanges_free(struct exchanges *exchanges);

/* Has the process changed what it names since this was asked last for the device? */
bool exchanges_has_news(struct claimspage *page, size_t device);

/* Links those who exchanged something. processes: all of the device, those of a container in a row.
 * Into ret_groups, for each container, the first container of its group, itself if it is alone. 0
 * or -ENOMEM: there are no new links. */
int exchanges_match(struct exchanges *exchanges, const struct exchanges_process *processes,
                    size_t n_processes, size_t n_containers, size_t *ret_groups);
