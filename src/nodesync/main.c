// SPDX-License-Identifier: Apache-2.0

/*
 * gpuslice-nodesync: speaks with the API server for the agent, so that the process the kubelet
 * talks to carries no HTTP library, and no API server can hold slicing up. The agent starts it and
 * talks to it over a socket pair (message.h).
 */

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "nodesync/message.h"
#include "nodesync/program.h"
#include "nodesync/uninstall.h"

enum { EXIT_USAGE = 64 };

static void setup_log(int argc, char *argv[])
{
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_LOGFMT;

    if (argc > 1)
        log_level_parse(argv[1], &level);
    if (argc > 2)
        log_format_parse(argv[2], &format);
    log_setup(level, format);
}

int main(int argc, char *argv[])
{
    struct stat pair;

    signal(SIGPIPE, SIG_IGN); /* which libcurl leaves to its user */
    if (argc == 3 && str_equal(argv[1], "--retire"))
        return uninstall_run(argv[2]);
    if (fstat(SYNC_FD, &pair) < 0 || !S_ISSOCK(pair.st_mode)) {
        fputs("gpuslice-nodesync is started by gpuslice-node, with --node-name\n", stderr);
        return EXIT_USAGE;
    }
    setup_log(argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* an agent that was killed says no bye */
    signal(SIGINT, SIG_IGN);          /* from the terminal; the agent hears it too and says bye */
    return program_run(SYNC_FD);
}
