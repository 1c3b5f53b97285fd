// SPDX-License-Identifier: Apache-2.0
#include "catalog/catalog.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/file.h"
#include "base/number.h"
#include "base/yamlmap.h"

#define refuse yamlmap_refuse

void catalog_deinit(struct catalog *catalog)
{
    free(catalog->models);
    free(catalog->types);
    *catalog = (struct catalog)CATALOG_INIT;
}

static int count_errors(const struct problems *problems, size_t before)
{
    return problems_count(problems, PROBLEM_ERROR) > before ? -EBADMSG : 0;
}

int catalog_add_model(struct catalog *catalog, const char *text, size_t size,
                      struct problems *problems)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    struct gpu_model model = {.name = ""}, *models;
    struct yaml *document;
    int r = yamlmap_parse_document(text, size, problems, &document);

    if (r < 0)
        return r;
    (void)gpu_model_read(problems, document, "", false, &model);
    if (model.name[0] && catalog_find_model(catalog, model.name))
        refuse(problems, document->at, "name", "another file has this model, too");
    yaml_free(document, 1);
    r = count_errors(problems, before);
    if (r < 0)
        return r;
    models = reallocarray(catalog->models, catalog->n_models + 1, sizeof(*models));
    if (!models)
        return -ENOMEM;
    catalog->models = models;
    models[catalog->n_models++] = model;
    return 0;
}

static const struct yamlmap_choice wirings[] = {{"none", GPU_WIRING_NONE},
                                                {"peers", GPU_WIRING_PEERS},
                                                {"switches", GPU_WIRING_SWITCHES},
                                                {NULL, 0}};

static const struct yamlmap_choice archs[] = {
    {"amd64", CPU_AMD64}, {"arm64", CPU_ARM64}, {NULL, 0}};

static const struct yamlmap_field family_fields[] = {
    {"family", YAMLMAP_TEXT_AT(instance_type, family), .required = true},
    {"model", .kind = YAMLMAP_OTHER, .required = true},
    {"gpuName", YAMLMAP_TEXT_AT(instance_type, gpu_name)},
    {"arch", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(instance_type, arch), .choices = archs},
    {"nvlink", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(instance_type, wiring), .choices = wirings,
     .required = true},
    {"switches", YAMLMAP_NUMBER_AT(instance_type, n_switches, 1, CATALOG_MAX_SWITCHES)},
    {"types", .kind = YAMLMAP_OTHER, .required = true},
    {NULL},
};

static const struct yamlmap_field type_fields[] = {
    {"gpus", YAMLMAP_NUMBER_AT(instance_type, n_gpus, 1, CATALOG_MAX_GPUS), .required = true},
    {"vcpus", YAMLMAP_NUMBER_AT(instance_type, vcpus, 1, 1024), .required = true},
    {"memory", .kind = YAMLMAP_SIZE, YAMLMAP_AT(instance_type, mem_bytes), .required = true},
    {"pods", YAMLMAP_NUMBER_AT(instance_type, max_pods, 1, 10000)},
    {"nvlink", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(instance_type, wiring), .choices = wirings},
    {NULL},
};

/* "g5.xlarge" of the family "g5". */
static bool is_of_family(const char *name, const char *family)
{
    size_t length = strlen(family);

    return strncmp(name, family, length) == 0 && name[length] == '.' && name[length + 1];
}

static void check_type(struct problems *problems, const struct catalog *catalog,
                       const struct yaml *node, const char *path, const struct instance_type *type)
{
    uint32_t n_nvlinks = catalog->models[type->model].nvlink_count;

    if (!is_of_family(type->name, type->family))
        refuse(problems, node->key_at, path, "expected a name such as %s.xlarge", type->family);
    if (catalog_find_type(catalog, type->name))
        refuse(problems, node->key_at, path, "another file has this type, too");
    if (type->wiring != GPU_WIRING_NONE && (type->n_gpus == 1 || n_nvlinks == 0))
        refuse(problems, node->key_at, path,
               "NVLinks take two GPUs of a model that has them; write 'nvlink: none'");
    if ((type->wiring == GPU_WIRING_SWITCHES) != (type->n_switches > 0))
        refuse(problems, node->key_at, path,
               "'switches', their number, belongs to 'nvlink: switches'");
}

