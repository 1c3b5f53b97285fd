// SPDX-License-Identifier: Apache-2.0
#include "karpenter/nodetemplate.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "base/yamlmap.h"
#include "karpenter/nodepool.h"
#include "karpenter/yamljson.h"

#define refuse    yamlmap_refuse
#define DISCOVERY "karpenter.sh/discovery"

struct converter {
    struct problems *problems;
    struct names *remarks;
    const struct yaml *fields; /* NULL = none */
    const char *path;
    json_t *spec;
    const char *cluster; /* borrowed: its name, as a selector has it, or the placeholder */
    bool failed;
};

static void remark(struct converter *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void remark(struct converter *c, const char *format, ...)
{
    char line[512];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (names_add(c->remarks, line, strlen(line)) < 0)
        c->failed = true;
}

/* ---- Selectors became lists of terms ---- */

/* "aws::ids: a,b" is one term for each. */
static void add_words(json_t *terms, const char *key, const char *words)
{
    while (*words) {
        size_t length = strcspn(words, ",");
        const char *start = words + strspn(words, " ");
        size_t skipped = (size_t)(start - words);

        if (length > skipped)
            json_array_append_new(terms, json_pack("{s:s%}", key, start, length - skipped));
        words += length;
        words += *words == ',';
    }
}

/* How selectors of v1alpha1 name something else than a tag. */
static const struct {
    const char *key, *term;
} special[] = {{"aws-ids", "id"},
               {"aws::ids", "id"},
               {"aws::name", "name"},
               {"aws::owners", "owner"},
               {"aws::ssm", "ssmParameter"}};

static const char *special_term(const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(special); i++)
        if (str_equal(special[i].key, key))
            return special[i].term;
    return NULL;
}

static json_t *terms_of(struct converter *c, const struct yaml *selector, const char *path)
{
    json_t *terms = json_array(), *texts = yamljson_texts(selector, path, c->problems),
           *tags = json_object();
    const char *key;
    json_t *value;

    json_object_foreach(texts, key, value)
    {
        const char *term = special_term(key);

        if (term)
            add_words(terms, term, json_string_value(value));
        else if (*key && *json_string_value(value))
            json_object_set(tags, key, value);
    }
    if (json_object_size(tags))
        json_array_append_new(terms, json_pack("{s:O}", "tags", tags));
    if (selector->kind == YAML_MAP && !json_array_size(terms))
        refuse(c->problems, selector->at, path, "selects nothing");
    json_decref(tags);
    json_decref(texts);
    return terms;
}

/* The tag by which everything else of the cluster is found, too. */
static void find_cluster(struct converter *c)
{
    const char *const selectors[] = {"subnetSelector", "securityGroupSelector"};

    c->cluster = NODEPOOL_CLUSTER;
    for (size_t i = 0; i < ARRAY_SIZE(selectors); i++) {
        const char *value = yaml_get_text(yaml_get(c->fields, selectors[i]), DISCOVERY);

        if (value && *value && !str_equal(value, "*")) {
            c->cluster = value;
            return;
        }
    }
}

static void convert_selector(struct converter *c, const char *key, const char *to)
{
    const struct yaml *selector = yaml_get(c->fields, key);
    char path[YAMLMAP_PATH];

    yamlmap_join(path, c->path, key);
    if (selector) {
        json_object_set_new(c->spec, to, terms_of(c, selector, path));
        return;
    }
    json_object_set_new(c->spec, to, json_pack("[{s:{s:s}}]", "tags", DISCOVERY, c->cluster));
    remark(c, "PLACEHOLDER spec.%s: v1 demands it; the tag is that of Karpenter's own guide.", to);
}

/* ---- Images ---- */

static const struct {
    const char *family, *alias;
} families[] = {{"AL2", "al2"},
                {"AL2023", "al2023"},
                {"Bottlerocket", "bottlerocket"},
                {"Windows2019", "windows2019"},
                {"Windows2022", "windows2022"},
                {"Custom", NULL}};

/* `index` of a family; false: a problem was added. */
static bool find_family(struct converter *c, size_t *ret_index)
{
    const struct yaml *node = yaml_get(c->fields, "amiFamily");
    char path[YAMLMAP_PATH];

    yamlmap_join(path, c->path, "amiFamily");
    for (size_t i = 0; node->text && i < ARRAY_SIZE(families); i++)
        if (str_equal(families[i].family, node->text)) {
            *ret_index = i;
            return true;
        }
    refuse(c->problems, node->at, path,
           "v1 has no such family; use AL2023 or Bottlerocket, or Custom with an amiSelector");
    return false;
}

