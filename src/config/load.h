// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reading the configuration: from a YAML or JSON file, a ConfigMap manifest, NVIDIA's command-line
 * flags and their environment variables.
 *
 * Precedence, field by field: command line > environment > file > default (an explicit `false` in
 * the file counts as given). All mistakes are collected with their positions; parsing never stops
 * at the first one.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/problem.h"
#include "base/text.h"
#include "config/config.h"
#include "config/migconfig.h"
#include "config/overrides.h"

struct config_request {
    const char *source; /* the file; NULL or "" = an empty configuration (all defaults) */
    const char *key;    /* the data key of a ConfigMap manifest; NULL or "" = its only key */
    enum config_strictness strictness;
    const struct config_overrides *overrides; /* of flags and environment, or NULL */
    bool decides_slices; /* of how GPUs are sliced the file says all: no override changes that */
    bool may_have_none;  /* a file with nothing but manifests of others is a note, not an error */
};

/*
 * Reads a file. problems (NULL = not wanted) gets its source set, unless there is none, and is
 * sorted by place. 0 (there may be warnings), -EBADMSG (problems has errors, err the first), or why
 * the file cannot be read (err).
 */
int config_load(const struct config_request *request, struct problems *problems,
                struct config **ret_config, struct error *err);

/* The same for bytes in memory (a stream, a fuzzer); `source` is only the name shown. */
int config_parse(const char *data, size_t size, const struct config_request *request,
                 struct problems *problems, struct config **ret_config, struct error *err);

void config_free(struct config *config);

/* A configuration of mig-parted, found in the same shapes. As config_parse. */
int config_parse_mig(const char *data, size_t size, const struct config_request *request,
                     struct problems *problems, struct migconfig **ret_config, struct error *err);

/*
 * Every configuration of a file, for `gpuslice check`: of each key of a ConfigMap, of each
 * ConfigMap, the agent's and mig-parted's. One with errors is there as well, without the options
 * that were refused, so that what does not fit a machine can be reported in addition; it is no
 * configuration to run with.
 */
struct config_list {
    struct config_item {
        char name[200];        /* "any of kube-system/plugin"; "" if it is the whole file */
        struct config *config; /* NULL: it is mig-parted's */
        struct migconfig *mig; /* NULL: it is the agent's */
    } * items;
    size_t n_items, capacity;
};

#define CONFIG_LIST_INIT \
    {                    \
        .items = NULL    \
    }

void config_list_deinit(struct config_list *list);
#define cleanup_config_list cleanup(config_list_deinit)

/* As config_parse, but errors are only in `problems`. Without a key in the request, of every key.
 * 0, or -ENOMEM with err. */
int config_parse_every(const char *data, size_t size, const struct config_request *request,
                       struct problems *problems, struct config_list *ret_list, struct error *err);

/* The keys of a file's ConfigMaps or values, one per line, without duplicates (for shells). */
int config_list_keys(const char *data, size_t size, struct text *out);
