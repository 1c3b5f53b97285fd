// SPDX-License-Identifier: Apache-2.0
#include "template.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "fieldreader.h"
#include "manager.h"

/* Fields that are not simulated, and the consequence. */
static const char *const pod_fields_left_out[] = {"volumes",
                                                  "nodeSelector",
                                                  "affinity",
                                                  "tolerations",
                                                  "topologySpreadConstraints",
                                                  "resourceClaims",
                                                  "securityContext",
                                                  "runtimeClassName",
                                                  "schedulerName",
                                                  "resources"};
static const char *const container_fields_left_out[] = {
    "volumeMounts", "livenessProbe", "readinessProbe", "startupProbe",
    "lifecycle",    "envFrom",       "workingDir",     "securityContext"};

static void strings_free(char **strings)
{
    for (size_t i = 0; strings && strings[i]; i++)
        free(strings[i]);
    free(strings);
}

static void container_spec_deinit(struct container_spec *container)
{
    for (size_t i = 0; i < container->n_variables; i++) {
        free(container->variables[i].name);
        free(container->variables[i].value);
        free(container->variables[i].field_path);
    }
    free(container->variables);
    for (size_t i = 0; i < container->n_limits; i++)
        free(container->limits[i].resource);
    free(container->limits);
    strings_free(container->command);
    strings_free(container->args);
    free(container->name);
    free(container->image);
}

struct pod_template *pod_template_ref(struct pod_template *template)
{
    template->n_references++;
    return template;
}

void pod_template_unref(struct pod_template *template)
{
    if (!template || --template->n_references)
        return;
    for (size_t i = 0; i < template->n_containers; i++)
        container_spec_deinit(&template->containers[i]);
    free(template->containers);
    free(template->source);
    free(template);
}

static const struct {
    const char *name;
    double factor;
} suffixes[] = {
    {"m", 1e-3}, {"k", 1e3},  {"M", 1e6},     {"G", 1e9},      {"T", 1e12},
    {"P", 1e15}, {"E", 1e18}, {"Ki", 1024},   {"Mi", 1 << 20}, {"Gi", 1 << 30},
    {"u", 1e-6}, {"n", 1e-9}, {"Ti", 0x1p40}, {"Pi", 0x1p50},  {"Ei", 0x1p60},
};

