// SPDX-License-Identifier: Apache-2.0
#include "proc/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "proc/peersocket.h"

enum { BACKLOG = 16, ACCEPTS_PER_TURN = 8 };

struct peer {
    struct peer *next;
    struct listener *listener;
    struct channel *channel;
    struct service *service; /* NULL before its hello */
};

struct service {
    struct listener_service row; /* name NULL: a free slot */
    unsigned n_peers;
};

struct listener {
    uv_loop_t *loop;
    uv_poll_t poll;
    int fd;
    struct listener_options options;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    dev_t device; /* of the socket's file, to recognise it */
    ino_t inode;
    struct service services[LISTENER_MAX_SERVICES];
    struct peer *peers; /* a list */
    unsigned n_unknown;
    uint64_t n_refused;
    bool is_refusal_logged;
};

/* -- peers ----------------------------------------------------------------------------------- */

static void drop_peer(struct peer *peer, bool tell)
{
    struct peer **link = &peer->listener->peers;
    struct service *service = peer->service;

    while (*link != peer)
        link = &(*link)->next;
    *link = peer->next;
    if (service)
        service->n_peers--;
    else
        peer->listener->n_unknown--;
    if (tell && service && service->row.on_down)
        service->row.on_down(peer->channel, service->row.userdata);
    channel_free(peer->channel);
    free(peer);
}

static void on_peer_end(struct channel *channel, enum channel_end end, const char *sentence,
                        void *userdata)
{
    struct peer *peer = userdata;

    (void)channel;
    log_debug("a peer is gone", "peer", channel_peer(peer->channel), "reason", sentence);
    if (end == CHANNEL_PROTOCOL || end == CHANNEL_HANGS)
        log_warning("a peer was disconnected", "peer", channel_peer(peer->channel), "reason",
                    sentence);
    drop_peer(peer, true);
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    const struct listener_service *row = &((struct peer *)userdata)->service->row;

    if (row->on_notice)
        row->on_notice(channel, kind, body, size, row->userdata);
}

/* A service without request handlers rejects them: see on_hello. */
static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    const struct listener_service *row = &((struct peer *)userdata)->service->row;

    row->on_request(channel, id, kind, body, size, row->userdata);
}

static void on_drain(struct channel *channel, void *userdata)
{
    const struct listener_service *row = &((struct peer *)userdata)->service->row;

    if (row->on_drain)
        row->on_drain(channel, row->userdata);
}

static struct service *find_service(struct listener *listener, const char *name)
{
    for (size_t i = 0; i < LISTENER_MAX_SERVICES; i++)
        if (listener->services[i].row.name && str_equal(listener->services[i].row.name, name))
            return &listener->services[i];
    return NULL;
}

static struct peer *find_peer(const struct listener *listener, const struct service *service)
{
    struct peer *peer = listener->peers;

    while (peer && peer->service != service)
        peer = peer->next;
    return peer;
}

/* True if one more may connect. *ret_old: the peer that it replaces, or NULL. */
static bool has_room(const struct listener *listener, const struct service *service,
                     struct peer **ret_old)
{
    *ret_old = NULL;
    if (service->n_peers < service->row.max_peers)
        return true;
    if (service->row.max_peers != 1)
        return false;
    *ret_old = find_peer(listener, service);
    return true;
}

/* The new peer is in the list, as any other, before the end of the old one is reported: that
 * callback may withdraw the service or free the listener, and with it the new peer. */
static bool take_over(struct listener *listener, struct peer *peer, struct service *service,
                      struct peer *old)
{
    peer->service = service;
    service->n_peers++;
    listener->n_unknown--;
    if (!old)
        return true;
    drop_peer(old, true);
    return find_peer(listener, service) != NULL;
}

static void on_peer_hello(struct channel *channel, const char *name, void *userdata)
{
    struct peer *peer = userdata;
    struct listener *listener = peer->listener;
    struct service *service = find_service(listener, name);
    struct peer *old;
    const struct channel_callbacks callbacks = {
        .on_hello = on_peer_hello,
        .on_notice = on_notice,
        .on_request = service && service->row.on_request ? on_request : NULL,
        .on_drain = on_drain,
        .on_end = on_peer_end,
    };

    if (peer->service || !service) {
        channel_abort(channel, peer->service ? "it said hello twice" : "no such service");
        return;
    }
    if (!has_room(listener, service, &old)) {
        listener->n_refused++;
        channel_abort(channel, "there are too many peers already");
        return;
    }
    channel_set_callbacks(channel, &callbacks, peer);
    if (take_over(listener, peer, service, old) && service->row.on_up)
        service->row.on_up(channel, name, service->row.userdata);
}

