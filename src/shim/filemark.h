// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A number on an open file, which everybody sees who has a descriptor of it, whatever became of the
 * one that it was put on: what cuMemExportToShareableHandle gives out is an open file without
 * contents, and this tells who did.
 *
 * It is a lock of one byte that the open file itself owns (F_OFD_SETLK, Linux 3.15), far behind any
 * contents, and read in /proc/thread-self/fdinfo, where the kernel lists the locks of that very
 * open file. It goes along with dup, fork, SCM_RIGHTS and pidfd_getfd, and ends with the last
 * descriptor. A lock for readers, wherever the file may be read: it is advisory, and in nobody's
 * way.
 *
 * /proc/locks shows the numbers to everybody on the machine. They are no secrets.
 *
 * By the kernel's own calls; errno stays as it is.
 */

#include <stddef.h>
#include <stdint.h>

enum { FILEMARK_MOST = 4 }; /* on one file that are found */

/* A new number, of its own among all that anybody makes. 0: there is none to be had. */
uint64_t filemark_make(void);

/* 0, or a negative errno: the file is not marked. With the same number again nothing changes. */
int filemark_put(int fd, uint64_t mark);

/* How many there are; none as well where the kernel does not tell. */
size_t filemark_find(int fd, uint64_t marks[static FILEMARK_MOST]);

/* Those in the kernel's text of a descriptor. Pure. */
size_t filemark_parse(const char *fdinfo, uint64_t marks[static FILEMARK_MOST]);
