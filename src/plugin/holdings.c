// SPDX-License-Identifier: Apache-2.0
#include "plugin/holdings.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"

struct holdings {
    struct holdings_setup setup;
    char folder[PATH_MAX];
    uv_timer_t timer;   /* the next list */
    uint64_t listed_ms; /* when the last one began; 0 = there was none */
    bool is_wanted;     /* another one */
    bool is_asked;      /* a request to the kubelet is pending */
    bool is_reading;    /* a thread has `checkpoint`, `result` and `err` */
    bool is_closed, is_timer_closed;
    bool is_complete; /* the entries are a response of the kubelet */
    uint64_t began_ms;
    struct ledger_entry *entries; /* own their strings */
    size_t n_entries, capacity;
    uv_work_t work;
    struct kubeletcheckpoint checkpoint;
    int result;
    struct error err;
    struct lograte trouble; /* with the checkpoint, in the log */
};

/* --- lifetime --- */

static void clear(struct holdings *holdings)
{
    for (size_t i = 0; i < holdings->n_entries; i++) {
        struct ledger_entry *entry = &holdings->entries[i];

        free((char *)(uintptr_t)entry->resource);
        free((char *)(uintptr_t)entry->id);
        free((char *)(uintptr_t)entry->pod_namespace);
        free((char *)(uintptr_t)entry->pod);
        free((char *)(uintptr_t)entry->container);
    }
    holdings->n_entries = 0;
    kubeletcheckpoint_deinit(&holdings->checkpoint);
}

/* Frees everything once neither libuv nor a thread refers to it. */
static void release(struct holdings *holdings)
{
    if (!holdings->is_timer_closed || holdings->is_reading)
        return;
    clear(holdings);
    free(holdings->entries);
    free(holdings);
}

static void on_closed(uv_handle_t *handle)
{
    struct holdings *holdings = handle->data;

    holdings->is_timer_closed = true;
    release(holdings);
}

int holdings_new(const struct holdings_setup *setup, struct holdings **ret_holdings,
                 struct error *err)
{
    struct holdings *holdings = calloc(1, sizeof(*holdings));
    int r = holdings ? 0 : -ENOMEM;

    if (r == 0 && str_copy(holdings->folder, sizeof(holdings->folder), setup->folder) < 0)
        r = -ENAMETOOLONG;
    if (r < 0) {
        free(holdings);
        return error_set_errno(err, r, "cannot observe what pods hold");
    }
    holdings->setup = *setup;
    uv_timer_init(setup->loop, &holdings->timer); /* cannot fail */
    holdings->timer.data = holdings;
    *ret_holdings = holdings;
    return 0;
}

void holdings_free(struct holdings *holdings)
{
    if (!holdings)
        return;
    holdings->is_closed = true;
    uv_close((uv_handle_t *)&holdings->timer, on_closed);
}

/* --- the checkpoint --- */

static void report_trouble(struct holdings *holdings)
{
    const char *reason = error_text(&holdings->err);

    if (holdings->result == 0)
        (void)lograte_end(&holdings->trouble);
    else if (lograte_begin(&holdings->trouble, reason, uv_now(holdings->setup.loop)))
        log_warning("cannot determine which grants ended", "reason", reason);
}

static void read_checkpoint(uv_work_t *work)
{
    struct holdings *holdings = work->data;

    holdings->result =
        kubeletcheckpoint_load(holdings->folder, &holdings->checkpoint, &holdings->err);
}

static void lend(struct holdings *holdings)
{
    const struct holdings_view view = {
        .is_complete = holdings->is_complete,
        .began_ms = holdings->began_ms,
        .entries = holdings->entries,
        .n_entries = holdings->n_entries,
        .checkpoint = holdings->result == 0 ? &holdings->checkpoint : NULL,
    };

    holdings->setup.on_view(&view, holdings->setup.userdata);
    clear(holdings);
}

static void after_checkpoint(uv_work_t *work, int status)
{
    struct holdings *holdings = work->data;

    (void)status; /* nobody cancels it */
    holdings->is_reading = false;
    if (holdings->is_closed) {
        release(holdings);
        return;
    }
    report_trouble(holdings);
    lend(holdings);
    if (holdings->is_wanted)
        holdings_soon(holdings);
}

static void begin_reading(struct holdings *holdings, uint64_t began_ms)
{
    holdings->is_reading = true;
    holdings->began_ms = began_ms;
    holdings->err = (struct error)ERROR_INIT;
    holdings->work.data = holdings;
    uv_queue_work(holdings->setup.loop, &holdings->work, read_checkpoint, after_checkpoint);
}

/* --- the list --- */

static int copy_entry(struct holdings *holdings, const struct podresources_device *device)
{
    struct ledger_entry *entry =
        array_push(&holdings->entries, &holdings->n_entries, &holdings->capacity, sizeof(*entry));

    if (!entry)
        return -ENOMEM;
    *entry = (struct ledger_entry){.resource = strdup(device->resource),
                                   .id = strdup(device->id),
                                   .pod_namespace = strdup(device->pod.namespace_),
                                   .pod = strdup(device->pod.name),
                                   .container = strdup(device->container)};
    return entry->resource && entry->id && entry->pod_namespace && entry->pod && entry->container
               ? 0
               : -ENOMEM;
}

static void on_no_list(struct holdings *holdings)
{
    clear(holdings);
    holdings->is_complete = false;
    if (holdings->setup.wants_checkpoint(holdings->setup.userdata))
        begin_reading(holdings, uv_now(holdings->setup.loop));
}

static void on_listed(const struct podresources_list *answer, void *userdata)
{
    struct holdings *holdings = userdata;
    int r = answer->is_complete ? 0 : -EAGAIN;

    holdings->is_asked = false;
    for (size_t i = 0; r == 0 && i < answer->n_devices; i++)
        r = copy_entry(holdings, &answer->devices[i]);
    holdings->is_complete = r == 0;
    if (holdings->is_complete)
        begin_reading(holdings, answer->began_ms);
    else
        on_no_list(holdings);
}

static void on_due(uv_timer_t *timer)
{
    struct holdings *holdings = timer->data;

    if (holdings->is_asked || holdings->is_reading)
        return;
    holdings->is_wanted = false;
    holdings->listed_ms = uv_now(holdings->setup.loop);
    holdings->is_asked = true;
    if (holdings->setup.list(holdings->setup.podresources, on_listed, holdings) < 0) {
        holdings->is_asked = false;
        on_no_list(holdings);
    }
}

void holdings_soon(struct holdings *holdings)
{
    uint64_t due_ms = holdings->listed_ms + HOLDINGS_LIST_MS;
    uint64_t now_ms = uv_now(holdings->setup.loop);

    holdings->is_wanted = true;
    if (holdings->is_asked || holdings->is_reading || uv_is_active((uv_handle_t *)&holdings->timer))
        return;
    uv_timer_start(&holdings->timer, on_due,
                   holdings->listed_ms && due_ms > now_ms ? due_ms - now_ms : 0, 0);
}
