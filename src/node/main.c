// SPDX-License-Identifier: Apache-2.0

/* gpuslice-node: the agent; as --part=driver and --part=reboot, which the agent starts, its driver
 * helper and who asks the host to reboot; and as --part=probe and probe-ready the exec probes. */

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/flags.h"
#include "gpu/helper.h"
#include "node/agent.h"
#include "node/channeldir.h"
#include "node/hostreboot.h"
#include "node/liveness.h"
#include "proc/role.h"

enum { EXIT_USAGE = 64 };

static const struct {
    const char *word;
    enum httplink_page page;
} probes[] = {{"--part=probe", HTTPLINK_HEALTH}, {"--part=probe-ready", HTTPLINK_READY}};

static void print_problems(const struct problems *problems)
{
    const struct problem *problem = NULL;
    char line[1024];

    while ((problem = problems_next(problems, problem))) {
        problem_format(problems, problem, line, sizeof(line));
        fprintf(stderr, "gpuslice-node: %s: %s\n", problem_severity_name(problem->severity), line);
    }
}

/* The page that a probe asks for; 0 = this is no probe. */
static enum httplink_page probe_page(const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
        if (str_equal(word, probes[i].word))
            return probes[i].page;
    return 0;
}

static int probe(const struct agent_flags *flags, enum httplink_page page)
{
    char socket[PATH_MAX];

    if (!flags->channel_dir) {
        fputs("gpuslice-node: --part=probe needs the agent's --channel-dir\n", stderr);
        return EXIT_USAGE;
    }
    channeldir_path(flags->channel_dir, CHANNELDIR_PROBE, socket);
    return liveness_probe(socket, page);
}

static int enter_role(enum role role)
{
    struct error err = ERROR_INIT;

    if (role_enter(role, &err) >= 0)
        return 0;
    log_error(error_text(&err));
    return -1;
}

int main(int argc, char *argv[])
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct config_overrides *overrides = NULL;
    struct agent_flags flags;
    const enum httplink_page page = argc > 1 ? probe_page(argv[1]) : 0;
    const bool is_probe = page != 0;
    int status = 0;

    file_open_standard_streams();
    signal(SIGPIPE,
           SIG_IGN); /* from writing to a dead child; as PID 1 it would be ignored anyway */
    if (argc > 1 && strcmp(argv[1], "--part=driver") == 0)
        return helper_main(argc, argv);
    if (argc == 3 && strcmp(argv[1], "--part=reboot") == 0)
        return hostreboot_main(argv[2]);
    if (is_probe) {
        argv[1] = argv[0];
        argc--;
    }
    if (flags_parse(argc, argv + is_probe, environ, &flags, &overrides, &problems) < 0) {
        print_problems(&problems);
        fputs("gpuslice-node: see `gpuslice-node --help` for the options\n", stderr);
        return EXIT_USAGE;
    }
    log_setup_by_name(flags.log_level, flags.log_format);
    if (!is_probe)
        problems_log(&problems);
    if (flags.help) {
        puts("usage: gpuslice-node [OPTION]...\n"
             "Slice this node's GPUs and offer them to its kubelet.\n");
        flags_help(stdout);
    } else if (flags.version) {
        puts("gpuslice-node " GPUSLICE_VERSION);
    } else if (enter_role(is_probe ? ROLE_PROBE : ROLE_AGENT) < 0) {
        status = 1;
    } else if (is_probe) {
        status = probe(&flags, page);
    } else {
        status = agent_run(&flags, overrides);
    }
    config_overrides_free(overrides);
    return status;
}
