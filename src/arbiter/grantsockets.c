// SPDX-License-Identifier: Apache-2.0
#include "arbiter/grantsockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/dirwatch.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"
#include "grant/grant.h"
#include "limits/message.h"
#include "proc/peersocket.h"

enum { BACKLOG = 1024, ACCEPTS_PER_TURN = 16, SOCKETS_MAX = 4096 };

struct grantsocket {
    struct grantsocket *next;
    struct grantsockets *all;
    char grant[GRANT_ID_SIZE];
    int fd;
    uv_poll_t poll;
    dev_t device; /* of the socket's file, to recognise it */
    ino_t inode;
    bool is_paused; /* no descriptor was left */
    bool is_seen;   /* by the look that is being taken */
};

struct grantsockets {
    uv_loop_t *loop;
    grantsockets_accept_fn *on_accept;
    void *userdata;
    struct grantsocket *first;
    size_t n;
    struct dirwatch watch;
    bool has_watch;
    char folder[PATH_MAX];
    struct lograte trouble, shortage;
};

/* --- one socket --- */

static void on_socket_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Whether its file is where it was made; ret_path: of that. */
static bool is_in_place(const struct grantsocket *socket_, const char *folder,
                        char ret_path[PATH_MAX])
{
    struct stat st;

    return snprintf(ret_path, PATH_MAX, "%s/%s/" LIMITS_SOCKET, folder, socket_->grant) <
               PATH_MAX &&
           lstat(ret_path, &st) == 0 && st.st_dev == socket_->device && st.st_ino == socket_->inode;
}

/* folder: of the directories; its file is removed if it is still ours. */
static void close_one(struct grantsocket *socket_, const char *folder)
{
    char path[PATH_MAX];

    if (is_in_place(socket_, folder, path))
        unlink(path);
    uv_close((uv_handle_t *)&socket_->poll, on_socket_closed);
    peersocket_close_listener(socket_->fd);
}

