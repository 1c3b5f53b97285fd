// SPDX-License-Identifier: Apache-2.0
#include "node/ending.h"

#include "base/log.h"

static void on_drained(void *userdata)
{
    struct ending *ending = userdata;

    ending->on_end(0, ending->userdata);
}

static void on_timeout(uv_timer_t *timer)
{
    struct ending *ending = timer->data;

    ending->on_end(ending->status, ending->userdata);
}

void ending_init(struct ending *ending, uv_loop_t *loop, void (*on_end)(int status, void *userdata),
                 void *userdata)
{
    *ending = (struct ending){.on_end = on_end, .userdata = userdata};
    uv_timer_init(loop, &ending->timer);
    ending->timer.data = ending;
}

void ending_asked(struct ending *ending)
{
    struct grants *grants = ending->grants;

    if (ending->is_draining || !grants || !grants_n_waiting(grants)) {
        ending->on_end(0, ending->userdata);
        return;
    }
    ending->is_draining = true;
    ending->status = 0;
    log_info("waiting for the disk before the end", "allocations",
             log_number(grants_n_waiting(grants)));
    uv_timer_start(&ending->timer, on_timeout, ENDING_MS, 0);
    grants_drain(grants, on_drained, ending);
}

void ending_give_up(struct ending *ending, int status)
{
    if (ending->is_draining)
        return;
    ending->status = status;
    uv_timer_start(&ending->timer, on_timeout, ENDING_MS, 0);
}

void ending_close(struct ending *ending)
{
    uv_close((uv_handle_t *)&ending->timer, NULL);
}
