// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One device plugin's endpoint: a client of its socket, its options, and the watch on its list.
 *
 * As the real kubelet does it: dialled when the plugin registers (tried for 10 s, so that a plugin
 * may register a moment before it listens), then GetDevicePluginOptions, then ListAndWatch until
 * the stream ends. Allocate and GetPreferredAllocation have no deadline, PreStartContainer has 30
 * s.
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

/* Which of them runs is decided by the plugin's life; after `failed` or `ended` it is of no more
 * use, and may be freed in any of them. */
struct plugin_events {
    /* The options are there; the watch starts by itself. */
    void (*connected)(struct plugin *plugin, void *userdata);
    /* It could not be reached or gave no options; `text` is what its Register call is told. */
    void (*failed)(struct plugin *plugin, const char *text, void *userdata);
    /* A new whole list. */
    void (*listed)(struct plugin *plugin, const struct device *devices, size_t n_devices,
                   void *userdata);
    /* The watch ended. */
    void (*ended)(struct plugin *plugin, const char *text, void *userdata);
};

int plugin_new(uv_loop_t *loop, const char *path, const char *resource,
               const struct plugin_events *events, void *userdata, struct plugin **ret_plugin,
               struct error *err);
/* Open calls end as Canceled, through their callbacks; no event runs any more. NULL is fine. */
void plugin_free(struct plugin *plugin);

const char *plugin_resource(const struct plugin *plugin);
bool plugin_is_connected(const struct plugin *plugin);
bool plugin_offers_preference(const struct plugin *plugin);
bool plugin_wants_pre_start(const struct plugin *plugin);

/*
 * The three calls. `error` is NULL when it went well, else the sentence as grpc-go words it
 * ("rpc error: code = Unknown desc = ..."); `ids` and `answer` are borrowed for the callback.
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