static int add_peer(struct listener *listener, int fd, struct error *err)
{
    const struct channel_callbacks callbacks = {.on_hello = on_peer_hello, .on_end = on_peer_end};
    struct peer *peer = calloc(1, sizeof(*peer));
    int r;

    if (!peer) {
        close(fd);
        return error_set_errno(err, -ENOMEM, "cannot accept a connection");
    }
    r = channel_new(listener->loop, fd, &listener->options.channel, &callbacks, peer,
                    &peer->channel, err);
    if (r < 0) {
        free(peer);
        return r;
    }
    peer->listener = listener;
    peer->next = listener->peers;
    listener->peers = peer;
    listener->n_unknown++;
    return 0;
}

/* -- connections ----------------------------------------------------------------------------- */

static bool may_connect(const struct listener *listener, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (listener->options.has_group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    for (unsigned i = 0; i < listener->options.n_users; i++)
        if (listener->options.users[i] == peer.uid)
            return true;
    return false;
}

static void refuse(struct listener *listener, const char *reason)
{
    listener->n_refused++;
    if (!listener->is_refusal_logged)
        log_warning("a connection was refused", "socket", listener->path, "reason", reason);
    listener->is_refusal_logged = true;
}

/* Why it is not let in; NULL: it may be. */
static const char *find_reason(const struct listener *listener, int fd)
{
    return !may_connect(listener, fd) ? "its user may not"
           : listener->n_unknown >= LISTENER_MAX_UNKNOWN
               ? "there are too many that did not say hello"
               : NULL;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    (void)status, (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        const int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        const char *reason = fd < 0 ? NULL : find_reason(listener, fd);
        struct error err = ERROR_INIT;

        if (fd < 0)
            return;
        if (reason) {
            refuse(listener, reason);
            peersocket_close(fd);
        } else if (add_peer(listener, fd, &err) < 0) {
            refuse(listener, error_text(&err));
        }
    }
}

/* -- services -------------------------------------------------------------------------------- */

int listener_serve(struct listener *listener, const struct listener_service *service)
{
    for (size_t i = 0; i < LISTENER_MAX_SERVICES; i++) {
        if (listener->services[i].row.name)
            continue;
        listener->services[i] = (struct service){.row = *service};
        return 0;
    }
    return -ENOBUFS;
}

void listener_withdraw(struct listener *listener, const char *name)
{
    struct service *service = find_service(listener, name);
    struct peer *peer;

    while (service && (peer = find_peer(listener, service)))
        drop_peer(peer, false);
    if (service)
        service->row.name = NULL;
}

uint64_t listener_n_refused(const struct listener *listener)
{
    return listener->n_refused;
}

/* -- life ------------------------------------------------------------------------------------ */

/* Removes the file at our path: a socket left by an earlier process, and nothing else. */
static int remove_stale(const char *path, struct error *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, -errno, "cannot stat %s", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, -EEXIST, "%s exists and is not a socket", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, -errno, "cannot replace %s", path);
    return 0;
}

static int bind_socket(struct listener *listener, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;

    memcpy(address.sun_path, listener->path, sizeof(address.sun_path));
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0 || bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        (listener->options.has_group &&
         chown(listener->path, (uid_t)-1, listener->options.group) < 0) ||
        chmod(listener->path, listener->options.mode) < 0 || lstat(listener->path, &st) < 0 ||
        listen(listener->fd, BACKLOG) < 0)
        return error_set_errno(err, -errno, "cannot listen on %s", listener->path);
    listener->device = st.st_dev;
    listener->inode = st.st_ino;
    return 0;
}

static int open_listener(struct listener *listener, struct error *err)
{
    int r;

    if (str_copy(listener->path, sizeof(listener->path), listener->options.path) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of a socket is too long: %s",
                         listener->options.path);
    r = remove_stale(listener->path, err);
    if (r == 0)
        r = bind_socket(listener, err);
    return r;
}

int listener_new(uv_loop_t *loop, const struct listener_options *options,
                 struct listener **ret_listener, struct error *err)
{
    cleanup_free struct listener *listener = calloc(1, sizeof(*listener));
    int r;

    if (!listener)
        return error_set_errno(err, -ENOMEM, "cannot listen on %s", options->path);
    listener->loop = loop;
    listener->fd = -1;
    listener->options = *options;
    listener->options.channel.is_from_stranger |= options->has_group;
    r = open_listener(listener, err);
    if (r == 0) {
        r = uv_poll_init(loop, &listener->poll, listener->fd);
        if (r < 0)
            error_set_errno(err, r, "cannot listen on %s", options->path);
    }
    if (r < 0) {
        if (listener->fd >= 0)
            close(listener->fd);
        return r;
    }
    listener->options.path = listener->path;
    listener->poll.data = listener;
    uv_poll_start(&listener->poll, UV_READABLE, on_connection);
    *ret_listener = TAKE_PTR(listener);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    peersocket_close_listener(listener->fd);
    free(listener);
}

void listener_free(struct listener *listener)
{
    struct stat st;

    if (!listener)
        return;
    while (listener->peers)
        drop_peer(listener->peers, false);
    if (lstat(listener->path, &st) == 0 && st.st_dev == listener->device &&
        st.st_ino == listener->inode)
        unlink(listener->path);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
}
