// SPDX-License-Identifier: Apache-2.0
#include "karpenter/provisioner.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/kubename.h"
#include "base/number.h"
#include "base/text.h"
#include "base/yamlmap.h"
#include "karpenter/yamljson.h"

#define refuse yamlmap_refuse

void provisioner_deinit(struct provisioner *p)
{
    json_t *owned[] = {p->labels,       p->annotations, p->taints, p->startup_taints,
                       p->requirements, p->limits,      p->kubelet};

    for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
        json_decref(owned[i]);
    memset(p, 0, sizeof(*p));
}

struct reader {
    struct problems *problems;
    struct provisioner *p;
    json_t *list; /* of the taints that are being read */
};

/* ---- Labels, annotations, taints ---- */

static void read_labels(struct reader *r, const struct yaml *node, const char *path)
{
    json_decref(r->p->labels);
    r->p->labels = yamljson_texts(node, path, r->problems);
    for (size_t i = 0; node->kind == YAML_MAP && i < node->n_children; i++)
        if (str_starts_with(node->children[i].key, "karpenter.sh/"))
            refuse(r->problems, node->children[i].key_at, path,
                   "Karpenter sets %s itself; remove it", node->children[i].key);
}

/* Three annotations became one. */
static void read_annotations(struct reader *r, const struct yaml *node, const char *path)
{
    static const char *const former[] = {"karpenter.sh/do-not-consolidate",
                                         "karpenter.sh/do-not-evict"};

    json_decref(r->p->annotations);
    r->p->annotations = yamljson_texts(node, path, r->problems);
    for (size_t i = 0; i < ARRAY_SIZE(former); i++) {
        const char *value = json_string_value(json_object_get(r->p->annotations, former[i]));

        if (!value)
            continue;
        json_object_set_new(r->p->annotations, "karpenter.sh/do-not-disrupt", json_string(value));
        json_object_del(r->p->annotations, former[i]);
        r->p->is_annotation_renamed = true;
    }
}

static void add_taint(void *context, const struct yaml *item, const char *path)
{
    static const char *const known[] = {"key", "value", "effect", "timeAdded"};
    struct reader *r = context;
    const char *key = yaml_get_text(item, "key"), *effect = yaml_get_text(item, "effect");

    if (!yamlmap_check_kind(r->problems, item, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, item, path, known, ARRAY_SIZE(known));
    if (!key || !effect)
        refuse(r->problems, item->at, path, "a taint has a key and an effect");
    else
        json_array_append_new(r->list, json_pack("{s:s, s:s*, s:s}", "key", key, "value",
                                                 yaml_get_text(item, "value"), "effect", effect));
}

static void read_taints(struct reader *r, const struct yaml *node, const char *path)
{
    r->list = r->p->taints;
    yamlmap_read_list(r->problems, node, path, 100, add_taint, r);
}

static void read_startup_taints(struct reader *r, const struct yaml *node, const char *path)
{
    r->list = r->p->startup_taints;
    yamlmap_read_list(r->problems, node, path, 100, add_taint, r);
}

/* ---- Requirements ---- */

static bool is_operator(const char *text)
{
    static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};

    for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
        if (str_equal(text, operators[i]))
            return true;
    return false;
}

static void add_gpu(struct reader *r, const struct yaml *value, const char *path)
{
    struct provisioner *p = r->p;
    struct provisioner_gpu *gpu;

    if (!value->text || !*value->text || strlen(value->text) >= sizeof(p->gpus[0].name)) {
        refuse(r->problems, value->at, path, "expected the name of a GPU, such as a100");
        return;
    }
    if (p->n_gpus == PROVISIONER_GPUS_MAX) {
        refuse(r->problems, value->at, path, "more than %d GPUs", PROVISIONER_GPUS_MAX);
        return;
    }
    gpu = &p->gpus[p->n_gpus++];
    gpu->at = value->at;
    for (size_t i = 0; value->text[i]; i++)
        gpu->name[i] = (char)tolower((unsigned char)value->text[i]);
    for (size_t i = 0; i + 1 < p->n_gpus; i++)
        if (str_equal(p->gpus[i].name, gpu->name)) {
            p->n_gpus--;
            return;
        }
}

/* values: checked to be a list. */
static void read_gpus(struct reader *r, const struct yaml *item, const struct yaml *values,
                      const char *path)
{
    const char *operator= yaml_get_text(item, "operator");

    if (!str_equal(operator, "In") || !values || !values->n_children) {
        refuse(r->problems, item->at, path,
               "nvidia.com/gpu is converted with the operator In and names of GPUs, such as "
               "values: [a100]");
        return;
    }
    for (size_t i = 0; i < values->n_children; i++)
        add_gpu(r, &values->children[i], path);
}

static bool has_right_values(const char *operator, const struct yaml * values)
{
    size_t n = values ? values->n_children : 0;
    uint32_t number;

    if (str_equal(operator, "In") || str_equal(operator, "NotIn"))
        return n > 0;
    if (str_equal(operator, "Gt") || str_equal(operator, "Lt"))
        return n == 1 && values->children[0].text &&
               number_parse(values->children[0].text, &number);
    return n == 0;
}

