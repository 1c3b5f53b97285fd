// SPDX-License-Identifier: Apache-2.0
#include "gpu/eventwatch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"

enum {
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 60000,
    /* Long, because each return of the wait is a wake-up; probe rounds cover the rest. */
    EVENT_WAIT_MS = 600000,
    EVENT_STACK_BYTES = 256 << 10,
};

struct eventwatch_gpu {
    char uuid[GPU_UUID_SIZE];
    bool registered;
    bool known, is_news;      /* whether it is watched is known; and not reported yet */
    char why_not[256];        /* it is not watched; "" = it is */
    _Atomic bool has_changed; /* how it is partitioned */
};

int eventwatch_init(struct eventwatch *watch)
{
    watch->due_ms = UINT64_MAX;
    watch->trouble_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch->changes_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return watch->trouble_fd < 0 || watch->changes_fd < 0 ? -errno : 0;
}

/* --- registration --- */

static void set_watched(struct eventwatch_gpu *gpu, const char *why_not)
{
    if (gpu->known && strcmp(gpu->why_not, why_not) == 0)
        return;
    snprintf(gpu->why_not, sizeof(gpu->why_not), "%s", why_not);
    gpu->known = gpu->is_news = true;
}

/* All that are registered: they are watched as long as the wait works. */
static void set_all_watched(struct eventwatch *watch, const char *why_not)
{
    for (size_t i = 0; i < watch->n_gpus; i++)
        if (watch->gpus[i].registered)
            set_watched(&watch->gpus[i], why_not);
}

static void report(struct eventwatch *watch)
{
    for (size_t i = 0; i < watch->n_gpus; i++) {
        if (watch->gpus[i].is_news)
            watch->on_watch(watch->gpus[i].uuid, watch->gpus[i].why_not);
        watch->gpus[i].is_news = false;
    }
}

static int try_gpu(struct eventwatch *watch, struct eventwatch_gpu *gpu)
{
    struct error err = ERROR_INIT;
    int r = watch->backend->watch(watch->driver, gpu->uuid, &err);

    gpu->registered = r == 0;
    if (r)
        set_watched(gpu, error_text(&err));
    return r;
}

int eventwatch_add(struct eventwatch *watch, const char *uuid)
{
    struct eventwatch_gpu *gpus =
        reallocarray(watch->gpus, watch->n_gpus + 1, sizeof(*watch->gpus));
    struct eventwatch_gpu *gpu;

    if (!gpus)
        return -ENOMEM;
    watch->gpus = gpus;
    gpu = &gpus[watch->n_gpus++];
    *gpu = (struct eventwatch_gpu){.registered = false};
    snprintf(gpu->uuid, sizeof(gpu->uuid), "%s", uuid);
    return try_gpu(watch, gpu) == GPU_LOST ? EVENTWATCH_RENEW : 0;
}

static size_t count_registered(const struct eventwatch *watch)
{
    size_t n = 0;

    for (size_t i = 0; i < watch->n_gpus; i++)
        n += watch->gpus[i].registered;
    return n;
}

static void plan_retry(struct eventwatch *watch)
{
    watch->backoff_ms =
        watch->backoff_ms ? clock_twice_ms(watch->backoff_ms, BACKOFF_MAX_MS) : BACKOFF_FIRST_MS;
    watch->due_ms = clock_now_ms() + watch->backoff_ms;
}

/* --- waiting --- */

/* uuid "" = the driver does not tell. */
static void note_change(struct eventwatch *watch, const char *uuid)
{
    _Atomic bool *noted = &watch->any_changed;

    for (size_t i = 0; i < watch->n_gpus; i++)
        if (*uuid && strcmp(watch->gpus[i].uuid, uuid) == 0)
            noted = &watch->gpus[i].has_changed;
    atomic_store(noted, true);
    (void)eventfd_write(watch->changes_fd, 1);
}

/* Waits once. 0 or an outcome of the wait. */
static int take_event(struct eventwatch *watch, unsigned timeout_ms, struct error *err)
{
    struct gpu_event event = {.uuid = ""};
    int r = watch->backend->wait_event(watch->driver, timeout_ms, &event, err);

    if (r == 0)
        watch->on_event(&event);
    if (r == GPU_RECONFIGURED)
        note_change(watch, event.uuid);
    return r == GPU_RECONFIGURED ? 0 : r;
}

