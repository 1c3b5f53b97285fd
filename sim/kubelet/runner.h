// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The containers of admitted pods: started in order, restarted with back-off, ended.
 *
 * Init containers run one after the other; sidecars start among them and stay; then all app
 * containers run together. A restart keeps its devices and makes no new Allocate. The first restart
 * comes at once, the second after restart_back_off_ms, then twice that and so on up to 5 minutes.
 */

#include <stdbool.h>

#include "kubelet.h"

enum { RUNNER_MAX_BACK_OFF_MS = 300 * 1000 };

/* Moves one pod on. Returns true when anything changed. */
bool runner_advance(struct kubelet *kubelet, struct pod *pod);

/* Asks what still runs to end, and kills what has not within the grace period. */
void runner_end(struct kubelet *kubelet, struct pod *pod);

/* Takes a process of an earlier life over; when it is gone, the container counts as ended. */
void runner_adopt(struct kubelet *kubelet, struct pod *pod, struct container *container, pid_t pid,
                  uint64_t start_ticks);

/* "<root>/pods/<namespace>_<name>_<uid>/<container>.log" */
int runner_log_path(const struct kubelet *kubelet, const struct pod *pod, const char *container,
                    char *buffer, size_t size);
