// SPDX-License-Identifier: Apache-2.0
#include "plugin/driverfiles.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"

#define NVML_PREFIX "libnvidia-ml.so."

enum { VERSION_SIZE = 80 };

const char *const driverfiles_control_nodes[DRIVERFILES_CONTROL_NODES] = {
    "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"};

/* --- where: '+' stands for each folder that may have libraries --- */

static const char *const libraries[] = {"+", NULL};
static const char *const vdpau[] = {"+/vdpau", NULL};
static const char *const xorg[] = {"+/nvidia/xorg",
                                   "+/xorg/modules/drivers",
                                   "+/xorg/modules/extensions",
                                   "+/xorg/modules/updates/drivers",
                                   "+/xorg/modules/updates/extensions",
                                   "/usr/lib/xorg/modules/drivers",
                                   "/usr/lib/xorg/modules/extensions",
                                   NULL};
static const char *const programs[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin",
                                       "/sbin",           "/bin",           NULL};
static const char *const configs[] = {"/etc", "/usr/local/share", "/usr/share", NULL};
/* GKE's driver has Vulkan's files directly below its root. */
static const char *const vulkan[] = {"/etc", "/usr/local/share", "/usr/share", "", NULL};
static const char *const run[] = {"/run", "/var/run", NULL};
static const char *const tmp[] = {"/tmp", NULL};
/* On WSL2 Windows brings the driver, by two mounts below this folder: libraries that load the
 * others, and the folders of Windows' drivers. */
static const char *const wsl[] = {"/usr/lib/wsl", NULL};
static const char *const wsl_lib[] = {"/usr/lib/wsl/lib", NULL};
static const char *const firmware[] = {"{firmware}",
                                       "/lib/firmware/updates/{release}",
                                       "/lib/firmware/updates",
                                       "/lib/firmware/{release}",
                                       "/lib/firmware",
                                       NULL};

/* --- what --- */

static const struct row {
    enum driverfile_kind kind;
    const char *const *folders;
    const char *pattern;   /* its last part may have wildcards; {version} is the driver's */
    const char *container; /* the folder in the container; NULL = as below the driver root */
    bool in_all_folders;   /* else only in the first one that has it */
} rows[] = {
    {DRIVERFILE_LIBRARY, libraries, "*.so.{version}", .in_all_folders = true},
    {DRIVERFILE_LIBRARY, vdpau, "*.so.{version}", .in_all_folders = true},
    /* These have versions of their own. */
    {DRIVERFILE_LIBRARY, libraries, "libnvidia-egl-*.so.*.*", .in_all_folders = true},
    {DRIVERFILE_LIBRARY, libraries, "libnvidia-nvvm70.so.*", .in_all_folders = true},
    {DRIVERFILE_PLAIN, xorg, "nvidia_drv.so"},
    {DRIVERFILE_PLAIN, xorg, "libglxserver_nvidia.so.{version}"},

    {DRIVERFILE_PLAIN, programs, "nvidia-smi"},
    {DRIVERFILE_PLAIN, programs, "nvidia-debugdump"},
    {DRIVERFILE_PLAIN, programs, "nvidia-persistenced"},
    {DRIVERFILE_PLAIN, programs, "nvidia-cuda-mps-control"},
    {DRIVERFILE_PLAIN, programs, "nvidia-cuda-mps-server"},
    {DRIVERFILE_PLAIN, programs, "nvidia-imex"},
    {DRIVERFILE_PLAIN, programs, "nvidia-imex-ctl"},

    {DRIVERFILE_PLAIN, configs, "OpenCL/vendors/nvidia.icd", "/etc"},
    {DRIVERFILE_PLAIN, vulkan, "vulkan/icd.d/nvidia_icd*.json", "/etc"},
    {DRIVERFILE_PLAIN, vulkan, "vulkan/icd.d/nvidia_layers.json", "/etc"},
    {DRIVERFILE_PLAIN, vulkan, "vulkan/implicit_layer.d/nvidia_layers.json", "/etc"},
    {DRIVERFILE_PLAIN, configs, "glvnd/egl_vendor.d/10_nvidia.json", "/usr/share"},
    {DRIVERFILE_PLAIN, configs, "egl/egl_external_platform.d/*_nvidia_*.json", "/usr/share"},
    {DRIVERFILE_PLAIN, configs, "nvidia/nvoptix.bin", "/usr/share"},
    {DRIVERFILE_PLAIN, configs, "X11/xorg.conf.d/10-nvidia.conf", "/usr/share"},
    {DRIVERFILE_PLAIN, configs, "X11/xorg.conf.d/nvidia-drm-outputclass.conf", "/usr/share"},

    {DRIVERFILE_PLAIN, firmware, "nvidia/{version}/gsp*.bin", .in_all_folders = true},

    {DRIVERFILE_LIBRARY, wsl_lib, "*.so*"},
    {DRIVERFILE_PLAIN, wsl_lib, "nvidia-smi", "/usr/bin"},
    {DRIVERFILE_PLAIN, wsl, "drivers"},

    {DRIVERFILE_SOCKET, run, "nvidia-persistenced/socket"},
    {DRIVERFILE_SOCKET, run, "nvidia-fabricmanager/socket"},
    {DRIVERFILE_SOCKET, tmp, "nvidia-mps"},
};

