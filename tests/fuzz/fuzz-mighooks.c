// SPDX-License-Identifier: Apache-2.0

/* Any bytes as a hooks file of mig-parted: hooks or errors with places, never both; each command
 * has a program, its arguments and variables. Nothing is run. */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/mighooks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_command(const struct mighook_command *command)
{
    if (!command->program || !*command->program || strcmp(command->arguments[0], command->program))
        abort();
    for (size_t i = 0; command->variables[i]; i++)
        if (!strchr(command->variables[i], '='))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_mighooks struct mighooks hooks = MIGHOOKS_INIT;
    const struct problem *problem = NULL;
    int r = mighooks_parse((const char *)data, size, &problems, &hooks);
    char line[1024];

    if (r != 0 && r != -EBADMSG && r != -ENOMEM)
        abort();
    if (r != -ENOMEM && (r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    while ((problem = problems_next(&problems, problem))) {
        problem_format(&problems, problem, line, sizeof(line));
        if (strpbrk(line, "\n\r\x1b"))
            abort();
    }
    for (size_t i = 0; i < N_MIGHOOKS; i++)
        for (size_t j = 0; j < hooks.lists[i].n_items; j++)
            check_command(&hooks.lists[i].items[j]);
    return 0;
}