static void *wait_for_events(void *userdata)
{
    struct eventwatch *watch = userdata;
    struct error err = ERROR_INIT;
    int r;

    guard_thread(watch->guard);
    do {
        r = take_event(watch, EVENT_WAIT_MS, &err);
    } while (r == 0 || r == GPU_TIMEOUT);
    snprintf(watch->why, sizeof(watch->why), "%s", error_text(&err));
    atomic_store(&watch->trouble, r);
    (void)eventfd_write(watch->trouble_fd, 1);
    return NULL;
}

static int start_thread(struct eventwatch *watch, struct error *err)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int r;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, EVENT_STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&thread, &attributes, wait_for_events, watch);
    pthread_attr_destroy(&attributes);
    return r ? error_set_errno(err, -r, "cannot start the thread that waits for events") : 0;
}

/* A wait that does not last. 0: it works, or what is wrong. */
static int try_wait(struct eventwatch *watch, char *ret_why, size_t size)
{
    struct error err = ERROR_INIT;
    int r = take_event(watch, 0, &err);

    snprintf(ret_why, size, "%s", error_text(&err));
    return r == GPU_TIMEOUT ? 0 : r;
}

/*
 * The wait is not supported (for the moment): nothing is watched, though all may be registered.
 * Other failures are those of a GPU, mostly because it is lost; it is not in the next session.
 */
static int take_failed_wait(struct eventwatch *watch, int outcome, const char *why)
{
    if (outcome == GPU_LOST)
        return EVENTWATCH_RENEW;
    set_all_watched(watch, why);
    report(watch);
    if (outcome != GPU_UNSUPPORTED)
        return EVENTWATCH_RENEW;
    watch->refused = true;
    plan_retry(watch);
    return 0;
}

int eventwatch_start(struct eventwatch *watch, struct error *err)
{
    const size_t n = count_registered(watch);
    char why[sizeof(watch->why)];
    int r = n ? try_wait(watch, why, sizeof(why)) : 0;

    if (n < watch->n_gpus)
        plan_retry(watch);
    if (r == 0)
        set_all_watched(watch, "");
    report(watch);
    if (r)
        return take_failed_wait(watch, r, why);
    return n ? start_thread(watch, err) : 0;
}

int eventwatch_take_trouble(struct eventwatch *watch)
{
    eventfd_t count;

    (void)eventfd_read(watch->trouble_fd, &count);
    return take_failed_wait(watch, atomic_load(&watch->trouble), watch->why);
}

bool eventwatch_take_changes(struct eventwatch *watch, const char *but_uuid)
{
    bool others;
    eventfd_t count;

    (void)eventfd_read(watch->changes_fd, &count);
    others = atomic_exchange(&watch->any_changed, false);
    for (size_t i = 0; i < watch->n_gpus; i++)
        if (atomic_exchange(&watch->gpus[i].has_changed, false))
            others |= !but_uuid || strcmp(watch->gpus[i].uuid, but_uuid) != 0;
    return others;
}

/* --- again --- */

uint64_t eventwatch_due_ms(const struct eventwatch *watch)
{
    return watch->due_ms;
}

/* Whether something that failed succeeds now. */
static bool is_better(struct eventwatch *watch)
{
    char why[sizeof(watch->why)];
    bool better = false;
    int r;

    for (size_t i = 0; i < watch->n_gpus; i++)
        if (!watch->gpus[i].registered)
            better |= try_gpu(watch, &watch->gpus[i]) == 0;
    if (!watch->refused)
        return better;
    r = try_wait(watch, why, sizeof(why));
    if (r == GPU_UNSUPPORTED)
        set_all_watched(watch, why);
    return r != GPU_UNSUPPORTED;
}

int eventwatch_retry(struct eventwatch *watch)
{
    bool better;

    if (clock_now_ms() < watch->due_ms)
        return 0;
    better = is_better(watch);
    report(watch);
    if (!better) {
        plan_retry(watch);
        return 0;
    }
    watch->due_ms = UINT64_MAX;
    return EVENTWATCH_RENEW;
}
