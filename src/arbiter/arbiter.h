// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The program: its loop, its signals, and what it serves. */

#include "arbiter/arbiteroptions.h"

/* Returns the exit status. */
int arbiter_run(const struct arbiteroptions *options);
