// SPDX-License-Identifier: Apache-2.0
#include "node/channeldir.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "nodesync/message.h"
#include "proc/httplink.h"
#include "proc/listener.h"
#include "proc/peer.h"
#include "proc/role.h"

static const struct row {
    const char *folder; /* below --channel-dir */
    bool is_ours;       /* only for the agent's user and root */
} rows[] = {
    [CHANNELDIR_NODESYNC] = {SYNC_NAME, false},
    [CHANNELDIR_HTTP] = {HTTPLINK_NAME, false},
    [CHANNELDIR_PROBE] = {HTTPLINK_PROBE, true},
};

void channeldir_path(const char *folder, enum channeldir_program program, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s/" PEER_SOCKET, folder, rows[program].folder);
}

/* Whatever the umask is. One that exists may be a volume, whose mode is not ours to change. */
static int make_folder(const char *folder, const struct row *row, struct error *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", folder, row->folder);
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : error_set_errno(err, -errno, "cannot create %s", path);
    if (!row->is_ours && chmod(path, 0755) < 0)
        return error_set_errno(err, -errno, "cannot open %s to others", path);
    return 0;
}

static int open_one(struct channeldir *channeldir, enum channeldir_program program, uv_loop_t *loop,
                    const char *folder, uint64_t deadline_ms, struct error *err)
{
    const struct row *row = &rows[program];
    char path[PATH_MAX];
    const struct listener_options options = {
        .path = path,
        .mode = row->is_ours ? 0600 : 0666,
        .users = {geteuid(), 0, ROLE_NOBODY},
        .n_users = row->is_ours ? 2 : 3,
        .channel = peer_channel_options(HTTPLINK_MAX_BODY, deadline_ms),
    };
    int r = make_folder(folder, row, err);

    channeldir_path(folder, program, path);
    return r < 0 ? r : listener_new(loop, &options, &channeldir->listeners[program], err);
}

int channeldir_open(struct channeldir *channeldir, uv_loop_t *loop, const char *folder,
                    uint64_t deadline_ms, struct error *err)
{
    int r = 0;

    for (unsigned i = 0; i < CHANNELDIR_COUNT && r == 0; i++)
        r = open_one(channeldir, i, loop, folder, deadline_ms, err);
    if (r < 0)
        channeldir_close(channeldir);
    return r;
}

void channeldir_close_one(struct channeldir *channeldir, enum channeldir_program program)
{
    listener_free(TAKE_PTR(channeldir->listeners[program]));
}

void channeldir_close(struct channeldir *channeldir)
{
    for (unsigned i = 0; i < CHANNELDIR_COUNT; i++)
        channeldir_close_one(channeldir, i);
}
