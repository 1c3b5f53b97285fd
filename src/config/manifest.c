// SPDX-License-Identifier: Apache-2.0
#include "config/manifest.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "config/options.h"

/* What was found while walking the documents. */
struct search {
    struct reader *reader;
    struct manifest *manifest;
    enum manifest_owner owner;     /* the requested one */
    const char *key;               /* the requested one, or NULL */
    const struct yaml *bare;       /* the first document that is not a manifest */
    const struct yaml *map;        /* the first ConfigMap, or the values */
    const struct yaml *other;      /* the first manifest of another kind */
    const struct yaml *list;       /* the first list of manifests */
    const char *chosen;            /* of values: the default of several texts */
    size_t n_others, n_maps;       /* manifests of another kind, ConfigMaps */
    struct text names;             /* all keys, for the error message */
    enum problem_severity if_none; /* for a file of others */
    bool has_values, failed;       /* failed: an error was reported that explains an empty result */
};

void manifest_deinit(struct manifest *manifest)
{
    yaml_free(manifest->documents, manifest->n_documents);
    free(manifest->choices);
    *manifest = (struct manifest)MANIFEST_INIT;
}

void manifest_tree_deinit(struct manifest_tree *tree)
{
    yaml_free(tree->inner, tree->n_inner);
    *tree = (struct manifest_tree){.inner = NULL};
}

/* "kube-system/plugin" */
static struct shown name_of_map(const struct yaml *map)
{
    const struct yaml *metadata = yaml_get(map, "metadata");
    const char *name = yaml_get_text(metadata, "name");
    const char *namespace = yaml_get_text(metadata, "namespace");
    char text[160];

    if (!name)
        snprintf(text, sizeof(text), "the ConfigMap at line %u", map->at.line);
    else
        snprintf(text, sizeof(text), "%.70s%s%.70s", namespace ? namespace : "",
                 namespace ? "/" : "", name);
    return show(text);
}

void manifest_name(const struct manifest_choice *choice, char *buffer, size_t size)
{
    if (!choice->owner)
        snprintf(buffer, size, "%s", "");
    else if (str_equal(choice->section, "data"))
        snprintf(buffer, size, "%s of %s", show(choice->value->key).text,
                 name_of_map(choice->owner).text);
    else
        snprintf(buffer, size, "%s.%s", choice->section, show(choice->value->key).text);
}

/* True if a line of the text begins with the key, or if it has it in braces. */
static bool has_key(const char *text, const char *key)
{
    for (const char *at = text; (at = strcasestr(at, key)); at++) {
        const char *end = at + strlen(key);

        end += strspn(end, "\" ");
        if (*end == ':' && (at == text || strchr("\n\"{,", at[-1])))
            return true;
    }
    return false;
}

static bool looks_like_migconfig(const char *text)
{
    return has_key(text, "mig-configs");
}

