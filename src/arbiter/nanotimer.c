// SPDX-License-Identifier: Apache-2.0
#include "arbiter/nanotimer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { NS_PER_S = 1000000000 };

struct nanotimer {
    uv_poll_t poll; /* first: its handle is this */
    int fd;
    uint64_t at_ns;
    nanotimer_fn *fn;
    void *userdata;
};

static void on_due(uv_poll_t *poll, int status, int events)
{
    struct nanotimer *timer = poll->data;
    uint64_t n_due;

    (void)status, (void)events;
    if (read(timer->fd, &n_due, sizeof(n_due)) != (ssize_t)sizeof(n_due))
        return; /* it was set to another time meanwhile */
    timer->at_ns = NANOTIMER_NEVER;
    timer->fn(timer->userdata);
}

int nanotimer_new(uv_loop_t *loop, nanotimer_fn *fn, void *userdata, struct nanotimer **ret_timer,
                  struct error *err)
{
    cleanup_free struct nanotimer *timer = calloc(1, sizeof(*timer));
    cleanup_close int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int r;

    if (!timer || fd < 0)
        return error_set_errno(err, timer ? -errno : -ENOMEM, "cannot make a timer");
    r = uv_poll_init(loop, &timer->poll, fd);
    if (r < 0)
        return error_set_errno(err, r, "cannot make a timer");
    timer->poll.data = timer;
    timer->at_ns = NANOTIMER_NEVER;
    timer->fn = fn;
    timer->userdata = userdata;
    timer->fd = TAKE_FD(fd);
    uv_poll_start(&timer->poll, UV_READABLE, on_due);
    *ret_timer = TAKE_PTR(timer);
    return 0;
}

void nanotimer_set(struct nanotimer *timer, uint64_t at_ns)
{
    struct itimerspec spec = {.it_value = {.tv_sec = 0}};

    if (at_ns == timer->at_ns)
        return;
    timer->at_ns = at_ns;
    if (at_ns != NANOTIMER_NEVER) {
        spec.it_value.tv_sec = (time_t)(at_ns / NS_PER_S);
        spec.it_value.tv_nsec = (long)(at_ns % NS_PER_S) + !at_ns; /* 0 would mean never */
    }
    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void nanotimer_free(struct nanotimer *timer)
{
    if (!timer)
        return;
    uv_close((uv_handle_t *)&timer->poll, on_closed);
    close(timer->fd);
}
