// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which streams of this process are captured, by the calls that begin and end that. While there are
 * any, nothing of ours is put into a stream, and nobody waits: a capture may fail by it, in another
 * thread too, and streams join one without such a call.
 *
 * More captures at once than can be noted, and such whose end is never seen, count until the
 * process ends: then it is never gated.
 */

#include <stdbool.h>

#include "shim/driver.h"

/* At once. */
bool captures_are_there(void);

/* A stream by its own handle, never NULL; of a thread's default stream, the calling thread's.
 * False: it is captured already. */
bool captures_begin(CUstream stream);
void captures_end(CUstream stream);

/* All of them, in a child of fork. */
void captures_forget(void);

/* Is it known that what is launched into this stream now is executed? False in a call from a
 * stream, too, where the driver answers nothing. */
bool captures_is_none(const struct cuda_functions *driver, CUstream stream);
