// SPDX-License-Identifier: Apache-2.0
#include "cuda/event.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct CUevent_st {
    unsigned flags;
    unsigned n_users; /* its handle, and records on the way */
    struct stream_place place;
    uint64_t passed_ns;
    CUgraph graph; /* recorded while this was captured */
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

CUresult sim_cuEventCreate(CUevent *to, unsigned flags)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to || flags > 7 || ((flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING)))
        return CUDA_ERROR_INVALID_VALUE;
    *to = calloc(1, sizeof(**to));
    if (!*to)
        return CUDA_ERROR_OUT_OF_MEMORY;
    **to = (struct CUevent_st){.flags = flags, .n_users = 1, .next = events};
    events = *to;
    return CUDA_SUCCESS;
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

static void pass(const void *arguments)
{
    CUevent event;

    memcpy(&event, arguments, sizeof(event));
    event->passed_ns = clock_now_ns();
    put(event);
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
    struct work work = stream_work(CU_GRAPH_NODE_TYPE_EMPTY, NULL, &event, sizeof(event));
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (!find(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture)
        return record_captured(event, stream);
    work.finish = pass;
    event->n_users++;
    event->graph = NULL;
    r = stream_do(stream, &work, NULL);
    if (r != CUDA_SUCCESS) {
        put(event);
        return r;
    }
    stream_place_forget(&event->place);
    event->place = stream_tail(stream);
    return CUDA_SUCCESS;
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
    return event->place.stream ? stream_do(stream, &nothing, &event->place) : CUDA_SUCCESS;
}

CUresult sim_cuEventQuery(CUevent event)
{
    if (!find(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (event->graph)
        return CUDA_ERROR_CAPTURED_EVENT;
    return stream_is_past(&event->place) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
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
