// SPDX-License-Identifier: Apache-2.0
#include "karpenter/configprofile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/kubename.h"
#include "base/yamlmap.h"
#include "config/load.h"
#include "karpenter/configannotations.h"
#include "karpenter/sliceprofile.h"
#include "slice/migwant.h"
#include "slice/name.h"

#define refuse yamlmap_refuse

DEFINE_CLEANUP(struct config *, config_free)

struct maker {
    const json_t *config_map;
    const char *key;
    struct problems *problems;
    struct configannotations annotations;
    json_t *spec; /* of the profile */
};

static const char *map_name(const json_t *config_map)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(config_map, "metadata"), "name"));

    return name ? name : "";
}

/* ---- How GPUs are sliced ---- */

#define ONE_WAY "a SliceProfile slices in one way, and this key in several; write a key for each"

static void make_sharing(const struct maker *m, const struct policy *policy,
                         const struct sharing_entry *entry)
{
    json_t *sharing = json_pack("{s:I}", "replicas", (json_int_t)entry->replicas);

    if (policy_sharing(entry) == SHARING_MPS)
        refuse(m->problems, entry->at, entry->path,
               "no agent serves MPS yet, so such a node would be started in vain; share with "
               "timeSlicing");
    else if (!str_equal(entry->name, NAME_GPU))
        refuse(m->problems, entry->at, entry->path,
               "a SliceProfile shares " NAME_GPU " by time, and nothing else");
    else if (entry->devices.kind != DEVICES_ALL)
        refuse(m->problems, entry->devices.at, entry->path,
               "a SliceProfile slices every GPU of a node; remove devices");
    if (str_equal(entry->rename, NAME_GPU NAME_SHARED))
        json_object_set_new(sharing, "renameByDefault", json_true());
    else if (*entry->rename)
        json_object_set_new(sharing, "rename", json_string(entry->rename));
    if (policy->time_slicing_fail_multi)
        json_object_set_new(sharing, "failRequestsGreaterThanOne", json_true());
    json_object_set_new(m->spec, "timeSlicing", sharing);
}

static void add_device(json_t *devices, const char *profile, json_int_t count)
{
    const json_int_t before = json_integer_value(json_object_get(devices, profile));

    json_object_set_new(devices, profile, json_integer(before + count));
}

/* Of "2 x 1g.5gb, 1 x 3g.20gb"; what is there twice is added up. */
static json_t *make_devices(const char *layout)
{
    json_t *devices = json_object();

    for (const char *at = layout, *times; at && (times = strstr(at, " x "));
         at = strchr(times, ',')) {
        const char *profile = times + strlen(" x ");
        json_t *name = json_stringn(profile, strcspn(profile, ", "));

        at += strspn(at, ", ");
        if (name)
            add_device(devices, json_string_value(name), strtol(at, NULL, 10));
        json_decref(name);
    }
    return devices;
}

/* A label of mig-parted's file, which is any other text, is refused by the profile's reader. */
static void make_mig(const struct maker *m, const struct policy *policy)
{
    json_t *mig = json_pack("{s:s}", "strategy",
                            policy->mig_strategy == MIG_STRATEGY_SINGLE ? "single" : "mixed");

    if (policy->mig_strategy == MIG_STRATEGY_NONE)
        refuse(m->problems, policy->mig_layout_at, "gpuslice.mig.layout",
               "under migStrategy: none no MIG device is published; write single or mixed");
    if (strstr(policy->mig_layout, " x ") && migwant_is_builtin(policy->mig_layout))
        json_object_set_new(mig, "devices", make_devices(policy->mig_layout));
    else
        json_object_set_new(mig, "layout", json_string(policy->mig_layout));
    json_object_set_new(m->spec, "mig", mig);
}

static const struct sharing_entry *first_shared(const struct maker *m, const struct policy *policy)
{
    const struct sharing_entry *found = NULL;

    for (size_t i = 0; i < policy->n_sharing; i++) {
        const struct sharing_entry *entry = &policy->sharing[i];

        if (policy_sharing(entry) == SHARING_NONE)
            continue;
        if (found)
            refuse(m->problems, entry->at, entry->path,
                   "a SliceProfile has slices of one size and one name; %s has them already",
                   found->path);
        else
            found = entry;
    }
    return found;
}

