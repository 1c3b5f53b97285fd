// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A configuration given on the command line: a file, standard input, or none (all defaults). It is
 * read once and may be parsed more than once, with different strictness.
 */

#include "base/error.h"
#include "cli/request.h"
#include "config/load.h"

struct source {
    const char *name; /* name to show; NULL = no configuration given */
    const char *key;  /* --key, else GPUSLICE_CONFIG_KEY as for the agent; NULL = none */
    char *data;
    size_t size;
};

#define SOURCE_INIT  \
    {                \
        .name = NULL \
    }

void source_deinit(struct source *source);
#define cleanup_source cleanup(source_deinit)

/* The file at path, "-" for standard input, NULL for none. 0, or why it cannot be read. */
int source_read(const struct request *request, const char *path, struct source *ret_source,
                struct error *err);

/* As config_load: 0, -EBADMSG (see problems), or another negative errno with err. */
int source_parse(const struct source *source, enum config_strictness strictness,
                 struct problems *problems, struct config **ret_config, struct error *err);
