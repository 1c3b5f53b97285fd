// SPDX-License-Identifier: Apache-2.0

/*
 * Any bytes as a command line and an environment: lines are arguments, and variables after an empty
 * line. What is accepted can be applied to a configuration; problems are single lines.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/flags.h"
#include "config/load.h"

enum { MAX_WORDS = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Splits *rest at line feeds until an empty line or the end; the list is NULL-terminated. */
static int split(char **rest, char *words[MAX_WORDS + 1], int n)
{
    char *line;

    while (n < MAX_WORDS && (line = strsep(rest, "\n")) && (*line || n == 0))
        words[n++] = line;
    words[n] = NULL;
    return n;
}

static void check_problems(const struct problems *problems)
{
    const struct problem *problem = NULL;

    while ((problem = problems_next(problems, problem)))
        if (strpbrk(problem->text, "\n\x1b") || strpbrk(problem->path, "\n\x1b"))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_free char *text = strndup((const char *)data, size);
    char program[] = "gpuslice-node", *rest = text, *argv[MAX_WORDS + 1] = {program},
         *envp[MAX_WORDS + 1];
    struct config_overrides *overrides = NULL;
    struct config *config = NULL;
    struct agent_flags flags;
    int argc = split(&rest, argv, 1), r;

    split(&rest, envp, 0);
    r = flags_parse(argc, argv, envp, &flags, &overrides, &problems);
    check_problems(&problems);
    if (r == -EINVAL && problems_count(&problems, PROBLEM_ERROR) == 0)
        abort();
    if (r < 0)
        return 0;
    if (!flags.plugin_dir || (flags.config_file && !*flags.config_file))
        abort();
    if (config_load(&(struct config_request){.strictness = CONFIG_AGENT, .overrides = overrides},
                    NULL, &config, NULL) < 0)
        abort();
    config_free(config);
    config_overrides_free(overrides);
    return 0;
}
