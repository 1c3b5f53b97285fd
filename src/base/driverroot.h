// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the driver's files and the device nodes are, in our view and in the host's.
 *
 * A container sees the host's driver root at a path of its own (/driver-root). So a file is looked
 * for in our view, and only then named as on the host, for a kubelet or a runtime that works there.
 * Everything that looks for a file or a device node of the driver does it here.
 *
 *     files   below the container's driver root; without such a folder, as for a process of the
 *             host, below the driver root itself
 *     nodes   <dev root>/dev below the container's driver root when the dev root is part of the
 *             driver root, else <container's driver root>/dev; without such a folder /dev, which a
 *             runtime fills. NVIDIA's plugin has the last two
 *
 * Links are followed as on the host: an absolute one starts at the driver root, not at ours.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Without a slash at the end; "" = /. */
struct driverroot {
    char ours[PATH_MAX], host[PATH_MAX];            /* of files */
    char our_nodes[PATH_MAX], host_nodes[PATH_MAX]; /* what contains the folder "dev" */
};

struct driverroot_file {
    char ours[PATH_MAX], host[PATH_MAX]; /* links are followed */
};

/* The three options: the driver root in our container, on the host, and the dev root on the host,
 * which may end in "/dev". NULL or "": / for the first two, the driver root for the third. */
void driverroot_init(struct driverroot *root, const char *container, const char *host,
                     const char *dev);

/* `path` ("/usr/bin/nvidia-smi") is as the driver's own programs have it. ret_file may be NULL. */
bool driverroot_find_file(const struct driverroot *root, const char *path,
                          struct driverroot_file *ret_file);

/* Runs `each` for every file that matches, in the order of their names, until it returns another
 * value than 0, which is returned; -ENOMEM is possible. Only the last part of the pattern may have
 * wildcards: "/usr/lib64/libnvidia-egl-*.so.*". `path` is borrowed. */
int driverroot_each_file(const struct driverroot *root, const char *pattern,
                         int (*each)(const char *path, void *userdata), void *userdata);

/* The folders that may have libraries, most likely first; NULL after the last. */
const char *driverroot_library_folder(size_t position);

/* The first library folder with that file. */
bool driverroot_find_library(const struct driverroot *root, const char *name,
                             struct driverroot_file *ret_file);

/* "usr/lib64, lib64, ...": the folders that driverroot_find_library looks into, for a message. */
void driverroot_list_library_folders(struct text *text);

/* True if this host has the device node, "/dev/nvidiactl". */
bool driverroot_has_node(const struct driverroot *root, const char *path);

/* As driverroot_each_file, for device nodes: "/dev/nvidia-fs*". */
int driverroot_each_node(const struct driverroot *root, const char *pattern,
                         int (*each)(const char *path, void *userdata), void *userdata);

/* How the host names a device node, whether or not it is there. */
void driverroot_name_node(const struct driverroot *root, const char *path, char ret_host[PATH_MAX]);
