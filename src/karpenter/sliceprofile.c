// SPDX-License-Identifier: Apache-2.0
#include "karpenter/sliceprofile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/kubename.h"
#include "base/yamlmap.h"
#include "slice/migwant.h"
#include "slice/name.h"
#include "slice/plan.h"

#define refuse yamlmap_refuse

void sliceprofile_deinit(struct sliceprofile *profile)
{
    if (!profile)
        return;
    names_deinit(&profile->instance_types);
    names_deinit(&profile->gpu_names);
    names_deinit(&profile->capacity_types);
    profilemarks_deinit(&profile->marks);
    profileslices_deinit(&profile->slices);
    memset(profile, 0, sizeof(*profile));
}

void sliceprofiles_deinit(struct sliceprofiles *profiles)
{
    for (size_t i = 0; i < profiles->n_items; i++)
        sliceprofile_deinit(&profiles->items[i]);
    free(profiles->items);
    *profiles = (struct sliceprofiles)SLICEPROFILES_INIT;
}

/* ---- Words ---- */

static bool parse_resource(const char *text, void *to)
{
    return name_parse(text, to, NULL) == 0;
}

/* Any board may have the profile; all-disabled is no way to slice. */
static bool parse_layout(const char *text, void *to)
{
    return str_starts_with(text, "all-") && migwant_is_builtin(text) &&
           !str_equal(text, "all-disabled") && !str_equal(text, "all-enabled") &&
           str_copy(to, SLICEPROFILE_LAYOUT, text) == 0;
}

/* Karpenter's own pattern: ^(([0-9]+(s|m|h))+|Never)$ */
static bool is_duration(const char *text)
{
    if (str_equal(text, "Never"))
        return true;
    if (!*text)
        return false;
    while (*text) {
        size_t n_digits = strspn(text, "0123456789");

        if (!n_digits || !text[n_digits] || !strchr("smh", text[n_digits]))
            return false;
        text += n_digits + 1;
    }
    return true;
}

static bool parse_duration(const char *text, void *to)
{
    return is_duration(text) &&
           str_copy(to, sizeof(((struct sliceprofile *)0)->consolidate_after), text) == 0;
}

/* "create" is a pool of its own: that is what no name means. */
static bool parse_pool(const char *text, void *to)
{
    if (str_equal(text, "create"))
        return true;
    return kubename_is_dns_label(text) && str_copy(to, SLICEPROFILE_NAME, text) == 0;
}

/* ---- The tables ---- */

static const struct yamlmap_choice strategies[] = {
    {"single", MIG_STRATEGY_SINGLE}, {"mixed", MIG_STRATEGY_MIXED}, {NULL, 0}};

static const struct yamlmap_choice repairs[] = {{"report", 0}, {"replace", 1}, {NULL, 0}};

#define RENAME_FIELD                                                                               \
    {                                                                                              \
        "rename", .kind = YAMLMAP_WORD, YAMLMAP_AT(sliceprofile, rename), .parse = parse_resource, \
                  .expected = "the name of a resource, such as nvidia.com/gpu.slice, of "          \
                              "at most 63 lower-case letters, digits, '-' and '.'"                 \
    }

static const struct yamlmap_field sharing_fields[] = {
    {"replicas", YAMLMAP_NUMBER_AT(sliceprofile, replicas, 2, PLAN_REPLICAS_MAX), .required = true},
    {"renameByDefault", .kind = YAMLMAP_BOOL, YAMLMAP_AT(sliceprofile, rename_by_default)},
    {"failRequestsGreaterThanOne", .kind = YAMLMAP_BOOL, YAMLMAP_AT(sliceprofile, fail_multi)},
    RENAME_FIELD,
    {NULL},
};

