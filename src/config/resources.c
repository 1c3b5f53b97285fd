// SPDX-License-Identifier: Apache-2.0
#include "config/resources.h"

#include <errno.h>

#include "base/array.h"
#include "base/text.h"
#include "config/kind.h"

enum { RULES_MAX = 256 };

static int parse_pattern(const struct option *option, const char *text, void *slot,
                         struct error *err)
{
    enum { PATTERN_SIZE = sizeof(((struct resource_rule *)NULL)->pattern) };

    if (!*text)
        return error_set(err, -EINVAL,
                         "an empty pattern matches nothing; write '*' for everything");
    if (str_copy(slot, PATTERN_SIZE, text) < 0)
        return error_set(err, -EINVAL, "a pattern may have at most %d characters",
                         PATTERN_SIZE - 1);
    return 0;
}

static const struct kind kind_pattern = {.read = read_by_parse, .parse = parse_pattern};

static const struct option rule_options[] = {
    {.path = "pattern",
     .kind = &kind_pattern,
     .offset = offsetof(struct resource_rule, pattern),
     .required = true,
     .help = "add a pattern for the product name (or MIG profile), such as pattern: '*A100*'"},
    {.path = "name",
     .kind = &kind_resource,
     .offset = offsetof(struct resource_rule, name),
     .required = true,
     .help = "add the resource name for such devices, such as name: nvidia.com/a100"},
};

static const struct schema rule_schema = {rule_options, ARRAY_SIZE(rule_options), true};

struct rules {
    struct resource_rule *items;
    size_t n_items, capacity;
};

static int read_rule(struct reader *reader, const struct yaml *node, void *context)
{
    struct rules *rules = context;
    struct resource_rule *rule =
        array_push(&rules->items, &rules->n_items, &rules->capacity, sizeof(*rule));
    int r;

    if (!rule)
        return -ENOMEM;
    rule->at = node->at;
    r = schema_read(reader, &rule_schema, "", node, rule);
    if (r < 0)
        return r;
    if (reader->strictness == CONFIG_CHECK && *rule->name)
        reader_note(reader, node->at, "supported here, where NVIDIA's plugin ignores 'resources'");
    for (size_t i = 0; i + 1 < rules->n_items; i++) {
        const struct resource_rule *earlier = &rules->items[i];

        if (!*rule->pattern || !*earlier->pattern || !str_glob(earlier->pattern, rule->pattern))
            continue;
        reader_warning(reader, node->at,
                       "never applies: whatever matches '%s' already matches '%s' at line %u, and "
                       "the first match wins",
                       rule->pattern, earlier->pattern, earlier->at.line);
        break;
    }
    return 0;
}

/* What is refused has no place in the rest of a configuration with errors. */
static void drop_refused(struct rules *rules)
{
    size_t kept = 0;

    for (size_t i = 0; i < rules->n_items; i++)
        if (*rules->items[i].pattern && *rules->items[i].name)
            rules->items[kept++] = rules->items[i];
    rules->n_items = kept;
}

static int read_rules(struct reader *reader, const struct yaml *node, struct resource_rule **items,
                      size_t *n_items)
{
    struct rules rules = {.items = NULL};
    int r = 0;

    if (node->n_children > RULES_MAX)
        reader_error(reader, node->at, "more than %d entries in one list", RULES_MAX);
    else
        r = schema_read_list(reader, node, "{pattern, name}", read_rule, &rules);
    drop_refused(&rules);
    *items = rules.items; /* even if incomplete: the policy frees it */
    *n_items = rules.n_items;
    return r;
}

static int read_gpu_rules(struct reader *reader, const struct option *option,
                          const struct yaml *node, void *slot)
{
    struct policy *policy = slot;

    return read_rules(reader, node, &policy->gpu_rules, &policy->n_gpu_rules);
}

static int read_mig_rules(struct reader *reader, const struct option *option,
                          const struct yaml *node, void *slot)
{
    struct policy *policy = slot;

    return read_rules(reader, node, &policy->mig_rules, &policy->n_mig_rules);
}

const struct kind kind_gpu_rules = {
    .read = read_gpu_rules, .below = &rule_schema, .is_list_of_maps = true};
const struct kind kind_mig_rules = {
    .read = read_mig_rules, .below = &rule_schema, .is_list_of_maps = true};
