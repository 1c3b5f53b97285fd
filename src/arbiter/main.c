// SPDX-License-Identifier: Apache-2.0

/* gpuslice-arbiter: watches who uses the GPUs of this node; and as --part=driver, which it starts,
 * its driver helper. */

#include <signal.h>
#include <stdio.h>

#include "arbiter/arbiter.h"
#include "arbiter/localgrant.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "gpu/helper.h"
#include "proc/role.h"

enum { EXIT_USAGE = 64 };

int main(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    struct arbiteroptions options;
    struct localgrant local;

    file_open_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* from writing to a dead child */
    if (argc > 1 && str_equal(argv[1], HELPER_PART))
        return helper_main(argc, argv);
    if (arbiteroptions_parse(argc, argv, &options, &err) < 0) {
        fprintf(stderr, "gpuslice-arbiter: %s; see gpuslice-arbiter --help\n", error_text(&err));
        return EXIT_USAGE;
    }
    if (options.help) {
        arbiteroptions_help();
        return 0;
    }
    if (options.version)
        return puts("gpuslice-arbiter " GPUSLICE_VERSION) < 0 ? 1 : 0;
    log_setup_by_name(options.log_level, options.log_format);
    if (role_enter(options.has_run_group ? ROLE_ARBITER_WITH_GROUP : ROLE_ARBITER, &err) < 0) {
        log_error(error_text(&err));
        return 1;
    }
    if (options.local_grant &&
        localgrant_load(options.local_grant, LOCALGRANT_ID, &local, &err) < 0) {
        log_error(error_text(&err));
        return 1;
    }
    return arbiter_run(&options);
}