static const struct yamlmap_field mig_fields[] = {
    {"strategy", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(sliceprofile, strategy), .choices = strategies,
     .required = true},
    {"layout", .kind = YAMLMAP_WORD, YAMLMAP_AT(sliceprofile, layout), .parse = parse_layout,
     .expected = "a built-in layout: all-balanced, or all- and a profile, such as all-1g.5gb; what "
                 "a file of mig-parted calls otherwise nobody knows before the node exists: write "
                 "its mig-devices as devices, such as {1g.5gb: 2, 3g.20gb: 1}"},
    {"devices", .kind = YAMLMAP_OTHER},
    {NULL},
};

static const struct yamlmap_field class_fields[] = {
    {"group", YAMLMAP_TEXT_AT(sliceprofile, node_class_group), .required = true},
    {"kind", YAMLMAP_TEXT_AT(sliceprofile, node_class_kind), .required = true},
    {"name", YAMLMAP_TEXT_AT(sliceprofile, node_class), .required = true},
    {NULL},
};

static const struct yamlmap_field spec_fields[] = {
    {"instanceTypes", .kind = YAMLMAP_OTHER},
    {"gpuNames", .kind = YAMLMAP_OTHER},
    {"timeSlicing", .kind = YAMLMAP_OTHER},
    {"mig", .kind = YAMLMAP_OTHER},
    {"mps", .kind = YAMLMAP_OTHER},
    {"slices", .kind = YAMLMAP_OTHER},
    {"labels", .kind = YAMLMAP_OTHER},
    {"taints", .kind = YAMLMAP_OTHER},
    {"nodePool", .kind = YAMLMAP_WORD, YAMLMAP_AT(sliceprofile, node_pool), .parse = parse_pool,
     .expected = "create, for a NodePool of its own, or the name of a NodePool"},
    {"nodeClass", .kind = YAMLMAP_MAP, .fields = class_fields},
    {"capacityTypes", .kind = YAMLMAP_OTHER},
    {"maxNodes", YAMLMAP_NUMBER_AT(sliceprofile, max_nodes, 1, 100000)},
    {"consolidateAfter", .kind = YAMLMAP_WORD, YAMLMAP_AT(sliceprofile, consolidate_after),
     .parse = parse_duration, .expected = "a duration such as 300s or 1h30m, or Never"},
    {"repair", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(sliceprofile, replace), .choices = repairs},
    {NULL},
};

/* The sections of which a profile has exactly one. */
static const struct {
    const char *key;
    const struct yamlmap_field *fields;
} modes[] = {
    [SLICEPROFILE_TIME_SLICING] = {"timeSlicing", sharing_fields},
    [SLICEPROFILE_MIG] = {"mig", mig_fields},
    [SLICEPROFILE_MPS] = {"mps", sharing_fields},
    [SLICEPROFILE_SLICES] = {"slices", NULL}, /* a list, see profileslices.h */
};

/* ---- Reading ---- */

struct reader {
    struct problems *problems;
    struct sliceprofile *profile;
    struct names *list; /* of texts that is being read */
    bool failed;        /* without memory */
};

static void add_name(void *context, const struct yaml *item, const char *path)
{
    struct reader *r = context;

    if (!item->text || !*item->text || strlen(item->text) >= PROFILEMARK_VALUE)
        refuse(r->problems, item->at, path, "expected a text of at most %d bytes",
               PROFILEMARK_VALUE - 1);
    else if (names_add(r->list, item->text, strlen(item->text)) < 0)
        r->failed = true;
}

static void read_names(struct reader *r, const struct yaml *spec, const char *key,
                       struct names *list)
{
    const struct yaml *node = yaml_get(spec, key);
    char path[YAMLMAP_PATH];

    if (!node)
        return;
    yamlmap_join(path, "spec", key);
    r->list = list;
    yamlmap_read_list(r->problems, node, path, SLICEPROFILE_ITEMS_MAX, add_name, r);
    if (node->kind == YAML_LIST && !node->n_children)
        refuse(r->problems, node->at, path, "the list is empty; leave it out, or name one");
}

