// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The agent's self-reports: the content of /healthz, /readyz and /metrics. */

#include "base/text.h"
#include "node/facts.h"
#include "node/publisher.h"
#include "proc/httplink.h"

/* Both borrowed. */
struct status {
    const struct facts *facts;
    const struct publisher *publisher; /* may be NULL */
};

/* An httplink_answer_fn; userdata is a struct status. */
unsigned status_answer(enum httplink_page page, struct text *body, void *userdata);