static bool looks_like_configuration(const char *text)
{
    static const char *const keys[] = {"version", "flags", "sharing", "resources", "gpuslice"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (has_key(text, keys[i]))
            return true;
    return looks_like_migconfig(text);
}

static int add_choice(struct search *search, const struct manifest_choice *choice)
{
    struct manifest *manifest = search->manifest;
    struct manifest_choice *slot;

    if (manifest->n_choices == MANIFEST_MAX_CHOICES) {
        reader_error(search->reader, choice->value->at,
                     "more than %d configurations in one file; split it", MANIFEST_MAX_CHOICES);
        search->failed = true;
        return 0;
    }
    slot = array_push(&manifest->choices, &manifest->n_choices, &manifest->capacity, sizeof(*slot));
    if (!slot)
        return -ENOMEM;
    *slot = *choice;
    return 0;
}

/* Every text of a ConfigMap's data or of the values. */
static int visit_texts(struct search *search, const struct yaml *owner, const struct yaml *texts,
                       const char *section)
{
    bool is_foreign = str_equal(section, "data");
    size_t first = search->manifest->n_choices;

    for (size_t i = 0; i < texts->n_children && !search->failed; i++) {
        const struct yaml *value = &texts->children[i];
        int r;

        if (search->names.length < 200)
            text_addf(&search->names, "%s%s", search->names.length ? ", " : "",
                      show(value->key).text);
        if (value->kind != YAML_SCALAR || looks_like_configuration(value->text))
            is_foreign = false;
        if (search->key && !str_equal(search->key, value->key))
            continue;
        r = add_choice(
            search, &(struct manifest_choice){
                        .value = value,
                        .owner = owner,
                        .section = section,
                        .is_mig = value->kind == YAML_SCALAR && looks_like_migconfig(value->text),
                    });
        if (r < 0)
            return r;
    }
    for (size_t i = first; i < search->manifest->n_choices; i++)
        search->manifest->choices[i].is_foreign = is_foreign && !search->key;
    return 0;
}

static int visit_config_map(struct search *search, const struct yaml *map)
{
    const struct yaml *data = yaml_get(map, "data"), *binary = yaml_get(map, "binaryData");

    search->n_maps++;
    if (!search->map)
        search->map = map;
    if (data && data->kind != YAML_MAP && data->kind != YAML_NULL) {
        reader_error(search->reader, data->at, "expected a map under 'data', got %s",
                     show_node(data).text);
        search->failed = true;
    }
    if (binary && binary->kind != YAML_NULL)
        reader_report(search->reader, reader_lenient(search->reader), binary->key_at,
                      "binaryData is not read; put the configuration under 'data' as text");
    return data && data->kind == YAML_MAP ? visit_texts(search, map, data, "data") : 0;
}

static int visit_values(struct search *search, const struct yaml *document,
                        const struct helm_values *values)
{
    int r = 0;

    search->has_values = true;
    if (!search->map)
        search->map = document;
    if (!values->n_texts) {
        if (values->config_map_name)
            reader_report(search->reader, search->if_none, document->at,
                          "these are values of a Helm chart ('%s'); the configuration is in the "
                          "ConfigMap '%s' that config.name names: check that",
                          values->evidence, show(values->config_map_name).text);
        else
            reader_report(search->reader, search->if_none, document->at,
                          "these are values of a Helm chart ('%s') without a configuration; it "
                          "belongs at config.map.NAME, as text: 'NAME: |'",
                          values->evidence);
        search->failed = true;
        return 0;
    }
    search->chosen = values->chosen;
    for (size_t i = 0; i < values->n_texts && r == 0; i++) {
        char *section = search->manifest->sections[i];

        memcpy(section, values->texts[i].path, sizeof(search->manifest->sections[i]));
        r = visit_texts(search, document, values->texts[i].map, section);
    }
    return r;
}

static int visit(struct search *search, const struct yaml *document);

static int visit_items(struct search *search, const struct yaml *items)
{
    int r = 0;

    for (size_t i = 0; items && items->kind == YAML_LIST && i < items->n_children && r == 0; i++)
        r = visit(search, &items->children[i]);
    return r;
}

static int visit_bare(struct search *search, const struct yaml *document)
{
    struct helm_values values;

    if (helmvalues_find(document, &values))
        return visit_values(search, document, &values);
    if (search->bare)
        reader_report(search->reader, reader_lenient(search->reader), document->at,
                      "a second document after the one at line %u; only the first is read",
                      search->bare->at.line);
    else
        search->bare = document;
    return 0;
}

/* Reports what is missing or misspelt of a ConfigMap's first lines, which kubectl would refuse. */
static void check_head(struct search *search, const struct yaml *document)
{
    const struct yaml *version = yaml_get(document, "apiVersion"),
                      *kind = yaml_get(document, "kind");

    if (!kind)
        reader_error(search->reader, document->at,
                     "'kind' is missing; a ConfigMap has kind: ConfigMap");
    else if (!str_equal(kind->text, "ConfigMap"))
        reader_error(search->reader, kind->at, "write kind: ConfigMap, not '%s'",
                     show(kind->text).text);
    if (!version)
        reader_error(search->reader, document->at,
                     "'apiVersion' is missing; a ConfigMap has apiVersion: v1");
    else if (!version->text || !str_equal(version->text, "v1"))
        reader_report(search->reader, reader_lenient(search->reader), version->at,
                      "a ConfigMap has apiVersion: v1, not %s", show_node(version).text);
}

static bool means_config_map(const struct yaml *document)
{
    const char *kind = yaml_get_text(document, "kind");
    const struct yaml *data = yaml_get(document, "data");

    if (kind)
        return strcasecmp(kind, "ConfigMap") == 0;
    return yaml_get(document, "apiVersion") && !yaml_get(document, "kind") &&
           (yaml_get(document, "metadata") || (data && data->kind == YAML_MAP));
}

static int visit(struct search *search, const struct yaml *document)
{
    const char *kind = yaml_get_text(document, "kind");

    if (document->kind == YAML_NULL)
        return 0;
    if (means_config_map(document)) {
        check_head(search, document);
        return visit_config_map(search, document);
    }
    if (!yaml_get(document, "apiVersion") || !yaml_get(document, "kind"))
        return visit_bare(search, document);
    if (kind && str_ends_with(kind, "List")) {
        search->list = search->list ? search->list : document;
        return visit_items(search, yaml_get(document, "items"));
    }
    search->n_others++;
    search->other = search->other ? search->other : document;
    return 0;
}

/* Parses the text under a data key, keeping its positions in the file. */
static int read_inner(struct reader *reader, const struct yaml *value, struct manifest_tree *tree)
{
    cleanup_problems struct problems inner = PROBLEMS_INIT;
    bool has_places = value->content_at.line > 0;
    int r = yaml_parse(value->text, strlen(value->text), value->content_at,
                       has_places ? reader->problems : &inner, &tree->inner, &tree->n_inner);

    if (r == -EBADMSG && value->folded) {
        reader_error(
            reader, value->at,
            "'>' joins the lines of this text, so that it is no longer YAML; write '%s: |'",
            show(value->key).text);
        return 0;
    }
    for (size_t i = 0; i < inner.n_items; i++)
        reader_error(reader, value->at, "in line %u of this text: %s", inner.items[i].at.line,
                     inner.items[i].text);
    return r == -EBADMSG ? 0 : r;
}

/* Positions inside a text that has no lines of its own in the file are no use in an editor. */
static void move_places(struct yaml *node, struct position at)
{
    node->at = at;
    node->key_at = at;
    node->content_at = (struct position){0, 0};
    for (size_t i = 0; i < node->n_children; i++)
        move_places(&node->children[i], at);
}

static const struct yaml *choose_inner(struct reader *reader, const struct manifest_tree *tree)
{
    const struct yaml *chosen = NULL;
    struct helm_values values;

    for (size_t i = 0; i < tree->n_inner; i++) {
        const struct yaml *document = &tree->inner[i];

        if (document->kind == YAML_NULL)
            continue;
        if (chosen)
            reader_report(reader, reader_lenient(reader), document->at,
                          "a second document after the one at line %u; only the first is read",
                          chosen->at.line);
        else
            chosen = document;
    }
    if (!chosen)
        return NULL;
    if (yaml_get(chosen, "apiVersion") && yaml_get(chosen, "kind"))
        reader_error(reader, chosen->at,
                     "a manifest inside the ConfigMap; put the configuration itself here");
    else if (helmvalues_find(chosen, &values))
        reader_error(reader, chosen->at,
                     "values of a Helm chart ('%s') inside the ConfigMap; put the configuration "
                     "itself here",
                     values.evidence);
    else
        return chosen;
    return NULL;
}

static int open_text(struct reader *reader, const struct manifest_choice *choice,
                     struct manifest_tree *tree)
{
    const struct yaml *value = choice->value;
    int r;

    if (value->kind == YAML_NULL)
        return 0;
    if (value->kind != YAML_SCALAR) {
        reader_error(reader, value->at,
                     "the data of a ConfigMap is text, got %s; write '%s: |' and the configuration "
                     "indented below it",
                     show_node(value).text, show(value->key).text);
        return 0;
    }
    r = read_inner(reader, value, tree);
    if (r < 0)
        return r;
    if (value->content_at.line == 0)
        for (size_t i = 0; i < tree->n_inner; i++)
            move_places(&tree->inner[i], value->at);
    tree->config = choose_inner(reader, tree);
    return 0;
}

int manifest_open(struct reader *reader, const struct manifest_choice *choice,
                  struct manifest_tree *ret_tree)
{
    struct manifest_tree tree = {.inner = NULL};
    int r = 0;

    if (choice->owner)
        r = open_text(reader, choice, &tree);
    else
        tree.config = choice->value;
    if (r < 0) {
        manifest_tree_deinit(&tree);
        return r;
    }
    *ret_tree = tree;
    return 0;
}

static void report_other(struct search *search)
{
    const struct yaml *other = search->other;
    struct shown kind =
        show(yaml_get_text(other, "kind") ? yaml_get_text(other, "kind") : "manifest");

    if (search->n_others > 1)
        reader_report(search->reader, search->if_none, other->at,
                      "none of these %zu manifests is a ConfigMap (the first is a %s); the "
                      "configuration is a file or a ConfigMap",
                      search->n_others, kind.text);
    else
        reader_report(search->reader, search->if_none, other->at,
                      "a %s cannot be read; the configuration is a file or a ConfigMap", kind.text);
}

/* "any of a/x (line 1), any of b/x (line 9)" */
static void list_choices(const struct manifest *manifest, struct text *out)
{
    for (size_t i = 0; i < manifest->n_choices && out->length < 300; i++) {
        char name[200];

        manifest_name(&manifest->choices[i], name, sizeof(name));
        text_addf(out, "%s%s (line %u)", i ? ", " : "", name,
                  manifest->choices[i].value->key_at.line);
    }
}

static bool is_same_key_twice(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_choices; i++)
        for (size_t j = 0; j < i; j++)
            if (str_equal(manifest->choices[i].value->key, manifest->choices[j].value->key))
                return true;
    return false;
}

