// SPDX-License-Identifier: Apache-2.0
#include "node/renewal.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hostid.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"

enum { FILE_MAX = 200 };

#define HEADER "gpuslice-renewed 1 "

struct renewal {
    struct renewal_setup setup;
    uv_timer_t timer;
    char path[PATH_MAX];
    struct hostid host;
    bool was_made;  /* an end, in this boot, ... */
    uint64_t at_ms; /* ... then */
    bool is_fault;
    uint64_t since_ms;      /* the fault */
    struct lograte failure; /* of writing */
};

/* --- the file --- */

/* 0 and the time; -ESTALE: of another boot; -EBADMSG. */
static int parse(const struct renewal *renewal, const char *data, uint64_t *ret_ms)
{
    const size_t length = strlen(renewal->host.boot);
    char *end;
    uint64_t ms;

    if (!str_starts_with(data, HEADER))
        return -EBADMSG;
    data += strlen(HEADER);
    if (strncmp(data, renewal->host.boot, length) != 0 || data[length] != ' ')
        return -ESTALE;
    errno = 0;
    ms = strtoull(data + length + 1, &end, 10);
    if (errno || end == data + length + 1 || !str_equal(end, "\n"))
        return -EBADMSG;
    *ret_ms = ms;
    return 0;
}

static void recall(struct renewal *renewal)
{
    const uint64_t now_ms = clock_now_ms();
    cleanup_free char *data = NULL;
    size_t size;
    uint64_t ms = 0;
    int r = file_read(renewal->path, FILE_MAX, &data, &size, NULL);

    if (r == -ENOENT)
        return;
    if (r == 0)
        r = parse(renewal, data, &ms);
    if (r == -ESTALE)
        return;
    renewal->was_made = true;
    renewal->at_ms = r == 0 && ms < now_ms ? ms : now_ms;
}

static int remember(struct renewal *renewal, uint64_t now_ms, struct error *err)
{
    char line[FILE_MAX];
    int n = snprintf(line, sizeof(line), HEADER "%s %" PRIu64 "\n", renewal->host.boot, now_ms);
    int r = file_make_directory(renewal->setup.state_dir, err);

    if (r == 0)
        r = file_write_atomic(renewal->path, line, (size_t)n, 0600, err);
    if (r < 0)
        return r;
    renewal->was_made = true;
    renewal->at_ms = now_ms;
    return 0;
}

/* --- when --- */

static uint64_t due_ms(const struct renewal *renewal)
{
    const uint64_t patient_ms = renewal->since_ms + renewal->setup.patience_ms;
    const uint64_t apart_ms = renewal->was_made ? renewal->at_ms + RENEWAL_GAP_MS : 0;

    return patient_ms > apart_ms ? patient_ms : apart_ms;
}

static void on_timer(uv_timer_t *timer);

static void arm(struct renewal *renewal, uint64_t now_ms)
{
    const uint64_t due = due_ms(renewal);

    uv_timer_start(&renewal->timer, on_timer, due > now_ms ? due - now_ms : 1, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct renewal *renewal = timer->data;
    const uint64_t now_ms = clock_now_ms();
    struct error err = ERROR_INIT;

    if (now_ms < due_ms(renewal)) {
        arm(renewal, now_ms);
        return;
    }
    if (remember(renewal, now_ms, &err) == 0) {
        renewal->setup.on_due(renewal->setup.userdata);
        return;
    }
    if (lograte_begin(&renewal->failure, error_text(&err), now_ms))
        log_warning(error_text(&err), "hint",
                    "the agent does not end for a new container while it cannot remember that");
    renewal->since_ms = now_ms; /* tried again after as long */
    arm(renewal, now_ms);
}

void renewal_fault(struct renewal *renewal, bool is_there)
{
    if (renewal->is_fault == is_there)
        return;
    renewal->is_fault = is_there;
    uv_timer_stop(&renewal->timer);
    if (!is_there || !renewal->setup.patience_ms)
        return;
    renewal->since_ms = clock_now_ms();
    arm(renewal, renewal->since_ms);
}

bool renewal_is_recent(const struct renewal *renewal)
{
    return renewal->was_made && clock_now_ms() < renewal->at_ms + RENEWAL_GAP_MS;
}

/* --- life --- */

int renewal_new(const struct renewal_setup *setup, struct renewal **ret_renewal, struct error *err)
{
    struct renewal *renewal = calloc(1, sizeof(*renewal));

    if (!renewal)
        return error_set_errno(err, -ENOMEM, "cannot watch the driver");
    renewal->setup = *setup;
    snprintf(renewal->path, sizeof(renewal->path), "%s/renewed", setup->state_dir);
    hostid_read(&renewal->host);
    if (setup->patience_ms)
        recall(renewal);
    uv_timer_init(setup->loop, &renewal->timer);
    renewal->timer.data = renewal;
    *ret_renewal = renewal;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void renewal_free(struct renewal *renewal)
{
    if (renewal)
        uv_close((uv_handle_t *)&renewal->timer, on_closed);
}
