// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Asks the host to reboot, over the system bus: org.freedesktop.login1, or, on a host without it,
 * systemd itself for its reboot.target. The bus decides whether we may: it wants CAP_SYS_BOOT of
 * who asks, or a policy of the host's that lets root.
 *
 * The conversation may hang, so it happens in a process of its own, `gpuslice-node --part=reboot
 * SOCKET`, which keeps only that capability and ends with the answer.
 */

#include <uv.h>

#include "base/error.h"

enum { HOSTREBOOT_DEADLINE_S = 30 };

/* The process: 0 = the host reboots; 1 = it does not, and standard output has the reason. */
int hostreboot_main(const char *socket);

/* Asked: outcome 0, or a negative errno with a sentence. */
typedef void hostreboot_done_fn(int outcome, const char *sentence, void *userdata);

struct hostreboot; /* the process, as the agent sees it */

/* done runs later, once, unless it is freed before. */
int hostreboot_start(uv_loop_t *loop, const char *socket, hostreboot_done_fn *done, void *userdata,
                     struct hostreboot **ret_hostreboot);

/* Ends the process. NULL is allowed; also within done. */
void hostreboot_free(struct hostreboot *hostreboot);
