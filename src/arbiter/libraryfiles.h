// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The preloaded library on the host, where containers mount it from:
 *
 *     <folder>/<version>/libgpuslice.so, ld.so.preload     mode 0755 and 0644
 *     <folder>/current -> <version>                        what new containers get
 *
 * A version is complete as soon as it has its name, and never changes: processes have its file
 * mapped, and the kubelet mounts the folder again whenever it restarts a container. Where the name
 * of a version is taken by other content, as of another build, the new one is called
 * <version>-<hash of the content>.
 *
 * A version that is no longer current goes when no response in the kubelet's checkpoint mounts it.
 * The kubelet records a response some time after it was given, so a version stays for
 * LIBRARYFILES_KEEP_S after another one became current.
 *
 * All of it blocks as long as the disk does. One process at a time.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/names.h"
#include "grant/kubeletcheckpoint.h"

#define LIBRARYFILES_LIBRARY "libgpuslice.so"
#define LIBRARYFILES_PRELOAD "ld.so.preload"
#define LIBRARYFILES_CURRENT "current"

enum {
    LIBRARYFILES_SIZE_MAX = 64 << 20, /* of the library */
    LIBRARYFILES_NAME_SIZE = 128,     /* of a version's folder */
    LIBRARYFILES_KEEP_S = 600,
};

/*
 * Installs the library `source` as that version, unless it is there, and makes it the current one.
 * ret_name: the folder that new containers get. On failure that is the current one of before, if it
 * is complete, else "".
 */
int libraryfiles_install(const char *folder, const char *source, const char *version,
                         char ret_name[LIBRARYFILES_NAME_SIZE], struct error *err);

/* Removes what no container needs, and what an interrupted installation left; adds the names of
 * removed versions. now_s: wall clock. The checkpoint is complete: without one, do not call it. */
int libraryfiles_collect(const char *folder, const struct kubeletcheckpoint *checkpoint,
                         int64_t now_s, struct names *removed, struct error *err);
