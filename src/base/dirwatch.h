// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Watches a directory by name: what counts is the directory that has that name now.
 *
 * inotify watches an inode. Once a directory is deleted or renamed its watch is dead, and its
 * replacement may even have the same inode number. So the watch is dropped when the directory
 * itself reports an event, and recreated when its owner checks.
 */

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

/* The entry `name` was created, deleted or changed, or (NULL) the directory itself: check, and call
 * dirwatch_watch again. */
typedef void dirwatch_changed_fn(const char *name, void *userdata);

/* Embedded; the owner closes `watch`, whose data is `userdata`. */
struct dirwatch {
    uv_fs_event_t watch;
    char path[PATH_MAX];
    dev_t device; /* of what is watched */
    ino_t inode;  /* 0 = nothing is watched */
    dirwatch_changed_fn *on_changed;
    void *userdata;
};

/* 0 or a negative errno; only after 0 there is a handle to close. */
int dirwatch_init(struct dirwatch *folder, uv_loop_t *loop, dirwatch_changed_fn *on_changed,
                  void *userdata);

/* Watches the directory currently called `path`, "" = none; cheap if it is watched already. Returns
 * whether it is watched: it may not exist, or the system may have run out of watches. */
bool dirwatch_watch(struct dirwatch *folder, const char *path);
