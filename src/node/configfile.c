// SPDX-License-Identifier: Apache-2.0
#include "node/configfile.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"

enum {
    SETTLE_MS = 50, /* a volume update or an editor's save is several events */
    N_FOLDERS = 2,  /* of the path, and of what it resolves to */
};

struct configfile {
    uv_fs_event_t watches[N_FOLDERS];
    uv_timer_t settle;
    unsigned open_handles;
    char *path;
    char folders[N_FOLDERS][PATH_MAX]; /* watched now; "" = none */
    configfile_changed_fn *on_changed;
    void *userdata;
    struct stat seen; /* st_ino 0 = not there */
};

static void folder_of(const char *path, char *folder)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        snprintf(folder, PATH_MAX, ".");
    else
        snprintf(folder, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static void on_event(uv_fs_event_t *watch, const char *name, int events, int status);

static void watch_folders(struct configfile *file)
{
    char wanted[N_FOLDERS][PATH_MAX] = {"", ""}, resolved[PATH_MAX];

    folder_of(file->path, wanted[0]);
    if (realpath(file->path, resolved))
        folder_of(resolved, wanted[1]);
    for (size_t i = 0; i < N_FOLDERS; i++) {
        if (str_equal(wanted[i], file->folders[i]) &&
            uv_is_active((uv_handle_t *)&file->watches[i]))
            continue;
        uv_fs_event_stop(&file->watches[i]);
        file->folders[i][0] = '\0';
        if (*wanted[i] && uv_fs_event_start(&file->watches[i], on_event, wanted[i], 0) == 0)
            memcpy(file->folders[i], wanted[i], PATH_MAX);
    }
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

void configfile_check(struct configfile *file)
{
    watch_folders(file);
    if (look(file))
        file->on_changed(file->userdata);
}

static void on_settled(uv_timer_t *timer)
{
    configfile_check(timer->data);
}

static void on_event(uv_fs_event_t *watch, const char *name, int events, int status)
{
    struct configfile *file = watch->data;

    (void)name, (void)events, (void)status;
    uv_timer_start(&file->settle, on_settled, SETTLE_MS, 0);
}

static int start(struct configfile *file, uv_loop_t *loop)
{
    int r = uv_timer_init(loop, &file->settle);

    if (r < 0)
        return r;
    file->settle.data = file;
    file->open_handles++;
    for (size_t i = 0; i < N_FOLDERS; i++) {
        r = uv_fs_event_init(loop, &file->watches[i]);
        if (r < 0)
            return r;
        file->watches[i].data = file;
        file->open_handles++;
    }
    watch_folders(file);
    look(file);
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
        uv_close((uv_handle_t *)&file->watches[i - 1], on_closed);
    if (n)
        uv_close((uv_handle_t *)&file->settle, on_closed);
}
