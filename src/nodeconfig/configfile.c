// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/configfile.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/dirwatch.h"
#include "base/text.h"

enum {
    SETTLE_MS = 50,        /* a volume update or an editor's save causes several events */
    ABSENT_POLL_MS = 1000, /* a missing directory, or one behind a symlink, cannot be watched */
    N_FOLDERS = 2,         /* of the path, and of its target */
};

struct configfile {
    struct dirwatch folders[N_FOLDERS];
    uv_timer_t settle;
    unsigned open_handles;
    char *path;
    bool watching;
    bool touched; /* to be reread, changed or not */
    configfile_changed_fn *on_changed;
    void *userdata;
    struct stat seen; /* st_ino 0 = it does not exist */
};

static void folder_of(const char *path, char *folder)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        snprintf(folder, PATH_MAX, ".");
    else
        snprintf(folder, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static void watch_folders(struct configfile *file)
{
    char folder[PATH_MAX], resolved[PATH_MAX];

    folder_of(file->path, folder);
    file->watching = dirwatch_watch(&file->folders[0], folder);
    folder[0] = '\0';
    if (realpath(file->path, resolved))
        folder_of(resolved, folder);
    dirwatch_watch(&file->folders[1], folder);
}

static bool look(struct configfile *file)
{
    struct stat now;

    if (stat(file->path, &now) < 0)
        memset(&now, 0, sizeof(now));
    if (now.st_ino == file->seen.st_ino && now.st_dev == file->seen.st_dev &&
        now.st_size == file->seen.st_size && now.st_ctim.tv_sec == file->seen.st_ctim.tv_sec &&
        now.st_ctim.tv_nsec == file->seen.st_ctim.tv_nsec)
        return false;
    file->seen = now;
    return true;
}

static void on_settled(uv_timer_t *timer);

/* Schedules a check. An earlier pending one stays: otherwise constant activity in the directory
 * would delay it indefinitely. */
static void schedule_check(struct configfile *file, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)&file->settle) || uv_timer_get_due_in(&file->settle) > ms)
        uv_timer_start(&file->settle, on_settled, ms, 0);
}

static void poll_if_absent(struct configfile *file)
{
    if (!file->watching || file->seen.st_ino == 0)
        schedule_check(file, ABSENT_POLL_MS);
}

void configfile_check(struct configfile *file)
{
    bool touched = file->touched;

    file->touched = false;
    watch_folders(file);
    touched |= look(file);
    poll_if_absent(file);
    if (touched)
        file->on_changed(file->userdata);
}

void configfile_touch(struct configfile *file)
{
    file->touched = true;
    schedule_check(file, 0);
}

static void on_settled(uv_timer_t *timer)
{
    configfile_check(timer->data);
}

static void on_folder_changed(const char *name, void *userdata)
{
    (void)name;
    schedule_check(userdata, SETTLE_MS);
}

static int start(struct configfile *file, uv_loop_t *loop)
{
    int r = uv_timer_init(loop, &file->settle);

    if (r < 0)
        return r;
    file->settle.data = file;
    file->open_handles++;
    for (size_t i = 0; i < N_FOLDERS; i++) {
        r = dirwatch_init(&file->folders[i], loop, on_folder_changed, file);
        if (r < 0)
            return r;
        file->open_handles++;
    }
    watch_folders(file);
    look(file);
    poll_if_absent(file);
    return 0;
}

int configfile_new(uv_loop_t *loop, const char *path, configfile_changed_fn *on_changed,
                   void *userdata, struct configfile **ret_file, struct error *err)
{
    struct configfile *file = calloc(1, sizeof(*file));
    int r = -ENOMEM;

    if (!file)
        return error_set_errno(err, r, "cannot watch %s", path);
    file->on_changed = on_changed;
    file->userdata = userdata;
    file->path = strdup(path);
    if (file->path)
        r = start(file, loop);
    if (r < 0) {
        configfile_free(file);
        return error_set_errno(err, r, "cannot watch %s", path);
    }
    *ret_file = file;
    return 0;
}

static void release(struct configfile *file)
{
    free(file->path);
    free(file);
}

static void on_closed(uv_handle_t *handle)
{
    struct configfile *file = handle->data;

    assert(file->open_handles > 0);
    if (--file->open_handles == 0)
        release(file);
}

void configfile_free(struct configfile *file)
{
    unsigned n;

    if (!file)
        return;
    n = file->open_handles;
    if (n == 0)
        release(file);
    for (unsigned i = 1; i < n; i++)
        uv_close((uv_handle_t *)&file->folders[i - 1].watch, on_closed);
    if (n)
        uv_close((uv_handle_t *)&file->settle, on_closed);
}