/*
 * Links beside a library, which ldconfig does not make. Many programs load "libcuda.so", which no
 * library calls itself; GLVND wants the one for indirect GLX, and gbm finds its backend by name.
 * {name} is the library's file.
 */
static const struct link_row {
    const char *library; /* up to the version */
    const char *link, *target;
} links[] = {
    {"libcuda.so.", "libcuda.so", "libcuda.so.1"},
    {"libnvidia-opticalflow.so.", "libnvidia-opticalflow.so", "libnvidia-opticalflow.so.1"},
    {"libGLX_nvidia.so.", "libGLX_indirect.so.0", "{name}"},
    {"libnvidia-vulkan-producer.so.", "libnvidia-vulkan-producer.so", "{name}"},
    {"libglxserver_nvidia.so.", "libglxserver_nvidia.so", "{name}"},
    {"libnvidia-allocator.so.", "gbm/nvidia-drm_gbm.so", "../libnvidia-allocator.so.1"},
};

/* --- the search --- */

struct search {
    const struct driverroot *root;
    const char *version;
    struct utsname kernel;
    char firmware[PATH_MAX]; /* the kernel's own search path; "" = it has none */
    int (*each)(const struct driverfile *file, void *userdata);
    void *userdata;
    const struct row *row; /* of which `folder` is searched */
    const char *folder;
    size_t n_found; /* in this folder */
};

static void read_firmware_path(char path[PATH_MAX])
{
    cleanup_free char *value = NULL;
    size_t size;

    path[0] = '\0';
    if (file_read("/sys/module/firmware_class/parameters/path", PATH_MAX - 1, &value, &size,
                  NULL) == 0)
        snprintf(path, PATH_MAX, "%.*s", (int)strcspn(value, "\n"), value);
}

/* Replaces the words in braces. False if one of them has no value. */
static bool expand(const struct search *search, const char *pattern, struct text *text)
{
    const struct {
        const char *word, *value;
    } words[] = {
        {"{version}", search->version},
        {"{release}", search->kernel.release},
        {"{firmware}", search->firmware},
    };

    while (*pattern) {
        size_t i = 0;

        while (i < ARRAY_SIZE(words) && !str_starts_with(pattern, words[i].word))
            i++;
        if (i == ARRAY_SIZE(words)) {
            text_add_char(text, *pattern++);
            continue;
        }
        if (!*words[i].value)
            return false;
        text_add(text, words[i].value);
        pattern += strlen(words[i].word);
    }
    return true;
}

static int on_match(const char *path, void *userdata)
{
    struct search *search = userdata;
    const struct row *row = search->row;
    char container[PATH_MAX];
    struct driverroot_file found;

    if (!driverroot_find_file(search->root, path, &found))
        return 0; /* a link that leads nowhere */
    if (snprintf(container, sizeof(container), "%s%s", row->container ? row->container : "",
                 path + (row->container ? strlen(search->folder) : 0)) >= PATH_MAX)
        return 0;
    search->n_found++;
    return search->each(&(struct driverfile){row->kind, found.host, container}, search->userdata);
}

static int search_folder(struct search *search, const char *folder)
{
    cleanup_text struct text pattern = TEXT_INIT;

    text_addf(&pattern, "%s/", folder);
    if (!expand(search, search->row->pattern, &pattern))
        return 0;
    if (text_failed(&pattern))
        return -ENOMEM;
    search->folder = folder;
    search->n_found = 0;
    return driverroot_each_file(search->root, text_string(&pattern), on_match, search);
}

static bool is_done(const struct search *search)
{
    return search->n_found && !search->row->in_all_folders;
}