static void read_capacity_types(struct reader *r, const struct yaml *spec)
{
    const struct yaml *node = yaml_get(spec, "capacityTypes");

    read_names(r, spec, "capacityTypes", &r->profile->capacity_types);
    for (size_t i = 0; node && i < node->n_children; i++) {
        const struct yaml *item = &node->children[i];

        if (item->text && !str_equal(item->text, "spot") && !str_equal(item->text, "on-demand") &&
            !str_equal(item->text, "reserved"))
            refuse(r->problems, item->at, "spec.capacityTypes",
                   "expected spot, on-demand or reserved");
    }
}

static void read_devices(struct reader *r, const struct yaml *mig)
{
    const struct yaml *layout = yaml_get(mig, "layout"), *devices = yaml_get(mig, "devices");

    if (!layout && !devices)
        refuse(r->problems, mig->at, "spec.mig",
               "nothing says what a GPU is partitioned into; add layout, such as all-1g.5gb, or "
               "devices, such as {1g.5gb: 2, 3g.20gb: 1}");
    if (layout && devices)
        refuse(r->problems, devices->key_at, "spec.mig.devices",
               "excludes layout; give only one of them");
    if (!devices || layout)
        return;
    profiledevices_read(r->problems, devices, &r->profile->devices);
    profiledevices_format(&r->profile->devices, r->profile->layout);
}

static void read_mode(struct reader *r, const struct yaml *spec)
{
    const struct yaml *found = NULL;

    for (uint32_t i = 0; i < ARRAY_SIZE(modes); i++) {
        const struct yaml *node = yaml_get(spec, modes[i].key);
        char path[YAMLMAP_PATH];

        if (!node)
            continue;
        yamlmap_join(path, "spec", modes[i].key);
        if (found) {
            refuse(r->problems, node->key_at, path,
                   "a profile slices in one way, and has %s already; write a second profile",
                   found->key);
            continue;
        }
        found = node;
        r->profile->mode = i;
        r->profile->mode_at = node->key_at;
        if (modes[i].fields)
            yamlmap_read(r->problems, modes[i].fields, node, path, r->profile);
        else if (profileslices_read(r->problems, node, &r->profile->slices) < 0)
            r->failed = true;
        if (i == SLICEPROFILE_MIG && node->kind == YAML_MAP)
            read_devices(r, node);
    }
    if (!found)
        refuse(r->problems, spec->at, "spec",
               "nothing says how to slice; add timeSlicing, such as {replicas: 4}, slices, such as "
               "[{name: half, share: 50%%, count: 2}], or mig, such as "
               "{strategy: mixed, layout: all-1g.5gb}");
}

static void check_spec(struct reader *r, const struct yaml *spec)
{
    const struct sliceprofile *profile = r->profile;
    const struct yaml *types = yaml_get(spec, "instanceTypes"), *gpus = yaml_get(spec, "gpuNames");

    r->profile->types_at = types ? types->key_at : gpus ? gpus->key_at : spec->at;
    if (!types && !gpus)
        refuse(r->problems, spec->at, "spec",
               "nothing says which nodes; add instanceTypes, such as [g5.12xlarge], or gpuNames, "
               "such as [a10g]");
    if (str_equal(profile->node_class_group, SLICEPROFILE_AUTO_MODE))
        refuse(
            r->problems, yaml_get(spec, "nodeClass")->key_at, "spec.nodeClass",
            "nodes of EKS Auto Mode cannot be sliced: their device plugin is a part of them and "
            "offers whole GPUs alone, and there are no NodeOverlays; leave nodeClass out, for an "
            "EC2NodeClass of your own Karpenter");
    if (*profile->rename && profile->rename_by_default)
        refuse(r->problems, profile->mode_at, "spec",
               "rename and renameByDefault exclude each other; give only one of them");
    if (str_equal(profile->rename, NAME_GPU))
        refuse(r->problems, profile->mode_at, "spec",
               "rename is the name that the GPUs have already; leave it out");
}

