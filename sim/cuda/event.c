// SPDX-License-Identifier: Apache-2.0
#include "cuda/event.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cuda/sharedevent.h"

struct CUevent_st {
    unsigned flags;
    unsigned n_users; /* its handle, and records on the way */
    struct stream_place place;
    uint64_t passed_ns;
    struct sharedevent *shared; /* NULL: it is this process's alone */
    CUipcEventHandle handle;
    bool is_opened; /* by a handle */
    CUgraph graph;  /* recorded while this was captured */
    CUresult (*capture)(CUstream stream, const struct work *work);
    CUevent next;
};

static CUevent events;

static CUevent *find(CUevent event)
{
    for (CUevent *link = &events; *link; link = &(*link)->next)
        if (*link == event)
            return link;
    return NULL;
}

static void put(CUevent event)
{
    if (--event->n_users > 0)
        return;
    stream_place_forget(&event->place);
    if (event->shared)
        sharedevent_free(event->shared);
    free(event);
}

CUresult event_place(CUevent event, struct stream_place *ret_place)
{
    if (!find(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (event->graph)
        return CUDA_ERROR_CAPTURED_EVENT;
    *ret_place = event->place;
    if (ret_place->stream)
        ret_place->stream->n_users++;
    return CUDA_SUCCESS;
}

/* Into the list. */
static CUresult add(const struct CUevent_st *as, CUevent *to)
{
    CUevent event = calloc(1, sizeof(*event));

    if (!event)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *event = *as;
    event->n_users = 1;
    event->next = events;
    events = event;
    *to = event;
    return CUDA_SUCCESS;
}

CUresult sim_cuEventCreate(CUevent *to, unsigned flags)
{
    struct CUevent_st event = {.flags = flags};
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to || flags > 7 || ((flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING)))
        return CUDA_ERROR_INVALID_VALUE;
    if ((flags & CU_EVENT_INTERPROCESS) && !(event.shared = sharedevent_new(&event.handle)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    r = add(&event, to);
    if (r != CUDA_SUCCESS && event.shared)
        sharedevent_free(event.shared);
    return r;
}

CUresult sim_cuIpcGetEventHandle(CUipcEventHandle *handle, CUevent event)
{
    if (!find(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!handle || !event->shared || event->is_opened)
        return CUDA_ERROR_INVALID_VALUE;
    *handle = event->handle;
    return CUDA_SUCCESS;
}

CUresult sim_cuIpcOpenEventHandle(CUevent *to, CUipcEventHandle handle)
{
    struct CUevent_st event = {.flags = CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING,
                               .handle = handle,
                               .is_opened = true};
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to || !(event.shared = sharedevent_open(&handle)))
        return CUDA_ERROR_INVALID_VALUE;
    r = add(&event, to);
    if (r != CUDA_SUCCESS)
        sharedevent_free(event.shared);
    return r;
}

CUresult sim_cuEventDestroy_v2(CUevent event)
{
    CUevent *link = find(event);

    if (!link)
        return CUDA_ERROR_INVALID_HANDLE;
    *link = event->next;
    put(event);
    return CUDA_SUCCESS;
}

/* A record of an event, or a wait for it; of a shared one it has a number. */
struct record {
    CUevent event;
    uint64_t number;
};

static struct record record_of(const void *arguments)
{
    struct record record;

    memcpy(&record, arguments, sizeof(record));
    return record;
}

static void pass(const void *arguments)
{
    const struct record record = record_of(arguments);

    record.event->passed_ns = clock_now_ns();
    if (record.event->shared)
        sharedevent_pass(record.event->shared, record.number);
    put(record.event);
}

static bool is_past(const void *arguments)
{
    const struct record record = record_of(arguments);

    return sharedevent_is_past(record.event->shared, record.number);
}

static void end_wait(const void *arguments)
{
    put(record_of(arguments).event);
}

/* In a captured stream an event is no work: others that wait for it are captured, too. */
static CUresult record_captured(CUevent event, CUstream stream)
{
    event->graph = stream->graph;
    event->capture = stream->capture;
    return CUDA_SUCCESS;
}

CUresult sim_cuEventRecord(CUevent event, CUstream handle)
{
    struct record record = {.event = event};
    struct work work;
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (!find(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture)
        return record_captured(event, stream);
    if (event->shared)
        record.number = sharedevent_record(event->shared);
    work = stream_work(CU_GRAPH_NODE_TYPE_EMPTY, NULL, &record, sizeof(record));
    work.finish = pass;
    event->n_users++;
    event->graph = NULL;
    r = stream_do(stream, &work, NULL);
    if (r != CUDA_SUCCESS) {
        pass(&record); /* nobody waits for what will not be */
        return r;
    }
    stream_place_forget(&event->place);
    event->place = stream_tail(stream);
    return CUDA_SUCCESS;
}

/* Whichever process recorded it last. */
static CUresult wait_for_shared(CUstream stream, CUevent event)
{
    const struct record record = {event, sharedevent_last(event->shared)};
    struct work work = stream_work(CU_GRAPH_NODE_TYPE_EMPTY, NULL, &record, sizeof(record));
    CUresult r;

    if (stream->capture)
        return CUDA_ERROR_NOT_SUPPORTED;
    work.is_met = is_past;
    work.finish = end_wait;
    event->n_users++;
    r = stream_do(stream, &work, NULL);
    if (r != CUDA_SUCCESS)
        put(event);
    return r;
}

/* A record that a captured graph shows as a node is not acted out. */
CUresult sim_cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags)
{
    return flags ? CUDA_ERROR_NOT_SUPPORTED : sim_cuEventRecord(event, stream);
}

CUresult sim_cuStreamWaitEvent(CUstream handle, CUevent event, unsigned flags)
{
    const struct work nothing = stream_work(CU_GRAPH_NODE_TYPE_EMPTY, NULL, NULL, 0);
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (!find(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (flags > 1)
        return CUDA_ERROR_INVALID_VALUE;
    if (event->graph && !stream_is_captured_in(stream->context, event->graph))
        return CUDA_ERROR_CAPTURED_EVENT;
    if (event->graph) {
        stream->graph = event->graph;
        stream->capture = event->capture;
        return CUDA_SUCCESS;
    }
    if (event->shared)
        return wait_for_shared(stream, event);
    return event->place.stream ? stream_do(stream, &nothing, &event->place) : CUDA_SUCCESS;
}

static bool event_is_past(CUevent event)
{
    return event->shared ? sharedevent_is_past(event->shared, sharedevent_last(event->shared))
                         : stream_is_past(&event->place);
}

void event_wait_for_others(CUevent event)
{
    const struct timespec pause = {.tv_nsec = 50000};
    const uint64_t number = event->shared ? sharedevent_last(event->shared) : 0;

    event->n_users++;
    while (event->shared && !sharedevent_is_past(event->shared, number)) {
        cuda_leave();
        nanosleep(&pause, NULL);
        cuda_reenter();
    }
    put(event);
}

CUresult sim_cuEventQuery(CUevent event)
{
    if (!find(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (event->graph)
        return CUDA_ERROR_CAPTURED_EVENT;
    return event_is_past(event) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult sim_cuEventElapsedTime(float *ms, CUevent start, CUevent end)
{
    if (!find(start) || !find(end))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!ms)
        return CUDA_ERROR_INVALID_VALUE;
    if (((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) || !start->place.stream ||
        !end->place.stream)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!stream_is_past(&start->place) || !stream_is_past(&end->place))
        return CUDA_ERROR_NOT_READY;
    *ms = ((float)(int64_t)(end->passed_ns - start->passed_ns)) / 1e6f;
    return CUDA_SUCCESS;
}
