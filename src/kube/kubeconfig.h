// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A kubeconfig file: its current context, with that context's cluster and user. File names in it
 * are relative to the file itself, as kubectl reads them. What stands inline (`*-data`) wins over a
 * file of the same kind, and tokenFile over token, also as kubectl has it.
 */

#include <stddef.h>

#include "kube/access.h"

/* file: its name, for messages and for relative names in it. -EINVAL with file:line:column. */
int kubeconfig_read(const char *file, const char *data, size_t size, struct kube_access *ret_access,
                    struct error *err);
