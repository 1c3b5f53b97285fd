// SPDX-License-Identifier: Apache-2.0
#include "node/kubelet.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "node/folder.h"

enum { ABSENT_POLL_MS = 200 }; /* well under the second in which we promise to register again */

struct kubelet {
    struct folder folder;
    uv_timer_t poll;
    unsigned open_handles;
    char *socket_path, *folder_path;
    kubelet_changed_fn *on_changed;
    void *userdata;
    struct stat socket_stat; /* st_ino 0 = not there */
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
    kubelet_check(timer->data);
}

static void look(struct kubelet *kubelet)
{
    struct stat socket;

    kubelet->watching = folder_watch(&kubelet->folder, kubelet->folder_path);
    socket = find_socket(kubelet->socket_path);
    if (same_file(&socket, &kubelet->socket_stat))
        return;
    kubelet->socket_stat = socket;
    kubelet->generation = socket.st_ino ? ++kubelet->last_generation : 0;
}

static bool needs_polling(const struct kubelet *kubelet)
{
    return !kubelet->watching || (*kubelet->socket_path && kubelet->generation == 0);
}

static void check(struct kubelet *kubelet, const char *name)
{
    look(kubelet);
    if (!needs_polling(kubelet))
        uv_timer_stop(&kubelet->poll);
    else if (!uv_is_active((uv_handle_t *)&kubelet->poll))
        uv_timer_start(&kubelet->poll, on_poll, ABSENT_POLL_MS, ABSENT_POLL_MS);
    kubelet->on_changed(name, kubelet->userdata);
}

void kubelet_check(struct kubelet *kubelet)
{
    check(kubelet, NULL);
}

static void on_folder_changed(const char *name, void *userdata)
{
    check(userdata, name);
}

static int start(struct kubelet *kubelet, uv_loop_t *loop)
{
    int r = folder_init(&kubelet->folder, loop, on_folder_changed, kubelet);

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
    kubelet->folder_path = strdup(folder);
    if (kubelet->socket_path && kubelet->folder_path)
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
    free(kubelet->folder_path);
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
    uv_close((uv_handle_t *)&kubelet->folder.watch, on_closed);
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
    return kubelet->folder_path;
}