static void read_spec(struct reader *r, const struct yaml *spec)
{
    yamlmap_read(r->problems, spec_fields, spec, "spec", r->profile);
    read_names(r, spec, "instanceTypes", &r->profile->instance_types);
    read_names(r, spec, "gpuNames", &r->profile->gpu_names);
    read_capacity_types(r, spec);
    read_mode(r, spec);
    if (profilemarks_read(r->problems, spec, &r->profile->marks) < 0)
        r->failed = true;
    check_spec(r, spec);
}

static void read_name(struct reader *r, const struct yaml *document)
{
    const struct yaml *metadata = yaml_get(document, "metadata"),
                      *name = yaml_get(metadata, "name");

    if (!name || !name->text) {
        refuse(r->problems, metadata ? metadata->at : document->at, "metadata.name",
               "the profile has no name");
        return;
    }
    r->profile->at = name->at;
    if (!kubename_is_dns_label(name->text))
        refuse(r->problems, name->at, "metadata.name",
               "expected at most 63 lower-case letters, digits and '-': it becomes the value of a "
               "label");
    else
        str_copy(r->profile->name, sizeof(r->profile->name), name->text);
}

static const char *const document_keys[] = {"apiVersion", "kind", "metadata", "spec", "status"};

static int read_profile(const struct yaml *document, struct problems *problems,
                        struct sliceprofile *ret_profile)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    cleanup_sliceprofile struct sliceprofile profile = {.name = ""};
    struct reader r = {.problems = problems, .profile = &profile};
    const struct yaml *version = yaml_get(document, "apiVersion"),
                      *spec = yaml_get(document, "spec");

    yamlmap_check_keys(problems, document, "", document_keys, ARRAY_SIZE(document_keys));
    if (!version || !version->text || !str_equal(version->text, SLICEPROFILE_API_VERSION))
        refuse(problems, version ? version->at : document->at, "apiVersion",
               "expected " SLICEPROFILE_API_VERSION);
    read_name(&r, document);
    if (!spec)
        refuse(problems, document->at, "spec", "the profile has no spec");
    else if (yamlmap_check_kind(problems, spec, YAML_MAP, "spec"))
        read_spec(&r, spec);
    if (r.failed)
        return -ENOMEM;
    if (problems_count(problems, PROBLEM_ERROR) > before)
        return -EBADMSG;
    *ret_profile = profile;
    memset(&profile, 0, sizeof(profile));
    return 0;
}

static const struct sliceprofile *find_named(const struct sliceprofiles *profiles, const char *name)
{
    for (size_t i = 0; i < profiles->n_items; i++)
        if (str_equal(profiles->items[i].name, name))
            return &profiles->items[i];
    return NULL;
}

/* 1: it is something else. */
static int add_document(const struct yaml *document, struct problems *problems,
                        struct sliceprofiles *profiles)
{
    cleanup_sliceprofile struct sliceprofile profile = {.name = ""};
    const char *kind = yaml_get_text(document, "kind");
    struct sliceprofile *added;
    int r;

    if (!kind || !str_equal(kind, SLICEPROFILE_KIND))
        return 1;
    r = read_profile(document, problems, &profile);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    if (find_named(profiles, profile.name)) {
        refuse(problems, profile.at, "metadata.name", "another profile has this name, too");
        return 0;
    }
    added = array_push(&profiles->items, &profiles->n_items, &profiles->capacity, sizeof(*added));
    if (!added)
        return -ENOMEM;
    *added = profile;
    memset(&profile, 0, sizeof(profile));
    return 0;
}

static int add_documents(const struct yaml *documents, size_t n, struct problems *problems,
                         struct sliceprofiles *profiles, size_t *n_found)
{
    for (size_t i = 0; i < n; i++) {
        const char *kind = yaml_get_text(&documents[i], "kind");
        const struct yaml *items = yaml_get(&documents[i], "items");
        int r;

        if (items && kind && str_ends_with(kind, "List")) {
            for (size_t k = 0; k < items->n_children; k++) {
                r = add_document(&items->children[k], problems, profiles);
                if (r < 0)
                    return r;
                *n_found += r == 0;
            }
            continue;
        }
        r = add_document(&documents[i], problems, profiles);
        if (r < 0)
            return r;
        *n_found += r == 0;
    }
    return 0;
}

