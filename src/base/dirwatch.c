// SPDX-License-Identifier: Apache-2.0
#include "base/dirwatch.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"

int dirwatch_init(struct dirwatch *folder, uv_loop_t *loop, dirwatch_changed_fn *on_changed,
                  void *userdata)
{
    int r = uv_fs_event_init(loop, &folder->watch);

    if (r < 0)
        return r;
    folder->watch.data = userdata;
    folder->path[0] = '\0';
    folder->inode = 0;
    folder->on_changed = on_changed;
    folder->userdata = userdata;
    return 0;
}

static void drop(struct dirwatch *folder)
{
    uv_fs_event_stop(&folder->watch);
    folder->inode = 0;
}

/* libuv reports the directory's own last name for the directory itself. */
static bool is_about_itself(const struct dirwatch *folder, const char *name)
{
    const char *slash = strrchr(folder->path, '/');

    return !name || str_equal(name, slash ? slash + 1 : folder->path);
}

static void on_event(uv_fs_event_t *watch, const char *name, int events, int status)
{
    static_assert(offsetof(struct dirwatch, watch) == 0, "a folder begins with its watch");
    struct dirwatch *folder = (struct dirwatch *)(void *)watch;

    (void)events;
    if (status < 0 || is_about_itself(folder, name)) {
        drop(folder);
        name = NULL;
    }
    folder->on_changed(name, folder->userdata);
}

bool dirwatch_watch(struct dirwatch *folder, const char *path)
{
    struct stat now;

    if (!*path || stat(path, &now) < 0 || !S_ISDIR(now.st_mode)) {
        drop(folder);
        return false;
    }
    if (folder->inode == now.st_ino && folder->device == now.st_dev &&
        str_equal(folder->path, path))
        return true;
    drop(folder);
    if (str_copy(folder->path, sizeof(folder->path), path) < 0 ||
        uv_fs_event_start(&folder->watch, on_event, folder->path, 0) < 0)
        return false;
    folder->device = now.st_dev;
    folder->inode = now.st_ino;
    return true;
}
