// SPDX-License-Identifier: Apache-2.0
#pragma once

/* clang-format off: the table of messages */
/*
 * What a process in a container and the arbiter say to each other, over the socket in the directory
 * of a grant (SOCK_SEQPACKET: one message each, of a fixed size).
 *
 * The directory is mounted read-only in the container, at limits_directory of the resource. One
 * connection is one process, known by the kernel's credentials; what it sends are claims. They may
 * make it pay for more than it has, never for less: the arbiter charges the larger of what a
 * process reserved and what the driver shows for it.
 *
 *     process                                      arbiter
 *     REGISTER                             -> WELCOME, with the descriptor of its page, or REFUSED
 *     CHARGE  device, bytes it has already    (no answer: after the arbiter restarted, or where the
 *                                             driver took more than was reserved)
 *     RESERVE device, bytes, wanted_bytes  -> GRANTED, between bytes and wanted_bytes, or DENIED
 *     RELEASE device, bytes                   (no answer: freed, or reserved and not used)
 *     ENTER   device                       -> GRANTED or DENIED: before a context is created
 *     ENTERED device                          (no answer: it is created, the driver knows its size)
 *     LEFT    device                          (no answer: it is destroyed, or was not created)
 *     GREW    device, bytes, wanted_bytes  -> GRANTED or DENIED: the driver took about as much by
 *                                             itself, for a module that was loaded, and perhaps
 *                                             wanted_bytes in all; or will once that is allocated
 *     SHRANK  device, bytes                   (no answer: it has given as much back)
 *     CLAIMS                               -> GRANTED, with the descriptor of its page of claims
 *                                             (claims.h), or DENIED: there are no turns, or it was
 *                                             given again and again
 *
 * Reserved bytes stay charged until they are released or the process ends. wanted_bytes beyond what
 * is asked for are a credit for small allocations; near the limit less is granted than wanted.
 * What a context costs is charged from ENTER on by a figure of the arbiter, and from ENTERED on by
 * what the driver shows.
 *
 * What GREW says is a guess: neighbours allocate meanwhile. It is charged, granted or denied, until
 * a reading of the driver that begins later. If it is denied such a reading is taken soon; its
 * number is in the answer, and the page has it once it is over. Then charged_bytes says whether
 * that was more than the limit, and what was loaded has to go. What is only suspected, between
 * bytes and wanted_bytes, is not charged; where it would be beyond the limit, such a reading is
 * taken as well. An arbiter without returned_bytes in its page does not know wanted_bytes of GREW.
 *
 * A process that cannot reach the arbiter tries again; until then it keeps to its part of what was
 * free, see shim/.
 *
 * A container keeps its library for as long as it lives, and the arbiter is replaced meanwhile, by
 * a later release or an earlier one. So sizes, numbers and meanings stay; what is added has a
 * revision, and is sent to peers that know it: the rules are in doc/design/0026.
 */
/* clang-format on */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "limits/page.h"

#define LIMITS_SOCKET    "arbiter.sock"  /* in the directory of a grant */
#define LIMITS_CONTAINER "/opt/gpuslice" /* where directories of grants are in a container */
/* Where a process of `gpuslice run` has its grant; not heeded where LIMITS_CONTAINER has one. */
#define LIMITS_GRANT_VARIABLE "GPUSLICE_GRANT"
#define LIMITS_LIBRARY        "lib" /* beside them: the directory of the preloaded library */

/* Of the kinds of messages: each one that is added raises it. */
enum { LIMITS_REVISION = 3 };

enum limits_kind {
    LIMITS_REGISTER = 1,
    LIMITS_CHARGE,
    LIMITS_RESERVE,
    LIMITS_RELEASE,
    LIMITS_ENTER,
    LIMITS_ENTERED,
    LIMITS_LEFT,
    LIMITS_GREW,
    LIMITS_SHRANK,
    LIMITS_CLAIMS,

    LIMITS_WELCOME = 101,
    LIMITS_REFUSED, /* not a process of the container that has the grant; `text` says more */
    LIMITS_GRANTED,
    LIMITS_DENIED,
};

struct limits_request {
    uint32_t kind;
    uint32_t device;       /* position in the page */
    uint64_t sequence;     /* repeated in the answer */
    uint64_t bytes;        /* of REGISTER: LIMITS_REVISION */
    uint64_t wanted_bytes; /* at least `bytes`; of GREW 0 is the same as `bytes` */
    /* What the process has allocated on the device, as far as it knows: the difference to what the
     * driver shows is overhead. Of any message with a device. */
    uint64_t allocated_bytes;
    char text[24]; /* of REGISTER: the library's version, ended by NUL */
};

struct limits_answer {
    uint32_t kind;
    uint32_t mode; /* enum limits_mode, when the answer was given */
    uint64_t sequence;
    uint64_t bytes; /* granted, or what was free when it was denied; of WELCOME: LIMITS_REVISION; of
                       GREW's DENIED: the number of the reading that tells */
    char text[40];  /* of WELCOME: the arbiter's version; of REFUSED: why; ended by NUL */
};

/* Is it a request that a peer of this revision knows? */
static inline bool limits_knows(uint64_t revision, uint32_t kind)
{
    static const uint32_t last[] = {[1] = LIMITS_LEFT, [2] = LIMITS_SHRANK, [3] = LIMITS_CLAIMS};

    static_assert(sizeof(last) / sizeof(*last) == LIMITS_REVISION + 1, "one for each revision");
    return kind <= last[revision < LIMITS_REVISION ? revision : LIMITS_REVISION];
}

static_assert(sizeof(struct limits_request) == 64, "the same in every release");
static_assert(sizeof(struct limits_answer) == 64, "the same in every release");
