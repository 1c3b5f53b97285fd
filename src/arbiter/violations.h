// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is wrong with the use of this node's GPUs, for as long as it lasts: what audits find, from
 * its beginning to its end.
 *
 * An audit is a moment. A process may have ended since the driver listed it, and a pod may allocate
 * and free by turns. So a violation begins with the second audit in a row that finds it, and has
 * ended when VIOLATION_ABSENT in a row do not. An audit that could not read the processes of its
 * device counts for neither.
 *
 * A violation is of a container on a device, by verdict; of a process whose owner is not known, of
 * that process. Those that have begun can be written down, so that an arbiter that follows does not
 * report them again.
 *
 * Pure: no file, no clock, no log.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/audit.h"
#include "base/cleanup.h"
#include "base/text.h"

enum {
    VIOLATION_SEEN = 2,            /* audits */
    VIOLATION_ABSENT = 3,          /* audits */
    VIOLATIONS_MAX = 4096,         /* more at a time are not followed */
    VIOLATIONS_SIZE_MAX = 4 << 20, /* of what is written down */
};

struct violation {
    enum audit_verdict verdict;
    char device[GPU_UUID_SIZE];
    struct audit_owner owner; /* as seen last */
    uint32_t pid;             /* of its only process, or the lowest */
    bool has_begun;
    int64_t began_s;      /* wall clock */
    uint64_t since_ms;    /* this program knows of it; monotonic */
    unsigned n_seen;      /* audits in a row, until it has begun */
    unsigned n_absent;    /* audits in a row */
    uint64_t killed_ms;   /* when a process of it was killed last; 0 = none was */
    bool is_out_of_reach; /* nothing can be done about it, and that was logged */
    bool is_starved;      /* its pod gets no more memory (starver.h) */
};

struct violations {
    struct violation *items;
    size_t n, capacity;
    size_t n_left_out;                  /* by the last audit */
    uint64_t n_begun[N_AUDIT_VERDICTS]; /* ever */
};

#define VIOLATIONS_INIT \
    {                   \
        .items = NULL   \
    }

void violations_deinit(struct violations *violations);
#define cleanup_violations cleanup(violations_deinit)

struct violations_callbacks {
    void (*on_begun)(const struct violation *violation, const struct audit *audit,
                     const struct audit_use *use, void *userdata);
    void (*on_ended)(const struct violation *violation, void *userdata);
};

struct violations_now {
    uint64_t ms; /* monotonic */
    int64_t s;   /* wall clock */
};

/* Takes in an audit. True: what violations_format writes has changed. */
bool violations_observe(struct violations *violations, const struct audit *audit,
                        struct violations_now now, const struct violations_callbacks *callbacks,
                        void *userdata);

/* Something was seen once, and the next audit decides whether it begins. */
bool violations_has_unconfirmed(const struct violations *violations);

/* The use in this audit that the violation is about, or NULL. Borrowed. */
const struct audit_use *violation_find_use(const struct violation *violation,
                                           const struct audit *audit);

/* Adds those that have begun. */
void violations_format(const struct violations *violations, struct text *text);

/* Into an empty set. The text is overwritten. 0; -EBADMSG or -ENOMEM, and the set stays empty. */
int violations_parse(struct violations *violations, char *text, size_t size, uint64_t now_ms);
