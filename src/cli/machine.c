// SPDX-License-Identifier: Apache-2.0
#include "cli/machine.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "base/yaml.h"
#include "cli/paths.h"
#include "gpu/gpu.h"

DEFINE_CLEANUP(DIR *, closedir)

void machine_deinit(struct machine *machine)
{
    inventory_deinit(&machine->inventory);
    *machine = (struct machine)MACHINE_INIT;
}

bool machine_given(const struct request *request)
{
    return request->node || request->machine;
}

/* The folders that names are looked for in: GPUSLICE_MACHINE_PATH, as in the simulator, then ours.
 */
static char *search_path(void)
{
    const char *said = getenv("GPUSLICE_MACHINE_PATH");
    char *path;

    if (asprintf(&path, "%s:%s", said ? said : "", paths_machines()) < 0)
        return NULL;
    return path;
}

static int is_machine_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && str_ends_with(entry->d_name, ".yaml");
}

/* A missing folder simply holds no machine; what that means is for the caller to say. */
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

void machine_names(struct text *text, const char *separator)
{
    cleanup_free char *folders = search_path();
    char *rest = folders, *folder;

    while (rest && (folder = strsep(&rest, ":")))
        if (*folder)
            add_names(folder, text, separator);
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

static int unknown_machine(const char *word, struct error *err)
{
    enum { MAX_NAMES = 256 };
    cleanup_text struct text joined = TEXT_INIT, listed = TEXT_INIT;
    const char *names[MAX_NAMES], *near;
    size_t n_names = 0;
    char *rest;

    machine_names(&listed, ", ");
    if (!listed.length)
        return error_set(err, -ENOENT, "there is no machine '%s', and none are installed in %s",
                         word, paths_machines());
    machine_names(&joined, "\n");
    rest = joined.data;
    while (rest && n_names < MAX_NAMES)
        names[n_names++] = strsep(&rest, "\n");
    near = str_suggest(word, names, n_names);
    if (near)
        return error_set(err, -ENOENT, "there is no machine '%s'; did you mean '%s'?", word, near);
    return error_set(err, -ENOENT,
                     "there is no machine '%s'; known are %s, or give the path of a file", word,
                     text_string(&listed));
}

/* A word with a slash or a suffix is a file, everything else a name. */
static int resolve(const char *word, char ret_path[PATH_MAX], struct error *err)
{
    char path[PATH_MAX];

    if (strchr(word, '/') || str_ends_with(word, ".yaml") || str_ends_with(word, ".yml"))
        snprintf(path, sizeof(path), "%s", word);
    else if (!find_named(word, path, sizeof(path)))
        return unknown_machine(word, err);
    if (!realpath(path, ret_path))
        return error_set_errno(err, -errno, "cannot read the machine file %s", path);
    return 0;
}

static int observe(const char *library, struct inventory *ret_inventory, struct error *err)
{
    struct gpu_driver *driver;
    int r = gpu_nvml.open(library, &driver, err);

    if (r < 0)
        return r;
    r = gpu_nvml.inventory(driver, ret_inventory, err);
    gpu_nvml.close(driver);
    return r;
}

/* The simulator keeps lock and state side by side; nothing else ever lies in this folder. */
static void remove_folder(const char *path)
{
    cleanup(closedir_p) DIR *folder = opendir(path);
    const struct dirent *entry;

    while (folder && (entry = readdir(folder)))
        unlinkat(dirfd(folder), entry->d_name, 0);
    rmdir(path);
}

/* What the DMI tables would say of it. The simulator has read the file, so that it is known as
 * good. */
static void read_product(const char *path, char *buffer, size_t size)
{
    cleanup_free char *data = NULL;
    struct yaml *documents;
    size_t length, n_documents;
    const char *name;

    if (file_read(path, YAML_MAX_BYTES, &data, &length, NULL) < 0 ||
        yaml_parse(data, length, (struct position){0, 0}, NULL, &documents, &n_documents) < 0)
        return;
    name = n_documents ? yaml_get_text(&documents[0], "machine") : NULL;
    snprintf(buffer, size, "%s", name ? name : "");
    yaml_free(documents, n_documents);
}

static int observe_simulated(const char *path, struct inventory *ret_inventory, struct error *err)
{
    const char *library = paths_sim_library(), *tmp = getenv("TMPDIR");
    char folder[PATH_MAX], state[PATH_MAX + 8];
    int r;

    if (access(library, R_OK) < 0)
        return error_set_errno(err, -errno,
                               "cannot find the simulator's library %s; GPUSLICE_SIM_LIBRARY "
                               "names another one",
                               library);
    if (snprintf(folder, sizeof(folder), "%s/gpuslice-XXXXXX", tmp && *tmp ? tmp : "/tmp") >=
        (int)sizeof(folder))
        return error_set_errno(err, -ENAMETOOLONG, "cannot use TMPDIR");
    if (!mkdtemp(folder))
        return error_set_errno(err, -errno, "cannot create the folder %s", folder);
    snprintf(state, sizeof(state), "%s/state", folder);
    setenv("GPUSLICE_MACHINE", path, 1);
    setenv("GPUSLICE_SIM_STATE", state, 1);
    /* This host may have a GPU of its own at an address of the simulated ones. */
    setenv("GPUSLICE_SYSFS", folder, 1);
    r = observe(library, ret_inventory, err);
    remove_folder(folder);
    if (r == 0)
        read_product(path, ret_inventory->machine, sizeof(ret_inventory->machine));
    return r;
}

static int observe_node(struct inventory *ret_inventory, struct error *err)
{
    static const char product_file[] = "/sys/class/dmi/id/product_name";
    cleanup_free char *product = NULL;
    size_t size;
    int r = observe(NULL, ret_inventory, err);

    if (r < 0)
        return r;
    if (file_read(product_file, 4096, &product, &size, NULL) == 0)
        snprintf(ret_inventory->machine, sizeof(ret_inventory->machine), "%.*s",
                 (int)strcspn(product, "\n"), product);
    return 0;
}

int machine_observe(const struct request *request, struct machine *ret_machine, struct error *err)
{
    struct machine machine = MACHINE_INIT;
    char path[PATH_MAX];
    int r;

    if (request->node) {
        r = observe_node(&machine.inventory, err);
        if (r < 0)
            return error_wrap(err, r, "cannot ask this machine's driver");
        snprintf(machine.title, sizeof(machine.title), "this node");
    } else {
        r = resolve(request->machine, path, err);
        if (r < 0)
            return r;
        r = observe_simulated(path, &machine.inventory, err);
        if (r < 0)
            return error_wrap(err, r, "cannot simulate %s", request->machine);
        snprintf(machine.title, sizeof(machine.title), "%s (simulated)", request->machine);
    }
    *ret_machine = machine;
    return 0;
}
