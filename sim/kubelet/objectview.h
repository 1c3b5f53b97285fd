// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What `get` shows of node and pods, for people and programs. */

#include "base/text.h"
#include "kubelet.h"

enum view_format { VIEW_TABLE, VIEW_JSON };

/* "table" or "json"; false for any other word. */
bool objectview_format_parse(const char *name, enum view_format *ret_format);

/*
 * {"name","capacity":{resource:n},"allocatable":{},"allocated":{}}; or -ENOMEM.
 */
int objectview_node(const struct kubelet *kubelet, enum view_format format, struct text *out);

/*
 * [{"namespace","name","uid","owner","phase","status","reason","message","containers":[{"name","image",
 * "role","state","reason","exit_code","restarts","pid","log","env":{},"devices":{resource:[id]},
 * "mounts":[],"device_nodes":[],"cdi_devices":[],"annotations":{}}]}], in order of creation;
 * -ENOMEM.
 */
int objectview_pods(const struct kubelet *kubelet, enum view_format format, struct text *out);
