// SPDX-License-Identifier: Apache-2.0
#include "karpenter/convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "base/yaml.h"
#include "base/yamlmap.h"
#include "karpenter/configmaps.h"
#include "karpenter/configprofile.h"
#include "karpenter/nodepool.h"
#include "karpenter/nodetemplate.h"
#include "karpenter/paste.h"
#include "karpenter/promise.h"
#include "karpenter/provisioner.h"
#include "karpenter/sliceprofile.h"

#define refuse    yamlmap_refuse
#define GUIDE_KEY "nvidia.com/gpu"
#define GPU_TAINT "nvidia.com/gpu-shared"
#define GPU_LABEL NODEPOOL_CLASS_GROUP "/instance-gpu-name"

/* What the guides' slice has: 1g.5gb of an A100. */
enum { GUIDE_SLICE_MIB = 4864, NAME_SIZE = 160 };

struct converter {
    const struct catalog *catalog;
    struct problems *problems;
    struct documents *documents;
    const struct yaml *all; /* the documents of the file */
    size_t n_all;
};

/* ---- A profile for each GPU ---- */

/* How people call it -> how EC2 does. */
static const struct {
    const char *word, *gpu_name;
} spellings[] = {{"a10", "a10g"}, {"rtx-pro-6000", "rtx-pro-server-6000"}};

static const char *gpu_name_of(const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(spellings); i++)
        if (str_equal(spellings[i].word, word))
            return spellings[i].gpu_name;
    return word;
}

/* The type of that GPU whose GPUs have the least memory, or NULL. */
static const struct instance_type *smallest_type(const struct catalog *catalog, const char *name)
{
    const struct instance_type *smallest = NULL;

    for (size_t i = 0; i < catalog->n_types; i++) {
        const struct instance_type *type = &catalog->types[i];

        if (str_equal(type->gpu_name, name) &&
            (!smallest || catalog->models[type->model].memory_bytes <
                              catalog->models[smallest->model].memory_bytes))
            smallest = type;
    }
    return smallest;
}

/* The profile of one slice that fits most often; the ones with media extensions fit once. */
static const struct mig_profile *smallest_profile(const struct mig_board *board)
{
    const struct mig_profile *smallest = NULL;

    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (board->profiles[i].shape.gi_slices == 1 &&
            (!smallest || board->profiles[i].max_count > smallest->max_count))
            smallest = &board->profiles[i];
    return smallest;
}

static uint32_t replicas_of(const struct gpu_model *model)
{
    uint64_t mib = (model->memory_bytes - model->reserved_bytes) >> 20;
    uint64_t n = mib / GUIDE_SLICE_MIB;

    return n < 2 ? 2 : (uint32_t)n;
}

static void choose_slices(const struct gpu_model *model, struct sliceprofile *profile)
{
    const struct mig_profile *smallest = smallest_profile(&model->mig);

    if (smallest) {
        profile->mode = SLICEPROFILE_MIG;
        profile->strategy = MIG_STRATEGY_MIXED;
        snprintf(profile->layout, sizeof(profile->layout), "all-%s", smallest->name);
        return;
    }
    profile->mode = SLICEPROFILE_TIME_SLICING;
    profile->replicas = replicas_of(model);
    profile->rename_by_default = true;
}

static int set_node(struct sliceprofile *profile, const char *gpu)
{
    if (profilemarks_add_label(&profile->marks, GUIDE_KEY, gpu) < 0)
        return -ENOMEM;
    return profilemarks_add_taint(&profile->marks, GPU_TAINT, "", "NoSchedule");
}

static int make_profile(struct converter *c, const struct provisioner *p,
                        const struct provisioner_gpu *gpu, struct sliceprofile *profile)
{
    const char *name = gpu_name_of(gpu->name);
    const struct instance_type *type = smallest_type(c->catalog, name);
    int length = snprintf(profile->name, sizeof(profile->name), "%s-%s", p->name, gpu->name);

    if (!type || length >= (int)sizeof(profile->name)) {
        refuse(c->problems, gpu->at, "spec.requirements",
               "no instance type of EC2 that is known has the GPU '%s'; remove it%s", gpu->name,
               str_equal(gpu->name, "a30") ? ": EC2 has no A30" : "");
        return -EBADMSG;
    }
    profile->at = profile->mode_at = profile->types_at = gpu->at;
    memcpy(profile->node_pool, profile->name, sizeof(profile->node_pool));
    choose_slices(&c->catalog->models[type->model], profile);
    if (names_add(&profile->gpu_names, name, strlen(name)) < 0)
        return -ENOMEM;
    return set_node(profile, gpu->name);
}

