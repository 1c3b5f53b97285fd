// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Plugin registration: the Registration service on device-plugins/kubelet.sock.
 *
 * As in the real kubelet, Register returns only after the plugin has been dialled and has returned
 * its options: a plugin must serve before it registers. A plugin that registers a resource again
 * replaces the older one.
 */

#include "base/error.h"
#include "plugin.h"

struct kubelet;
struct registry;

/* Removes every socket from the directory, as CleanupPluginDirectory does, then listens in it. */
int registry_new(struct kubelet *kubelet, const char *directory, struct registry **ret_registry,
                 struct error *err);

/* The connected plugin of a resource, or NULL. */
struct plugin *registry_find(const struct registry *registry, const char *resource);

/* NULL is allowed. */
void registry_free(struct registry *registry);