static void pause_for_shortage(struct grantsocket *socket_)
{
    struct lograte *rate = &socket_->all->shortage;

    uv_poll_stop(&socket_->poll);
    socket_->is_paused = true;
    if (lograte_begin(rate, "there are too many open files", clock_now_ms()))
        log_warning("processes cannot connect", "reason", "there are too many open files");
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct grantsocket *socket_ = poll->data;

    (void)status, (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        const int fd = accept4(socket_->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            pause_for_shortage(socket_);
        if (fd < 0)
            return;
        if (lograte_end(&socket_->all->shortage))
            log_info("processes can connect again");
        socket_->all->on_accept(fd, socket_->grant, socket_->all->userdata);
    }
}

static void resume(struct grantsocket *socket_)
{
    if (socket_->is_paused)
        uv_poll_start(&socket_->poll, UV_READABLE, on_connection);
    socket_->is_paused = false;
}

/* By the directory's descriptor, since a socket's address has room for a short path only. */
static int bind_in(int directory, int fd, struct stat *ret_status)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" LIMITS_SOCKET,
             directory);
    if ((unlinkat(directory, LIMITS_SOCKET, 0) < 0 && errno != ENOENT) ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        fchmodat(directory, LIMITS_SOCKET, 0666, 0) < 0 ||
        fstatat(directory, LIMITS_SOCKET, ret_status, AT_SYMLINK_NOFOLLOW) < 0 ||
        listen(fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

static int make_one(struct grantsockets *sockets, const char *grant)
{
    cleanup_free struct grantsocket *socket_ = calloc(1, sizeof(*socket_));
    cleanup_close int directory = -1, fd = -1;
    char path[PATH_MAX];
    struct stat st = {.st_ino = 0};
    int r;

    if (!socket_)
        return -ENOMEM;
    if (snprintf(path, sizeof(path), "%s/%s", sockets->folder, grant) >= PATH_MAX)
        return -ENAMETOOLONG;
    directory = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (directory < 0 || fd < 0)
        return -errno;
    r = bind_in(directory, fd, &st);
    if (r == 0)
        r = uv_poll_init(sockets->loop, &socket_->poll, fd);
    if (r < 0)
        return r;
    socket_->all = sockets;
    socket_->device = st.st_dev;
    socket_->inode = st.st_ino;
    socket_->is_seen = true;
    socket_->fd = TAKE_FD(fd);
    snprintf(socket_->grant, sizeof(socket_->grant), "%s", grant);
    socket_->poll.data = socket_;
    uv_poll_start(&socket_->poll, UV_READABLE, on_connection);
    socket_->next = sockets->first;
    sockets->first = TAKE_PTR(socket_);
    sockets->n++;
    return 0;
}

/* --- all of them --- */

static struct grantsocket *find(const struct grantsockets *sockets, const char *grant)
{
    struct grantsocket *socket_ = sockets->first;

    while (socket_ && !str_equal(socket_->grant, grant))
        socket_ = socket_->next;
    return socket_;
}

static void note_trouble(struct grantsockets *sockets, const char *grant, int r)
{
    if (lograte_begin(&sockets->trouble, strerror(-r), clock_now_ms()))
        log_warning("a container cannot reach the arbiter", "grant", grant, "folder",
                    sockets->folder, "reason", strerror(-r));
}

static void see(struct grantsockets *sockets, const char *grant)
{
    struct grantsocket *socket_ = find(sockets, grant);
    char path[PATH_MAX];
    int r = 0;

    if (socket_ && is_in_place(socket_, sockets->folder, path)) {
        socket_->is_seen = true;
        resume(socket_);
        return;
    }
    if (sockets->n < SOCKETS_MAX)
        r = make_one(sockets, grant);
    if (r < 0 && r != -ENOENT)
        note_trouble(sockets, grant, r);
}

static void close_unseen(struct grantsockets *sockets)
{
    struct grantsocket **link = &sockets->first;

    while (*link) {
        struct grantsocket *socket_ = *link;

        if (socket_->is_seen) {
            link = &socket_->next;
            continue;
        }
        *link = socket_->next;
        sockets->n--;
        close_one(socket_, sockets->folder);
    }
}

static void look(struct grantsockets *sockets)
{
    cleanup_closedir DIR *listing = opendir(sockets->folder);
    const struct dirent *entry;

    for (struct grantsocket *socket_ = sockets->first; socket_; socket_ = socket_->next)
        socket_->is_seen = false;
    while (listing && (entry = readdir(listing)))
        if (grant_is_id(entry->d_name))
            see(sockets, entry->d_name);
    close_unseen(sockets);
}

static void on_changed(const char *name, void *userdata)
{
    struct grantsockets *sockets = userdata;

    (void)name;
    dirwatch_watch(&sockets->watch, sockets->folder);
    look(sockets);
}

struct grantsockets *grantsockets_new(uv_loop_t *loop, grantsockets_accept_fn *on_accept,
                                      void *userdata)
{
    struct grantsockets *sockets = calloc(1, sizeof(*sockets));

    if (!sockets)
        return NULL;
    sockets->loop = loop;
    sockets->on_accept = on_accept;
    sockets->userdata = userdata;
    sockets->has_watch = dirwatch_init(&sockets->watch, loop, on_changed, sockets) == 0;
    return sockets;
}

void grantsockets_check(struct grantsockets *sockets, const char *folder)
{
    if (str_copy(sockets->folder, sizeof(sockets->folder), folder) < 0)
        return;
    if (sockets->has_watch)
        dirwatch_watch(&sockets->watch, folder);
    look(sockets);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void grantsockets_free(struct grantsockets *sockets)
{
    if (!sockets)
        return;
    for (struct grantsocket *socket_ = sockets->first; socket_; socket_ = socket_->next)
        socket_->is_seen = false;
    close_unseen(sockets);
    if (sockets->has_watch)
        uv_close((uv_handle_t *)&sockets->watch.watch, on_watch_closed);
    else
        free(sockets);
}

size_t grantsockets_count(const struct grantsockets *sockets)
{
    return sockets->n;
}
