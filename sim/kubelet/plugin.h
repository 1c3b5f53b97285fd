// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One device plugin's endpoint: a client on its socket, its options, and the stream of its list.
 *
 * As in the real kubelet: dialled when the plugin registers (retried for 10 s, so that a plugin may
 * register just before it listens), then GetDevicePluginOptions, then ListAndWatch until the stream
 * ends. Allocate and GetPreferredAllocation have no deadline, PreStartContainer has 30 s.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "ids.h"
#include "manager.h"
#include "rpc/status.h"

enum { PLUGIN_DIAL_MS = 10000, PLUGIN_PRE_START_MS = 30000 };

struct plugin;

/* The plugin's life cycle decides which of them runs; after `failed` or `ended` it is unusable, and
 * may be freed in any of them. */
struct plugin_events {
    /* The options have arrived; the stream starts by itself. */
    void (*connected)(struct plugin *plugin, void *userdata);
    /* The plugin could not be reached or returned no options; `text` is the error its Register call
     * gets. */
    void (*failed)(struct plugin *plugin, const char *text, void *userdata);
    /* A new complete list. */
    void (*listed)(struct plugin *plugin, const struct managed_device *devices, size_t n_devices,
                   void *userdata);
    /* The stream ended. */
    void (*ended)(struct plugin *plugin, const char *text, void *userdata);
};

int plugin_new(uv_loop_t *loop, const char *path, const char *resource,
               const struct plugin_events *events, void *userdata, struct plugin **ret_plugin,
               struct error *err);
/* Pending calls end as Canceled, through their callbacks; no event runs any more. NULL is
 * allowed. */
void plugin_free(struct plugin *plugin);

const char *plugin_resource(const struct plugin *plugin);
bool plugin_is_connected(const struct plugin *plugin);
bool plugin_offers_preference(const struct plugin *plugin);
bool plugin_wants_pre_start(const struct plugin *plugin);

/*
 * The three calls. `error` is NULL on success, else the message as grpc-go formats it ("rpc error:
 * code = Unknown desc = ..."); `ids` and `answer` are borrowed for the callback.
 */
typedef void plugin_preferred_fn(const char *error, const struct ids *ids, void *userdata);
typedef void plugin_allocated_fn(const char *error, const void *answer, size_t size,
                                 void *userdata);
typedef void plugin_pre_started_fn(const char *error, void *userdata);

int plugin_prefer(struct plugin *plugin, const struct ids *available,
                  const struct ids *must_include, size_t size, plugin_preferred_fn *on_done,
                  void *userdata, struct error *err);
int plugin_allocate(struct plugin *plugin, const struct ids *ids, plugin_allocated_fn *on_done,
                    void *userdata, struct error *err);
int plugin_pre_start(struct plugin *plugin, const struct ids *ids, plugin_pre_started_fn *on_done,
                     void *userdata, struct error *err);