static void report_several(struct search *search)
{
    cleanup_text struct text choices = TEXT_INIT;
    struct position at;

    assert(search->map); /* the choices are keys of maps */
    at = search->map->at;
    list_choices(search->manifest, &choices);
    if (search->key)
        reader_error(search->reader, at, "%zu ConfigMaps here have the key '%s': %s; keep one",
                     search->manifest->n_choices, show(search->key).text, text_string(&choices));
    else if (is_same_key_twice(search->manifest))
        reader_error(search->reader, at,
                     "several configurations: %s; keep one ConfigMap in the file, and choose one "
                     "with --key",
                     text_string(&choices));
    else
        reader_error(search->reader, at, "several configurations; choose one with --key: %s",
                     text_string(&search->names));
}

/* Nothing was found: why. */
static void report_none(struct search *search)
{
    struct reader *reader = search->reader;

    if (!search->map && !search->other && search->list)
        reader_error(reader, search->list->at,
                     "the list contains no ConfigMap; add one under 'items'");
    else if (!search->map && search->other)
        report_other(search);
    else if (search->map && !*text_string(&search->names))
        reader_error(reader, search->map->at,
                     "the ConfigMap has no data; put the configuration under a key of 'data'");
    else if (search->map && search->key)
        reader_error(reader, search->map->at, "the %s no key '%s', only: %s",
                     search->has_values   ? "values have"
                     : search->n_maps > 1 ? "ConfigMaps have"
                                          : "ConfigMap has",
                     show(search->key).text, text_string(&search->names));
    else if (search->map)
        reader_report(reader, search->if_none, search->map->at,
                      "no ConfigMap here has a configuration (the first is %s)",
                      name_of_map(search->map).text);
}

