// SPDX-License-Identifier: Apache-2.0
#include "node/kubelet.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

enum { ABSENT_POLL_MS = 200 }; /* well under the second in which we promise to register again */

struct kubelet {
    uv_fs_event_t watch;
    uv_timer_t poll;
    unsigned open_handles;
    char *socket_path, *folder;
    kubelet_changed_fn *on_changed;
    void *userdata;
    struct stat folder_stat, socket_stat; /* st_ino 0 = not there */
    bool watching;
    uint64_t generation, last_generation;
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct stat look(const char *path, mode_t kind)
{
    struct stat found;

    if (stat(path, &found) < 0 || (found.st_mode & S_IFMT) != kind)
        memset(&found, 0, sizeof(found));
    return found;
}

static void on_event(uv_fs_event_t *watch, const char *name, int events, int status)
{
    (void)name, (void)events, (void)status;
    kubelet_check(watch->data);
}

static void on_poll(uv_timer_t *timer)
{
    kubelet_check(timer->data);
}

/* Watches the folder that is there now; a deleted one took its inotify watch along. */
static bool watch_folder(struct kubelet *kubelet)
{
    struct stat folder = look(kubelet->folder, S_IFDIR);
    bool same = folder.st_ino == kubelet->folder_stat.st_ino &&
                folder.st_dev == kubelet->folder_stat.st_dev;

    if (same && kubelet->watching == (folder.st_ino != 0))
        return false;
    uv_fs_event_stop(&kubelet->watch);
    kubelet->watching =
        folder.st_ino && uv_fs_event_start(&kubelet->watch, on_event, kubelet->folder, 0) == 0;
    kubelet->folder_stat = folder;
    return true;
}

static bool look_at_socket(struct kubelet *kubelet)
{
    struct stat socket = {0};

    if (*kubelet->socket_path)
        socket = look(kubelet->socket_path, S_IFSOCK);
    if (same_file(&socket, &kubelet->socket_stat))
        return false;
    kubelet->socket_stat = socket;
    kubelet->generation = socket.st_ino ? ++kubelet->last_generation : 0;
    return true;
}

static bool needs_polling(const struct kubelet *kubelet)
{
    return !kubelet->watching || (*kubelet->socket_path && kubelet->generation == 0);
}

void kubelet_check(struct kubelet *kubelet)
{
    watch_folder(kubelet);
    look_at_socket(kubelet);
    if (!needs_polling(kubelet))
        uv_timer_stop(&kubelet->poll);
    else if (!uv_is_active((uv_handle_t *)&kubelet->poll))
        uv_timer_start(&kubelet->poll, on_poll, ABSENT_POLL_MS, ABSENT_POLL_MS);
    kubelet->on_changed(kubelet->userdata);
}

static int start(struct kubelet *kubelet, uv_loop_t *loop)
{
    int r = uv_fs_event_init(loop, &kubelet->watch);

    if (r < 0)
        return r;
    kubelet->open_handles++;
    kubelet->watch.data = kubelet;
    r = uv_timer_init(loop, &kubelet->poll);
    if (r < 0)
        return r;
    kubelet->open_handles++;
    kubelet->poll.data = kubelet;
    watch_folder(kubelet);
    look_at_socket(kubelet);
    if (needs_polling(kubelet))
        r = uv_timer_start(&kubelet->poll, on_poll, ABSENT_POLL_MS, ABSENT_POLL_MS);
    return r;
}

int kubelet_new(uv_loop_t *loop, const char *socket_path, const char *folder,
                kubelet_changed_fn *on_changed, void *userdata, struct kubelet **ret_kubelet,
                struct error *err)
{
    struct kubelet *kubelet = calloc(1, sizeof(*kubelet));
    int r = -ENOMEM;

    if (!kubelet)
        return error_set_errno(err, r, "cannot watch %s", folder);
    kubelet->on_changed = on_changed;
    kubelet->userdata = userdata;
    kubelet->socket_path = strdup(socket_path);
    kubelet->folder = strdup(folder);
    if (kubelet->socket_path && kubelet->folder)
        r = start(kubelet, loop);
    if (r < 0) {
        kubelet_free(kubelet);
        return error_set_errno(err, r, "cannot watch %s", folder);
    }
    *ret_kubelet = kubelet;
    return 0;
}

static void release(struct kubelet *kubelet)
{
    free(kubelet->socket_path);
    free(kubelet->folder);
    free(kubelet);
}

static void on_closed(uv_handle_t *handle)
{
    struct kubelet *kubelet = handle->data;

    assert(kubelet->open_handles > 0);
    if (--kubelet->open_handles == 0)
        release(kubelet);
}

void kubelet_free(struct kubelet *kubelet)
{
    if (!kubelet)
        return;
    if (kubelet->open_handles == 0) {
        release(kubelet);
        return;
    }
    if (kubelet->open_handles > 1)
        uv_close((uv_handle_t *)&kubelet->poll, on_closed);
    uv_close((uv_handle_t *)&kubelet->watch, on_closed);
}

uint64_t kubelet_generation(const struct kubelet *kubelet)
{
    return kubelet->generation;
}

const char *kubelet_socket_path(const struct kubelet *kubelet)
{
    return kubelet->socket_path;
}

const char *kubelet_folder(const struct kubelet *kubelet)
{
    return kubelet->folder;
}
