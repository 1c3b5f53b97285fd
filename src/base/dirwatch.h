// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A folder watched by its name: what counts is the folder that is there now.
 *
 * inotify watches an inode. Once a folder is deleted or renamed its watch is dead, and the folder
 * made in its place may even have the same inode number. So the watch is dropped when the folder
 * itself reports something, and recreated when its owner checks.
 */

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

/* The entry `name` came, went or changed, or (NULL) the folder itself: look, and call
 * dirwatch_watch again. */
typedef void dirwatch_changed_fn(const char *name, void *userdata);

/* Embedded; the owner closes `watch`, whose data is `userdata`. */
struct dirwatch {
    uv_fs_event_t watch;
    char path[PATH_MAX];
    dev_t device; /* of what is watched */
    ino_t inode;  /* 0 = nothing is */
    dirwatch_changed_fn *on_changed;
    void *userdata;
};

/* 0 or a negative errno; only after 0 there is a handle to close. */
int dirwatch_init(struct dirwatch *folder, uv_loop_t *loop, dirwatch_changed_fn *on_changed,
                  void *userdata);

/* Watches what is called `path` now, "" = nothing; cheap when it does so already. Returns whether
 * it is watched: it may not be there, or the system's watches may have run out. */
bool dirwatch_watch(struct dirwatch *folder, const char *path);
