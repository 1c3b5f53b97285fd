// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Keeps the library's files on the host (libraryfiles.h): installs what comes with this program,
 * looks every minute whether it is still there, and removes versions that no pod needs any more.
 *
 * Files are worked on in a thread of libuv's pool, one task at a time, since a disk may hang.
 */

#include <uv.h>

#include "base/error.h"
#include "grant/places.h"

enum { LIBRARY_PERIOD_MS = 60000, LIBRARY_RETRY_MS = 2000 };

struct library;

/* What new containers get, or why they get nothing, has changed. */
typedef void library_changed_fn(void *userdata);

struct library_options {
    const char *source;  /* the file to install; NULL = the one that comes with this program */
    const char *version; /* of this program */
    const char *root;    /* of the node's files, below which the places are; "" = ours */
    struct places places;
};

/* Options are copied, strings borrowed. */
int library_new(uv_loop_t *loop, const struct library_options *options,
                library_changed_fn *on_changed, void *userdata, struct library **ret_library,
                struct error *err);

/* Its handles close in later turns of the loop. NULL is allowed. */
void library_free(struct library *library);

/* The folder on the host that new containers mount; "" = there is none, or it is not known yet. */
const char *library_folder(const struct library *library);

/* Why there is none, or not the one of this program; "" = all is well. */
const char *library_trouble(const struct library *library);
