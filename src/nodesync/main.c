// SPDX-License-Identifier: Apache-2.0

/*
 * gpuslice-nodesync: talks to the API server for the agent, so that the process the kubelet talks
 * to contains no HTTP library, and no API server can block slicing. It is the agent's child or a
 * container beside it, and talks to it over a channel (message.h).
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/number.h"
#include "base/text.h"
#include "nodesync/message.h"
#include "nodesync/program.h"
#include "nodesync/uninstall.h"
#include "proc/connector.h"
#include "proc/pause.h"
#include "proc/role.h"
#include "proc/subprocess.h"

enum { EXIT_USAGE = 64 };

/* How long the program waited last; it survives execv. */
#define WAIT_VARIABLE "GPUSLICE_NODESYNC_WAIT_MS"

static int enter_role(enum role role)
{
    struct error err = ERROR_INIT;

    if (role_enter(role, &err) >= 0)
        return 0;
    log_error(error_text(&err));
    return -1;
}

static bool is_child(void)
{
    struct stat channel;

    return fstat(SUBPROCESS_FD, &channel) == 0 && S_ISSOCK(channel.st_mode);
}

/* The agent decides when a child ends: one that was killed sends no shutdown; a terminal's ^C goes
 * to it too, and it sends one then. */
static void live_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
}

/* Before the program executes itself; longer each time. False if a signal came. */
static bool wait_longer(void)
{
    const char *last = getenv(WAIT_VARIABLE);
    uint32_t last_ms;
    uint64_t wait_ms = CONNECTOR_FIRST_MS;
    char text[24];

    if (last && number_parse(last, &last_ms) && last_ms >= CONNECTOR_FIRST_MS)
        wait_ms = clock_twice_ms(last_ms, CONNECTOR_LAST_MS);
    snprintf(text, sizeof(text), "%u", (unsigned)wait_ms);
    setenv(WAIT_VARIABLE, text, 1);
    return pause_ms(wait_ms);
}

int main(int argc, char *argv[])
{
    const char *socket = NULL;
    char **words;
    int status;

    file_open_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* libcurl leaves this to its user */
    if (argc == 2 && str_equal(argv[1], "--version"))
        return puts("gpuslice-nodesync " GPUSLICE_VERSION) < 0 ? 1 : 0;
    if (argc == 3 && str_equal(argv[1], "--retire"))
        return enter_role(ROLE_NODESYNC_AS_ROOT) < 0 ? 1 : uninstall_run(argv[2]);
    if (argc > 1 && str_starts_with(argv[1], SYNC_CONNECT))
        socket = argv[1] + strlen(SYNC_CONNECT);
    if (!socket && !is_child()) {
        fputs("gpuslice-nodesync is started by gpuslice-node, with --node-name; or beside it:\n"
              "usage: gpuslice-nodesync --connect=SOCKET [LOG-LEVEL [LOG-FORMAT]]\n",
              stderr);
        return EXIT_USAGE;
    }
    words = argv + (socket ? 2 : 1);
    log_setup_by_name(words[0], words[0] ? words[1] : NULL);
    if (enter_role(ROLE_NODESYNC_START) < 0)
        return 1;
    if (!socket)
        live_with_parent();
    status = program_run(socket);
    if (status != PROGRAM_AGAIN && status != PROGRAM_AGAIN_LATER)
        return status;
    if (status == PROGRAM_AGAIN)
        unsetenv(WAIT_VARIABLE);
    else if (!wait_longer())
        return 0;
    execv("/proc/self/exe", argv); /* no state of the previous agent remains */
    log_error("cannot restart the connection", "reason", strerror(errno));
    return 1;
}
