// SPDX-License-Identifier: Apache-2.0
#include "node/devicereport.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "slice/select.h"

void devicereport_format(const struct plan *plan, const struct plan_device *on, bool healthy,
                         const char *reason, char *buffer)
{
    char name[DEVICE_NAME_SIZE];

    if (healthy)
        reason = "";
    snprintf(buffer, DEVICEREPORT_SIZE, "%s (%s) is %s%s%s", plan_device_name(plan, on, name),
             on->device.uuid, healthy ? "usable again" : "Unhealthy", *reason ? ": " : "", reason);
}

static void format_one_left_out(const struct plan *plan, const struct plan_device *on, char *buffer)
{
    char name[DEVICE_NAME_SIZE];
    const char *uuid = on->device.uuid;

    snprintf(buffer, DEVICEREPORT_SIZE, "%s%s%s%s is not offered: %s",
             plan_device_name(plan, on, name), *uuid ? " (" : "", uuid, *uuid ? ")" : "",
             on->left_out);
}

void devicereport_format_left_out(const struct plan *plan, const struct plan_device *on,
                                  const bool *meant, char *buffer)
{
    cleanup_free bool *alike = calloc(plan->n_devices + 1, sizeof(*alike));
    size_t n = 0;
    char list[256];

    if (alike)
        select_left_out_alike(plan, on, alike);
    for (size_t i = 0; alike && i < plan->n_devices; i++) {
        alike[i] = alike[i] && !meant[i];
        n += alike[i];
    }
    if (n <= 1) {
        format_one_left_out(plan, on, buffer);
        return;
    }
    select_format(plan, alike, list, sizeof(list));
    snprintf(buffer, DEVICEREPORT_SIZE, "%s are not offered: %s", list, on->left_out);
}

static void log_device(enum log_level level, const char *message, const struct plan *plan,
                       const struct plan_device *on, const char *reason)
{
    const struct gpu *gpu = plan_gpu(plan, on);
    const bool mig = on->device.kind == DEVICE_MIG;
    char index[DEVICE_INDEX_SIZE];

    device_format_index(&on->device, gpu->index, index, sizeof(index));
    log_event(level, message, "device", mig ? on->device.uuid : NULL, "gpu",
              *gpu->uuid ? gpu->uuid : NULL, "index", index, "profile",
              mig ? on->device.profile : NULL, "reason", reason, NULL);
}

void devicereport_log_health(const struct plan *plan, const struct plan_device *on, bool healthy,
                             const char *reason)
{
    static const char *const messages[2][2] = {
        [DEVICE_WHOLE] = {"GPU is Unhealthy", "GPU is Healthy"},
        [DEVICE_MIG] = {"MIG device is Unhealthy", "MIG device is Healthy"},
    };

    log_device(healthy ? LOG_INFO : LOG_WARNING, messages[on->device.kind][healthy], plan, on,
               healthy ? NULL : reason);
}

void devicereport_log_left_out(const struct plan *plan, const struct plan_device *on)
{
    log_device(on->excluded ? LOG_INFO : LOG_WARNING,
               on->device.kind == DEVICE_MIG ? "MIG device left out" : "GPU left out", plan, on,
               on->left_out);
}