static int search_library_folders(struct search *search, const char *below)
{
    const char *library;
    int r = 0;

    for (size_t i = 0; r == 0 && !is_done(search) && (library = driverroot_library_folder(i));
         i++) {
        char folder[PATH_MAX];

        snprintf(folder, sizeof(folder), "%s%s", library, below);
        r = search_folder(search, folder);
    }
    return r;
}

static int search_row(struct search *search)
{
    int r = 0;

    search->n_found = 0;
    for (const char *const *entry = search->row->folders; r == 0 && *entry && !is_done(search);
         entry++) {
        cleanup_text struct text folder = TEXT_INIT;

        if (**entry == '+')
            r = search_library_folders(search, *entry + 1);
        else if (expand(search, *entry, &folder))
            r = text_failed(&folder) ? -ENOMEM : search_folder(search, text_string(&folder));
    }
    return r;
}

/* The version in the name of a file like libnvidia-ml.so.550.163.01, which libnvidia-ml.so.1 only
 * links to. Stops at the first. */
static int on_versioned(const char *path, void *userdata)
{
    const char *version = strstr(path, NVML_PREFIX) + strlen(NVML_PREFIX);

    if (!strchr(version, '.') || version[strspn(version, "0123456789.")])
        return 0;
    return str_copy(userdata, VERSION_SIZE, version) == 0;
}

static void find_version(const struct driverroot *root, char ret_version[VERSION_SIZE])
{
    const char *folder;
    int r = 0;

    ret_version[0] = '\0';
    for (size_t i = 0; r == 0 && (folder = driverroot_library_folder(i)); i++) {
        char pattern[PATH_MAX];

        snprintf(pattern, sizeof(pattern), "%s/" NVML_PREFIX "*", folder);
        r = driverroot_each_file(root, pattern, on_versioned, ret_version);
    }
}

int driverfiles_each(const struct driverroot *root, const char *version,
                     int (*each)(const struct driverfile *file, void *userdata), void *userdata)
{
    char found[VERSION_SIZE];
    struct search search = {.root = root, .version = version, .each = each, .userdata = userdata};
    int r = uname(&search.kernel) < 0 ? -errno : 0;

    if (!*version) {
        find_version(root, found);
        search.version = found;
    }
    read_firmware_path(search.firmware);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rows); i++) {
        search.row = &rows[i];
        r = search_row(&search);
    }
    return r;
}

/* --- links --- */

int driverfiles_each_link(const char *library,
                          int (*each)(const struct driverlink *link, void *userdata),
                          void *userdata)
{
    const char *name = strrchr(library, '/') + 1;
    const int length = (int)(name - library);
    char path[PATH_MAX];
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(links); i++) {
        if (!str_starts_with(name, links[i].library) ||
            snprintf(path, sizeof(path), "%.*s%s", length, library, links[i].link) >= PATH_MAX)
            continue;
        r = each(&(struct driverlink){path, str_equal(links[i].target, "{name}") ? name
                                                                                 : links[i].target},
                 userdata);
    }
    return r;
}

/* --- /dev/dri --- */

static int is_dri_node(const struct dirent *entry)
{
    return str_starts_with(entry->d_name, "card") || str_starts_with(entry->d_name, "renderD");
}

int driverfiles_each_dri_node(const struct driverroot *root, const char *pci_address,
                              int (*each)(const char *path, const struct driverlink *link,
                                          void *userdata),
                              void *userdata)
{
    const char *sysfs = getenv("GPUSLICE_SYSFS");
    char folder[PATH_MAX];
    struct dirent **entries;
    int n, r = 0;

    snprintf(folder, sizeof(folder), "%s/bus/pci/devices/%s/drm", sysfs ? sysfs : "/sys",
             pci_address);
    n = *pci_address ? scandir(folder, &entries, is_dri_node, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char path[PATH_MAX], link[PATH_MAX], target[PATH_MAX];

        snprintf(path, sizeof(path), "/dev/dri/%s", name);
        snprintf(target, sizeof(target), "../%s", name);
        snprintf(link, sizeof(link), "/dev/dri/by-path/pci-%s-%s", pci_address,
                 *name == 'c' ? "card" : "render");
        if (r == 0 && driverroot_has_node(root, path))
            r = each(path,
                     driverroot_has_node(root, link) ? &(struct driverlink){link, target} : NULL,
                     userdata);
        free(entries[i]);
    }
    if (n > 0)
        free(entries);
    return r;
}
