// SPDX-License-Identifier: Apache-2.0
#include "shim/captures.h"

#include <string.h>

#include "shim/ownlock.h"

enum { CAPTURES_MAX = 64 };

struct capture {
    CUstream stream;
    const void *thread; /* of its default stream */
};

static struct ownlock lock = OWNLOCK_NEW;
static struct capture captures[CAPTURES_MAX];
static unsigned n_captures; /* with those that have no place */
static unsigned n_noted;

static struct capture of(CUstream stream)
{
    static __thread char here;

    return (struct capture){stream, stream == CU_STREAM_PER_THREAD ? &here : NULL};
}

static void enter(void)
{
    if (ownlock_enter(&lock)) {
        n_noted = 0;
        __atomic_store_n(&n_captures, 0, __ATOMIC_RELEASE);
    }
}

static struct capture *find(struct capture capture)
{
    for (unsigned i = 0; i < n_noted; i++)
        if (captures[i].stream == capture.stream && captures[i].thread == capture.thread)
            return &captures[i];
    return NULL;
}

bool captures_are_there(void)
{
    return __atomic_load_n(&n_captures, __ATOMIC_ACQUIRE) != 0;
}

bool captures_begin(CUstream stream)
{
    const struct capture capture = of(stream);
    bool is_new;

    enter();
    is_new = !find(capture);
    if (is_new) {
        if (n_noted < CAPTURES_MAX)
            captures[n_noted++] = capture;
        __atomic_add_fetch(&n_captures, 1, __ATOMIC_ACQ_REL);
    }
    ownlock_leave(&lock);
    return is_new;
}

void captures_end(CUstream stream)
{
    struct capture *capture;

    if (!captures_are_there())
        return;
    enter();
    capture = find(of(stream));
    if (capture) {
        *capture = captures[--n_noted];
        __atomic_sub_fetch(&n_captures, 1, __ATOMIC_ACQ_REL);
    }
    ownlock_leave(&lock);
}

void captures_forget(void)
{
    enter();
    ownlock_leave(&lock);
}

bool captures_is_none(const struct cuda_functions *driver, CUstream stream)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_ACTIVE;

    return driver->cuStreamIsCapturing &&
           driver->cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS &&
           status == CU_STREAM_CAPTURE_STATUS_NONE;
}