int sliceprofiles_parse(const char *text, size_t size, struct problems *problems,
                        struct sliceprofiles *profiles)
{
    size_t before = problems_count(problems, PROBLEM_ERROR), n_documents, n_found = 0;
    struct yaml *documents;
    int r = yaml_parse(text, size, (struct position){0, 0}, problems, &documents, &n_documents);

    if (r < 0)
        return r;
    r = add_documents(documents, n_documents, problems, profiles, &n_found);
    yaml_free(documents, n_documents);
    if (r < 0)
        return r;
    if (!n_found)
        refuse(problems, ((struct position){1, 1}), "",
               "no object has the kind " SLICEPROFILE_KIND);
    return problems_count(problems, PROBLEM_ERROR) > before ? -EBADMSG : 0;
}

/* ---- Writing ---- */

static void set_text(json_t *object, const char *key, const char *value)
{
    json_object_set_new(object, key, json_string(value));
}

static json_t *names_json(const struct names *names)
{
    json_t *list = json_array();

    for (size_t i = 0; i < names->n_items; i++)
        json_array_append_new(list, json_string(names->items[i]));
    return list;
}

static const char *strategy_name(const struct sliceprofile *profile)
{
    return profile->strategy == MIG_STRATEGY_SINGLE ? "single" : "mixed";
}

static json_t *mode_json(const struct sliceprofile *profile)
{
    json_t *mode;

    if (profile->mode == SLICEPROFILE_SLICES)
        return profileslices_json(&profile->slices);
    mode = json_object();

    if (profile->mode == SLICEPROFILE_MIG) {
        set_text(mode, "strategy", strategy_name(profile));
        if (profile->devices.n_items)
            json_object_set_new(mode, "devices", profiledevices_json(&profile->devices));
        else
            set_text(mode, "layout", profile->layout);
        return mode;
    }
    json_object_set_new(mode, "replicas", json_integer(profile->replicas));
    if (profile->rename_by_default)
        json_object_set_new(mode, "renameByDefault", json_true());
    if (*profile->rename)
        set_text(mode, "rename", profile->rename);
    if (profile->fail_multi)
        json_object_set_new(mode, "failRequestsGreaterThanOne", json_true());
    return mode;
}

static json_t *spec_json(const struct sliceprofile *profile)
{
    json_t *spec = json_object();

    if (profile->gpu_names.n_items)
        json_object_set_new(spec, "gpuNames", names_json(&profile->gpu_names));
    if (profile->instance_types.n_items)
        json_object_set_new(spec, "instanceTypes", names_json(&profile->instance_types));
    json_object_set_new(spec, modes[profile->mode].key, mode_json(profile));
    profilemarks_write(&profile->marks, spec);
    set_text(spec, "nodePool", *profile->node_pool ? profile->node_pool : "create");
    if (*profile->node_class)
        json_object_set_new(spec, "nodeClass",
                            json_pack("{s:s, s:s, s:s}", "group", profile->node_class_group, "kind",
                                      profile->node_class_kind, "name", profile->node_class));
    if (profile->capacity_types.n_items)
        json_object_set_new(spec, "capacityTypes", names_json(&profile->capacity_types));
    if (profile->max_nodes)
        json_object_set_new(spec, "maxNodes", json_integer(profile->max_nodes));
    if (*profile->consolidate_after)
        set_text(spec, "consolidateAfter", profile->consolidate_after);
    if (profile->replace)
        set_text(spec, "repair", "replace");
    return spec;
}

json_t *sliceprofile_json(const struct sliceprofile *profile)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion", SLICEPROFILE_API_VERSION, "kind",
                     SLICEPROFILE_KIND, "metadata", "name", profile->name, "spec",
                     spec_json(profile));
}

/* ---- What nodes do ---- */