/* The profile names the types where its GPU has others, too, that cannot be sliced so. */
static int pin_types(const struct catalog *catalog, struct sliceprofile *profile,
                     const struct promises *promises)
{
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; i < catalog->n_types; i++)
        n += str_equal(catalog->types[i].gpu_name, profile->gpu_names.items[0]);
    if (n == promises->n_items)
        return 0;
    for (size_t i = 0; i < promises->n_items && r == 0; i++)
        r = names_add(&profile->instance_types, promises->items[i].type->name,
                      strlen(promises->items[i].type->name));
    return r;
}

/* ---- The NodePool ---- */

static bool is_same_taint(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "key"), json_object_get(b, "key")) &&
           json_equal(json_object_get(a, "effect"), json_object_get(b, "effect"));
}

/* A node has one taint of a key and an effect: that of the Provisioner, if both want it. */
static void add_taints(json_t *list, json_t *more)
{
    for (size_t i = 0; i < json_array_size(more); i++) {
        json_t *taint = json_array_get(more, i);
        bool is_there = false;

        for (size_t k = 0; k < json_array_size(list) && !is_there; k++)
            is_there = is_same_taint(json_array_get(list, k), taint);
        if (!is_there)
            json_array_append(list, taint);
    }
    json_decref(more);
}

/* What v1alpha5 chose where nothing did; types that have another one would never start so. */
static json_t *default_archs(const struct promises *promises)
{
    bool has[N_CPU_ARCHS] = {false};
    json_t *archs = json_array();

    for (size_t i = 0; promises && i < promises->n_items; i++)
        has[promises->items[i].type->arch] = true;
    for (uint32_t i = 0; i < N_CPU_ARCHS; i++)
        if (has[i] || (!promises && i == CPU_AMD64))
            json_array_append_new(archs, json_string(catalog_arch_name(i)));
    return archs;
}

static void add_default(const struct provisioner *p, json_t *requirements, const char *key,
                        const char *value)
{
    if (!provisioner_requires(p, key))
        json_array_append_new(requirements, nodepool_requirement(key, json_pack("[s]", value)));
}

static bool chooses_types(const struct provisioner *p)
{
    return provisioner_requires(p, NODEPOOL_INSTANCE_TYPE) ||
           provisioner_requires(p, NODEPOOL_CLASS_GROUP "/instance-family") ||
           provisioner_requires(p, NODEPOOL_CLASS_GROUP "/instance-category") ||
           provisioner_requires(p, NODEPOOL_CLASS_GROUP "/instance-generation");
}

/* promises: NULL without a GPU. What v1alpha5 added by itself is written down. */
static json_t *make_requirements(const struct provisioner *p, const struct sliceprofile *profile,
                                 const struct promises *promises)
{
    json_t *requirements = json_copy(p->requirements);

    add_default(p, requirements, NODEPOOL_CAPACITY_TYPE, "on-demand");
    if (!provisioner_requires(p, "kubernetes.io/arch"))
        json_array_append_new(requirements,
                              nodepool_requirement("kubernetes.io/arch", default_archs(promises)));
    add_default(p, requirements, "kubernetes.io/os", "linux");
    if (promises) {
        json_array_append_new(
            requirements,
            nodepool_requirement(GPU_LABEL, json_pack("[s]", profile->gpu_names.items[0])));
        json_array_append_new(
            requirements, nodepool_requirement(NODEPOOL_INSTANCE_TYPE, nodepool_types(promises)));
    } else if (!chooses_types(p)) {
        json_array_append_new(requirements,
                              nodepool_requirement(NODEPOOL_CLASS_GROUP "/instance-category",
                                                   json_pack("[s, s, s]", "c", "m", "r")));
        json_array_append_new(requirements, json_pack("{s:s, s:s, s:[s]}", "key",
                                                      NODEPOOL_CLASS_GROUP "/instance-generation",
                                                      "operator", "Gt", "values", "2"));
    }
    return requirements;
}

