// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * gpuslice-prober as a child: with a limit, under `gpuslice run`, or without; one process or two
 * that share the limit; or one that a grant is made for before it begins. It reads lines, and
 * answers each with CUDA's code and some words.
 */

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { PROBE_PROCESSES_MAX = 2, PROBE_ANSWER_SIZE = 32768, PROBE_WAIT_MS = 60000 };

struct probe {
    pid_t pid; /* of `gpuslice run`, or of the only prober; 0 = there is none */
    int fds[PROBE_PROCESSES_MAX];
};

#define PROBE_INIT        \
    {                     \
        .fds = { -1, -1 } \
    }

/* limit_bytes: 0 = none. device: as of `gpuslice run`. */
int probe_start(uint64_t limit_bytes, const char *device, unsigned n_processes,
                struct probe *ret_probe, struct error *err);

/* One process, which is there and begins when it is released: with a grant of that folder, or with
 * "" without the library. */
int probe_hold(struct probe *ret_probe, struct error *err);
int probe_release(const struct probe *probe, const char *grant_folder, struct error *err);

void probe_end(struct probe *probe);
#define cleanup_probe cleanup(probe_end)

int probe_ask(const struct probe *probe, unsigned process, const char *line, struct error *err);

/* The code; answer: the words behind it. A negative errno: it has ended, or does not answer. */
int probe_answer(const struct probe *probe, unsigned process, char answer[PROBE_ANSWER_SIZE],
                 struct error *err);

/* Both. */
int probe_call(const struct probe *probe, unsigned process, const char *line,
               char answer[PROBE_ANSWER_SIZE], struct error *err);