static json_t *texts_of(struct reader *r, const struct yaml *values, const char *path)
{
    json_t *texts = json_array();

    for (size_t i = 0; values && i < values->n_children; i++) {
        if (values->children[i].text)
            json_array_append_new(texts, json_string(values->children[i].text));
        else
            refuse(r->problems, values->children[i].at, path, "expected a text");
    }
    return texts;
}

static void read_requirement(struct reader *r, const struct yaml *item, const struct yaml *values,
                             const char *path)
{
    const char *key = yaml_get_text(item, "key"), *operator= yaml_get_text(item, "operator");
    json_t *requirement;

    if (str_equal(key, "karpenter.sh/provisioner-name") ||
        str_equal(key, "karpenter.sh/nodepool") || str_equal(key, "kubernetes.io/hostname")) {
        refuse(r->problems, item->at, path, "a NodePool of v1 may not require %s; remove it", key);
        return;
    }
    if (!has_right_values(operator, values)) {
        refuse(r->problems, item->at, path,
               "In and NotIn have values, Gt and Lt one number, Exists and DoesNotExist none");
        return;
    }
    requirement = json_pack("{s:s, s:s}", "key", key, "operator", operator);
    if (values)
        json_object_set_new(requirement, "values", texts_of(r, values, path));
    json_array_append_new(r->p->requirements, requirement);
}

static void add_requirement(void *context, const struct yaml *item, const char *path)
{
    static const char *const known[] = {"key", "operator", "values"};
    struct reader *r = context;
    const char *key = yaml_get_text(item, "key"), *operator= yaml_get_text(item, "operator");
    const struct yaml *values = yaml_get(item, "values");

    if (!yamlmap_check_kind(r->problems, item, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, item, path, known, ARRAY_SIZE(known));
    if (values && !yamlmap_check_kind(r->problems, values, YAML_LIST, path))
        return;
    if (!key || kubename_check_key(key, NULL) < 0)
        refuse(r->problems, item->at, path, "expected the key of a label");
    else if (!operator|| !is_operator(operator))
        refuse(r->problems, item->at, path,
               "expected an operator: In, NotIn, Exists, DoesNotExist, Gt or Lt");
    else if (str_equal(key, "nvidia.com/gpu"))
        read_gpus(r, item, values, path);
    else
        read_requirement(r, item, values, path);
}

static void read_requirements(struct reader *r, const struct yaml *node, const char *path)
{
    yamlmap_read_list(r->problems, node, path, 100, add_requirement, r);
}

bool provisioner_requires(const struct provisioner *p, const char *key)
{
    for (size_t i = 0; i < json_array_size(p->requirements); i++) {
        const char *has =
            json_string_value(json_object_get(json_array_get(p->requirements, i), "key"));

        if (has && str_equal(has, key))
            return true;
    }
    return false;
}

/* ---- Numbers, and what else there is ---- */

static void read_seconds(struct reader *r, const struct yaml *node, const char *path, int64_t max,
                         int64_t *to)
{
    int64_t value;

    if (!yaml_as_int(node, &value) || value < 0 || value > max)
        refuse(r->problems, node->at, path, "expected a whole number from 0 to %lld",
               (long long)max);
    else
        *to = value;
}

static void read_empty(struct reader *r, const struct yaml *node, const char *path)
{
    read_seconds(r, node, path, 1LL << 31, &r->p->empty_seconds);
}

static void read_expired(struct reader *r, const struct yaml *node, const char *path)
{
    read_seconds(r, node, path, 1LL << 31, &r->p->expire_seconds);
}

static void read_weight(struct reader *r, const struct yaml *node, const char *path)
{
    read_seconds(r, node, path, 100, &r->p->weight);
}

/* limits.resources became limits. */
static void read_limits(struct reader *r, const struct yaml *node, const char *path)
{
    static const char *const known[] = {"resources"};

    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, node, path, known, ARRAY_SIZE(known));
    if (yaml_get(node, "resources")) {
        json_decref(r->p->limits);
        r->p->limits =
            yamljson_texts(yaml_get(node, "resources"), "spec.limits.resources", r->problems);
    }
}

static void read_consolidation(struct reader *r, const struct yaml *node, const char *path)
{
    static const char *const known[] = {"enabled"};
    const struct yaml *enabled = yaml_get(node, "enabled");

    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, node, path, known, ARRAY_SIZE(known));
    if (enabled && !yaml_as_bool(enabled, &r->p->consolidates))
        refuse(r->problems, enabled->at, "spec.consolidation.enabled", "expected true or false");
}

