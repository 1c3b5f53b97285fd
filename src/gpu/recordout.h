// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The helper's end of its channel with the agent: requests in, records out (record.h). Any thread
 * may send, one receives. Without an agent there is nothing left to do, so then the process ends.
 */

#include <stdbool.h>
#include <stdint.h>

#include "gpu/record.h"
#include "proc/frame.h"

/* Says hello. 0 or a negative errno. */
int recordout_start(int fd, uint32_t max_body_bytes);

/* A request, without waiting; pings are answered. False: it was none. */
bool recordout_receive(struct proc_frame *ret_frame);

/* RECORD_UNAVAILABLE, RECORD_WATCH. */
void recordout_reason(enum record_type type, const char *uuid, const char *reason);
void recordout_watch(const char *uuid, const char *reason);
void recordout_event(const struct gpu_event *event);
void recordout_inventory(const struct inventory *inventory);

/* id: of the request that it answers; of a probe, 0 = none. */
void recordout_probe(uint32_t id, const char *uuid, int outcome, const struct gpu_probe *probe,
                     const char *reason);
void recordout_changed(uint32_t id, const struct gpu_changed *changed);
void recordout_listed(uint32_t id, int outcome, const struct gpu_processes *processes,
                      const char *reason);
