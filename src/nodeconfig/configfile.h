// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A configuration file, watched for changes of its content.
 *
 * A ConfigMap volume never writes the file: it swaps the symlink `..data` beside it. A
 * config-manager sidecar swaps the file's own symlink. Editors rename over it. So both the
 * directory of the path and that of its target are watched, and what counts is the identity
 * (device, inode, change time) of the final file. Bursts of events are merged. A missing file is
 * polled every second, since its directory may be missing as well.
 */

#include <uv.h>

#include "base/error.h"

struct configfile;

typedef void configfile_changed_fn(void *userdata);

int configfile_new(uv_loop_t *loop, const char *path, configfile_changed_fn *on_changed,
                   void *userdata, struct configfile **ret_file, struct error *err);

/* NULL is allowed. */
void configfile_free(struct configfile *file);

/* Checks now, in case inotify lost events; runs on_changed if it changed. */
void configfile_check(struct configfile *file);

/* Runs on_changed soon, changed or not; repeated calls are merged. */
void configfile_touch(struct configfile *file);
