// SPDX-License-Identifier: Apache-2.0
#include "grant/places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/environment.h"
#include "base/file.h"
#include "base/text.h"

#define STANDARD_PLUGIN_DIR "/var/lib/kubelet/device-plugins"
#define STANDARD_GRANT_DIR  "/var/lib/gpuslice"

/* Nothing below `folder` is looked at: its disk may hang. */
static int leave(const char *state_dir, const char *name, const char *folder, struct error *err)
{
    char path[PATH_MAX], fresh[PATH_MAX], target[2 * PATH_MAX] = "";
    size_t length = 0;

    if (*folder != '/') {
        if (!getcwd(target, PATH_MAX))
            return error_set_errno(err, -errno, "cannot link to %s", folder);
        length = strlen(target);
    }
    snprintf(target + length, sizeof(target) - length, "%s%s", length ? "/" : "", folder);
    if (snprintf(path, sizeof(path), "%s/%s", state_dir, name) >= PATH_MAX ||
        snprintf(fresh, sizeof(fresh), "%s/.%s.new", state_dir, name) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot link to %s", folder);
    unlink(fresh);
    if (symlink(target, fresh) < 0 || rename(fresh, path) < 0)
        return error_set_errno(err, -errno, "cannot create the link %s", path);
    return 0;
}

int places_leave(const char *state_dir, const char *plugin_dir, const char *grant_dir,
                 struct error *err)
{
    int r = file_make_directory(state_dir, err);

    if (r == 0)
        r = leave(state_dir, "device-plugins", plugin_dir, err);
    return r == 0 ? leave(state_dir, "grants", grant_dir, err) : r;
}

static void find(const char *given, const char *state_dir, const char *name, const char *standard,
                 char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/%s", state_dir, name);

    if (given || n >= PATH_MAX || faccessat(AT_FDCWD, ret_path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        snprintf(ret_path, PATH_MAX, "%s", given ? given : standard);
}

void places_find(const char *state_dir, struct places *ret_places)
{
    const char *given = environment_get("GPUSLICE_DEVICE_PLUGIN_DIR");
    const char *socket = given ? NULL : environment_get("KUBELET_SOCKET");
    char folder[PATH_MAX];

    if (socket && strrchr(socket, '/')) {
        snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(socket, '/') - socket), socket);
        given = *folder ? folder : "/";
    }
    find(given, state_dir, "device-plugins", STANDARD_PLUGIN_DIR, ret_places->plugin_dir);
    find(environment_get("GPUSLICE_GRANT_DIR"), state_dir, "grants", STANDARD_GRANT_DIR,
         ret_places->grant_dir);
}

/* A folder of the node, below the root of its files; that of a link of the agent's, too. */
static int find_folder(const char *root, char folder[PATH_MAX], struct error *err)
{
    char path[PATH_MAX], target[PATH_MAX];
    ssize_t length;

    if (snprintf(path, sizeof(path), "%s%s", root, folder) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot read the files below %s", root);
    length = readlink(path, target, sizeof(target) - 1);
    target[length < 0 ? 0 : length] = '\0';
    if (snprintf(folder, PATH_MAX, "%s%s", *target == '/' ? root : "",
                 *target == '/' ? target : path) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot read the files below %s", root);
    return 0;
}

int places_find_below(const char *root, const char *state_dir, struct places *ret_places,
                      struct error *err)
{
    char state_below[PATH_MAX];
    int r = 0;

    if (snprintf(state_below, sizeof(state_below), "%s%s", root, state_dir) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot read the files below %s", root);
    places_find(state_below, ret_places);
    for (size_t i = 0; i < 2 && r == 0; i++) {
        char *folder = i ? ret_places->grant_dir : ret_places->plugin_dir;

        /* A link is below the root already. */
        if (str_starts_with(folder, state_below))
            memmove(folder, folder + strlen(root), strlen(folder + strlen(root)) + 1);
        r = find_folder(root, folder, err);
    }
    return r;
}
