// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A grant: what one container was given by one Allocate, and its form as a record of the journal.
 *
 * A grant never changes. Shares and memory are those of the moment of the allocation: a container
 * keeps them until it ends, whatever the configuration says later.
 *
 * Records are little-endian. Strings are a 16-bit length and bytes without NUL. A reader refuses
 * what is cut off, too long or has bytes left over; kinds that it does not know are skipped, so
 * that a later release may add one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/text.h"

enum {
    GRANT_ID_SIZE = 17,         /* 16 hexadecimal digits: random, never used again */
    GRANT_BOOT_SIZE = 64,       /* the kernel's boot id */
    GRANT_IDS_MAX = 65535,      /* as many as one message of the kubelet may carry */
    GRANT_RECORD_MAX = 8 << 20, /* bytes; the kubelet's message has at most 4 MiB */
};

struct grant_device {
    char *uuid;              /* of the GPU or MIG device */
    uint32_t share_permille; /* of its compute, summed over the ids on it; 0 = no limit known */
    uint64_t mem_bytes;      /* of its memory, summed the same way; 0 = no limit known */
    char *profile;           /* of a MIG device, "1g.5gb+me"; NULL = unknown, or a whole GPU */
};

struct grant {
    char id[GRANT_ID_SIZE];
    char boot[GRANT_BOOT_SIZE]; /* in which it was granted; "" = unknown */
    int64_t granted_at_s;       /* wall clock, for people only: nothing is decided by it */
    char *resource;             /* "nvidia.com/gpu" */
    char **ids;                 /* each once */
    size_t n_ids;
    struct grant_device *devices;
    size_t n_devices;
    /* A pod held the ids before there was a record: nothing is known of its limits. */
    bool is_adopted;
};

#define GRANT_INIT       \
    {                    \
        .resource = NULL \
    }

void grant_deinit(struct grant *grant);

/* Into an empty grant. 0 or -ENOMEM. */
int grant_copy(struct grant *to, const struct grant *from);

/* Both for grants under construction: copies the string. 0 or -ENOMEM. */
int grant_add_id(struct grant *grant, const char *id);
int grant_add_device(struct grant *grant, const char *uuid, uint32_t share_permille,
                     uint64_t mem_bytes);

/* Of a MIG device that the grant has; of others, and "", nothing is noted. 0 or -ENOMEM. */
int grant_set_profile(struct grant *grant, const char *uuid, const char *profile);

/* Exactly 16 digits of 0-9a-f: also safe as a file's name. */
bool grant_is_id(const char *text);

/* A random id. 0, or a negative errno when the kernel has no randomness yet. */
int grant_make_id(char ret_id[GRANT_ID_SIZE]);

enum grant_record_kind {
    GRANT_RECORD_GRANT = 1,
    GRANT_RECORD_FREE = 2, /* the grant ended; its ids are not held by it any more */
    GRANT_RECORD_LOST = 3, /* the grant continues without these ids: in a rewritten log, from which
                              the grant that took them is gone */
    GRANT_RECORD_PROFILES = 4, /* what its MIG devices were: behind the grant, which earlier
                                  releases read */
};

/* One record as read: which member counts says the kind. */
struct grant_record {
    unsigned kind;      /* may be one that this release does not know */
    struct grant grant; /* of a LOST record only id and ids, of PROFILES only id and devices */
    char freed[GRANT_ID_SIZE];
};

#define GRANT_RECORD_INIT \
    {                     \
        .kind = 0         \
    }

void grant_record_deinit(struct grant_record *record);

/* Append the payload of a record. */
void grant_format(const struct grant *grant, struct text *out);
void grant_format_free(const char *id, struct text *out);
void grant_format_lost(const struct grant *lost, struct text *out);

/* Nothing, if it has no MIG device of a known profile. */
void grant_format_profiles(const struct grant *grant, struct text *out);

/* Into an empty record. 0, -EBADMSG or -ENOMEM. */
int grant_record_parse(const void *data, size_t size, struct grant_record *ret_record);