/* Their entries, and ours over them; both are given away. */
static void set_entries(json_t *metadata, const char *key, json_t *theirs, json_t *ours)
{
    json_object_update(theirs, ours);
    if (json_object_size(theirs))
        json_object_set(metadata, key, theirs);
    json_decref(theirs);
    json_decref(ours);
}

static json_t *make_metadata(const struct provisioner *p, const struct sliceprofile *profile,
                             const struct promises *promises)
{
    json_t *metadata = json_object();

    set_entries(metadata, "labels", json_copy(p->labels),
                profile ? nodepool_labels(profile) : NULL);
    set_entries(metadata, "annotations", json_copy(p->annotations),
                profile ? nodepool_annotations(profile, promises) : NULL);
    return metadata;
}

static void format_seconds(int64_t seconds, char buffer[32])
{
    snprintf(buffer, 32, "%llds", (long long)seconds);
}

static json_t *make_node_spec(const struct provisioner *p, const struct sliceprofile *profile,
                              const struct promises *promises, const char *class)
{
    json_t *spec = json_object(), *taints = json_copy(p->taints),
           *startup = json_copy(p->startup_taints);
    char expire[32] = "Never";

    if (profile) {
        add_taints(taints, nodepool_taints(profile));
        add_taints(startup, nodepool_startup_taints());
    }
    json_object_set_new(spec, "nodeClassRef",
                        json_pack("{s:s, s:s, s:s}", "group", NODEPOOL_CLASS_GROUP, "kind",
                                  NODEPOOL_CLASS_KIND, "name", class));
    json_object_set_new(spec, "requirements", make_requirements(p, profile, promises));
    if (json_array_size(taints))
        json_object_set(spec, "taints", taints);
    if (json_array_size(startup))
        json_object_set(spec, "startupTaints", startup);
    json_decref(taints);
    json_decref(startup);
    if (p->expire_seconds != PROVISIONER_UNSET)
        format_seconds(p->expire_seconds, expire);
    json_object_set_new(spec, "expireAfter", json_string(expire));
    return spec;
}

static json_t *make_disruption(const struct provisioner *p)
{
    char after[32] = "Never";

    if (p->consolidates)
        snprintf(after, sizeof(after), "0s");
    else if (p->empty_seconds != PROVISIONER_UNSET)
        format_seconds(p->empty_seconds, after);
    return json_pack("{s:s, s:s}", "consolidationPolicy",
                     p->consolidates ? "WhenEmptyOrUnderutilized" : "WhenEmpty", "consolidateAfter",
                     after);
}

static json_t *make_pool(const struct provisioner *p, const char *name,
                         const struct sliceprofile *profile, const struct promises *promises,
                         const char *class)
{
    json_t *spec = json_object();

    json_object_set_new(spec, "template",
                        json_pack("{s:o, s:o}", "metadata", make_metadata(p, profile, promises),
                                  "spec", make_node_spec(p, profile, promises, class)));
    json_object_set_new(spec, "disruption", make_disruption(p));
    if (json_object_size(p->limits))
        json_object_set(spec, "limits", p->limits);
    if (p->weight > 0)
        json_object_set_new(spec, "weight", json_integer(p->weight));
    return json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion", NODEPOOL_API_VERSION, "kind",
                     "NodePool", "metadata", "name", name, "spec", spec);
}

/* ---- Comments ---- */