/* Among other manifests, ConfigMaps of others are passed over. */
static void drop_foreign(struct search *search)
{
    struct manifest *manifest = search->manifest;
    const struct yaml *dropped = NULL;
    size_t kept = 0;

    if (search->n_maps + search->n_others < 2)
        return;
    for (size_t i = 0; i < manifest->n_choices; i++) {
        if (!manifest->choices[i].is_foreign)
            manifest->choices[kept++] = manifest->choices[i];
        else if (!dropped)
            dropped = manifest->choices[i].owner;
    }
    manifest->n_choices = kept;
    if (dropped && kept && search->reader->strictness == CONFIG_CHECK)
        reader_note(search->reader, dropped->at,
                    "no configuration in %s, which is passed over, and so are others like it",
                    name_of_map(dropped).text);
}

static void report_mig(struct search *search, const struct yaml *at)
{
    reader_report(
        search->reader, search->if_none, at->at,
        "this is a configuration of mig-parted (mig-configs), not of the agent; 'gpuslice "
        "mig' applies it, and 'gpuslice check' looks at it");
}

/* Keeps the choices of the requested owner. A text that does not show mig-parted's key is
 * mig-parted's as well, when no other one shows it. */
static void drop_other_owner(struct search *search)
{
    struct manifest *manifest = search->manifest;
    const struct yaml *dropped = NULL;
    bool has_mig = false;
    size_t kept = 0;

    for (size_t i = 0; i < manifest->n_choices; i++)
        has_mig |= manifest->choices[i].is_mig;
    if (search->owner == MANIFEST_ANY || (search->owner == MANIFEST_MIG && !has_mig))
        return;
    for (size_t i = 0; i < manifest->n_choices; i++) {
        if (manifest->choices[i].is_mig == (search->owner == MANIFEST_MIG))
            manifest->choices[kept++] = manifest->choices[i];
        else if (!dropped)
            dropped = manifest->choices[i].value;
    }
    manifest->n_choices = kept;
    if (dropped && !kept && !search->failed) {
        report_mig(search, dropped);
        search->failed = true;
    }
}