static void check_strategy(const struct maker *m, const struct policy *policy, bool is_sliced)
{
    if (policy->mig_strategy == MIG_STRATEGY_NONE || policy->mig_layout)
        return;
    if (is_sliced)
        problem_add(
            m->problems, PROBLEM_WARNING, policy->mig_strategy_at, "flags.migStrategy",
            "the nodes of a SliceProfile that shares whole GPUs are not partitioned by MIG");
    else
        refuse(m->problems, policy->mig_strategy_at, "flags.migStrategy",
               "nothing says what a GPU is partitioned into; add gpuslice.mig.layout, such as "
               "all-1g.5gb");
}

static int make_mode(const struct maker *m, const struct policy *policy)
{
    const struct profileslices slices = {.items = policy->slices, .n_items = policy->n_slices};
    const struct sharing_entry *entry = first_shared(m, policy);
    const bool is_sliced = entry || policy->n_slices;

    check_strategy(m, policy, is_sliced);
    if (policy->mig_layout && is_sliced)
        refuse(m->problems, policy->mig_layout_at, "gpuslice.mig.layout", ONE_WAY);
    else if (entry && policy->n_slices)
        refuse(m->problems, policy->slices[0].at, "gpuslice.slices", ONE_WAY);
    else if (entry)
        make_sharing(m, policy, entry);
    else if (policy->n_slices)
        json_object_set_new(m->spec, "slices", profileslices_json(&slices));
    else if (policy->mig_layout)
        make_mig(m, policy);
    else
        return policy->mig_strategy == MIG_STRATEGY_NONE ? CONFIGPROFILE_WHOLE : 0;
    return 0;
}

/* ---- What the nodes of a profile do not get ---- */

enum fate { TAKEN, REFUSED };

/* All others stay behind: the agent of such a node has its configuration from the profile. */
static const struct {
    const char *path;
    enum fate fate;
} options[] = {
    {"version", TAKEN},
    {"flags.migStrategy", TAKEN},
    {"sharing", TAKEN},
    {"gpuslice.slices", TAKEN},
    {"gpuslice.mig.layout", TAKEN},
    {"resources", REFUSED},
    {"gpuslice.excludeDevices", REFUSED},
    {"gpuslice.mig.names", REFUSED},
    {"gpuslice.mig.onDemand", REFUSED},
};

/* True if an option of the table is at the path or above it. */
static bool find_option(const char *path, enum fate *ret_fate)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        size_t length = strlen(options[i].path);

        if (strncasecmp(path, options[i].path, length) == 0 &&
            (!path[length] || path[length] == '.')) {
            *ret_fate = options[i].fate;
            return true;
        }
    }
    return false;
}

static void check_options(const struct maker *m, const struct yaml *node, const char *path)
{
    enum fate fate;

    if (yaml_is_empty(node))
        return;
    if (*path && find_option(path, &fate)) {
        if (fate == REFUSED)
            refuse(m->problems, node->key_at, path,
                   "a SliceProfile has no place for this, and nodes would advertise something else "
                   "without it; remove it from this key");
        return;
    }
    for (size_t i = 0; node->kind == YAML_MAP && i < node->n_children; i++) {
        char below[YAMLMAP_PATH];

        yamlmap_join(below, path, node->children[i].key);
        check_options(m, &node->children[i], below);
    }
    if (node->kind != YAML_MAP && *path)
        problem_add(m->problems, PROBLEM_WARNING, node->key_at, path,
                    "does not reach the nodes of a SliceProfile; set it in the chart's values, "
                    "which hold for all nodes");
}

static int check_text(const struct maker *m, const char *text)
{
    cleanup_problems struct problems seen = PROBLEMS_INIT; /* they are reported already */
    struct yaml *documents = NULL;
    size_t n = 0;
    int r = yaml_parse(text, strlen(text), (struct position){0, 0}, &seen, &documents, &n);

    for (size_t i = 0; r == 0 && i < n; i++)
        check_options(m, &documents[i], "");
    if (r == 0)
        yaml_free(documents, n);
    return r == -EBADMSG ? 0 : r;
}