static void explain_end(const struct provisioner *p, struct documents *d)
{
    if (p->empty_seconds != PROVISIONER_UNSET)
        documents_comment(d,
                          "ttlSecondsAfterEmpty: %lld -> WhenEmpty, consolidateAfter: %llds: the "
                          "time starts again with each pod that comes or goes, and at most 10 %% "
                          "of the nodes go at once (spec.disruption.budgets).",
                          (long long)p->empty_seconds, (long long)p->empty_seconds);
    else if (p->consolidates)
        documents_comment(d,
                          "consolidation -> WhenEmptyOrUnderutilized: at most 10 %% of the nodes "
                          "go at once (spec.disruption.budgets).");
    else
        documents_comment(d, "consolidateAfter: Never: v1alpha5 removed no node by itself without "
                             "ttlSecondsAfterEmpty or consolidation.");
    if (p->expire_seconds == PROVISIONER_UNSET)
        documents_comment(d, "expireAfter: Never: v1alpha5 had no limit of age without "
                             "ttlSecondsUntilExpired, v1 has 720h.");
    else
        documents_comment(d, "ttlSecondsUntilExpired -> expireAfter: it drains the node when the "
                             "time is over, whatever the budgets say.");
}

static void explain_defaults(const struct provisioner *p, bool has_gpu, struct documents *d)
{
    if (!provisioner_requires(p, NODEPOOL_CAPACITY_TYPE) ||
        !provisioner_requires(p, "kubernetes.io/arch") ||
        !provisioner_requires(p, "kubernetes.io/os"))
        documents_comment(
            d, "requirements: what v1alpha5 added where nothing chose otherwise (on-demand, "
               "amd64, linux) is written down: v1 takes anything.");
    if (!has_gpu && !chooses_types(p))
        documents_comment(d, "requirements: categories c, m and r, newer than generation 2, as "
                             "v1alpha5 had where no types were chosen.");
    documents_comment(d, "v1 also replaces nodes that no longer are what the NodePool or its class "
                         "says (drift); v1alpha5 did not unless asked.");
    if (p->is_annotation_renamed)
        documents_comment(d, "annotations: do-not-consolidate and do-not-evict are one now, "
                             "karpenter.sh/do-not-disrupt.");
    if (p->weight == 0)
        documents_comment(d, "weight: 0 is left out: v1 has 1 to 100, and none is the same.");
    if (json_object_size(p->limits))
        documents_comment(d,
                          "limits.resources -> limits; %s counts slices once nodes are sliced, "
                          "'nodes' counts nodes.",
                          GUIDE_KEY);
}

static void explain_slices(const struct converter *c, const struct sliceprofile *profile,
                           const struct promises *promises, const struct provisioner_gpu *gpu)
{
    const struct promise *first = &promises->items[0];
    const char *name = profile->gpu_names.items[0];
    const struct promise_resource *resource = &first->resources[0];
    struct documents *d = c->documents;

    for (size_t i = 0; i < first->n_resources; i++)
        if (first->resources[i].count)
            resource = &first->resources[i];
    documents_comment(d,
                      GUIDE_KEY " In [..., %s] chose no hardware: to Karpenter it is a label like "
                                "any other. Here " GPU_LABEL
                                " does, and each GPU has a NodePool whose nodes carry " GUIDE_KEY
                                ": %s, for nodeSelectors.",
                      gpu->name, gpu->name);
    if (!str_equal(name, gpu->name))
        documents_comment(d, "%s: what EC2 has of it is called %s.", gpu->name, name);
    documents_comment(d, "taints: " GPU_TAINT " keeps away what does not tolerate sliced GPUs; the "
                         "guides' pods do.");
    documents_comment(d, "startupTaints: " SLICEPROFILE_STARTUP_TAINT
                         " goes when the node advertises its slices.");
    if (profile->mode == SLICEPROFILE_MIG)
        documents_comment(d,
                          "Slices: MIG, %s: a %s has %zu %s. The strategy is mixed: under "
                          "single they would be called " GUIDE_KEY ".",
                          profile->layout, first->type->name, resource->count, resource->name);
    else
        documents_comment(d,
                          "Slices: MIG cannot partition this GPU (%s), so %u slices share it in "
                          "time: a %s has %zu %s, which is what pods ask for; there is no "
                          "nvidia.com/mig-... here.",
                          name, profile->replicas, first->type->name, resource->count,
                          resource->name);
}

/* The warnings about types that the profile leaves out belong to the object. */
static void explain_left_out(struct converter *c, const struct problems *notes)
{
    for (const struct problem *note = problems_next(notes, NULL); note;
         note = problems_next(notes, note))
        documents_comment(c->documents, "Left out: %s", note->text);
}

