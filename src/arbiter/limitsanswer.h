// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An answer of the arbiter on its way to a process (limits/message.h), and the descriptor of a page
 * that may go along. Processes are never waited for: one whose socket takes no more has lost its
 * answer.
 */

#include <stdbool.h>

#include "limits/message.h"

/* Its text: what is too long for it is cut. */
void limitsanswer_set_text(struct limits_answer *answer, const char *text);

/* page: passed along; -1 = none. False: the socket does not take it. */
bool limitsanswer_send(int fd, const struct limits_answer *answer, int page);
