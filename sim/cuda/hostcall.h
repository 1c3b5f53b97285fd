// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Calls of the program's functions, in the order of a stream's work. */

#include "cuda/stream.h"

struct work hostcall_work(CUhostFn function, void *data);