static int choose_bare(struct search *search)
{
    struct reader *reader = search->reader;
    bool is_mig = yaml_get(search->bare, "mig-configs");

    if (search->map) {
        reader_error(reader, search->bare->at,
                     "the file contains a %s (line %u) and something that is not a "
                     "manifest; keep one of them",
                     search->has_values ? "chart's values" : "ConfigMap", search->map->at.line);
        search->manifest->n_choices = 0;
        return 0;
    }
    if (search->key)
        reader_note(reader, search->bare->at,
                    "the key '%s' is not needed: this file is not a ConfigMap",
                    show(search->key).text);
    if (search->other)
        reader_report(reader, reader_lenient(reader), search->other->at,
                      "a manifest next to the configuration is not read; move it to another file");
    if (search->owner != MANIFEST_AGENT || !is_mig)
        return add_choice(search,
                          &(struct manifest_choice){.value = search->bare, .is_mig = is_mig});
    report_mig(search, search->bare);
    return 0;
}

/* Of the values' texts, the one that config.default names. */
static bool choose_default(struct search *search)
{
    struct manifest *manifest = search->manifest;

    for (size_t i = 0; search->chosen && i < manifest->n_choices; i++)
        if (str_equal(manifest->choices[i].value->key, search->chosen)) {
            manifest->choices[0] = manifest->choices[i];
            manifest->n_choices = 1;
            return true;
        }
    return false;
}

static int choose(struct search *search, bool every)
{
    struct manifest *manifest = search->manifest;

    if (search->bare)
        return choose_bare(search);
    drop_foreign(search);
    drop_other_owner(search);
    if (search->failed) {
        manifest->n_choices = every ? manifest->n_choices : 0;
    } else if (manifest->n_choices == 0) {
        report_none(search);
    } else if (manifest->n_choices > 1 && !every && !choose_default(search)) {
        report_several(search);
        manifest->n_choices = 0;
    }
    return 0;
}

int manifest_read(struct reader *reader, const char *data, size_t size,
                  const struct manifest_request *request, struct manifest *manifest)
{
    struct search search = {.reader = reader,
                            .manifest = manifest,
                            .owner = request->owner,
                            .key = request->key,
                            .names = TEXT_INIT,
                            .if_none = request->may_have_none ? PROBLEM_NOTE : PROBLEM_ERROR};
    int r = yaml_parse(data, size, (struct position){0, 0}, reader->problems, &manifest->documents,
                       &manifest->n_documents);

    if (r < 0)
        return r == -EBADMSG ? 0 : r;
    for (size_t i = 0; i < manifest->n_documents && r == 0; i++)
        r = visit(&search, &manifest->documents[i]);
    if (r == 0)
        r = choose(&search, request->every);
    text_deinit(&search.names);
    return r;
}