/* ---- All of it ---- */

static int add_gpu_pool(struct converter *c, const struct provisioner *p,
                        const struct provisioner_gpu *gpu, const char *class)
{
    cleanup_sliceprofile struct sliceprofile profile = {.name = ""};
    cleanup_promises struct promises promises = PROMISES_INIT;
    cleanup_problems struct problems notes = PROBLEMS_INIT;
    int r = make_profile(c, p, gpu, &profile);

    if (r == 0)
        r = promises_make(&profile, c->catalog, NULL, &notes, &promises);
    if (r == 0)
        r = pin_types(c->catalog, &profile, &promises);
    if (r == 0)
        r = documents_add(c->documents, sliceprofile_json(&profile));
    if (r < 0)
        return r;
    explain_left_out(c, &notes);
    documents_comment(c->documents,
                      "nodePool: the NodePool below, which carries this profile's labels already.");
    r = documents_add(c->documents, make_pool(p, profile.name, &profile, &promises, class));
    if (r < 0)
        return r;
    explain_slices(c, &profile, &promises, gpu);
    explain_end(p, c->documents);
    explain_defaults(p, true, c->documents);
    return 0;
}

static int add_plain_pool(struct converter *c, const struct provisioner *p, const char *class)
{
    int r = documents_add(c->documents, make_pool(p, p->name, NULL, NULL, class));

    if (r < 0)
        return r;
    documents_comment(c->documents, "No SliceProfile: the Provisioner names no GPU by " GUIDE_KEY
                                    "; write one to slice its nodes.");
    explain_end(p, c->documents);
    explain_defaults(p, false, c->documents);
    return 0;
}

static const struct yaml *find_template_in(const struct yaml *all, size_t n, const char *name)
{
    const struct yaml *found = NULL;

    for (size_t i = 0; i < n && !found; i++) {
        const char *kind = yaml_get_text(&all[i], "kind"),
                   *has = yaml_get_text(yaml_get(&all[i], "metadata"), "name");
        const struct yaml *items = yaml_get(&all[i], "items");

        if (kind && has && str_equal(kind, "AWSNodeTemplate") && str_equal(has, name))
            found = yaml_get(&all[i], "spec");
        else if (kind && items && str_equal(kind, "List"))
            found = find_template_in(items->children, items->n_children, name);
    }
    return found;
}

static const struct yaml *find_template(const struct converter *c, const char *name)
{
    return find_template_in(c->all, c->n_all, name);
}

static bool has_class(const struct documents *documents, const char *name)
{
    for (size_t i = 0; i < documents->n_items; i++) {
        const json_t *tree = documents->items[i].tree;
        const char *kind = json_string_value(json_object_get(tree, "kind")),
                   *has = json_string_value(
                       json_object_get(json_object_get(tree, "metadata"), "name"));

        if (kind && has && str_equal(kind, NODEPOOL_CLASS_KIND) && str_equal(has, name))
            return true;
    }
    return false;
}

static int add_class_document(struct converter *c, const struct provisioner *p, const char *name,
                              json_t *spec, const struct names *remarks)
{
    int r;

    if (json_object_size(p->kubelet))
        json_object_set(spec, "kubelet", p->kubelet);
    r = documents_add(c->documents,
                      json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion",
                                NODEPOOL_CLASS_GROUP "/v1", "kind", NODEPOOL_CLASS_KIND, "metadata",
                                "name", name, "spec", spec));
    if (r < 0)
        return r;
    for (size_t i = 0; i < remarks->n_items; i++)
        documents_comment(c->documents, "%s", remarks->items[i]);
    documents_comment(c->documents,
                      "What has a $ in it is to be replaced, by envsubst for example.");
    if (json_object_size(p->kubelet))
        documents_comment(c->documents, "kubeletConfiguration -> spec.kubelet of the class.");
    if (p->is_docker_gone)
        documents_comment(c->documents, "kubeletConfiguration.containerRuntime is gone: v1 has "
                                        "containerd alone.");
    return 0;
}

static bool is_bottlerocket(const json_t *spec)
{
    const char *alias = json_string_value(
        json_object_get(json_array_get(json_object_get(spec, "amiSelectorTerms"), 0), "alias"));

    return alias && str_starts_with(alias, "bottlerocket@");
}

