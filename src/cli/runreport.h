// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `gpuslice run` says on standard error, where the command's output is not: in sentences, or
 * for programs as one JSON document a line (gpuslice(1)).
 */

#include <stdbool.h>
#include <sys/types.h>

#include "arbiter/localgrant.h"
#include "base/text.h"
#include "limits/page.h"

struct runreport_start {
    const struct localgrant *grant;
    const char *folder; /* of the grant */
    bool is_of_node;    /* of the arbiter of this node, else of one of its own */
    enum limits_mode mode;
    pid_t pid;             /* of the command */
    const char *no_cgroup; /* why it has none of its own; "" = it has */
    const char *no_node;   /* why the arbiter of this node was not asked; "" = there is none */
};

/* The command was started. */
void runreport_start(const struct runreport_start *start, bool is_json);

/* It ended. counts: lines "<uuid> <limit> <peak> <denied>"; has_killed: processes that it left. */
void runreport_end(struct text *counts, int status, bool has_killed, bool is_json);
