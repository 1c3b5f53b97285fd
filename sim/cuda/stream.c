// SPDX-License-Identifier: Apache-2.0
#include "cuda/stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cuda/engine.h"

struct item {
    struct work work;
    uint64_t end_ns; /* on the context's clock, once the device knows of it */
    struct stream_place *behind;
    size_t n_behind;
    struct item *next;
};

static uint64_t last_id = 2; /* 1 and 2 are the default streams' */

struct work stream_work(CUgraphNodeType type, void (*run)(const void *arguments),
                        const void *arguments, size_t size)
{
    struct work work = {.type = type, .run = run};

    assert(size <= sizeof(work.arguments));
    if (size > 0)
        memcpy(work.arguments, arguments, size);
    return work;
}

static void put(CUstream stream)
{
    if (stream && --stream->n_users == 0)
        free(stream);
}

static bool is_blocking(CUstream stream)
{
    return !(stream->flags & CU_STREAM_NON_BLOCKING);
}

struct stream_place stream_tail(CUstream stream)
{
    stream->n_users++;
    return (struct stream_place){stream, stream->n_given};
}

void stream_place_forget(struct stream_place *place)
{
    put(place->stream);
    place->stream = NULL;
}

bool stream_is_past(const struct stream_place *place)
{
    return !place->stream || place->stream->n_done >= place->number;
}

void stream_wait(const struct stream_place *place)
{
    while (!stream_is_past(place))
        cuda_wait();
}

/* While it waits, streams may come and go: then it looks from the beginning. */
static void wait_for_streams(CUcontext context, bool blocking_alone)
{
    CUstream stream = context->streams;

    while (stream) {
        if (stream->n_done < stream->n_given && (!blocking_alone || is_blocking(stream))) {
            cuda_wait();
            stream = context->streams;
        } else {
            stream = stream->next;
        }
    }
}

void stream_wait_context(CUcontext context)
{
    wait_for_streams(context, false);
}

void stream_drain(CUstream stream)
{
    struct stream_place place = stream_tail(stream);

    if (stream->kind == STREAM_LEGACY)
        wait_for_streams(stream->context, true);
    stream_wait(&place);
    stream_place_forget(&place);
}

bool stream_is_captured_in(CUcontext context, CUgraph graph)
{
    for (CUstream s = context->streams; s; s = s->next)
        if (s->capture && (!graph || s->graph == graph))
            return true;
    return false;
}

static void end_stream(CUstream stream)
{
    CUstream *link = &stream->context->streams;

    while (*link != stream)
        link = &(*link)->next;
    *link = stream->next;
    stream->is_ended = true;
    cuda_wake();
    put(stream);
}

static void end_streams(CUcontext context)
{
    stream_wait_context(context);
    while (context->streams)
        end_stream(context->streams);
}

static CUstream new_stream(CUcontext context, enum stream_kind kind, unsigned flags)
{
    CUstream stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    *stream = (struct CUstream_st){
        .context = context, .kind = kind, .flags = flags, .n_users = 1, .next = context->streams};
    stream->id = kind == STREAM_OWN ? ++last_id : (uint64_t)kind;
    stream->owner = kind == STREAM_PER_THREAD ? (uint64_t)pthread_self() : 0;
    context->streams = stream;
    context->end_streams = end_streams;
    return stream;
}

static CUstream default_stream(CUcontext context, enum stream_kind kind)
{
    const uint64_t owner = kind == STREAM_PER_THREAD ? (uint64_t)pthread_self() : 0;

    for (CUstream s = context->streams; s; s = s->next)
        if (s->kind == kind && s->owner == owner)
            return s;
    return new_stream(context, kind, CU_STREAM_DEFAULT);
}

static bool is_stream(CUcontext context, CUstream handle)
{
    for (CUstream s = context->streams; s; s = s->next)
        if (s == handle)
            return true;
    return false;
}

CUresult stream_find(CUstream handle, CUstream *ret_stream)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!handle)
        handle = cuda_is_per_thread() ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
    if (handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD)
        handle =
            default_stream(context, handle == CU_STREAM_LEGACY ? STREAM_LEGACY : STREAM_PER_THREAD);
    else if (!is_stream(context, handle))
        return CUDA_ERROR_INVALID_HANDLE;
    *ret_stream = handle;
    return handle ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static void act_out(const struct work *work)
{
    if (work->run)
        work->run(work->arguments);
}

static void finish(CUcontext context, const struct work *work)
{
    if (work->finish)
        work->finish(work->arguments);
    if (work->type == CU_GRAPH_NODE_TYPE_KERNEL)
        engine_count_kernel(&context->engine);
}

static bool is_ready(const struct item *item)
{
    for (size_t i = 0; i < item->n_behind; i++)
        if (!stream_is_past(&item->behind[i]))
            return false;
    return true;
}

static void free_item(struct item *item)
{
    for (size_t i = 0; i < item->n_behind; i++)
        stream_place_forget(&item->behind[i]);
    free(item->behind);
    free(item);
}

/* Does what comes after it wait for more than the device? */
static bool is_barrier(const struct item *item)
{
    return item->work.is_call || item->work.is_met;
}

/* Tells the device of what it can do without this process. */
static void give_ahead(CUstream stream)
{
    struct item *item;

    while ((item = stream->ahead) && is_ready(item) && !is_barrier(item)) {
        if (item->work.duration_ns > 0)
            stream->ahead_ns =
                engine_give(&stream->context->engine, stream->ahead_ns, item->work.duration_ns);
        item->end_ns = stream->ahead_ns;
        stream->ahead = item->next;
    }
}

