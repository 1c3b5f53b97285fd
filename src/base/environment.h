// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Variables of the environment: an empty one is none, as charts write what is not set. */

/* NULL = there is none. Borrowed from the environment. */
const char *environment_get(const char *name);
