// SPDX-License-Identifier: Apache-2.0
#include "health/healthfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hostid.h"
#include "base/log.h"

enum { HEALTHFILE_MAX = 1 << 20 };

void healthfile_init(struct healthfile *file, const char *folder)
{
    struct hostid id;

    hostid_read(&id);
    *file = (struct healthfile){.folder = folder};
    snprintf(file->path, sizeof(file->path), "%s/health", folder);
    snprintf(file->boot, sizeof(file->boot), "%s", id.boot);
}

static void overrule(struct healthfile *file, struct health *health,
                     const struct xid_filter *filter)
{
    bool dropped = false;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct devicehealth *device = &health->devices[i];
        char reason[HEALTH_REASON_SIZE];

        if (devicehealth_overrule(device, filter, clock_now_ms(), reason) == 0)
            continue;
        log_warning("a fault seen before the agent restarted no longer counts", "device",
                    device->uuid, "fault", reason, "hint",
                    "DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS choose what counts");
        dropped = true;
    }
    if (dropped)
        healthfile_save(file, health);
}

void healthfile_load(struct healthfile *file, struct health *health,
                     const struct xid_filter *filter)
{
    cleanup_free char *data = NULL;
    size_t size;
    int r = file_read(file->path, HEALTHFILE_MAX, &data, &size, NULL);

    file->exists = r == 0;
    if (r == 0)
        r = health_restore(health, file->boot, data, size);
    if (r < 0 && r != -ENOENT && r != -ESTALE)
        log_warning("the saved health of the GPUs is unreadable and ignored", "file", file->path);
    overrule(file, health, filter);
}

bool healthfile_was_removed(struct healthfile *file, uint64_t now_ms)
{
    if (!file->exists || file->looked_ms == now_ms)
        return false;
    file->looked_ms = now_ms;
    if (access(file->path, F_OK) == 0 || errno != ENOENT)
        return false;
    file->exists = false;
    return true;
}

void healthfile_save(struct healthfile *file, const struct health *health)
{
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    int r = file_make_directory(file->folder, &err);

    health_save(health, file->boot, &text);
    if (r == 0)
        r = file_write_atomic(file->path, text_string(&text), text.length, 0600, &err);
    file->exists = r == 0;
    if (r == 0)
        lograte_end(&file->failure);
    else if (lograte_begin(&file->failure, error_text(&err), clock_now_ms()))
        log_warning(error_text(&err), "hint",
                    "after a restart the agent will not know which GPUs need a reset");
}