static int make_spec(const struct maker *m, const char *text)
{
    cleanup(config_free_p) struct config *config = NULL;
    const struct config_request request = {.strictness = CONFIG_AGENT, .decides_slices = true};
    int r = config_parse(text, strlen(text), &request, m->problems, &config, NULL);

    if (r == 0)
        r = check_text(m, text);
    return r < 0 ? r : make_mode(m, &config->policy);
}

/* ---- The whole profile ---- */

void configprofile_name(const json_t *config_map, const char *key,
                        char ret_name[CONFIGPROFILE_NAME])
{
    snprintf(ret_name, CONFIGPROFILE_NAME, "%s-%s", map_name(config_map), key);
}

static void check_name(const struct maker *m, const char *name)
{
    if (!kubename_is_dns_label(name))
        refuse(m->problems, (struct position){0, 0}, "",
               "%s cannot be the name of a SliceProfile, which has at most 63 lower-case letters, "
               "digits and '-'; rename the key or the ConfigMap",
               name);
}

static json_t *make_object(const struct maker *m, const char *name)
{
    return json_pack("{s:s, s:s, s:{s:s, s:{s:s}, s:{s:s}}, s:O}", "apiVersion",
                     SLICEPROFILE_API_VERSION, "kind", SLICEPROFILE_KIND, "metadata", "name", name,
                     "labels", CONFIGPROFILE_OF, map_name(m->config_map), "annotations",
                     CONFIGPROFILE_OF_KEY, m->key, "spec", m->spec);
}

/* The profile's own reader has the last word. */
static int check_object(const struct maker *m, const json_t *object)
{
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
    cleanup_problems struct problems found = PROBLEMS_INIT;
    cleanup_free char *text = json_dumps(object, JSON_COMPACT);
    const struct problem *problem = NULL;
    int r = text ? sliceprofiles_parse(text, strlen(text), &found, &profiles) : -ENOMEM;

    while ((problem = problems_next(&found, problem)))
        problem_add(m->problems, problem->severity, (struct position){0, 0},
                    configannotations_origin(problem->path), "%s", problem->text);
    return r;
}

static bool is_refused(const struct maker *m)
{
    return problems_count(m->problems, PROBLEM_ERROR) > 0;
}

static int make(const struct maker *m, const char *text, json_t **ret_profile)
{
    char name[CONFIGPROFILE_NAME];
    json_t *object;
    int r;

    if (!configannotations_have_types(&m->annotations) &&
        configannotations_have_types_of_others(&m->annotations))
        return CONFIGPROFILE_NO_TYPES;
    r = make_spec(m, text);
    if (r != 0)
        return r > 0 && is_refused(m) ? -EBADMSG : r;
    configprofile_name(m->config_map, m->key, name);
    check_name(m, name);
    configannotations_read(&m->annotations, m->spec);
    if (is_refused(m))
        return -EBADMSG;
    object = make_object(m, name);
    r = object ? check_object(m, object) : -ENOMEM;
    if (r == 0)
        *ret_profile = object;
    else
        json_decref(object);
    return r;
}

int configprofile_make(const json_t *config_map, const char *key, struct problems *problems,
                       json_t **ret_profile)
{
    const struct maker m = {.config_map = config_map,
                            .key = key,
                            .problems = problems,
                            .annotations = {config_map, key, problems},
                            .spec = json_object()};
    const char *text = json_string_value(json_object_get(json_object_get(config_map, "data"), key));
    cleanup_text struct text source = TEXT_INIT;
    int r;

    text_addf(&source, "%s/%s", map_name(config_map), key);
    r = m.spec && !text_failed(&source) ? problems_set_source(problems, text_string(&source))
                                        : -ENOMEM;
    if (r == 0)
        r = make(&m, text ? text : "", ret_profile);
    json_decref(m.spec);
    return r;
}
