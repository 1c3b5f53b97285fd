// SPDX-License-Identifier: Apache-2.0
#include "node/mpswatch.h"

#include "gpu/mpsdaemon.h"

static void on_timer(uv_timer_t *timer)
{
    struct mpswatch *watch = timer->data;

    if (policy_refresh_mps(&watch->config->policy, watch->config->mps_root, mpsdaemon_answers))
        watch->on_change(watch->userdata);
}

void mpswatch_init(struct mpswatch *watch, uv_loop_t *loop, uint64_t period_ms,
                   void (*on_change)(void *userdata), void *userdata)
{
    *watch =
        (struct mpswatch){.period_ms = period_ms, .on_change = on_change, .userdata = userdata};
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
}

void mpswatch_follow(struct mpswatch *watch, struct config *config)
{
    watch->config = config;
    if (!policy_uses_mps(&config->policy))
        uv_timer_stop(&watch->timer);
    else if (!uv_is_active((uv_handle_t *)&watch->timer))
        uv_timer_start(&watch->timer, on_timer, watch->period_ms, watch->period_ms);
}

void mpswatch_close(struct mpswatch *watch)
{
    uv_close((uv_handle_t *)&watch->timer, NULL);
}
