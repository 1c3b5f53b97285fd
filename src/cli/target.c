// SPDX-License-Identifier: Apache-2.0
#include "cli/target.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/yaml.h"
#include "catalog/catalog.h"
#include "cli/paths.h"
#include "config/machinetype.h"
#include "gpu/gpu.h"
#include "gpu/librarysearch.h"

DEFINE_CLEANUP(DIR *, closedir)

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

static int load_catalog(struct catalog *ret_catalog, struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r = catalog_load(paths_catalog(), &problems, ret_catalog);

    if (r < 0 && problems.n_items)
        return error_set(err, r, "%s", problems.items[0].text);
    return r < 0 ? error_set(err, r, "cannot load the catalog %s", paths_catalog()) : 0;
}

void target_names(struct text *text, const char *separator)
{
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_free char *folders = search_path();
    char *rest = folders, *folder;

    while (rest && (folder = strsep(&rest, ":")))
        if (*folder)
            add_names(folder, text, separator);
    if (load_catalog(&catalog, NULL) == 0)
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
    int r = load_catalog(&catalog, err);

    if (r == 0)
        r = catalog_find_machine(&catalog, word, &machine, err);
    if (r == CATALOG_UNKNOWN)
        return unknown_machine(word, &catalog, err);
    if (r == 0 && !find_named(machine.name, ret_target, PATH_MAX))
        return str_copy(ret_target, PATH_MAX, machine.name);
    return r;
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
    return status.st_size ? 0
                          : error_set(err, -EINVAL, "%s is not a machine file: it is empty", path);
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
    cleanup(closedir_p) DIR *folder = opendir(path);
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

    if (!name && type && load_catalog(&catalog, NULL) == 0)
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
    setenv("GPUSLICE_CATALOG", paths_catalog(), 1);
    setenv("GPUSLICE_SIM_STATE", state, 1);
    /* This host may have a real GPU at the address of a simulated one. */
    setenv("GPUSLICE_SYSFS", folder, 1);
    r = gpu_nvml.open(library, &driver, err);
    if (r == 0)
        r = read_driver(driver, ret_inventory, err);
    remove_folder(folder);
    if (r == 0)
        read_product(target, ret_inventory->machine, sizeof(ret_inventory->machine));
    return r;
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
