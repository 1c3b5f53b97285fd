// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where plugins come and go: the Registration service on device-plugins/kubelet.sock.
 *
 * Register is answered only once the plugin was reached and has told its options, as the real
 * kubelet does: a plugin must serve before it registers. A plugin that registers a resource anew
 * replaces the older one.
 */

#include "base/error.h"
#include "plugin.h"

struct kubelet;
struct registration;

/* Wipes the folder (all but folders and the checkpoint), then listens in it. */
int registration_new(struct kubelet *kubelet, const char *directory,
                     struct registration **ret_registration, struct error *err);

/* The connected plugin of a resource, or NULL. */
struct plugin *registration_find(const struct registration *registration, const char *resource);

/* NULL is fine. */
void registration_free(struct registration *registration);
