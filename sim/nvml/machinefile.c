// SPDX-License-Identifier: Apache-2.0
#include "nvml/machinefile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "nvml/machinefile-reader.h"

/* The result, or -EBADMSG if any of it is invalid. */
static int finish(struct machine_reader *r, struct machine *ret_machine)
{
    catalog_deinit(&r->own_catalog);
    if (problems_count(r->problems, PROBLEM_ERROR) > 0) {
        problems_sort(r->problems);
        return -EBADMSG;
    }
    *ret_machine = *r->machine;
    return 0;
}

int machine_parse(const char *text, size_t size, const struct machine_source *source,
                  struct problems *problems, struct machine *ret_machine)
{
    cleanup_free struct machine *machine = calloc(1, sizeof(*machine));
    struct machine_reader reader = {.problems = problems,
                                    .directory = source->directory,
                                    .catalog = source->catalog,
                                    .machine = machine};
    struct yaml *document;
    int r;

    if (!machine)
        return -ENOMEM;
    r = yamlmap_parse_document(text, size, problems, &document);
    if (r < 0)
        return r;
    machine_read(&reader, document);
    yaml_free(document, 1);
    return finish(&reader, ret_machine);
}

static int load_file(const char *path, struct problems *problems, struct machine *ret_machine)
{
    cleanup_free char *text = NULL, *directory = strdup(path);
    struct error err = ERROR_INIT;
    char *slash;
    size_t size;
    int r;

    if (!directory || problems_set_source(problems, path) < 0)
        return -ENOMEM;
    slash = strrchr(directory, '/');
    if (slash)
        *slash = '\0';
    r = file_read(path, YAML_MAX_BYTES, &text, &size, &err);
    if (r < 0) {
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", error_text(&err));
        return -EBADMSG;
    }
    return machine_parse(text, size, &(struct machine_source){.directory = slash ? directory : "."},
                         problems, ret_machine);
}

static int load_catalog_machine(const char *name, struct problems *problems,
                                struct machine *ret_machine)
{
    cleanup_free struct machine *machine = calloc(1, sizeof(*machine));
    struct machine_reader r = {.problems = problems, .directory = ".", .machine = machine};
    const struct catalog *catalog = machine ? machine_reader_catalog(&r) : NULL;
    struct catalog_machine found;

    if (!machine)
        return -ENOMEM;
    if (catalog && catalog_find_machine(catalog, name, &found, NULL) == 0)
        machine_read_catalog(&r, &found);
    else if (catalog)
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "",
                    "the catalog has no machine '%s'", name);
    return finish(&r, ret_machine);
}

int machine_load(const char *found, struct problems *problems, struct machine *ret_machine)
{
    if (machine_is_file(found))
        return load_file(found, problems, ret_machine);
    return load_catalog_machine(found, problems, ret_machine);
}

char *machine_search_path(void)
{
    const char *more = getenv("GPUSLICE_MACHINE_PATH");
    struct text path = TEXT_INIT;

    if (more && *more)
        text_addf(&path, "%s:", more);
    text_add(&path, GPUSLICE_MACHINES);
    return text_take(&path);
}

char *machine_catalog_folder(void)
{
    static const char *const built_in[] = {BUILT_CATALOG, INSTALLED_CATALOG};
    const char *chosen = getenv("GPUSLICE_CATALOG");

    if (chosen && *chosen)
        return strdup(chosen);
    return strdup(built_in[access(built_in[0], R_OK) == 0 ? 0 : 1]);
}

bool machine_is_file(const char *name)
{
    return strchr(name, '/') || str_ends_with(name, ".yaml") || str_ends_with(name, ".yml");
}

int machine_find_file(const char *name, const char *search, char **ret_path)
{
    cleanup_free char *directories = search ? strdup(search) : machine_search_path();
    cleanup_text struct text candidate = TEXT_INIT;
    char *rest = directories, *directory;

    if (!directories)
        return -ENOMEM;
    while ((directory = strsep(&rest, ":"))) {
        text_clear(&candidate);
        text_addf(&candidate, "%s/%s.yaml", directory, name);
        if (*directory && access(text_string(&candidate), R_OK) == 0) {
            *ret_path = text_take(&candidate);
            return *ret_path ? 0 : -ENOMEM;
        }
    }
    return -ENOENT;
}

static int refuse_name(const struct catalog *catalog, const char *name, const struct error *err,
                       struct problems *problems)
{
    cleanup_text struct text near = TEXT_INIT;

    catalog_add_near_machines(catalog, name, &near);
    if (err->code)
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", error_text(err));
    else
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "",
                    "there is no machine '%s'; %s", name, text_string(&near));
    return -ENOENT;
}

/* As spelled in the catalog, after which a file may be named: "P3.8XLARGE". */
static int find_in_catalog(const char *name, const char *search, struct problems *problems,
                           char **ret_found)
{
    cleanup_problems struct problems own = PROBLEMS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_free char *folder = machine_catalog_folder();
    struct catalog_machine machine;
    struct error err = ERROR_INIT;
    int r = folder ? catalog_load(folder, problems ? problems : &own, &catalog) : -ENOMEM;

    if (r < 0)
        return r == -ENOMEM ? r : -ENOENT;
    if (catalog_find_machine(&catalog, name, &machine, &err) != 0)
        return refuse_name(&catalog, name, &err, problems);
    r = machine_find_file(machine.name, search, ret_found);
    if (r != -ENOENT)
        return r;
    *ret_found = strdup(machine.name);
    return *ret_found ? 0 : -ENOMEM;
}

int machine_find(const char *name, const char *search, struct problems *problems, char **ret_found)
{
    int r;

    if (machine_is_file(name)) {
        *ret_found = strdup(name);
        return *ret_found ? 0 : -ENOMEM;
    }
    r = machine_find_file(name, search, ret_found);
    return r == -ENOENT ? find_in_catalog(name, search, problems, ret_found) : r;
}
