// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Cleanup attributes: an owning local is freed on every return path, so early returns need no
 * clean-up. Ownership is handed over explicitly in the last lines: `*ret_x = TAKE_PTR(x)`, `return
 * TAKE_FD(fd)`.
 */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn) __attribute__((cleanup(fn)))

/* DEFINE_CLEANUP(struct plan *, plan_free) gives plan_free_p for `cleanup(plan_free_p)`. */
#define DEFINE_CLEANUP(type, fn)            \
    static inline void fn##_p(type *object) \
    {                                       \
        if (*object)                        \
            fn(*object);                    \
    }

/* Hands over a pointer: evaluates to it and leaves NULL behind. */
#define TAKE_PTR(pointer)                \
    ({                                   \
        __auto_type _where = &(pointer); \
        __auto_type _taken = *_where;    \
        *_where = NULL;                  \
        _taken;                          \
    })

/* Hands over a file descriptor: evaluates to it and leaves -1 behind. */
#define TAKE_FD(fd)           \
    ({                        \
        int *_where = &(fd);  \
        int _taken = *_where; \
        *_where = -1;         \
        _taken;               \
    })

static inline void cleanup_free_p(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_close_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_fclose_p(FILE **file)
{
    if (*file)
        fclose(*file);
}

static inline void cleanup_closedir_p(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

#define cleanup_free     cleanup(cleanup_free_p)
#define cleanup_close    cleanup(cleanup_close_p)
#define cleanup_closedir cleanup(cleanup_closedir_p)
#define cleanup_fclose   cleanup(cleanup_fclose_p)