/* Its own device plugin has the GPUs that are to be sliced. */
static int switch_plugin_off(const struct provisioner *p, json_t *spec, struct names *remarks)
{
    static const char done[] =
        "spec.userData: Bottlerocket's own device plugin is off (settings of bottlerocket-core-kit "
        "#914), gpuslice has the GPUs.",
                      is_there[] = "spec.userData has settings of Bottlerocket's own device plugin "
                                   "already: it has to be off (enabled = false).";
    const char *data = json_string_value(json_object_get(spec, "userData")), *remark = done;
    cleanup_text struct text text = TEXT_INIT;

    if (!p->n_gpus || !is_bottlerocket(spec))
        return 0;
    if (data && strstr(data, NODEPOOL_PLUGIN_SECTION))
        remark = is_there;
    else
        text_addf(&text, "%s%s" NODEPOOL_PLUGIN_SETTINGS, data ? data : "",
                  data && *data && !str_ends_with(data, "\n") ? "\n" : "");
    if (text.length)
        json_object_set_new(spec, "userData", json_string(text_string(&text)));
    return names_add(remarks, remark, strlen(remark));
}

static int add_class(struct converter *c, const struct provisioner *p, const char *name)
{
    const struct yaml *fields = *p->provider_ref ? find_template(c, p->provider_ref) : p->provider;
    cleanup_names struct names remarks = NAMES_INIT;
    json_t *spec;
    int r;

    if (has_class(c->documents, name))
        return 0;
    r = nodetemplate_convert(fields, *p->provider_ref ? "spec" : "spec.provider", c->problems,
                             &remarks, &spec);
    if (r == 0 && switch_plugin_off(p, spec, &remarks) < 0) {
        json_decref(spec);
        return -ENOMEM;
    }
    return r < 0 ? r : add_class_document(c, p, name, spec, &remarks);
}

/* A kubelet's settings are the class's now: such a Provisioner has one of its own. */
static const char *class_name(const struct provisioner *p)
{
    return *p->provider_ref && !json_object_size(p->kubelet) ? p->provider_ref : p->name;
}

static int add_provisioner(struct converter *c, const struct yaml *document)
{
    cleanup_provisioner struct provisioner p = {.name = ""};
    int r = provisioner_read(document, c->problems, &p);

    if (r == 0)
        r = add_class(c, &p, class_name(&p));
    for (size_t i = 0; i < p.n_gpus && r == 0; i++)
        r = add_gpu_pool(c, &p, &p.gpus[i], class_name(&p));
    if (r == 0 && !p.n_gpus)
        r = add_plain_pool(c, &p, class_name(&p));
    return r;
}

/* What came after Provisioners: v1 has it already, and v1beta1 is a few lines away from it. */
static void add_newer(struct converter *c, const struct yaml *document, const char *kind)
{
    const char *version = yaml_get_text(document, "apiVersion");
    const bool is_beta = version && str_ends_with(version, "/v1beta1");

    if (is_beta && str_equal(kind, "NodePool"))
        refuse(c->problems, document->at, "apiVersion",
               "a NodePool of v1beta1 is none for this; write karpenter.sh/v1, nodeClassRef with "
               "group karpenter.k8s.aws, kind and name, expireAfter into spec.template.spec, "
               "WhenEmptyOrUnderutilized for WhenUnderutilized, a consolidateAfter, and kubelet "
               "into the EC2NodeClass");
    else if (is_beta)
        refuse(c->problems, document->at, "apiVersion",
               "an EC2NodeClass of v1beta1 is none for this; write karpenter.k8s.aws/v1 and "
               "amiSelectorTerms, such as [{alias: al2023@latest}], in place of amiFamily");
    else
        problem_add(c->problems, PROBLEM_WARNING, document->at, "kind",
                    "%s is left out: it is none of the old objects", kind);
}

