// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Threads that wait for the device, as the arbiter sees it (doc/design/0028): before one does, what
 * was launched and has no fence gets one, or the wait itself is claimed, if it is for a moment.
 *
 *     wait = await_stream(driver, stream, is_per_thread);
 *     return await_end(&wait, driver->...);
 *
 * Many calls wait besides those that are named so: copies that the driver makes through memory of
 * its own; what frees memory that kernels may still use; and a program that asks again and again
 * whether something is done waits as well. What nobody asks the driver for, as a word that a kernel
 * writes, is not seen.
 */

#include <stdbool.h>
#include <stdint.h>

#include "shim/driver.h"
#include "shim/lanes.h"

enum { AWAIT_COPY_BYTES = 1 << 20 }; /* a copy of more is long: some 20 us or more */

struct await {
    struct lane *lane; /* NULL: there is a fence, or nothing to be seen */
    struct lane_wait wait;
    bool is_final; /* what was launched before is done when the call returns */
};

/* The calling thread is about to wait for a stream. */
struct await await_stream(const struct cuda_functions *driver, CUstream stream, bool is_per_thread);

/* It is about to wait for more than one. */
void await_all(const struct cuda_functions *driver);

/* What is known of a copy when the call returns. */
enum await_copy {
    AWAIT_SENT,  /* nothing: it is in the stream, like what was before */
    AWAIT_MAYBE, /* the driver may have waited for what was before */
    AWAIT_DONE,  /* what was before is done */
};

/* It is about to copy so many bytes behind what is in the stream. A long copy has a fence before
 * it, however it is awaited, since another engine is at work then. */
struct await await_copy(const struct cuda_functions *driver, CUstream stream, bool is_per_thread,
                        uint64_t bytes, enum await_copy copy);

/* It is about to end something that what is in any stream of the context may still use: before it
 * does, the driver may wait for all of that. */
struct await await_perhaps_all(const struct cuda_functions *driver);

/* Does so by `call`, which is evaluated once. */
#define AWAIT_PERHAPS_ALL(driver, call)                       \
    ({                                                        \
        const struct await _wait = await_perhaps_all(driver); \
                                                              \
        await_end(&_wait, (call));                            \
    })

/* It did; returns r, which the call had. */
CUresult await_end(const struct await *wait, CUresult r);

/* It has asked whether a stream, by its own handle, or an event is done; r: the answer, which is
 * returned. Who asks again at once, and launches nothing meanwhile, waits for what is there
 * then. Where it stops asking without having been told so, the wait is claimed until its next one,
 * or as long as the arbiter believes it. */
CUresult await_asked_stream(const struct cuda_functions *driver, CUstream stream, CUresult r);
CUresult await_asked_event(const struct cuda_functions *driver, CUevent event, CUresult r);
