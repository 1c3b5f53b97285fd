// SPDX-License-Identifier: Apache-2.0
#include "config/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "config/manifest.h"
#include "config/nodeinfo.h"
#include "config/options.h"
#include "config/overrides.h"
#include "slice/select.h"

/* The default of NVIDIA's Helm chart; their plugin itself has no default and refuses to start. */
#define STANDARD_MPS_ROOT "/run/nvidia/mps"

DEFINE_CLEANUP(struct config *, config_free)
#define cleanup_config cleanup(config_free_p)

void config_free(struct config *config)
{
    if (!config)
        return;
    schema_free_texts(&config_schema, config);
    policy_deinit(&config->policy);
    free(config->imex_channel_ids);
    extra_labels_free(config->labels, config->n_labels);
    extra_taints_free(config->taints, config->n_taints);
    free(config);
}

static int set_text(char **slot, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return -ENOMEM;
    free(*slot);
    *slot = copy;
    return 0;
}

/* Defaults that depend on other options. */
static int fill_in(struct reader *reader, struct config *config, const struct sharing_entry *mps)
{
    int r = 0;

    if (!*config->dev_root)
        r = set_text(&config->dev_root, config->driver_root);
    if (r < 0 || !mps || *config->mps_root)
        return r;
    reader_report_at(reader, PROBLEM_NOTE, mps->at, mps->path,
                     "MPS needs flags.mpsRoot (--mps-root), which is not set; using %s",
                     STANDARD_MPS_ROOT);
    return set_text(&config->mps_root, STANDARD_MPS_ROOT);
}

static const struct sharing_entry *first_mps(const struct policy *policy)
{
    for (size_t i = 0; i < policy->n_sharing; i++)
        if (policy_sharing(&policy->sharing[i]) == SHARING_MPS)
            return &policy->sharing[i];
    return NULL;
}

/* Unequal slices and sharing entries share the GPUs between them; entries take precedence. */
static void check_slices(struct reader *reader, const struct policy *policy)
{
    const struct sharing_entry *taker = select_find_taker_of_all(policy);

    if (policy->n_slices && taker) {
        reader_report_at(reader, PROBLEM_WARNING, policy->slices[0].at, "gpuslice.slices",
                         "no GPU is left for these slices: %s at line %u shares all of them",
                         taker->path, taker->at.line);
        return;
    }
    for (size_t i = 0; policy->n_slices && i < policy->n_sharing; i++)
        reader_report_at(reader, PROBLEM_NOTE, policy->slices[0].at, "gpuslice.slices",
                         "these slices are for the GPUs not used by %s at line %u",
                         policy->sharing[i].path, policy->sharing[i].at.line);
}

static int finish(struct reader *reader, struct config *config)
{
    const struct sharing_entry *mps = first_mps(&config->policy);

    if (mps && config->policy.mig_strategy == MIG_STRATEGY_MIXED)
        reader_report_at(
            reader, PROBLEM_ERROR, mps->at, mps->path,
            "MPS cannot share MIG devices: use migStrategy none or single, or share with "
            "timeSlicing");
    check_slices(reader, &config->policy);
    config->policy.needs_nodes =
        config->plugin.device_list_strategies &&
        !(config->plugin.device_list_strategies & ~(unsigned)LIST_STRATEGIES_CDI);
    if (config->discovery_strategy == DISCOVERY_TEGRA ||
        config->discovery_strategy == DISCOVERY_VFIO)
        reader_report_at(reader, PROBLEM_WARNING, config->discovery_at,
                         "flags.deviceDiscoveryStrategy",
                         "only NVML is supported; write auto or nvml");
    return fill_in(reader, config, mps);
}

static int read_document(struct reader *reader, const char *data, size_t size, const char *key,
                         struct config *config)
{
    cleanup_manifest struct manifest manifest = MANIFEST_INIT;
    int r = manifest_read(reader, data, size, key, &manifest);

    if (r < 0 || !manifest.config)
        return r;
    return schema_read(reader, &config_schema, "", manifest.config, config);
}

static int read_all(struct reader *reader, const char *data, size_t size, const char *key,
                    const struct config_overrides *overrides, struct config **ret_config)
{
    cleanup_config struct config *config = calloc(1, sizeof(*config));
    int r;

    if (!config)
        return -ENOMEM;
    r = schema_set_defaults(&config_schema, OPTION_CONFIG, config);
    if (r == 0)
        r = read_document(reader, data, size, key, config);
    if (r == 0)
        r = config_overrides_apply(overrides, config);
    if (r == 0)
        r = finish(reader, config);
    if (r < 0)
        return r;
    *ret_config = TAKE_PTR(config);
    return 0;
}

int config_parse(const char *data, size_t size, const struct config_request *request,
                 struct problems *problems, struct config **ret_config, struct error *err)
{
    cleanup_problems struct problems unseen = PROBLEMS_INIT;
    cleanup_config struct config *config = NULL;
    struct reader reader = {.problems = problems ? problems : &unseen,
                            .strictness = request->strictness};
    const char *source = request->source && *request->source ? request->source : NULL;
    const char *key = request->key && *request->key ? request->key : NULL;
    size_t before = problems_count(reader.problems, PROBLEM_ERROR), n_errors;
    char line[400];
    int r = source ? problems_set_source(reader.problems, source) : 0;

    if (r == 0)
        r = read_all(&reader, data, size, key, request->overrides, &config);
    if (r < 0)
        return error_set_errno(err, r, "cannot read %s", source ? source : "the configuration");
    problems_sort(reader.problems);
    n_errors = problems_count(reader.problems, PROBLEM_ERROR) - before;
    if (n_errors) {
        problems_describe(reader.problems, line, sizeof(line));
        return error_set(err, -EBADMSG, "%s", line);
    }
    *ret_config = TAKE_PTR(config);
    return 0;
}

int config_load(const struct config_request *request, struct problems *problems,
                struct config **ret_config, struct error *err)
{
    cleanup_free char *data = NULL;
    size_t size = 0;
    int r = 0;

    if (request->source && *request->source)
        r = file_read(request->source, YAML_MAX_BYTES, &data, &size, err);
    if (r < 0)
        return r;
    return config_parse(data ? data : "", size, request, problems, ret_config, err);
}
