// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Events: places in streams, with the time at which they were passed. */

#include "cuda/stream.h"

/* Where an event was recorded last; stream_place_forget it. No stream: it never was. */
CUresult event_place(CUevent event, struct stream_place *ret_place);

/* The same where another process may have recorded it, until that is passed. */
void event_wait_for_others(CUevent event);
