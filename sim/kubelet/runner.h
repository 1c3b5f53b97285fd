// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The containers of admitted pods: started in order, restarted with back-off, stopped.
 *
 * Init containers run one after the other; sidecars start among them and keep running; then all app
 * containers run together. A restart keeps its devices and makes no new Allocate. The first restart
 * is immediate, the second after restart_back_off_ms, then the delay doubles up to 5 minutes.
 */

#include <stdbool.h>

#include "kubelet.h"

enum { RUNNER_MAX_BACK_OFF_MS = 300 * 1000 };

/* Advances one pod. Returns true if anything changed. */
bool runner_advance(struct kubelet *kubelet, struct pod *pod);

/* Stops what still runs, and kills what outlives the grace period. */
void runner_end(struct kubelet *kubelet, struct pod *pod);

/* Adopts a process of a previous run; when it exits, the container counts as terminated. */
void runner_adopt(struct kubelet *kubelet, struct pod *pod, struct container *container, pid_t pid,
                  uint64_t start_ticks);

/* "<root>/pods/<namespace>_<name>_<uid>/<container>.log" */
int runner_log_path(const struct kubelet *kubelet, const struct pod *pod, const char *container,
                    char *buffer, size_t size);
