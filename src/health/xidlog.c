// SPDX-License-Identifier: Apache-2.0
#include "health/xidlog.h"

#include <stdio.h>

#include "base/text.h"

bool xidlog_admit(struct xidlog *log, const struct gpu_event *event, uint64_t now_ms)
{
    size_t place = log->n_said % XIDLOG_SIZE;

    for (size_t i = 0; i < XIDLOG_SIZE; i++)
        if (log->said[i].until_ms > now_ms && log->said[i].xid == event->xid &&
            str_equal(log->said[i].uuid, event->uuid))
            return false;
    log->n_said++;
    log->said[place].xid = event->xid;
    log->said[place].until_ms = now_ms + XIDLOG_QUIET_MS;
    snprintf(log->said[place].uuid, sizeof(log->said[place].uuid), "%s", event->uuid);
    return true;
}
