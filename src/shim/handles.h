// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Handles by which this process shares memory and events of a device with others: the last ones are
 * named in its page of claims (limits/exchange.h), so that the arbiter knows whose kernels may wait
 * for whose.
 *
 * They are noted whether there are turns or not, and named when there is a page. A forked child
 * starts with none.
 */

#include "limits/exchange.h"
#include "shim/driver.h"

/* The driver gave it out, or opened it, in the calling thread's context; EXCHANGE_HANDLE_SIZE
 * bytes. */
void handles_note(const struct cuda_functions *driver, enum exchange_side side,
                  enum exchange_kind kind, const void *handle);

/* The same of a descriptor: one that was given out is marked, and one that was opened is as it was
 * marked. Where that is refused, nothing is noted. A few system calls. */
void handles_note_descriptor(const struct cuda_functions *driver, enum exchange_side side, int fd);

/* The process's page of claims is this one from now on. It stays mapped. */
void handles_show(struct claims *claims);
