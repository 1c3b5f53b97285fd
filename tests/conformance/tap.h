// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Cases that print TAP, for programs that depend on nothing of ours but declarations: they are
 * taken to machines with a real GPU.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct tapcase {
    const char *name;
    void (*run)(void);
};

static bool verbose;
static unsigned n_failures; /* of the running case, and before the first one */

static void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
    va_list args;

    if (!verbose)
        return;
    fputs("# ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void check(bool good, const char *what, int line)
{
    if (good)
        return;
    n_failures++;
    printf("# line %d: %s\n", line, what);
}

#define CHECK(condition) check(condition, #condition, __LINE__)

/* The exit status of the program. */
static int tap_run(const struct tapcase *cases, size_t n)
{
    unsigned n_failed = 0;

    printf("1..%zu\n", n);
    for (size_t i = 0; i < n; i++) {
        cases[i].run();
        printf("%sok %zu - %s\n", n_failures ? "not " : "", i + 1, cases[i].name);
        n_failed += n_failures > 0;
        n_failures = 0;
        fflush(stdout);
    }
    return n_failed > 0;
}