/* The ConfigMap of a device plugin. */
static int add_config_map(struct converter *c, const struct yaml *document)
{
    int r;

    if (!configmaps_is_labelled(document)) {
        problem_add(c->problems, PROBLEM_WARNING, document->at, "kind",
                    "ConfigMap is left out: without the label " CONFIGPROFILE_LABEL
                    "=true it is no slice profile");
        return 0;
    }
    r = configmaps_convert(document, c->problems, c->documents);
    return r == -ENOMEM ? r : 1;
}

static int add_document(struct converter *c, const struct yaml *document);

/* As kubectl prints several. */
static int add_items(struct converter *c, const struct yaml *items)
{
    int n_found = 0;

    for (size_t i = 0; items && items->kind == YAML_LIST && i < items->n_children; i++) {
        int r = add_document(c, &items->children[i]);

        if (r < 0)
            return r;
        n_found += r;
    }
    return n_found;
}

/* How many Provisioners and labelled ConfigMaps it was, or -ENOMEM. */
static int add_document(struct converter *c, const struct yaml *document)
{
    const char *kind = yaml_get_text(document, "kind");

    if (yaml_is_empty(document))
        return 0;
    if (!kind) {
        refuse(c->problems, document->at, "",
               "expected a Provisioner of karpenter.sh/v1alpha5; this has no kind");
        return 0;
    }
    if (str_equal(kind, "Provisioner")) {
        int r = add_provisioner(c, document);

        return r == -ENOMEM ? r : 1;
    }
    if (str_equal(kind, "ConfigMap"))
        return add_config_map(c, document);
    if (str_equal(kind, "List"))
        return add_items(c, yaml_get(document, "items"));
    if (str_equal(kind, "NodePool") || str_equal(kind, "EC2NodeClass"))
        add_newer(c, document, kind);
    else if (!str_equal(kind, "AWSNodeTemplate"))
        problem_add(c->problems, PROBLEM_WARNING, document->at, "kind",
                    "%s is left out: Provisioners are converted, AWSNodeTemplates that they "
                    "refer to, and labelled ConfigMaps",
                    kind);
    return 0;
}

static int add_documents(struct converter *c)
{
    size_t n_found = 0;

    for (size_t i = 0; i < c->n_all; i++) {
        int r = add_document(c, &c->all[i]);

        if (r < 0)
            return r;
        n_found += (size_t)r;
    }
    if (!n_found && !problems_count(c->problems, PROBLEM_ERROR))
        refuse(c->problems, ((struct position){1, 1}), "",
               "there is no Provisioner of karpenter.sh/v1alpha5, nor a ConfigMap with the "
               "label " CONFIGPROFILE_LABEL "=true");
    return documents_failed(c->documents) ? -ENOMEM : 0;
}

/* Text that is no YAML and does not name a Provisioner is another page of the guide. */
static int parse(const char *text, size_t size, struct problems *problems, struct yaml **ret_all,
                 size_t *ret_n)
{
    cleanup_problems struct problems unseen = PROBLEMS_INIT;
    int r = yaml_parse(text, size, (struct position){0, 0}, &unseen, ret_all, ret_n);

    if (r == 0 || r == -ENOMEM)
        return r;
    if (memmem(text, size, "Provisioner", strlen("Provisioner")))
        return yaml_parse(text, size, (struct position){0, 0}, problems, ret_all, ret_n);
    refuse(problems, ((struct position){1, 1}), "",
           "there is no Provisioner of karpenter.sh/v1alpha5");
    return r;
}

int convert_provisioners(const char *text, size_t size, const struct catalog *catalog,
                         struct problems *problems, struct documents *documents)
{
    size_t before = problems_count(problems, PROBLEM_ERROR), n;
    struct converter c = {.catalog = catalog, .problems = problems, .documents = documents};
    cleanup_free char *clean = malloc(size + 1);
    struct yaml *all;
    int r;

    if (!clean)
        return -ENOMEM;
    memcpy(clean, text, size);
    clean[size] = '\0';
    paste_clean(clean, size);
    r = parse(clean, size, problems, &all, &n);
    if (r < 0)
        return r;
    c.all = all;
    c.n_all = n;
    r = add_documents(&c);
    yaml_free(all, n);
    if (r == 0 && problems_count(problems, PROBLEM_ERROR) > before)
        r = -EBADMSG;
    return r;
}
