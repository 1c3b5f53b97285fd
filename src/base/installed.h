// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The location of data that comes with a program: in the source tree if the program runs from the
 * build directory, else where it was installed, relative to the program (it may have been moved
 * with its prefix, as by DESTDIR or in an image) before the prefix it was configured for. An
 * installed program never looks into the directory it was built in.
 */

#include <limits.h>

enum { INSTALLED_PATH_SIZE = PATH_MAX + 64 };

struct installed_place {
    const char *build_folder;
    const char *built;    /* while the program runs from there */
    const char *moved;    /* below the prefix, if it is there */
    const char *standard; /* else */
};

/* Borrowed: of the place, or `path`. */
const char *installed_find(const struct installed_place *place, char path[INSTALLED_PATH_SIZE]);