static int add_type(struct catalog *catalog, const struct yaml *node,
                    const struct instance_type *family, struct problems *problems)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    struct instance_type type = *family, *types;
    char path[YAMLMAP_PATH];

    yamlmap_join(path, "types", node->key);
    if (str_copy(type.name, sizeof(type.name), node->key) < 0)
        refuse(problems, node->key_at, path, "longer than %zu bytes", sizeof(type.name) - 1);
    yamlmap_read(problems, type_fields, node, path, &type);
    if (type.wiring == GPU_WIRING_NONE)
        type.n_switches = 0;
    if (count_errors(problems, before) == 0)
        check_type(problems, catalog, node, path, &type);
    if (count_errors(problems, before) < 0)
        return 0;
    types = reallocarray(catalog->types, catalog->n_types + 1, sizeof(*types));
    if (!types)
        return -ENOMEM;
    catalog->types = types;
    types[catalog->n_types++] = type;
    return 0;
}

static void read_model_name(const struct catalog *catalog, const struct yaml *node,
                            struct problems *problems, struct instance_type *family)
{
    const struct gpu_model *model = node->text ? catalog_find_model(catalog, node->text) : NULL;
    cleanup_text struct text near = TEXT_INIT;

    if (model) {
        family->model = (size_t)(model - catalog->models);
        return;
    }
    catalog_add_near_models(catalog, node->text ? node->text : "", &near);
    refuse(problems, node->at, "model", "no such model; %s", text_string(&near));
}

static int read_family(struct catalog *catalog, const struct yaml *document,
                       struct problems *problems)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    struct instance_type family = {.name = ""};
    const struct yaml *model = yaml_get(document, "model"), *types = yaml_get(document, "types");
    int r = 0;

    yamlmap_read(problems, family_fields, document, "", &family);
    if (model)
        read_model_name(catalog, model, problems, &family);
    if (count_errors(problems, before) < 0 ||
        !yamlmap_check_kind(problems, types, YAML_MAP, "types"))
        return -EBADMSG;
    for (size_t i = 0; i < types->n_children && r == 0; i++)
        r = add_type(catalog, &types->children[i], &family, problems);
    return r < 0 ? r : count_errors(problems, before);
}

int catalog_add_family(struct catalog *catalog, const char *text, size_t size,
                       struct problems *problems)
{
    struct yaml *document;
    int r = yamlmap_parse_document(text, size, problems, &document);

    if (r < 0)
        return r;
    r = read_family(catalog, document, problems);
    yaml_free(document, 1);
    return r;
}

typedef int add_file(struct catalog *catalog, const char *text, size_t size,
                     struct problems *problems);

/* A file has problems of its own; they are reported as its own, whichever file led to it. */
static int load_file(struct catalog *catalog, const char *path, add_file *add,
                     struct problems *problems)
{
    cleanup_problems struct problems own = PROBLEMS_INIT;
    cleanup_free char *text = NULL;
    struct error err = ERROR_INIT;
    size_t size;
    int r = file_read(path, YAML_MAX_BYTES, &text, &size, &err);

    if (r < 0) {
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", error_text(&err));
        return -EBADMSG;
    }
    if (problems_set_source(&own, path) < 0)
        return -ENOMEM;
    r = add(catalog, text, size, &own);
    for (size_t i = 0; i < own.n_items; i++) {
        char line[512];

        problem_format(&own, &own.items[i], line, sizeof(line));
        problem_add(problems, own.items[i].severity, (struct position){0, 0}, "", "%s", line);
    }
    return r;
}

static int is_yaml(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && str_ends_with(entry->d_name, ".yaml");
}

static int load_folder(struct catalog *catalog, const char *folder, const char *name, add_file *add,
                       struct problems *problems)
{
    cleanup_text struct text path = TEXT_INIT;
    struct dirent **entries = NULL;
    int r = 0, n;

    text_addf(&path, "%s/%s", folder, name);
    n = scandir(text_string(&path), &entries, is_yaml, versionsort);
    if (n <= 0)
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "",
                    "the catalog's folder %s %s", text_string(&path),
                    n < 0 ? "cannot be read" : "is empty");
    for (int i = 0; i < n; i++) {
        text_clear(&path);
        text_addf(&path, "%s/%s/%s", folder, name, entries[i]->d_name);
        free(entries[i]);
        if (r != -ENOMEM)
            r = load_file(catalog, text_string(&path), add, problems);
    }
    free(entries);
    return r == -ENOMEM || text_failed(&path) ? -ENOMEM : 0;
}

int catalog_load(const char *folder, struct problems *problems, struct catalog *ret_catalog)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    int r = load_folder(&catalog, folder, "models", catalog_add_model, problems);

    if (r == 0)
        r = load_folder(&catalog, folder, "types", catalog_add_family, problems);
    if (r == 0)
        r = count_errors(problems, before);
    if (r < 0)
        return r;
    *ret_catalog = catalog;
    catalog = (struct catalog)CATALOG_INIT;
    return 0;
}

const char *catalog_arch_name(uint32_t arch)
{
    return archs[arch].name;
}

const struct instance_type *catalog_find_type(const struct catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->n_types; i++)
        if (strcasecmp(catalog->types[i].name, name) == 0)
            return &catalog->types[i];
    return NULL;
}