static void set_alias(struct converter *c, const char *alias)
{
    json_object_set_new(c->spec, "amiSelectorTerms",
                        json_pack("[{s:s+}]", "alias", alias, "@latest"));
}

static void convert_selected_images(struct converter *c, const struct yaml *selector, size_t family)
{
    char path[YAMLMAP_PATH];

    yamlmap_join(path, c->path, "amiSelector");
    json_object_set_new(c->spec, "amiFamily", json_string(families[family].family));
    json_object_set_new(c->spec, "amiSelectorTerms", terms_of(c, selector, path));
}

static void convert_images(struct converter *c)
{
    const struct yaml *selector = yaml_get(c->fields, "amiSelector");
    size_t family = 0;

    if (yaml_get(c->fields, "amiFamily") && !find_family(c, &family))
        return;
    if (selector) {
        convert_selected_images(c, selector, family);
        return;
    }
    if (!yaml_get(c->fields, "amiFamily")) {
        set_alias(c, "al2023");
        remark(c, "PLACEHOLDER spec.amiSelectorTerms: v1 demands it; v1alpha5 took Amazon Linux 2, "
                  "which is no longer built for EKS. Name a version in place of latest in "
                  "production.");
        return;
    }
    if (!families[family].alias) {
        refuse(c->problems, yaml_get(c->fields, "amiFamily")->at, c->path,
               "the family Custom needs an amiSelector");
        return;
    }
    set_alias(c, families[family].alias);
    remark(c,
           "spec.amiSelectorTerms: %s@latest is what amiFamily: %s meant; name a version in "
           "production.",
           families[family].alias, families[family].family);
}

/* ---- The rest ---- */

static void convert_role(struct converter *c)
{
    const struct yaml *profile = yaml_get(c->fields, "instanceProfile");

    if (profile && profile->text) {
        json_object_set_new(c->spec, "instanceProfile", json_string(profile->text));
        return;
    }
    json_object_set_new(c->spec, "role", json_pack("s+", "KarpenterNodeRole-", c->cluster));
    remark(c,
           "PLACEHOLDER spec.role: v1 demands a role or an instance profile; the name is that of "
           "Karpenter's own guide.");
}

/* Same name, same meaning. */
static const char *const same[] = {"blockDeviceMappings", "context", "detailedMonitoring",
                                   "metadataOptions", "userData"};

static const char *const known[] = {"amiFamily",
                                    "amiSelector",
                                    "apiVersion",
                                    "blockDeviceMappings",
                                    "context",
                                    "detailedMonitoring",
                                    "instanceProfile",
                                    "kind",
                                    "launchTemplate",
                                    "metadataOptions",
                                    "securityGroupSelector",
                                    "subnetSelector",
                                    "tags",
                                    "userData"};

static void convert_rest(struct converter *c)
{
    const struct yaml *template = yaml_get(c->fields, "launchTemplate"),
                      *tags = yaml_get(c->fields, "tags");

    yamlmap_check_keys(c->problems, c->fields, c->path, known, ARRAY_SIZE(known));
    if (template)
        refuse(c->problems, template->key_at, c->path,
               "v1 has no launchTemplate; write what it has as userData, blockDeviceMappings and "
               "metadataOptions");
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        if (yaml_get(c->fields, same[i]))
            json_object_set_new(c->spec, same[i], yamljson(yaml_get(c->fields, same[i])));
    if (tags)
        json_object_set_new(c->spec, "tags", yamljson_texts(tags, c->path, c->problems));
}

int nodetemplate_convert(const struct yaml *fields, const char *path, struct problems *problems,
                         struct names *remarks, json_t **ret_spec)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    struct converter c = {.problems = problems,
                          .remarks = remarks,
                          .fields = fields,
                          .path = path,
                          .spec = json_object()};

    find_cluster(&c);
    convert_role(&c);
    convert_images(&c);
    convert_selector(&c, "subnetSelector", "subnetSelectorTerms");
    convert_selector(&c, "securityGroupSelector", "securityGroupSelectorTerms");
    if (fields)
        convert_rest(&c);
    if (c.failed || problems_count(problems, PROBLEM_ERROR) > before) {
        json_decref(c.spec);
        return c.failed ? -ENOMEM : -EBADMSG;
    }
    *ret_spec = c.spec;
    return 0;
}
