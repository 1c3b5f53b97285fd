// SPDX-License-Identifier: Apache-2.0
#include "problemcheck.h"

#include <stdlib.h>
#include <string.h>

void problemcheck(const struct problems *problems, size_t size)
{
    const struct problem *problem = NULL;
    char line[1024];

    while ((problem = problems_next(problems, problem))) {
        problem_format(problems, problem, line, sizeof(line));
        if (problem->at.line == 0 || problem->at.line > size + 1 || strpbrk(line, "\n\r\x1b"))
            abort();
    }
}