static void read_kubelet(struct reader *r, const struct yaml *node, const char *path)
{
    static const char *const known[] = {"clusterDNS",
                                        "containerRuntime",
                                        "cpuCFSQuota",
                                        "evictionHard",
                                        "evictionMaxPodGracePeriod",
                                        "evictionSoft",
                                        "evictionSoftGracePeriod",
                                        "imageGCHighThresholdPercent",
                                        "imageGCLowThresholdPercent",
                                        "kubeReserved",
                                        "maxPods",
                                        "podsPerCore",
                                        "systemReserved"};
    const char *runtime = yaml_get_text(node, "containerRuntime");

    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, node, path, known, ARRAY_SIZE(known));
    if (runtime && !str_equal(runtime, "containerd"))
        refuse(r->problems, yaml_get(node, "containerRuntime")->at, path,
               "v1 has no runtime but containerd; remove containerRuntime");
    r->p->kubelet = yamljson(node);
    r->p->is_docker_gone = json_object_del(r->p->kubelet, "containerRuntime") == 0;
}

static void read_provider(struct reader *r, const struct yaml *node, const char *path)
{
    if (yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        r->p->provider = node;
}

static void read_provider_ref(struct reader *r, const struct yaml *node, const char *path)
{
    static const char *const known[] = {"apiVersion", "kind", "name"};
    const char *name = yaml_get_text(node, "name");

    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, node, path, known, ARRAY_SIZE(known));
    if (!name || !*name || str_copy(r->p->provider_ref, sizeof(r->p->provider_ref), name) < 0)
        refuse(r->problems, node->at, path, "expected the name of an AWSNodeTemplate");
}

/* ---- All of it ---- */

static const struct {
    const char *key;
    void (*read)(struct reader *r, const struct yaml *node, const char *path);
} fields[] = {
    {"annotations", read_annotations},
    {"consolidation", read_consolidation},
    {"kubeletConfiguration", read_kubelet},
    {"labels", read_labels},
    {"limits", read_limits},
    {"provider", read_provider},
    {"providerRef", read_provider_ref},
    {"requirements", read_requirements},
    {"startupTaints", read_startup_taints},
    {"taints", read_taints},
    {"ttlSecondsAfterEmpty", read_empty},
    {"ttlSecondsUntilExpired", read_expired},
    {"weight", read_weight},
};

static void read_spec(struct reader *r, const struct yaml *spec)
{
    const char *keys[ARRAY_SIZE(fields)];

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct yaml *node = yaml_get(spec, fields[i].key);
        char path[YAMLMAP_PATH];

        keys[i] = fields[i].key;
        yamlmap_join(path, "spec", fields[i].key);
        if (node && node->kind != YAML_NULL)
            fields[i].read(r, node, path);
    }
    yamlmap_check_keys(r->problems, spec, "spec", keys, ARRAY_SIZE(fields));
    if (r->p->consolidates && r->p->empty_seconds != PROVISIONER_UNSET)
        refuse(r->problems, yaml_get(spec, "ttlSecondsAfterEmpty")->at, "spec.ttlSecondsAfterEmpty",
               "excludes consolidation, in v1alpha5 too; give only one of them");
    if (r->p->provider && *r->p->provider_ref)
        refuse(r->problems, r->p->provider->key_at, "spec.provider",
               "excludes providerRef, in v1alpha5 too; give only one of them");
}

static void read_name(struct reader *r, const struct yaml *document)
{
    const struct yaml *name = yaml_get(yaml_get(document, "metadata"), "name");

    r->p->at = name ? name->at : document->at;
    if (!name || !name->text || !kubename_is_dns_label(name->text) ||
        str_copy(r->p->name, sizeof(r->p->name), name->text) < 0)
        refuse(r->problems, r->p->at, "metadata.name",
               "expected at most %d lower-case letters, digits and '-': a NodePool and a profile "
               "are called after it",
               PROVISIONER_NAME - 1);
}

int provisioner_read(const struct yaml *document, struct problems *problems,
                     struct provisioner *ret_provisioner)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status"};
    size_t before = problems_count(problems, PROBLEM_ERROR);
    struct provisioner p = {.labels = json_object(),
                            .annotations = json_object(),
                            .taints = json_array(),
                            .startup_taints = json_array(),
                            .requirements = json_array(),
                            .limits = json_object(),
                            .empty_seconds = PROVISIONER_UNSET,
                            .expire_seconds = PROVISIONER_UNSET,
                            .weight = PROVISIONER_UNSET};
    struct reader r = {.problems = problems, .p = &p};
    const struct yaml *spec = yaml_get(document, "spec");
    const char *version = yaml_get_text(document, "apiVersion");

    yamlmap_check_keys(problems, document, "", known, ARRAY_SIZE(known));
    if (!version || !str_equal(version, "karpenter.sh/v1alpha5"))
        refuse(problems, document->at, "apiVersion", "expected karpenter.sh/v1alpha5");
    read_name(&r, document);
    if (!spec)
        refuse(problems, document->at, "spec", "the Provisioner has no spec");
    else if (yamlmap_check_kind(problems, spec, YAML_MAP, "spec"))
        read_spec(&r, spec);
    if (problems_count(problems, PROBLEM_ERROR) > before) {
        provisioner_deinit(&p);
        return -EBADMSG;
    }
    *ret_provisioner = p;
    return 0;
}
