// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Streams: work in order, and what it waits for in other streams.
 *
 * Work that takes no time and has nothing to wait for is done in the call that asks for it. A
 * stream that has other work gets a thread. A default stream waits for the blocking streams of its
 * context, and they for it.
 */

#include <stddef.h>

#include "cuda/context.h"

enum { STREAM_ARGUMENTS = 256 };

enum stream_kind { STREAM_OWN, STREAM_LEGACY, STREAM_PER_THREAD };

/* A piece of work: takes some time of the device, and then does something, or both alone. */
struct work {
    CUgraphNodeType type;
    uint64_t duration_ns;
    bool (*is_met)(const void *arguments); /* NULL, or what has to hold before: it is polled */
    void (*run)(const void *arguments);    /* the library may be locked or not */
    void (*finish)(const void *arguments); /* locked */
    bool is_call;                          /* into the program: never in a thread of the program */
    _Alignas(16) unsigned char arguments[STREAM_ARGUMENTS];
};

/* A place in a stream: it is passed once the stream has done so many pieces. */
struct stream_place {
    CUstream stream; /* NULL: passed */
    uint64_t number;
};

struct CUstream_st {
    CUcontext context;
    enum stream_kind kind;
    unsigned flags;
    int priority;
    uint64_t id, owner; /* of a thread's default stream: the thread */
    uint64_t n_given, n_done;
    struct item *first, *last;
    struct item *ahead; /* the first that the device does not know of */
    uint64_t ahead_ns;  /* where those before it end, on the context's clock */
    unsigned n_users;
    bool has_thread, is_ended;
    /* While it is captured, work goes here instead. */
    CUresult (*capture)(CUstream stream, const struct work *work);
    CUgraph graph;
    CUstream next;
};

/* Work with a copy of its arguments. */
struct work stream_work(CUgraphNodeType type, void (*run)(const void *arguments),
                        const void *arguments, size_t size);

/* A handle's stream in the current context: NULL is the default stream that the entry point means.
 */
CUresult stream_find(CUstream handle, CUstream *ret_stream);

/* Work behind all that is in the stream, and behind another place, if it is not NULL. */
CUresult stream_do(CUstream stream, const struct work *work, const struct stream_place *behind);

/* Behind all that is in the stream now. It keeps the stream; stream_place_forget it. */
struct stream_place stream_tail(CUstream stream);
void stream_place_forget(struct stream_place *place);
bool stream_is_past(const struct stream_place *place);

/* Waits for a place; for what is in a stream, or before it; for all work of a context. */
void stream_wait(const struct stream_place *place);
void stream_drain(CUstream stream);
void stream_wait_context(CUcontext context);

/* Is a stream of the context captured, into this graph or (NULL) any? Nobody may wait for it then.
 */
bool stream_is_captured_in(CUcontext context, CUgraph graph);
