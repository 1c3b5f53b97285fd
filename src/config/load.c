// SPDX-License-Identifier: Apache-2.0
#include "config/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "config/manifest.h"
#include "config/nodeinfo.h"
#include "config/options.h"
#include "config/overrides.h"
#include "config/sharing.h"
#include "slice/name.h"
#include "slice/select.h"

/* The default of NVIDIA's Helm chart; their plugin itself has no default and refuses to start. */
#define STANDARD_MPS_ROOT "/run/nvidia/mps"

DEFINE_CLEANUP(struct config *, config_free)
DEFINE_CLEANUP(struct migconfig *, migconfig_free)
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
    if (r < 0 || *config->mps_root || !policy_uses_mps(&config->policy))
        return r;
    reader_report_at(reader, PROBLEM_NOTE, mps ? mps->at : config->policy.slices[0].at,
                     mps ? mps->path : "gpuslice.slices",
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

/* Said of the file alone: whether a daemon answers, only the node knows. */
static void warn_of_mps(struct reader *reader, const struct config *config)
{
    for (size_t i = 0; i < config->policy.n_sharing; i++) {
        const struct sharing_entry *entry = &config->policy.sharing[i];

        if (policy_sharing(entry) != SHARING_MPS || !*entry->name || !entry->replicas)
            continue;
        reader_report_at(
            reader, PROBLEM_WARNING, entry->at, entry->path,
            "this release starts no MPS control daemon, so %s is offered only while one of "
            "somebody "
            "else's answers at %s/%s/pipe/control; without one, use sharing.timeSlicing",
            policy_resource(entry), config->mps_root, policy_resource(entry));
    }
}

/* How tenants meet follows from the section; gpuslice.isolation is for gpuslice.slices. */
static void warn_of_isolation(struct reader *reader, const struct policy *policy)
{
    static const enum sharing_strategy other[] = {
        [ISOLATION_ISOLATED] = SHARING_MPS, [ISOLATION_COOPERATIVE] = SHARING_TIME_SLICING};

    for (size_t i = 0; i < policy->n_sharing && policy->isolation != ISOLATION_BY_SHARING; i++)
        if (policy_sharing(&policy->sharing[i]) == other[policy->isolation])
            reader_report_at(reader, PROBLEM_WARNING, policy->sharing[i].at,
                             policy->sharing[i].path,
                             "gpuslice.isolation: %s has no effect here; write this entry under "
                             "sharing.%s",
                             policy->isolation == ISOLATION_ISOLATED ? "isolated" : "cooperative",
                             policy->isolation == ISOLATION_ISOLATED ? "timeSlicing" : "mps");
}

/* Kubernetes has no other answer to a refused allocation than a dead pod. */
static void warn_of_unique(struct reader *reader, const struct policy *policy)
{
    if (policy->unique)
        reader_report_at(
            reader, PROBLEM_WARNING, policy->unique_at, "gpuslice.unique",
            "the kubelet chooses slices, so a container that cannot have each of its slices on a "
            "GPU "
            "of its own is refused for good: its pod fails (UnexpectedAdmissionError), and a "
            "ReplicaSet makes another at once, again and again, until GPUs are free");
}

/* Which nodes have an arbiter the file does not say. */
static void note_memory(struct reader *reader, const struct policy *policy)
{
    if (policy->memory_at.line && policy->memory != MEMORY_NONE &&
        !problems_count(reader->problems, PROBLEM_ERROR))
        reader_report_at(reader, PROBLEM_NOTE, policy->memory_at, "gpuslice.memory",
                         "memory limits are kept where gpuslice-arbiter serves them (in the "
                         "chart's values: arbiter.mode=limits); elsewhere slices are scheduled, "
                         "and nothing limits them");
}

static void note_compute(struct reader *reader, const struct policy *policy)
{
    if (policy->compute_at.line && policy->compute != COMPUTE_NONE &&
        !problems_count(reader->problems, PROBLEM_ERROR))
        reader_report_at(reader, PROBLEM_NOTE, policy->compute_at, "gpuslice.compute",
                         "turns are taken where gpuslice-arbiter serves memory limits (in the "
                         "chart's values: arbiter.mode=limits); elsewhere the hardware shares a "
                         "GPU, whatever the shares are");
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

/* The other strategies have one name for each MIG device. */
static void check_mig_names(struct reader *reader, const struct policy *policy)
{
    if (policy->mig_names == MIG_NAMES_BOTH && policy->mig_strategy != MIG_STRATEGY_SINGLE)
        reader_report_at(reader, PROBLEM_WARNING, policy->mig_names_at, "gpuslice.mig.names",
                         "both has an effect under migStrategy: single alone: %s; write "
                         "`migStrategy: single`, or leave this out",
                         policy->mig_strategy == MIG_STRATEGY_MIXED
                             ? "under mixed MIG devices are " NAME_MIG "<profile>, and " NAME_GPU
                               " are whole GPUs"
                             : "under none no MIG device is published");
}

static int finish(struct reader *reader, struct config *config)
{
    const struct sharing_entry *mps = first_mps(&config->policy);
    int r;

    if (mps && config->policy.mig_strategy == MIG_STRATEGY_MIXED)
        reader_report_at(
            reader, PROBLEM_ERROR, mps->at, mps->path,
            "MPS cannot share MIG devices: use migStrategy none or single, or share with "
            "timeSlicing");
    check_slices(reader, &config->policy);
    check_mig_names(reader, &config->policy);
    config->policy.needs_nodes =
        config->plugin.device_list_strategies &&
        !(config->plugin.device_list_strategies & ~(unsigned)LIST_STRATEGIES_CDI);
    if (config->discovery_strategy == DISCOVERY_TEGRA ||
        config->discovery_strategy == DISCOVERY_VFIO)
        reader_report_at(reader, PROBLEM_WARNING, config->discovery_at,
                         "flags.deviceDiscoveryStrategy",
                         "only NVML is supported; write auto or nvml");
    r = fill_in(reader, config, mps);
    if (r < 0)
        return r;
    warn_of_mps(reader, config);
    warn_of_isolation(reader, &config->policy);
    warn_of_unique(reader, &config->policy);
    note_memory(reader, &config->policy);
    note_compute(reader, &config->policy);
    return 0;
}

/* An empty file is the configuration "all defaults", and more often an accident: a template that
 * rendered nothing, a pipe whose first command failed. */
static void report_empty(struct reader *reader, const struct manifest_choice *choice,
                         const struct yaml *document)
{
    struct position at = {1, 1};

    if (document ? !yaml_is_empty(document) : !reader->problems->source)
        return;
    if (document || choice)
        at = document ? document->at : choice->value->at;
    reader_warning(reader, at,
                   "nothing is configured here, so each GPU is offered whole; 'version: v1' says "
                   "so on purpose");
}

/* From the defaults to the finished configuration; choice NULL = all defaults. */
static int read_choice(struct reader *reader, const struct manifest_choice *choice,
                       const struct config_request *request, struct config **ret_config)
{
    cleanup_manifest_tree struct manifest_tree tree = {.inner = NULL};
    cleanup_config struct config *config = calloc(1, sizeof(*config));
    const size_t n_before = reader->problems->n_items;
    int r;

    if (!config)
        return -ENOMEM;
    r = schema_set_defaults(&config_schema, OPTION_CONFIG, config);
    if (r == 0 && choice)
        r = manifest_open(reader, choice, &tree);
    if (r == 0 && tree.config)
        r = schema_read(reader, &config_schema, "", tree.config, config);
    if (r == 0 && reader->strictness == CONFIG_CHECK && reader->problems->n_items == n_before)
        report_empty(reader, choice, tree.config);
    if (r == 0)
        r = config_overrides_apply(request->overrides, request->decides_slices, config);
    if (r == 0)
        r = finish(reader, config);
    if (r < 0)
        return r;
    sharing_drop_refused(&config->policy);
    *ret_config = TAKE_PTR(config);
    return 0;
}

static int read_mig(struct reader *reader, const struct manifest_choice *choice,
                    struct migconfig **ret_config)
{
    cleanup_manifest_tree struct manifest_tree tree = {.inner = NULL};
    int r = manifest_open(reader, choice, &tree);

    return r < 0 ? r : migconfig_read(reader, tree.config, ret_config);
}

static struct manifest_request what_to_find(const struct config_request *request,
                                            enum manifest_owner owner)
{
    return (struct manifest_request){.owner = owner,
                                     .may_have_none = request->may_have_none,
                                     .key = request->key && *request->key ? request->key : NULL,
                                     .every = owner == MANIFEST_ANY};
}

static struct reader new_reader(const struct config_request *request, struct problems *problems)
{
    return (struct reader){
        .problems = problems, .strictness = request->strictness, .root = &config_schema};
}

static int read_one(struct reader *reader, const char *data, size_t size,
                    const struct config_request *request, struct config **ret_config)
{
    cleanup_manifest struct manifest manifest = MANIFEST_INIT;
    const struct manifest_request wanted = what_to_find(request, MANIFEST_AGENT);
    size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);
    int r = manifest_read(reader, data, size, &wanted, &manifest);
    bool is_refused = problems_count(reader->problems, PROBLEM_ERROR) > n_errors;

    if (r < 0)
        return r;
    if (is_refused && !manifest.n_choices)
        return 0;
    return read_choice(reader, manifest.n_choices ? manifest.choices : NULL, request, ret_config);
}

int config_parse(const char *data, size_t size, const struct config_request *request,
                 struct problems *problems, struct config **ret_config, struct error *err)
{
    cleanup_problems struct problems unseen = PROBLEMS_INIT;
    cleanup_config struct config *config = NULL;
    struct reader reader = new_reader(request, problems ? problems : &unseen);
    const char *source = request->source && *request->source ? request->source : NULL;
    size_t before = problems_count(reader.problems, PROBLEM_ERROR), n_errors;
    char line[400];
    int r = source ? problems_set_source(reader.problems, source) : 0;

    if (r == 0)
        r = read_one(&reader, data, size, request, &config);
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

static int read_one_mig(struct reader *reader, const char *data, size_t size,
                        const struct config_request *request, struct migconfig **ret_config)
{
    cleanup_manifest struct manifest manifest = MANIFEST_INIT;
    const struct manifest_request wanted = what_to_find(request, MANIFEST_MIG);
    int r = manifest_read(reader, data, size, &wanted, &manifest);

    if (r < 0)
        return r;
    if (!manifest.n_choices)
        return migconfig_read(reader, NULL, ret_config);
    return read_mig(reader, manifest.choices, ret_config);
}

int config_parse_mig(const char *data, size_t size, const struct config_request *request,
                     struct problems *problems, struct migconfig **ret_config, struct error *err)
{
    cleanup(migconfig_free_p) struct migconfig *config = NULL;
    struct reader reader = new_reader(request, problems);
    char line[400];
    int r = problems_set_source(problems, request->source);

    if (r == 0)
        r = read_one_mig(&reader, data, size, request, &config);
    if (r < 0)
        return error_set_errno(err, r, "cannot read %s", request->source);
    problems_sort(problems);
    if (problems_count(problems, PROBLEM_ERROR)) {
        problems_describe(problems, line, sizeof(line));
        return error_set(err, -EBADMSG, "%s", line);
    }
    *ret_config = TAKE_PTR(config);
    return 0;
}

static void item_deinit(struct config_item *item)
{
    config_free(item->config);
    migconfig_free(item->mig);
}

void config_list_deinit(struct config_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        item_deinit(&list->items[i]);
    free(list->items);
    *list = (struct config_list)CONFIG_LIST_INIT;
}

static int add_item(struct reader *reader, const struct manifest_choice *choice,
                    const struct config_request *request, struct config_list *list)
{
    struct config_item *item =
        array_push(&list->items, &list->n_items, &list->capacity, sizeof(*item));

    if (!item)
        return -ENOMEM;
    if (choice)
        manifest_name(choice, item->name, sizeof(item->name));
    if (choice && choice->is_mig)
        return read_mig(reader, choice, &item->mig);
    return read_choice(reader, choice, request, &item->config);
}

static int read_every(struct reader *reader, const char *data, size_t size,
                      const struct config_request *request, struct config_list *list)
{
    cleanup_manifest struct manifest manifest = MANIFEST_INIT;
    const struct manifest_request wanted = what_to_find(request, MANIFEST_ANY);
    const size_t n_problems = reader->problems->n_items;
    int r = manifest_read(reader, data, size, &wanted, &manifest);

    if (r == 0 && !manifest.n_choices && reader->problems->n_items == n_problems)
        return add_item(reader, NULL, request, list);
    for (size_t i = 0; i < manifest.n_choices && r == 0; i++)
        r = add_item(reader, &manifest.choices[i], request, list);
    return r;
}

int config_parse_every(const char *data, size_t size, const struct config_request *request,
                       struct problems *problems, struct config_list *ret_list, struct error *err)
{
    cleanup_config_list struct config_list list = CONFIG_LIST_INIT;
    struct reader reader = new_reader(request, problems);
    const char *source = request->source && *request->source ? request->source : NULL;
    int r = source ? problems_set_source(problems, source) : 0;

    if (r == 0)
        r = read_every(&reader, data, size, request, &list);
    if (r < 0)
        return error_set_errno(err, r, "cannot read %s", source ? source : "the configuration");
    problems_sort(problems);
    *ret_list = list;
    list = (struct config_list)CONFIG_LIST_INIT;
    return 0;
}

int config_list_keys(const char *data, size_t size, struct text *out)
{
    cleanup_manifest struct manifest manifest = MANIFEST_INIT;
    cleanup_problems struct problems unseen = PROBLEMS_INIT;
    struct reader reader = {.problems = &unseen};
    int r =
        manifest_read(&reader, data, size,
                      &(struct manifest_request){.owner = MANIFEST_ANY, .every = true}, &manifest);

    for (size_t i = 0; i < manifest.n_choices && r == 0; i++) {
        const char *key = manifest.choices[i].value->key;
        bool is_new = key != NULL;

        for (size_t j = 0; j < i && is_new; j++)
            is_new = !str_equal(key, manifest.choices[j].value->key);
        if (is_new)
            text_addf(out, "%s\n", show(key).text);
    }
    return r;
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
