// SPDX-License-Identifier: Apache-2.0

/* The models of a machine's GPUs: from models/ beside its file, from the catalog, or inline. */

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "nvml/machinefile-reader.h"

#define refuse yamlmap_refuse

static bool load_model_file(struct machine_reader *r, const char *path, struct gpu_model *ret_model)
{
    cleanup_catalog struct catalog one = CATALOG_INIT;
    cleanup_problems struct problems own = PROBLEMS_INIT;
    cleanup_free char *text = NULL;
    struct error err = ERROR_INIT;
    size_t size;

    if (file_read(path, YAML_MAX_BYTES, &text, &size, &err) < 0) {
        refuse(r->problems, ((struct position){0, 0}), "", "%s", error_text(&err));
        return false;
    }
    (void)problems_set_source(&own, path);
    if (catalog_add_model(&one, text, size, &own) == 0) {
        *ret_model = one.models[0];
        return true;
    }
    if (!own.n_items)
        refuse(r->problems, ((struct position){0, 0}), "", "not enough memory for %s", path);
    for (size_t i = 0; i < own.n_items; i++) {
        char line[512];

        problem_format(&own, &own.items[i], line, sizeof(line));
        refuse(r->problems, ((struct position){0, 0}), "", "%s", line);
    }
    return false;
}

static bool find_model_file(const char *directory, const char *name, struct text *path)
{
    text_clear(path);
    text_addf(path, "%s/models/%s.yaml", directory, name);
    return !text_failed(path) && access(text_string(path), R_OK) == 0;
}

/* Beside the machine's file, or in the machine directories. */
static bool find_own_model(const struct machine_reader *r, const char *name, struct text *path)
{
    cleanup_free char *directories = machine_search_path();
    char *rest = directories, *directory;

    if (strchr(name, '/') || name[0] == '.')
        return false;
    if (find_model_file(r->directory, name, path))
        return true;
    while (directories && (directory = strsep(&rest, ":")))
        if (*directory && find_model_file(directory, name, path))
            return true;
    return false;
}

static bool read_named_model(struct machine_reader *r, const struct yaml *node, const char *path,
                             struct gpu_model *ret_model)
{
    cleanup_text struct text file = TEXT_INIT, near = TEXT_INIT;
    const struct catalog *catalog;
    const struct gpu_model *model;

    if (r->directory && find_own_model(r, node->text, &file))
        return load_model_file(r, text_string(&file), ret_model);
    catalog = machine_reader_catalog(r);
    if (!catalog)
        return false;
    model = catalog_find_model(catalog, node->text);
    if (model) {
        *ret_model = *model;
        return true;
    }
    catalog_add_near_models(catalog, node->text, &near);
    refuse(r->problems, node->at, path, "there is no model '%s'; %s", node->text,
           text_string(&near));
    return false;
}

bool machine_read_model(struct machine_reader *r, const struct yaml *node, const char *path,
                        struct gpu_model *ret_model)
{
    const struct yaml *like = yaml_get(node, "like");
    struct gpu_model model = {.name = ""};
    char where[YAMLMAP_PATH];

    if (node->kind == YAML_SCALAR)
        return read_named_model(r, node, path, ret_model);
    if (node->kind != YAML_MAP || (like && like->kind != YAML_SCALAR)) {
        refuse(r->problems, node->at, path, "expected the name of a model, or a model written out");
        return false;
    }
    yamlmap_join(where, path, "like");
    if (like && !read_named_model(r, like, where, &model))
        return false;
    if (!gpu_model_read(r->problems, node, path, like, &model))
        return false;
    *ret_model = model;
    return true;
}
