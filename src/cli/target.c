// SPDX-License-Identifier: Apache-2.0
#include "cli/target.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/yaml.h"
#include "base/yamlmap.h"
#include "catalog/boards.h"
#include "catalog/catalog.h"
#include "cli/paths.h"
#include "config/machinetype.h"
#include "gpu/gpu.h"
#include "gpu/librarysearch.h"

void target_deinit(struct target *target)
{
    inventory_deinit(&target->inventory);
    *target = (struct target)TARGET_INIT;
}

bool target_given(const struct request *request)
{
    return request->node || request->machine;
}

/* The directories searched for names: GPUSLICE_MACHINE_PATH, as in the simulator, then ours. */
static char *search_path(void)
{
    const char *variable = getenv("GPUSLICE_MACHINE_PATH");
    char *path;

    if (asprintf(&path, "%s:%s", variable ? variable : "", paths_machines()) < 0)
        return NULL;
    return path;
}

static int is_machine_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && str_ends_with(entry->d_name, ".yaml");
}

/* A missing directory just contains no machine; the caller decides what that means. */
static void add_names(const char *folder, struct text *text, const char *separator)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, is_machine_file, versionsort);

    for (int i = 0; i < n; i++) {
        text_addf(text, "%s%.*s", text->length ? separator : "",
                  (int)(strlen(entries[i]->d_name) - strlen(".yaml")), entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

static bool find_named(const char *word, char *ret_path, size_t size)
{
    cleanup_free char *folders = search_path();
    char *rest = folders, *folder;

    while (rest && (folder = strsep(&rest, ":"))) {
        if (!*folder || snprintf(ret_path, size, "%s/%s.yaml", folder, word) >= (int)size)
            continue;
        if (access(ret_path, R_OK) == 0)
            return true;
    }
    return false;
}

/* A type has no file beside the catalog, unless a machine file adds to it. */
static void add_types(const struct catalog *catalog, struct text *text, const char *separator)
{
    for (size_t i = 0; i < catalog->n_types; i++) {
        char path[PATH_MAX];

        if (!find_named(catalog->types[i].name, path, sizeof(path)))
            text_addf(text, "%s%s", text->length ? separator : "", catalog->types[i].name);
    }
}

int target_load_catalog(struct catalog *ret_catalog, struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r = catalog_load(boards_folder(), &problems, ret_catalog);

    if (r < 0 && problems.n_items)
        return error_set(err, r, "%s", problems.items[0].text);
    return r < 0 ? error_set(err, r, "cannot load the catalog %s", boards_folder()) : 0;
}

void target_names(struct text *text, const char *separator)
{
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_free char *folders = search_path();
    char *rest = folders, *folder;

    while (rest && (folder = strsep(&rest, ":")))
        if (*folder)
            add_names(folder, text, separator);
    if (target_load_catalog(&catalog, NULL) == 0)
        add_types(&catalog, text, separator);
}

static int unknown_machine(const char *word, const struct catalog *catalog, struct error *err)
{
    enum { MAX_NAMES = 256 };
    cleanup_text struct text joined = TEXT_INIT, hint = TEXT_INIT;
    const char *names[MAX_NAMES], *near;
    size_t n_names = 0;
    char *rest;

    target_names(&joined, "\n");
    rest = joined.data;
    while (rest && n_names < MAX_NAMES)
        names[n_names++] = strsep(&rest, "\n");
    near = str_suggest(word, names, n_names);
    catalog_add_near_machines(catalog, word, &hint);
    if (near)
        return error_set(err, -ENOENT, "unknown machine '%s'; did you mean '%s'? %s", word, near,
                         text_string(&hint));
    return error_set(err, -ENOENT, "there is no machine '%s'; %s, or give the path of a file", word,
                     text_string(&hint));
}

/* What only the catalog has: a type, a count of a model. Its name as spelled in the catalog may
 * also be that of a file. */
static int resolve_by_catalog(const char *word, char ret_target[PATH_MAX], struct error *err)
{
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    struct catalog_machine machine;
    int r = target_load_catalog(&catalog, err);

    if (r == 0)
        r = catalog_find_machine(&catalog, word, &machine, err);
    if (r == CATALOG_UNKNOWN)
        return unknown_machine(word, &catalog, err);
    if (r == 0 && !find_named(machine.name, ret_target, PATH_MAX))
        return str_copy(ret_target, PATH_MAX, machine.name);
    return r;
}

static bool has_any(const struct yaml *document, const char *const *keys)
{
    while (*keys && !yaml_get(document, *keys))
        keys++;
    return *keys != NULL;
}

/* Why a text is not meant as a machine file; NULL = it may be one. */
static const char *why_no_machine(const struct yaml *document)
{
    static const char *const of_machines[] = {"type", "machine", "gpus", NULL};
    static const char *const of_others[] = {"apiVersion", "kind",    "version",
                                            "flags",      "sharing", "gpuslice",
                                            "resources",  "config",  NULL};

    if (has_any(document, of_machines))
        return NULL;
    if (has_any(document, of_others))
        return "this is not a machine file but a configuration or a manifest; --machine takes what "
               "gpuslice-machine(5) describes";
    return "this is not a machine file: it has none of the keys type, machine and gpus, see "
           "gpuslice-machine(5)";
}

/* One sentence; what is wrong within a machine file the simulator reports. */
static int check_content(const char *path, struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct yaml *document = NULL;
    cleanup_free char *data = NULL;
    const char *why = NULL;
    char line[PATH_MAX + 512];
    size_t size;
    int r = file_read(path, YAML_MAX_BYTES, &data, &size, err);

    if (r == 0)
        r = problems_set_source(&problems, path);
    if (r < 0)
        return r;
    r = yamlmap_parse_document(data, size, &problems, &document);
    if (r == 0)
        why = why_no_machine(document);
    if (why)
        problem_add(&problems, PROBLEM_ERROR, document->at, "", "%s", why);
    yaml_free(document, document ? 1 : 0);
    if (!problems.n_items)
        return r;
    problem_format(&problems, &problems.items[0], line, sizeof(line));
    return error_set(err, -EINVAL, "%s", line);
}

/* What the simulator would report as a driver that fails. */
static int check_machine_file(const char *path, struct error *err)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return error_set_errno(err, -errno, "cannot read the machine file %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, -EINVAL, "%s is not a machine file: it is %s", path,
                         S_ISDIR(status.st_mode) ? "a folder" : "no regular file");
    if (!status.st_size)
        return error_set(err, -EINVAL, "%s is not a machine file: it is empty", path);
    return check_content(path, err);
}

/* A word with a slash or a suffix is a file; anything else is a name, of a file or from the
 * catalog. */
static int resolve(const char *word, char ret_target[PATH_MAX], struct error *err)
{
    char path[PATH_MAX];

    if (strchr(word, '/') || str_ends_with(word, ".yaml") || str_ends_with(word, ".yml"))
        snprintf(path, sizeof(path), "%s", word);
    else if (!find_named(word, path, sizeof(path)))
        return resolve_by_catalog(word, ret_target, err);
    if (!realpath(path, ret_target))
        return error_set_errno(err, -errno, "cannot read the machine file %s", path);
    return check_machine_file(ret_target, err);
}

static int read_driver(struct gpu_driver *driver, struct inventory *ret_inventory,
                       struct error *err)
{
    int r = gpu_nvml.inventory(driver, ret_inventory, err);

    gpu_nvml.close(driver);
    return r;
}

/* The simulator keeps lock and state side by side; nothing else is ever in this directory. */
static void remove_folder(const char *path)
{
    cleanup_closedir DIR *folder = opendir(path);
    const struct dirent *entry;

    while (folder && (entry = readdir(folder)))
        unlinkat(dirfd(folder), entry->d_name, 0);
    rmdir(path);
}

static void name_product(const struct yaml *document, char *buffer, size_t size)
{
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    const char *name = yaml_get_text(document, "machine"), *type = yaml_get_text(document, "type");
    const struct instance_type *found = NULL;

    if (!name && type && target_load_catalog(&catalog, NULL) == 0)
        found = catalog_find_type(&catalog, type);
    snprintf(buffer, size, "%s", name ? name : found ? found->name : "");
}

/* The product name that the DMI tables would show. The simulator has parsed the file, so it is
 * valid. */
static void read_product(const char *target, char *buffer, size_t size)
{
    cleanup_free char *data = NULL;
    struct yaml *documents;
    size_t length, n_documents;

    snprintf(buffer, size, "%s", strchr(target, '/') ? "" : target);
    if (*buffer || file_read(target, YAML_MAX_BYTES, &data, &length, NULL) < 0 ||
        yaml_parse(data, length, (struct position){0, 0}, NULL, &documents, &n_documents) < 0)
        return;
    if (n_documents)
        name_product(&documents[0], buffer, size);
    yaml_free(documents, n_documents);
}

static int observe_simulated(const char *target, struct inventory *ret_inventory, struct error *err)
{
    const char *library = paths_sim_library(), *tmp = getenv("TMPDIR");
    char folder[PATH_MAX], state[PATH_MAX + 8];
    struct gpu_driver *driver;
    int r;

    if (access(library, R_OK) < 0)
        return error_set_errno(
            err, -errno,
            "cannot find the simulator's library %s; set GPUSLICE_SIM_LIBRARY to use another one",
            library);
    if (snprintf(folder, sizeof(folder), "%s/gpuslice-XXXXXX", tmp && *tmp ? tmp : "/tmp") >=
        (int)sizeof(folder))
        return error_set_errno(err, -ENAMETOOLONG, "cannot use TMPDIR");
    if (!mkdtemp(folder))
        return error_set_errno(err, -errno, "cannot create the directory %s", folder);
    snprintf(state, sizeof(state), "%s/state", folder);
    setenv("GPUSLICE_MACHINE", target, 1);
    setenv("GPUSLICE_CATALOG", boards_folder(), 1);
    setenv("GPUSLICE_SIM_STATE", state, 1);
    /* This host may have a real GPU at the address of a simulated one. */
    setenv("GPUSLICE_SYSFS", folder, 1);
    setenv("GPUSLICE_PROC", folder, 1);
    r = gpu_nvml.open(library, &driver, err);
    if (r == 0)
        r = read_driver(driver, ret_inventory, err);
    remove_folder(folder);
    if (r < 0)
        return r;
    /* It has no kernel, which would list the capability nodes of its MIG devices. */
    for (size_t i = 0; i < ret_inventory->n_gpus; i++)
        ret_inventory->gpus[i].gaps[FACT_MIG_NODES] = FACT_KNOWN;
    read_product(target, ret_inventory->machine, sizeof(ret_inventory->machine));
    return 0;
}

static int observe_node(const struct config *config, struct inventory *ret_inventory,
                        struct error *err)
{
    static const char product_file[] = "/sys/class/dmi/id/product_name";
    cleanup_free char *product = NULL;
    struct gpu_driver *driver;
    struct driverroot root;
    size_t size;
    int r;

    if (config)
        driverroot_init(&root, config->plugin.container_driver_root, config->driver_root,
                        config->dev_root);
    r = librarysearch_open(&gpu_nvml, config ? &root : NULL, &driver, err);
    if (r == 0)
        r = read_driver(driver, ret_inventory, err);
    if (r < 0)
        return r;
    if (file_read(product_file, 4096, &product, &size, NULL) == 0)
        snprintf(ret_inventory->machine, sizeof(ret_inventory->machine), "%.*s",
                 (int)strcspn(product, "\n"), product);
    return 0;
}

int target_observe_usage(struct target *ret_target, struct usage *ret_usage, struct error *err)
{
    struct target target = {.title = "this node"};
    struct gpu_driver *driver;
    int r = librarysearch_open(&gpu_nvml, NULL, &driver, err);

    if (r < 0)
        return r;
    r = gpu_nvml.inventory(driver, &target.inventory, err);
    if (r == 0)
        r = usage_read(&gpu_nvml, driver, &target.inventory, ret_usage);
    gpu_nvml.close(driver);
    if (r == 0)
        *ret_target = target;
    else
        target_deinit(&target);
    return r;
}

int target_know_boards(struct inventory *inventory, struct error *err)
{
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    int r = 0;

    for (size_t i = 0; i < inventory->n_gpus && r == 0; i++) {
        struct gpu *gpu = &inventory->gpus[i];
        const struct gpu_model *model;

        if (!gpu->mig_capable || gpu->board)
            continue;
        if (!catalog.n_models)
            r = target_load_catalog(&catalog, err);
        model = r == 0 ? catalog_find_model(&catalog, gpu->model) : NULL;
        if (model && model->mig.n_slots)
            r = inventory_share_board(inventory, &model->mig, &gpu->board);
    }
    return r;
}

int target_observe(const struct request *request, const struct config *config,
                   struct target *ret_target, struct error *err)
{
    struct target target = TARGET_INIT;
    char name[PATH_MAX];
    int r;

    if (request->node) {
        r = observe_node(config, &target.inventory, err);
        if (r < 0)
            return error_wrap(err, r, "cannot query this machine's driver");
        snprintf(target.title, sizeof(target.title), "this node");
    } else {
        r = resolve(request->machine, name, err);
        if (r < 0)
            return r;
        r = observe_simulated(name, &target.inventory, err);
        if (r < 0)
            return error_wrap(err, r, "cannot simulate %s", request->machine);
        snprintf(target.title, sizeof(target.title), "%s (simulated)", request->machine);
    }
    *ret_target = target;
    return 0;
}

void target_name_machine(struct target *target, const struct config *config,
                         struct problems *problems)
{
    struct inventory *inventory = &target->inventory;
    char machine[LABEL_VALUE_SIZE];

    if (machinetype_read(config, inventory->machine, machine) == MACHINETYPE_UNREADABLE)
        problem_add(problems, PROBLEM_NOTE, (struct position){0, 0}, "flags.gfd.machineTypeFile",
                    "%s cannot be read here; on a node that has it, the label "
                    "nvidia.com/gpu.machine is what it says",
                    config->gfd.machine_type_file);
    snprintf(inventory->machine, sizeof(inventory->machine), "%s", machine);
}
