// SPDX-License-Identifier: Apache-2.0

/* gpuslice-controller: what needs the view of the whole cluster. */

#include <signal.h>
#include <stdio.h>

#include "base/file.h"
#include "base/log.h"
#include "controller/replica.h"
#include "proc/role.h"

enum { EXIT_USAGE = 64 };

int main(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    struct options options;

    file_open_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* libcurl leaves this to its user */
    if (options_parse(argc, argv, &options, &err) < 0) {
        fprintf(stderr, "gpuslice-controller: %s; see gpuslice-controller --help\n",
                error_text(&err));
        return EXIT_USAGE;
    }
    if (options.help) {
        options_help();
        return 0;
    }
    if (options.version)
        return puts("gpuslice-controller " GPUSLICE_VERSION) < 0 ? 1 : 0;
    log_setup_by_name(options.log_level, options.log_format);
    if (role_enter(ROLE_CONTROLLER, &err) < 0) {
        log_error(error_text(&err));
        return 1;
    }
    return replica_run(&options);
}
