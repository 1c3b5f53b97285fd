// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Numbers of devices, as the API server writes them: "12", "2k", "1M". Pure. */

#include <jansson.h>

enum { QUANTITY_MAX = 1000000 };

/* At most QUANTITY_MAX; 0 for NULL and for what is no whole number. */
json_int_t quantity_read(const char *text);
