// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>

#include "base/problem.h"

/* Aborts unless every problem of a text of that size is one line, with a position inside it. */
void problemcheck(const struct problems *problems, size_t size);
