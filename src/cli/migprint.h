// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A configuration of mig-parted as text, as that prints it. */

#include <stdbool.h>
#include <stdio.h>

#include "config/migconfig.h"

void migprint(const struct migconfig *config, bool as_json, FILE *to);
