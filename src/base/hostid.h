// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The identity of this machine and this boot: to tell whether a file was written here, and in this
 * boot. "" = unknown.
 */

#include <stddef.h>

enum { HOSTID_SIZE = 64 };

struct hostid {
    char boot[HOSTID_SIZE]; /* the kernel's random id, new with each boot */
    /* The firmware's UUID of the machine, else /etc/machine-id. A container sees the former of its
     * host, but only its own /etc/machine-id. */
    char machine[HOSTID_SIZE];
};

void hostid_read(struct hostid *ret_id);