/* A Kubernetes quantity; -EINVAL if it is none. */
static int parse_quantity(const char *text, double *ret_value)
{
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    char *end;
    double value;

    /* strtod also accepts hexadecimal numbers, infinity and NaN. */
    if ((!isdigit((unsigned char)*digits) && *digits != '.') || strpbrk(digits, "xX"))
        return -EINVAL;
    value = strtod(text, &end);
    for (size_t i = 0; *end && i < ARRAY_SIZE(suffixes); i++)
        if (str_equal(end, suffixes[i].name)) {
            value *= suffixes[i].factor;
            end += strlen(end);
        }
    if (*end || end == text)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

/* The API server's messages for a count of an extended resource. */
static int read_count(struct fieldreader *reader, const struct yaml *node, const char *path,
                      int64_t *ret_count)
{
    double value;

    if (node->kind != YAML_SCALAR || parse_quantity(node->text, &value) < 0) {
        fieldreader_complain(reader, node->at, path,
                             "quantities must match the regular expression "
                             "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
        return -EINVAL;
    }
    if (value < 0) {
        fieldreader_complain(reader, node->at, path,
                             "Invalid value: \"%.64s\": must be greater than or equal to 0",
                             node->text);
        return -EINVAL;
    }
    if (value > 1e12 || (double)(int64_t)value != value) {
        fieldreader_complain(reader, node->at, path, "Invalid value: \"%.64s\": must be an integer",
                             node->text);
        return -EINVAL;
    }
    *ret_count = (int64_t)value;
    return 0;
}

static struct quantity *find_limit(struct container_spec *container, const char *resource)
{
    for (size_t i = 0; i < container->n_limits; i++)
        if (str_equal(container->limits[i].resource, resource))
            return &container->limits[i];
    return NULL;
}

static void add_limit(struct fieldreader *reader, struct container_spec *container,
                      const char *resource, int64_t count)
{
    char *name = fieldreader_copy(reader, resource);
    struct quantity *limit = name ? array_push(&container->limits, &container->n_limits,
                                               &container->limits_capacity, sizeof(*limit))
                                  : NULL;

    if (!limit) {
        free(name);
        reader->r = -ENOMEM;
        return;
    }
    limit->resource = name;
    limit->count = count;
}

static int compare_limits(const void *a, const void *b)
{
    const struct quantity *left = a, *right = b;

    return strcmp(left->resource, right->resource);
}

/* cpu, memory, storage and huge pages are not tracked: this node always has enough of them. */
static bool is_extended(struct fieldreader *reader, const struct yaml *node, const char *path)
{
    if (!strchr(node->key, '/') || strstr(node->key, "kubernetes.io/"))
        return false;
    if (manager_is_extended_resource(node->key))
        return true;
    fieldreader_complain(
        reader, node->key_at, path,
        "Invalid value: \"%.253s\": must be a resource name like vendor.example/thing", node->key);
    return false;
}

static void read_resources(struct fieldreader *reader, const struct yaml *map, const char *path,
                           struct container_spec *container)
{
    const struct yaml *resources = fieldreader_get_map(reader, map, "resources", path);
    struct path at = path_add(path, "resources");
    const struct yaml *limits = fieldreader_get_map(reader, resources, "limits", at.text);
    const struct yaml *requests = fieldreader_get_map(reader, resources, "requests", at.text);
    int64_t count;

    for (size_t i = 0; limits && i < limits->n_children; i++) {
        const struct yaml *node = &limits->children[i];
        struct path here = path_format("%s.limits[%s]", at.text, node->key);

        if (is_extended(reader, node, here.text) &&
            read_count(reader, node, here.text, &count) == 0)
            add_limit(reader, container, node->key, count);
    }
    for (size_t i = 0; requests && i < requests->n_children; i++) {
        const struct yaml *node = &requests->children[i];
        const struct quantity *limit = find_limit(container, node->key);
        struct path here = path_format("%s.requests[%s]", at.text, node->key);

        if (!is_extended(reader, node, here.text) ||
            read_count(reader, node, here.text, &count) < 0)
            continue;
        if (!limit && !yaml_get(limits, node->key))
            fieldreader_complain(
                reader, node->at, path_add(at.text, "limits").text,
                "Required value: Limit must be set for non overcommitable resources");
        else if (limit && limit->count != count)
            fieldreader_complain(reader, node->at, path_add(at.text, "requests").text,
                                 "Invalid value: \"%" PRId64
                                 "\": must be equal to %.253s limit of %" PRId64,
                                 count, node->key, limit->count);
    }
    if (container->n_limits)
        qsort(container->limits, container->n_limits, sizeof(*container->limits), compare_limits);
}

static void read_variable(struct fieldreader *reader, const struct yaml *node, const char *path,
                          struct container_spec *container)
{
    const struct yaml *from = fieldreader_get_map(reader, node, "valueFrom", path);
    const char *field = yaml_get_text(yaml_get(from, "fieldRef"), "fieldPath");
    const char *name = fieldreader_get_string(reader, node, "name", path);
    const char *value = from ? NULL : fieldreader_get_string(reader, node, "value", path);
    struct variable *variable;

    if (!name || !*name || strchr(name, '=')) {
        fieldreader_complain(reader, node->at, path_add(path, "name").text,
                             "Required value: name the environment variable");
        return;
    }
    if (from && !field) {
        problem_add(reader->problems, PROBLEM_WARNING, from->at, path_add(path, "valueFrom").text,
                    "only fieldRef is supported by the stand-in: %.253s is ignored", name);
        return;
    }
    variable = array_push(&container->variables, &container->n_variables,
                          &container->variables_capacity, sizeof(*variable));
    if (!variable) {
        reader->r = -ENOMEM;
        return;
    }
    variable->name = fieldreader_copy(reader, name);
    variable->value = field ? NULL : fieldreader_copy(reader, value ? value : "");
    variable->field_path = field ? fieldreader_copy(reader, field) : NULL;
}

static void read_container(struct fieldreader *reader, const struct yaml *map, const char *path,
                           enum container_role role, struct pod_template *template)
{
    struct container_spec *container;
    const char *policy, *image;
    const struct yaml *env;

    if (map->kind != YAML_MAP) {
        fieldreader_complain(reader, map->at, path, "must be a map with name and image");
        return;
    }
    container = array_push(&template->containers, &template->n_containers,
                           &template->containers_capacity, sizeof(*container));
    if (!container) {
        reader->r = -ENOMEM;
        return;
    }
    policy = fieldreader_get_string(reader, map, "restartPolicy", path);
    if (role == CONTAINER_INIT && policy && str_equal(policy, "Always"))
        role = CONTAINER_SIDECAR;
    container->role = role;
    container->name = fieldreader_get_name(reader, map, path, false);
    image = fieldreader_get_string(reader, map, "image", path);
    if (!image)
        fieldreader_complain(reader, map->at, path_add(path, "image").text, "Required value");
    container->image = fieldreader_copy(reader, image ? image : "");
    container->command = fieldreader_get_strings(reader, map, "command", path);
    container->args = fieldreader_get_strings(reader, map, "args", path);
    env = fieldreader_get_list(reader, map, "env", path);
    for (size_t i = 0; env && i < env->n_children; i++)
        read_variable(reader, &env->children[i], path_index(path, "env", i).text, container);
    read_resources(reader, map, path, container);
    fieldreader_note_left_out(reader, map, path, container_fields_left_out,
                              ARRAY_SIZE(container_fields_left_out));
}

static void check_names(struct fieldreader *reader, const struct yaml *spec, const char *path,
                        const struct pod_template *template)
{
    for (size_t i = 0; i < template->n_containers; i++)
        for (size_t k = 0; k < i; k++)
            if (template->containers[i].name && template->containers[k].name &&
                str_equal(template->containers[i].name, template->containers[k].name))
                fieldreader_complain(reader, spec->at, path,
                                     "Duplicate value: two containers are named \"%s\"",
                                     template->containers[i].name);
}

static void read_containers(struct fieldreader *reader, const struct yaml *spec, const char *path,
                            struct pod_template *template)
{
    static const struct {
        const char *field;
        enum container_role role;
    } lists[] = {{"initContainers", CONTAINER_INIT}, {"containers", CONTAINER_APP}};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        const struct yaml *list = fieldreader_get_list(reader, spec, lists[i].field, path);

        for (size_t k = 0; list && k < list->n_children; k++)
            read_container(reader, &list->children[k], path_index(path, lists[i].field, k).text,
                           lists[i].role, template);
        if (lists[i].role == CONTAINER_APP && (!list || !list->n_children))
            fieldreader_complain(reader, spec->at, path_add(path, lists[i].field).text,
                                 "Required value: a pod needs at least one container");
    }
    check_names(reader, spec, path, template);
}

static void read_restart_policy(struct fieldreader *reader, const struct yaml *spec,
                                const char *path, enum restart_rule rule,
                                struct pod_template *template)
{
    static const char *const names[] = {"Always", "OnFailure", "Never"};
    const char *policy = fieldreader_get_string(reader, spec, "restartPolicy", path);
    const struct yaml *node = yaml_get(spec, "restartPolicy");
    struct path here = path_add(path, "restartPolicy");
    bool known = !policy;

    for (size_t i = 0; policy && i < ARRAY_SIZE(names); i++)
        if (str_equal(policy, names[i])) {
            template->restart_policy = (enum restart_policy)i;
            known = true;
        }
    if (!known)
        fieldreader_complain(
            reader, node->at, here.text,
            "Unsupported value: \"%.64s\": supported values: \"Always\", \"OnFailure\", "
            "\"Never\"",
            policy);
    else if (rule == RESTART_NOT_ALWAYS && template->restart_policy == RESTART_ALWAYS)
        fieldreader_complain(reader, node ? node->at : spec->at, here.text,
                             "Required value: valid values: \"OnFailure\", \"Never\"");
    else if (rule == RESTART_ONLY_ALWAYS && template->restart_policy != RESTART_ALWAYS)
        fieldreader_complain(reader, node->at, here.text,
                             "Unsupported value: \"%.64s\": supported values: \"Always\"", policy);
}

/* Characters that are valid in JSON but a line break, or invalid, in YAML 1.1. */
static const struct {
    const char *bytes, *escape;
} not_in_yaml[] = {
    {"\x7f", "\\u007f"},         {"\xc2\x85", "\\u0085"},     {"\xe2\x80\xa8", "\\u2028"},
    {"\xe2\x80\xa9", "\\u2029"}, {"\xef\xbb\xbf", "\\ufeff"},
};

/* Appends the escape for the first character of `string` and returns its length, or 0 if none is
 * needed. */
static size_t add_escape(struct text *text, const char *string)
{
    for (size_t i = 0; i < ARRAY_SIZE(not_in_yaml); i++)
        if (str_starts_with(string, not_in_yaml[i].bytes)) {
            text_add(text, not_in_yaml[i].escape);
            return strlen(not_in_yaml[i].bytes);
        }
    if ((unsigned char)*string >= 0x20)
        return 0;
    text_addf(text, "\\u%04x", (unsigned)*string);
    return 1;
}

void template_add_json(struct text *text, const char *json)
{
    while (*json) {
        size_t n = *json == '\n' ? 0 : add_escape(text, json);

        if (n == 0)
            text_add_char(text, *json);
        json += n ? n : 1;
    }
}

static void add_json_string(struct text *text, const char *string)
{
    text_add_char(text, '"');
    while (*string) {
        size_t n = add_escape(text, string);

        if (n == 0 && (*string == '"' || *string == '\\'))
            text_add_char(text, '\\');
        if (n == 0)
            text_add_char(text, *string);
        string += n ? n : 1;
    }
    text_add_char(text, '"');
}

static void add_scalar(struct text *text, const struct yaml *node)
{
    int64_t number;
    bool boolean;

    if (node->kind == YAML_NULL)
        text_add(text, "null");
    else if (yaml_as_int(node, &number))
        text_addf(text, "%" PRId64, number);
    else if (yaml_as_bool(node, &boolean))
        text_add(text, boolean ? "true" : "false");
    else
        add_json_string(text, node->text);
}

/* The tree as compact JSON, which is also YAML: a restart reads pods back from it. */
static void add_source(struct text *text, const struct yaml *node)
{
    bool map = node->kind == YAML_MAP;

    if (!map && node->kind != YAML_LIST) {
        add_scalar(text, node);
        return;
    }
    text_add_char(text, map ? '{' : '[');
    for (size_t i = 0; i < node->n_children; i++) {
        if (i)
            text_add_char(text, ',');
        if (map) {
            add_json_string(text, node->children[i].key);
            text_add_char(text, ':');
        }
        add_source(text, &node->children[i]);
    }
    text_add_char(text, map ? '}' : ']');
}

struct pod_template *pod_template_read(struct fieldreader *reader, const struct yaml *spec,
                                       const char *path, enum restart_rule rule)
{
    struct pod_template *template = calloc(1, sizeof(*template));
    struct text source = TEXT_INIT;

    if (!template) {
        reader->r = -ENOMEM;
        return NULL;
    }
    template->n_references = 1;
    add_source(&source, spec);
    template->source = text_take(&source);
    text_deinit(&source);
    if (!template->source)
        reader->r = -ENOMEM;
    template->grace_period_s =
        fieldreader_get_count(reader, spec, "terminationGracePeriodSeconds", path, 30, 1 << 30);
    read_restart_policy(reader, spec, path, rule, template);
    read_containers(reader, spec, path, template);
    fieldreader_note_left_out(reader, spec, path, pod_fields_left_out,
                              ARRAY_SIZE(pod_fields_left_out));
    return template;
}

static int64_t container_demand(const struct container_spec *container, const char *resource)
{
    for (size_t i = 0; i < container->n_limits; i++)
        if (str_equal(container->limits[i].resource, resource))
            return container->limits[i].count;
    return 0;
}

int64_t pod_template_demand(const struct pod_template *template, const char *resource)
{
    int64_t staying = 0, peak = 0;

    for (size_t i = 0; i < template->n_containers; i++) {
        const struct container_spec *container = &template->containers[i];
        int64_t demand = container_demand(container, resource);

        if (container->role != CONTAINER_INIT)
            staying += demand;
        else if (staying + demand > peak)
            peak = staying + demand;
    }
    return staying > peak ? staying : peak;
}