/* Another stream changes the value, the program, or another process. */
static void wait_until_met(const struct work *work)
{
    struct timespec pause = {.tv_nsec = 20000};

    while (work->is_met && !work->is_met(work->arguments)) {
        cuda_leave();
        nanosleep(&pause, NULL);
        cuda_reenter();
        if (pause.tv_nsec < 1000000)
            pause.tv_nsec *= 2;
    }
}

static void take_first(CUstream stream)
{
    struct item *item = stream->first;

    if (stream->ahead == item)
        stream->ahead = item->next;
    stream->first = item->next;
    if (!stream->first)
        stream->last = NULL;
}

static void do_first(CUstream stream)
{
    struct item *item = stream->first;

    while (!is_ready(item))
        cuda_wait();
    give_ahead(stream);
    if (item->work.duration_ns > 0)
        engine_wait(&stream->context->engine, item->end_ns);
    wait_until_met(&item->work);
    cuda_leave();
    act_out(&item->work);
    cuda_reenter();
    finish(stream->context, &item->work);
    take_first(stream);
    stream->n_done++;
    free_item(item);
    give_ahead(stream);
    cuda_wake();
}

static void *run_stream(void *argument)
{
    CUstream stream = argument;

    cuda_reenter();
    while (stream->first || !stream->is_ended) {
        if (stream->first)
            do_first(stream);
        else
            cuda_wait();
    }
    put(stream);
    cuda_leave();
    return NULL;
}

static bool start_thread(CUstream stream)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int r;

    if (stream->has_thread)
        return true;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&thread, &attributes, run_stream, stream);
    pthread_attr_destroy(&attributes);
    if (r != 0)
        return false;
    stream->n_users++;
    stream->has_thread = true;
    return true;
}

static bool add_place(struct item *item, struct stream_place place)
{
    struct stream_place *more = realloc(item->behind, (item->n_behind + 1) * sizeof(*item->behind));

    if (!more) {
        stream_place_forget(&place);
        return false;
    }
    item->behind = more;
    item->behind[item->n_behind++] = place;
    return true;
}

/* The legacy default stream and the blocking ones wait for each other. */
static bool waits_for(CUstream stream, CUstream other)
{
    if (stream == other || !is_blocking(stream) || !is_blocking(other) ||
        other->n_done >= other->n_given)
        return false;
    return stream->kind == STREAM_LEGACY || other->kind == STREAM_LEGACY;
}

static bool add_places(struct item *item, CUstream stream, const struct stream_place *behind)
{
    for (CUstream other = stream->context->streams; other; other = other->next)
        if (waits_for(stream, other) && !add_place(item, stream_tail(other)))
            return false;
    if (!behind || stream_is_past(behind))
        return true;
    behind->stream->n_users++;
    return add_place(item, *behind);
}

static void append(CUstream stream, struct item *item)
{
    if (stream->last)
        stream->last->next = item;
    else
        stream->first = item;
    stream->last = item;
    if (!stream->ahead)
        stream->ahead = item;
    stream->n_given++;
    give_ahead(stream);
    cuda_wake();
}

CUresult stream_do(CUstream stream, const struct work *work, const struct stream_place *behind)
{
    struct item *item;

    if (stream->capture)
        return stream->capture(stream, work);
    item = calloc(1, sizeof(*item));
    if (!item)
        return CUDA_ERROR_OUT_OF_MEMORY;
    item->work = *work;
    if (!add_places(item, stream, behind)) {
        free_item(item);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (stream->n_done == stream->n_given && item->n_behind == 0 && !work->duration_ns &&
        !work->is_call && (!work->is_met || work->is_met(work->arguments))) {
        free_item(item);
        act_out(work);
        finish(stream->context, work);
        return CUDA_SUCCESS;
    }
    if (!start_thread(stream)) {
        free_item(item);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    append(stream, item);
    return CUDA_SUCCESS;
}

static CUresult create(CUstream *to, unsigned flags, int priority)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to || (flags & ~(unsigned)CU_STREAM_NON_BLOCKING))
        return CUDA_ERROR_INVALID_VALUE;
    *to = new_stream(context, STREAM_OWN, flags);
    if (!*to)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*to)->priority = priority > 0 ? 0 : priority < CONTEXT_HIGHEST ? CONTEXT_HIGHEST : priority;
    return CUDA_SUCCESS;
}

CUresult sim_cuStreamCreate(CUstream *to, unsigned flags)
{
    return create(to, flags, 0);
}

CUresult sim_cuStreamCreateWithPriority(CUstream *to, unsigned flags, int priority)
{
    return create(to, flags, priority);
}

/* What is in it is still done. */
CUresult sim_cuStreamDestroy_v2(CUstream handle)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (stream->kind != STREAM_OWN)
        return CUDA_ERROR_INVALID_HANDLE;
    end_stream(stream);
    return CUDA_SUCCESS;
}

CUresult sim_cuStreamQuery(CUstream handle)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (stream->capture)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return stream->n_done == stream->n_given ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

#define GIVE_VALUE(name, type, value)              \
    CUresult sim_##name(CUstream handle, type *to) \
    {                                              \
        CUstream stream;                           \
        CUresult r = stream_find(handle, &stream); \
                                                   \
        if (r == CUDA_SUCCESS && !to)              \
            r = CUDA_ERROR_INVALID_VALUE;          \
        if (r == CUDA_SUCCESS)                     \
            *to = value;                           \
        return r;                                  \
    }

GIVE_VALUE(cuStreamGetFlags, unsigned, stream->flags)
GIVE_VALUE(cuStreamGetPriority, int, stream->priority)
GIVE_VALUE(cuStreamGetId, unsigned long long, stream->id)
GIVE_VALUE(cuStreamGetCtx, CUcontext, stream->context)
GIVE_VALUE(cuStreamGetDevice, CUdevice, stream->context->device->ordinal)
