// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A configuration file, watched for changes of its content.
 *
 * A ConfigMap volume never writes the file: it swaps the symlink `..data` beside it. A
 * config-manager sidecar swaps the file's own symlink. Editors rename over it. So both the folder
 * of the path and the folder of what it resolves to are watched, and what counts is the identity
 * (device, inode, change time) of the file at the end. Bursts of events are taken as one. A file
 * that is not there is looked for every second, since its folder may be missing as well.
 */

#include <uv.h>

#include "base/error.h"

struct configfile;

typedef void configfile_changed_fn(void *userdata);

int configfile_new(uv_loop_t *loop, const char *path, configfile_changed_fn *on_changed,
                   void *userdata, struct configfile **ret_file, struct error *err);

/* NULL is allowed. */
void configfile_free(struct configfile *file);

/* Looks now, as a safety net for events that inotify lost; runs on_changed if it changed. */
void configfile_check(struct configfile *file);

/* Runs on_changed soon, changed or not; many touches are taken as one. */
void configfile_touch(struct configfile *file);
