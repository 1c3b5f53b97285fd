// SPDX-License-Identifier: Apache-2.0
#include "gpu/test-seen.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

static void on_inventory(const struct inventory *inventory, void *userdata)
{
    struct seen *seen = userdata;

    inventory_deinit(&seen->inventory);
    assert_int_equal(inventory_copy(&seen->inventory, inventory), 0);
    seen->n_inventories++;
}

static void on_unavailable(const char *reason, void *userdata)
{
    struct seen *seen = userdata;

    snprintf(seen->reason, sizeof(seen->reason), "%s", reason);
    seen->n_unavailable++;
}

static void on_event(const struct gpu_event *event, void *userdata)
{
    struct seen *seen = userdata;

    seen->event = *event;
    seen->n_events++;
}

static void on_probe(const char *uuid, int outcome, const struct gpu_probe *probe,
                     const char *reason, void *userdata)
{
    struct seen *seen = userdata;

    snprintf(seen->probed, sizeof(seen->probed), "%s", uuid);
    snprintf(seen->reason, sizeof(seen->reason), "%s", reason);
    if (outcome == GPU_LOST) {
        snprintf(seen->lost_uuid, sizeof(seen->lost_uuid), "%s", uuid);
        seen->n_lost++;
    }
    seen->outcome = outcome;
    seen->probe = *probe;
    seen->n_probes++;
}

static void on_watch(const char *uuid, const char *reason, void *userdata)
{
    struct seen *seen = userdata;

    seen->n_watched += !*reason;
    seen->n_unwatched += *reason != '\0';
}

static void on_hang(const char *call, const char *uuid, bool stuck, void *userdata)
{
    struct seen *seen = userdata;

    snprintf(seen->hung_call, sizeof(seen->hung_call), "%s", call);
    snprintf(seen->hung_uuid, sizeof(seen->hung_uuid), "%s", uuid);
    seen->stuck = stuck;
    seen->n_hangs++;
}

const struct driver_callbacks seen_callbacks = {
    .on_inventory = on_inventory,
    .on_unavailable = on_unavailable,
    .on_event = on_event,
    .on_probe = on_probe,
    .on_watch = on_watch,
    .on_hang = on_hang,
};

void seen_on_late(uv_timer_t *timer)
{
    struct seen *seen = timer->data;

    seen->late = true;
}

void seen_init(struct seen *seen)
{
    memset(seen, 0, sizeof(*seen));
    uv_loop_init(&seen->loop);
    uv_timer_init(&seen->loop, &seen->timer);
    seen->timer.data = seen;
}

void seen_start(struct seen *seen, const char *library, uint64_t deadline_ms)
{
    struct driver_options options = {.library = library, .deadline_ms = deadline_ms};
    struct error err = ERROR_INIT;

    if (driver_new(&seen->loop, &options, &seen_callbacks, seen, &seen->driver, &err) < 0)
        fail_msg("%s", error_text(&err));
}

void seen_deinit(struct seen *seen)
{
    driver_free(seen->driver);
    uv_close((uv_handle_t *)&seen->timer, NULL);
    uv_run(&seen->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&seen->loop), 0);
    inventory_deinit(&seen->inventory);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void seen_remove_tree(const char *path)
{
    assert_int_equal(nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}
