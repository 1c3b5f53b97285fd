// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Kubernetes names other than resources (slice/name.h): validated before the API server rejects
 * them. */

#include <stdbool.h>

#include "base/error.h"

/* Lower-case letters, digits and inner dashes, at most 63: one label of a DNS-1123 subdomain. */
bool kubename_is_dns_label(const char *text);

/* A label or taint key, "gpu-model" or "example.com/gpu-model"; its value. 0 or -EINVAL. */
int kubename_check_key(const char *key, struct error *err);
int kubename_check_value(const char *value, struct error *err);
