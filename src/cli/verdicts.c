// SPDX-License-Identifier: Apache-2.0
#include "cli/verdicts.h"

#include <stdarg.h>
#include <stdio.h>

void verdicts_add(struct verdicts *all, bool passed, const char *what, const char *format, ...)
{
    va_list args;

    all->n_checks++;
    all->n_failed += !passed;
    printf("%s  %-34s ", passed ? "PASS" : "FAIL", what);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void verdicts_broke(struct verdicts *all, const char *what, const struct error *err)
{
    verdicts_add(all, false, what, "%s", error_text(err));
}

void verdicts_skip(const char *what, const char *why)
{
    printf("----  %-34s %s\n", what, why);
    fflush(stdout);
}
