// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Answers the routes by which a program finds a function at run time: dlsym, dlvsym,
 * cuGetProcAddress. (One that is linked to the driver finds our exports by itself.)
 *
 * What is intercepted is what the program would have got: the driver is asked first, and exactly
 * its function is replaced by the hook of that name. So a function that this driver does not have
 * is not there, and versions and default streams per thread are the driver's own choice.
 *
 * dlsym and dlvsym themselves are in lookup.S, which hands every other name on to libc's function
 * with the program's own return address: by that libc knows what RTLD_NEXT and RTLD_DEFAULT mean.
 */

#include <stdbool.h>

struct lookup_answer {
    void *function;
    void *next; /* not NULL: the program's question goes there */
};

struct lookup_answer lookup_dlsym(void *handle, const char *name);
struct lookup_answer lookup_dlvsym(void *handle, const char *name, const char *version);

/* The hook of what cuGetProcAddress returned for that name; `function` itself: there is none. */
void *lookup_hook(const char *asked, void *function);