void sliceprofile_resource(const struct sliceprofile *profile, char ret_name[RESOURCE_NAME_SIZE])
{
    const char *name = *profile->rename             ? profile->rename
                       : profile->rename_by_default ? NAME_GPU NAME_SHARED
                                                    : NAME_GPU;

    snprintf(ret_name, RESOURCE_NAME_SIZE, "%s", name);
}

static void describe(const struct sliceprofile *profile, char *buffer, size_t size)
{
    char resource[RESOURCE_NAME_SIZE];

    sliceprofile_resource(profile, resource);
    if (profile->mode == SLICEPROFILE_MIG)
        snprintf(buffer, size, "mig %s %s", strategy_name(profile), profile->layout);
    else
        snprintf(buffer, size, "%s %u %s %u", modes[profile->mode].key, profile->replicas, resource,
                 profile->fail_multi);
}

/* FNV-1a. */
static uint64_t hash_add(uint64_t hash, const char *text)
{
    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    return hash;
}

/* 48 bits are plenty to tell apart what one cluster has. */
void sliceprofile_hash(const struct sliceprofile *profile, char ret_hash[SLICEPROFILE_HASH])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    char text[SLICEPROFILE_LAYOUT + RESOURCE_NAME_SIZE + 64];

    describe(profile, text, sizeof(text));
    hash = hash_add(hash, text);
    for (size_t i = 0; i < profile->slices.n_items; i++) {
        const struct slice_size *slice = &profile->slices.items[i];

        snprintf(text, sizeof(text), " %s %u %u %ju", slice->name, slice->share_permille,
                 slice->count, (uintmax_t)slice->mem_bytes);
        hash = hash_add(hash, text);
    }
    snprintf(ret_hash, SLICEPROFILE_HASH, "%012jx", (uintmax_t)(hash >> 16));
}

void sliceprofile_policy(const struct sliceprofile *profile, struct sharing_entry *entry,
                         struct policy *ret_policy)
{
    *ret_policy = (struct policy)POLICY_INIT;
    if (profile->mode == SLICEPROFILE_MIG) {
        ret_policy->mig_strategy = (enum mig_strategy)profile->strategy;
        return;
    }
    if (profile->mode == SLICEPROFILE_SLICES) {
        ret_policy->slices = profile->slices.items;
        ret_policy->n_slices = profile->slices.n_items;
        return;
    }
    *entry = (struct sharing_entry){
        .strategy = profile->mode == SLICEPROFILE_MPS ? SHARING_MPS : SHARING_TIME_SLICING,
        .name = NAME_GPU,
        .replicas = profile->replicas,
        .served = true,
        .at = profile->mode_at,
    };
    snprintf(entry->path, sizeof(entry->path), "spec.%s", modes[profile->mode].key);
    if (*profile->rename || profile->rename_by_default)
        sliceprofile_resource(profile, entry->rename);
    ret_policy->sharing = entry;
    ret_policy->n_sharing = 1;
    ret_policy->time_slicing_fail_multi = ret_policy->mps_fail_multi = profile->fail_multi;
}

void sliceprofile_add_config(const struct sliceprofile *profile, struct text *text)
{
    text_add(text, "version: v1\n");
    if (profile->mode == SLICEPROFILE_MIG) {
        text_addf(text, "flags:\n  migStrategy: %s\ngpuslice:\n  mig:\n    layout: %s\n",
                  strategy_name(profile), profile->layout);
        return;
    }
    if (profile->mode == SLICEPROFILE_SLICES) {
        profileslices_add_config(&profile->slices, text);
        return;
    }
    text_addf(text, "sharing:\n  %s:\n", modes[profile->mode].key);
    if (profile->rename_by_default)
        text_add(text, "    renameByDefault: true\n");
    if (profile->fail_multi)
        text_add(text, "    failRequestsGreaterThanOne: true\n");
    text_add(text, "    resources:\n    - name: " NAME_GPU "\n");
    if (*profile->rename)
        text_addf(text, "      rename: %s\n", profile->rename);
    text_addf(text, "      replicas: %u\n", profile->replicas);
}
