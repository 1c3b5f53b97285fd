// SPDX-License-Identifier: Apache-2.0
#include "plugin/kubeletdir.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/dirwatch.h"

enum { ABSENT_POLL_MS = 200 }; /* well below the second in which we promise to register again */

struct kubeletdir {
    struct dirwatch folder;
    uv_timer_t poll;
    unsigned open_handles;
    char *socket_path, *folder_path;
    kubeletdir_changed_fn *on_changed;
    void *userdata;
    struct stat socket_stat; /* st_ino 0 = it does not exist */
    bool watching;
    uint64_t generation, last_generation;
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct stat find_socket(const char *path)
{
    struct stat found;

    if (!*path || stat(path, &found) < 0 || !S_ISSOCK(found.st_mode))
        memset(&found, 0, sizeof(found));
    return found;
}

static void on_poll(uv_timer_t *timer)
{
    kubeletdir_check(timer->data);
}

static void look(struct kubeletdir *kubelet)
{
    struct stat socket;

    kubelet->watching = dirwatch_watch(&kubelet->folder, kubelet->folder_path);
    socket = find_socket(kubelet->socket_path);
    if (same_file(&socket, &kubelet->socket_stat))
        return;
    kubelet->socket_stat = socket;
    kubelet->generation = socket.st_ino ? ++kubelet->last_generation : 0;
}

static bool needs_polling(const struct kubeletdir *kubelet)
{
    return !kubelet->watching || (*kubelet->socket_path && kubelet->generation == 0);
}

static void check(struct kubeletdir *kubelet, const char *name)
{
    look(kubelet);
    if (!needs_polling(kubelet))
        uv_timer_stop(&kubelet->poll);
    else if (!uv_is_active((uv_handle_t *)&kubelet->poll))
        uv_timer_start(&kubelet->poll, on_poll, ABSENT_POLL_MS, ABSENT_POLL_MS);
    kubelet->on_changed(name, kubelet->userdata);
}

void kubeletdir_check(struct kubeletdir *kubelet)
{
    check(kubelet, NULL);
}

static void on_folder_changed(const char *name, void *userdata)
{
    check(userdata, name);
}

static int start(struct kubeletdir *kubelet, uv_loop_t *loop)
{
    int r = dirwatch_init(&kubelet->folder, loop, on_folder_changed, kubelet);

    if (r < 0)
        return r;
    kubelet->open_handles++;
    r = uv_timer_init(loop, &kubelet->poll);
    if (r < 0)
        return r;
    kubelet->open_handles++;
    kubelet->poll.data = kubelet;
    look(kubelet);
    if (needs_polling(kubelet))
        r = uv_timer_start(&kubelet->poll, on_poll, ABSENT_POLL_MS, ABSENT_POLL_MS);
    return r;
}

int kubeletdir_new(uv_loop_t *loop, const char *socket_path, const char *folder,
                   kubeletdir_changed_fn *on_changed, void *userdata,
                   struct kubeletdir **ret_kubelet, struct error *err)
{
    struct kubeletdir *kubelet = calloc(1, sizeof(*kubelet));
    int r = -ENOMEM;

    if (!kubelet)
        return error_set_errno(err, r, "cannot watch %s", folder);
    kubelet->on_changed = on_changed;
    kubelet->userdata = userdata;
    kubelet->socket_path = strdup(socket_path);
    kubelet->folder_path = strdup(folder);
    if (kubelet->socket_path && kubelet->folder_path)
        r = start(kubelet, loop);
    if (r < 0) {
        kubeletdir_free(kubelet);
        return error_set_errno(err, r, "cannot watch %s", folder);
    }
    *ret_kubelet = kubelet;
    return 0;
}

static void release(struct kubeletdir *kubelet)
{
    free(kubelet->socket_path);
    free(kubelet->folder_path);
    free(kubelet);
}

static void on_closed(uv_handle_t *handle)
{
    struct kubeletdir *kubelet = handle->data;

    assert(kubelet->open_handles > 0);
    if (--kubelet->open_handles == 0)
        release(kubelet);
}

void kubeletdir_free(struct kubeletdir *kubelet)
{
    if (!kubelet)
        return;
    if (kubelet->open_handles == 0) {
        release(kubelet);
        return;
    }
    if (kubelet->open_handles > 1)
        uv_close((uv_handle_t *)&kubelet->poll, on_closed);
    uv_close((uv_handle_t *)&kubelet->folder.watch, on_closed);
}

uint64_t kubeletdir_generation(const struct kubeletdir *kubelet)
{
    return kubelet->generation;
}

const char *kubeletdir_socket_path(const struct kubeletdir *kubelet)
{
    return kubelet->socket_path;
}

const char *kubeletdir_path(const struct kubeletdir *kubelet)
{
    return kubelet->folder_path;
}
