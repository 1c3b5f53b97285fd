// SPDX-License-Identifier: Apache-2.0

/* gpuslice-node: the agent, and (as --part=driver, which the agent starts) its driver helper. */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/flags.h"
#include "gpu/helper.h"
#include "node/agent.h"

enum { EXIT_USAGE = 64 };

static void print_problems(const struct problems *problems)
{
    const struct problem *problem = NULL;
    char line[1024];

    while ((problem = problems_next(problems, problem))) {
        problem_format(problems, problem, line, sizeof(line));
        fprintf(stderr, "gpuslice-node: %s: %s\n", problem_severity_name(problem->severity), line);
    }
}

static void setup_log(const struct agent_flags *flags)
{
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_LOGFMT;

    if (flags->log_level)
        log_level_parse(flags->log_level, &level);
    if (flags->log_format)
        log_format_parse(flags->log_format, &format);
    log_setup(level, format);
}

int main(int argc, char *argv[])
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct config_overrides *overrides = NULL;
    struct agent_flags flags;
    int status = 0;

    signal(SIGPIPE, SIG_IGN); /* of a child that died; as PID 1 it would be ignored anyway */
    if (argc > 1 && strcmp(argv[1], "--part=driver") == 0)
        return helper_main(argc, argv);
    if (flags_parse(argc, argv, environ, &flags, &overrides, &problems) < 0) {
        print_problems(&problems);
        fputs("gpuslice-node: `gpuslice-node --help` lists the options\n", stderr);
        return EXIT_USAGE;
    }
    setup_log(&flags);
    if (flags.help) {
        puts("usage: gpuslice-node [OPTION]...\n"
             "Slice this node's GPUs and offer them to its kubelet.\n");
        flags_help(stdout);
    } else if (flags.version) {
        puts("gpuslice-node " GPUSLICE_VERSION);
    } else {
        problems_log(&problems);
        status = agent_run(&flags, overrides);
    }
    config_overrides_free(overrides);
    return status;
}