const struct gpu_model *catalog_find_model(const struct catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->n_models; i++)
        if (gpu_model_is_named(&catalog->models[i], name))
            return &catalog->models[i];
    return NULL;
}

/* Digits, an x and something behind it: *ret_model is where the model begins. */
static bool is_count_of_model(const char *word, const char **ret_model)
{
    size_t n_digits = strspn(word, "0123456789");

    *ret_model = word + n_digits + 1;
    return n_digits > 0 && tolower((unsigned char)word[n_digits]) == 'x' && **ret_model;
}

static int find_count_of_model(const struct catalog *catalog, const char *word, const char *name,
                               struct catalog_machine *ret_machine, struct error *err)
{
    const struct gpu_model *model = catalog_find_model(catalog, name);
    cleanup_text struct text near = TEXT_INIT;
    char short_name[GPU_MODEL_NAME];
    uint64_t n_gpus;

    if (!number_digits(&word, &n_gpus) || n_gpus == 0 || n_gpus > CATALOG_MAX_GPUS)
        return error_set(err, -EINVAL, "a machine has 1 to %d GPUs, such as 4x%s", CATALOG_MAX_GPUS,
                         name);
    if (!model) {
        catalog_add_near_models(catalog, name, &near);
        return error_set(err, -ENOENT, "there is no model '%s'; %s", name, text_string(&near));
    }
    gpu_model_short_name(model, short_name);
    *ret_machine = (struct catalog_machine){.n_gpus = (uint32_t)n_gpus, .model = model};
    snprintf(ret_machine->name, sizeof(ret_machine->name), "%ux%s", (unsigned)n_gpus, short_name);
    return 0;
}

int catalog_find_machine(const struct catalog *catalog, const char *word,
                         struct catalog_machine *ret_machine, struct error *err)
{
    const struct instance_type *type = catalog_find_type(catalog, word);
    const char *model;

    if (type) {
        *ret_machine = (struct catalog_machine){
            .n_gpus = type->n_gpus, .model = &catalog->models[type->model], .type = type};
        return str_copy(ret_machine->name, sizeof(ret_machine->name), type->name);
    }
    if (is_count_of_model(word, &model))
        return find_count_of_model(catalog, word, model, ret_machine, err);
    return CATALOG_UNKNOWN;
}

static bool begins_with(const char *name, const char *start)
{
    return strncasecmp(name, start, strlen(start)) == 0;
}

void catalog_add_near_models(const struct catalog *catalog, const char *word, struct text *text)
{
    size_t n_near = 0, n_added = 0;
    bool all;

    /* "A100" is the beginning of two names, and what people say. */
    for (size_t i = 0; i < catalog->n_models; i++) {
        char name[GPU_MODEL_NAME];

        gpu_model_short_name(&catalog->models[i], name);
        n_near += *word && begins_with(name, word);
    }
    all = n_near == 0;
    text_add(text, all           ? "the models are "
                   : n_near == 1 ? "did you mean "
                                 : "did you mean one of ");
    for (size_t i = 0; i < catalog->n_models; i++) {
        char name[GPU_MODEL_NAME];

        gpu_model_short_name(&catalog->models[i], name);
        if (all || begins_with(name, word))
            text_addf(text, "%s%s", n_added++ ? ", " : "", name);
    }
    if (!all)
        text_add_char(text, '?');
}

static bool is_first_of_family(const struct catalog *catalog, size_t i)
{
    return i == 0 || !str_equal(catalog->types[i].family, catalog->types[i - 1].family);
}

/* The sizes of the family that a word such as "g5.3xlarge" names; false when it names none. */
static bool add_sizes(const struct catalog *catalog, const char *word, struct text *text)
{
    size_t length = strcspn(word, "."), n = 0;

    for (size_t i = 0; i < catalog->n_types; i++) {
        const struct instance_type *type = &catalog->types[i];

        if (strlen(type->family) != length || strncasecmp(type->family, word, length) != 0)
            continue;
        if (n++ == 0)
            text_addf(text, "the family %s has ", type->family);
        text_addf(text, "%s%s", n > 1 ? ", " : "", type->name);
    }
    return n > 0;
}

void catalog_add_near_machines(const struct catalog *catalog, const char *word, struct text *text)
{
    if (add_sizes(catalog, word, text))
        return;
    text_add(text, "known are the instance types of ");
    for (size_t i = 0; i < catalog->n_types; i++)
        if (is_first_of_family(catalog, i))
            text_addf(text, "%s%s", i ? ", " : "", catalog->types[i].family);
    text_add(text, ", such as p3.8xlarge, and a count of a model, such as 4xA10G");
}
