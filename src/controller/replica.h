// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The whole of gpuslice-controller: of all replicas the one that holds the Lease does the duties,
 * and the others wait for it. A duty watches what it is about, and reconciles each of its subjects
 * by itself: observe, plan, apply, report. It remembers nothing, so it is stopped at once when the
 * Lease is lost, and the next leader starts it again.
 */

#include "controller/options.h"

/* Until SIGTERM or SIGINT. Returns the exit status. */
int replica_run(const struct options *options);
