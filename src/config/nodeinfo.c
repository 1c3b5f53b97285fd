// SPDX-License-Identifier: Apache-2.0
#include "config/nodeinfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/kubename.h"
#include "base/text.h"
#include "config/kind.h"

enum { EXTRAS_MAX = 64 };

void extra_labels_free(struct extra_label *labels, size_t n_labels)
{
    for (size_t i = 0; i < n_labels; i++) {
        free(labels[i].key);
        free(labels[i].value);
    }
    free(labels);
}

void extra_taints_free(struct extra_taint *taints, size_t n_taints)
{
    for (size_t i = 0; i < n_taints; i++) {
        free(taints[i].key);
        free(taints[i].value);
        free(taints[i].effect);
    }
    free(taints);
}

static bool is_too_long(struct reader *reader, const struct yaml *node)
{
    if (node->n_children <= EXTRAS_MAX)
        return false;
    reader_error(reader, node->at, "more than %d entries", EXTRAS_MAX);
    return true;
}

/* --- labels: a map with arbitrary keys --- */

static int set_label(struct extra_label *label, const char *key, const char *value)
{
    cleanup_free char *own_key = strdup(key), *own_value = strdup(value);

    if (!own_key || !own_value)
        return -ENOMEM;
    label->key = TAKE_PTR(own_key);
    label->value = TAKE_PTR(own_value);
    return 0;
}

static int read_label(struct reader *reader, const struct yaml *node, struct extra_label *label)
{
    const char *value = "";
    struct error err = ERROR_INIT;

    if (kubename_check_key(node->key, &err) < 0) {
        reader_error(reader, node->key_at, "%s", error_text(&err));
        return 0;
    }
    if (node->kind != YAML_NULL)
        value = read_scalar(reader, node, "a label value");
    if (!value)
        return 0;
    if (kubename_check_value(value, &err) < 0) {
        reader_error(reader, node->at, "%s", error_text(&err));
        return 0;
    }
    return set_label(label, node->key, value);
}

static int read_labels(struct reader *reader, const struct option *option, const struct yaml *node,
                       void *slot)
{
    struct config *config = slot;

    if (node->kind != YAML_MAP) {
        reader_error(reader, node->at, "expected a map of labels (key: value), got %s",
                     show_node(node).text);
        return 0;
    }
    if (is_too_long(reader, node))
        return 0;
    config->labels = calloc(node->n_children + 1, sizeof(*config->labels));
    if (!config->labels)
        return -ENOMEM;
    for (size_t i = 0; i < node->n_children; i++) {
        struct extra_label *label = &config->labels[config->n_labels];
        size_t before = reader_enter(reader, node->children[i].key);
        int r;

        label->at = node->children[i].key_at;
        reader_check_alias(reader, &node->children[i], node->at);
        r = read_label(reader, &node->children[i], label);
        reader_leave(reader, before);
        config->n_labels += label->key != NULL;
        if (r < 0)
            return r;
    }
    return 0;
}

const struct kind kind_labels = {.read = read_labels};

/* --- taints: a list as Kubernetes writes it --- */

static int parse_checked(int (*check)(const char *, struct error *), const char *text, void *slot,
                         struct error *err)
{
    int r = check(text, err);

    if (r < 0)
        return r;
    free(*(char **)slot);
    *(char **)slot = strdup(text);
    return *(char **)slot ? 0 : -ENOMEM;
}

static int check_effect(const char *text, struct error *err)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    const char *near;

    for (size_t i = 0; i < ARRAY_SIZE(effects); i++)
        if (str_equal(text, effects[i]))
            return 0;
    near = str_suggest(text, effects, ARRAY_SIZE(effects));
    return error_set(
        err, -EINVAL, "'%s' is not one of: NoSchedule, PreferNoSchedule, NoExecute%s%s%s",
        show(text).text, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int parse_key(const struct option *option, const char *text, void *slot, struct error *err)
{
    return parse_checked(kubename_check_key, text, slot, err);
}

static int parse_value(const struct option *option, const char *text, void *slot, struct error *err)
{
    return parse_checked(kubename_check_value, text, slot, err);
}

static int parse_effect(const struct option *option, const char *text, void *slot,
                        struct error *err)
{
    return parse_checked(check_effect, text, slot, err);
}

static const struct kind kind_taint_key = {.read = read_by_parse, .parse = parse_key};
static const struct kind kind_taint_value = {.read = read_by_parse, .parse = parse_value};
static const struct kind kind_taint_effect = {.read = read_by_parse, .parse = parse_effect};

static const struct option taint_options[] = {
    {.path = "key",
     .kind = &kind_taint_key,
     .offset = offsetof(struct extra_taint, key),
     .required = true,
     .help = "add the taint's key, such as key: nvidia.com/gpu-shared"},
    {.path = "value",
     .kind = &kind_taint_value,
     .offset = offsetof(struct extra_taint, value),
     .standard = "",
     .help = "the taint's value"},
    {.path = "effect",
     .kind = &kind_taint_effect,
     .offset = offsetof(struct extra_taint, effect),
     .required = true,
     .help = "write effect: NoSchedule, PreferNoSchedule or NoExecute"},
};

static const struct schema taint_schema = {taint_options, ARRAY_SIZE(taint_options), true};

static int read_taint(struct reader *reader, const struct yaml *node, void *context)
{
    struct config *config = context;
    struct extra_taint *taint = &config->taints[config->n_taints++];
    int r = schema_set_defaults(&taint_schema, OPTION_CONFIG, taint);

    if (r < 0)
        return r;
    taint->at = node->at;
    return schema_read(reader, &taint_schema, "", node, taint);
}

static int read_taints(struct reader *reader, const struct option *option, const struct yaml *node,
                       void *slot)
{
    struct config *config = slot;

    if (is_too_long(reader, node))
        return 0;
    if (node->kind == YAML_LIST) {
        config->taints = calloc(node->n_children + 1, sizeof(*config->taints));
        if (!config->taints)
            return -ENOMEM;
    }
    return schema_read_list(reader, node, "taints {key, value, effect}", read_taint, config);
}

const struct kind kind_taints = {.read = read_taints};
