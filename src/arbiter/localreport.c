// SPDX-License-Identifier: Apache-2.0
#include "arbiter/localreport.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

static void tell(const struct localreport *report, const char *text)
{
    const int r = file_write_all(report->fd, text, strlen(text));

    if (r < 0)
        log_debug("nobody reads what is counted", "reason", strerror(-r));
}

static void on_turn(uv_prepare_t *turn)
{
    const struct localreport *report = turn->data;

    const struct limiter_counts counts = limiter_count(report->limiter);

    if (!counts.n_sockets || !counts.n_devices)
        return;
    tell(report, "ready\n");
    uv_prepare_stop(turn);
}

void localreport_start(struct localreport *report, uv_loop_t *loop, const struct limiter *limiter,
                       int fd)
{
    report->limiter = limiter;
    report->fd = fd;
    uv_prepare_init(loop, &report->turn);
    report->turn.data = report;
    uv_prepare_start(&report->turn, on_turn);
}

static void add_use(const struct limituse *use, void *userdata)
{
    text_addf(userdata, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", use->uuid, use->limit_bytes,
              use->peak_bytes, use->n_denied);
}

void localreport_end(struct localreport *report)
{
    cleanup_text struct text text = TEXT_INIT;

    limiter_each(report->limiter, add_use, &text);
    tell(report, text_string(&text));
    uv_close((uv_handle_t *)&report->turn, NULL);
}
