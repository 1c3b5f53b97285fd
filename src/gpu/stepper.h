// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Steps that need the helper to hold nothing (gpu.h, enum gpu_verb): a change of the mode, and a
 * reset. The helper executes itself again with the step on its command line, makes it before it
 * begins its session, and answers once the new session has reported what came of it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "gpu/gpu.h"

/* A request of the agent that is still to be answered. */
struct stepper {
    uint32_t id; /* 0: none */
    struct gpu_change change;
    struct gpu_changed changed; /* once it is made */
};

enum { STEPPER_TEXT_SIZE = 2 * sizeof(struct gpu_change) + 32 };

/* Whether a step is not to be made in a session. */
bool stepper_needs_no_session(const struct gpu_change *change);

/* For the command line of the same program, and back. False: no step is written there. */
void stepper_format(uint32_t id, const struct gpu_change *change, char ret_text[STEPPER_TEXT_SIZE]);
bool stepper_parse(const char *text, struct stepper *ret_stepper);

/* How a session is begun that is as short as the step. */
struct stepper_session {
    const struct gpu_backend *backend;
    int (*open)(void *userdata, struct gpu_driver **ret_driver, struct error *err);
    void *userdata;
};

/* Makes the step; this process has no session. Writes stepper->changed. */
void stepper_make(struct stepper *stepper, const struct stepper_session *session);
