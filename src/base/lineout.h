// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Lines for a descriptor whose other end is somebody else's: standard error, standard output.
 *
 * Writing never blocks, and never changes the flags of the open file, which other processes share.
 * A pipe or terminal is opened a second time, without blocking, for that; a socket is sent to
 * without waiting. Where neither is possible, a line is written only when poll says that there is
 * room, which another writer may take in between. A line is written whole or not at all: of one
 * that fits in part, the rest is kept and goes first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/text.h"

enum lineout_way { LINEOUT_DIRECT, LINEOUT_AGAIN, LINEOUT_SEND, LINEOUT_POLL };

struct lineout {
    int fd;           /* borrowed; may come to be another file */
    int again_fd;     /* the same file, opened once more; -1 = it is not */
    struct stat file; /* that `way` is for; all zeroes before the first */
    enum lineout_way way;
    struct text rest; /* of the line that was written last */
};

#define LINEOUT_INIT(fd_)                                  \
    {                                                      \
        .fd = (fd_), .again_fd = -1, .way = LINEOUT_DIRECT \
    }

/* Prepares for the file that fd is now, while this process may still open it. Not needed. */
void lineout_open(struct lineout *out);

/* One or more whole lines. 0; LINEOUT_FULL: nobody reads, and nothing of it was written; a negative
 * errno, likewise. */
enum lineout_outcome { LINEOUT_FULL = 1 };
int lineout_write(struct lineout *out, const char *lines, size_t size);

/* What is still to be written is lost. */
void lineout_deinit(struct lineout *out);
