// SPDX-License-Identifier: Apache-2.0
#include "rootdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "checkpoint.h"
#include "control.h"
#include "manager.h"
#include "savefile.h"

#define REMEDY "choose another --root-dir or --device-plugin-dir, a folder of the stand-in's own"

/* What a kubelet (1.24 to 1.36), or the program that installs one, keeps in its root and a stand-in
 * does not. */
static const char *const kept_by_kubelets[] = {
    "actuated_pods_state",
    "allocated_pods_state",
    "bootstrap-kubeconfig",
    "checkpoints",
    "config.yaml",
    "cpu_manager_state",
    "dra_manager_state",
    "instance-config.txt",
    "kubeadm-flags.env",
    "kubeconfig",
    "memory_manager_state",
    "pki",
    "plugins",
    "plugins_registry",
};

/* Both folders, open; -1 where there is none. */
struct place {
    const char *root_dir, *plugin_dir; /* for people */
    int root, plugins;
    bool is_split; /* plugins register outside the root */
};

static void place_deinit(struct place *place)
{
    if (place->root >= 0)
        close(place->root);
    if (place->plugins >= 0)
        close(place->plugins);
}

static int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool has(int folder, const char *name)
{
    return faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Somebody listens on this socket. */
static bool answers(int folder, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* This way a socket's path has room for its 107 bytes, whatever the folder's. */
    int n =
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder, name);

    if (fd < 0 || folder < 0 || n < 0 || (size_t)n >= sizeof(address.sun_path))
        return false;
    /* A full backlog has a listener behind it, and so has a socket that we may not open. */
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN ||
           errno == EACCES;
}

static int check_servers(const struct place *place, struct error *err)
{
    static const char sentence[] = "%s is listening on %s/%s: " REMEDY;

    if (answers(place->root, CONTROL_NAME))
        return error_set(err, -EADDRINUSE, sentence, "another gpuslice-kubelet", place->root_dir,
                         CONTROL_NAME);
    if (answers(place->plugins, "kubelet.sock"))
        return error_set(err, -EADDRINUSE, sentence, "a kubelet", place->plugin_dir,
                         "kubelet.sock");
    if (answers(place->root, "pod-resources/kubelet.sock"))
        return error_set(err, -EADDRINUSE, sentence, "a kubelet", place->root_dir,
                         "pod-resources/kubelet.sock");
    return 0;
}

/* A file of ours can be read, one of a kubelet's has another checksum. */
static bool has_own_checkpoint(int folder)
{
    struct manager manager = MANAGER_INIT;
    char path[64];
    int r;

    snprintf(path, sizeof(path), "/proc/self/fd/%d/" CHECKPOINT_NAME, folder);
    r = checkpoint_load(path, 0, &manager, NULL);
    manager_deinit(&manager);
    return r == 0;
}

/* A plugin serves here that would lose its socket. Ours expects that of a kubelet that starts. */
static bool has_live_plugin(int folder, char *ret_name, size_t size)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;
    bool found = false;

    while (!found && dir && (entry = readdir(dir))) {
        found = !str_starts_with(entry->d_name, "gpuslice-") && answers(folder, entry->d_name);
        snprintf(ret_name, size, "%s", entry->d_name);
    }
    if (dir)
        closedir(dir);
    else if (copy >= 0)
        close(copy);
    return found;
}

static int check_plugins(const struct place *place, bool was_ours, struct error *err)
{
    const bool vouched = was_ours && !place->is_split;
    char name[NAME_MAX + 1];

    if (place->plugins < 0)
        return 0;
    if (!vouched && has(place->plugins, CHECKPOINT_NAME) &&
        (!was_ours || !has_own_checkpoint(place->plugins)))
        return error_set(err, -EBUSY, "%s/" CHECKPOINT_NAME " is of another kubelet: " REMEDY,
                         place->plugin_dir);
    if (!was_ours && has_live_plugin(place->plugins, name, sizeof(name)))
        return error_set(err, -EBUSY, "a plugin of another kubelet is listening on %s/%s: " REMEDY,
                         place->plugin_dir, name);
    return 0;
}

static int check_root(const struct place *place, bool was_ours, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(kept_by_kubelets); i++)
        if (has(place->root, kept_by_kubelets[i]))
            return error_set(err, -EBUSY, "%s is the folder of a kubelet, it has %s: " REMEDY,
                             place->root_dir, kept_by_kubelets[i]);
    if (!was_ours && has(place->root, "pods"))
        return error_set(err, -EBUSY, "%s has the pods of another kubelet: " REMEDY,
                         place->root_dir);
    return 0;
}

int rootdir_check(const char *root_dir, const char *plugin_dir, struct error *err)
{
    cleanup_text struct text plugins = TEXT_INIT;
    cleanup(place_deinit) struct place place = {
        .root_dir = root_dir, .root = open_folder(root_dir), .is_split = plugin_dir};
    bool was_ours = place.root >= 0 && has(place.root, STATE_NAME);
    int r;

    if (plugin_dir)
        text_add(&plugins, plugin_dir);
    else
        text_addf(&plugins, "%s/device-plugins", root_dir);
    place.plugin_dir = text_string(&plugins);
    place.plugins = open_folder(place.plugin_dir);
    r = check_servers(&place, err);
    if (r == 0 && place.root >= 0)
        r = check_root(&place, was_ours, err);
    return r < 0 ? r : check_plugins(&place, was_ours, err);
}
