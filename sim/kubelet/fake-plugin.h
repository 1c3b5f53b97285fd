// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A minimal device plugin for tests, in the test's own loop and on the same rpc library.
 *
 * It lists the devices it is given, answers Allocate with FAKE_DEVICES=<ids> and whatever else the
 * test sets, and records the requests it got.
 */

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "manager.h"

struct fake_plugin;

struct fake_plugin_options {
    const char *directory; /* the kubelet's device-plugins directory */
    const char *resource;
    const char *version;    /* NULL = "v1beta1" */
    bool offers_preference; /* prefers the last of the available ids */
    bool wants_pre_start;
};

int fake_plugin_new(uv_loop_t *loop, const struct fake_plugin_options *options,
                    struct fake_plugin **ret_plugin);
void fake_plugin_free(struct fake_plugin *plugin);

/* Sends Register to the kubelet. */
int fake_plugin_register(struct fake_plugin *plugin);
/* "" while pending, else "OK" or the kubelet's error message. */
const char *fake_plugin_registered(const struct fake_plugin *plugin);

/* Sends this list to the connected kubelet, or keeps it for the next one; borrowed for the call. */
void fake_plugin_list(struct fake_plugin *plugin, const struct managed_device *devices,
                      size_t n_devices);

/* From now on Allocate (or GetPreferredAllocation, PreStartContainer) fails with this message; NULL
 * makes it succeed again. Borrowed. */
void fake_plugin_fail_allocate(struct fake_plugin *plugin, const char *sentence);
void fake_plugin_fail_preference(struct fake_plugin *plugin, const char *sentence);
void fake_plugin_fail_pre_start(struct fake_plugin *plugin, const char *sentence);

struct fake_plugin_counters {
    size_t n_allocates, n_preferences, n_pre_starts;
    size_t last_available, last_must_include, last_size; /* of the last GetPreferredAllocation */
};
const struct fake_plugin_counters *fake_plugin_counters(const struct fake_plugin *plugin);
