// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a container gets of the driver beside its GPUs' device nodes. The tables are those of
 * NVIDIA's container toolkit (nvcdi, releases 1.17 to 1.19); what is not below the driver root is
 * left out.
 */

#include "base/driverroot.h"

/* Device nodes that every GPU needs, as far as the host has them. */
enum { DRIVERFILES_CONTROL_NODES = 4 };
extern const char *const driverfiles_control_nodes[DRIVERFILES_CONTROL_NODES];

enum driverfile_kind {
    DRIVERFILE_PLAIN,
    DRIVERFILE_LIBRARY, /* its folder belongs into the container's ld.so cache */
    DRIVERFILE_SOCKET,  /* or a folder of sockets: written to, never executed */
};

/* All borrowed for the call. */
struct driverfile {
    enum driverfile_kind kind;
    const char *host;
    const char *container;
};

/* A symbolic link that the container needs and that no package of its own has. */
struct driverlink {
    const char *path;   /* in the container */
    const char *target; /* relative to its folder */
};

/* Runs `each` for every file; a file may come twice, by two names. `version` is the driver's; "" =
 * unknown: then that of its library libnvidia-ml counts, and without one, files that are known by
 * it are left out. Stops at another value than 0 and returns it; -ENOMEM is possible. */
int driverfiles_each(const struct driverroot *root, const char *version,
                     int (*each)(const struct driverfile *file, void *userdata), void *userdata);

/* Runs `each` for every link that belongs to a library, given by its path in the container. */
int driverfiles_each_link(const char *library,
                          int (*each)(const struct driverlink *link, void *userdata),
                          void *userdata);

/* Runs `each` for the nodes below /dev/dri of the GPU at that PCI address ("0000:00:1b.0", "" =
 * unknown) that the host has, and for the links to them by that address. */
int driverfiles_each_dri_node(const struct driverroot *root, const char *pci_address,
                              int (*each)(const char *path, const struct driverlink *link,
                                          void *userdata),
                              void *userdata);
