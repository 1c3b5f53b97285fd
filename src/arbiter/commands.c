// SPDX-License-Identifier: Apache-2.0
#include "arbiter/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "arbiter/findinglog.h"
#include "arbiter/localgrants.h"
#include "arbiter/noderecords.h"
#include "arbiter/procfs.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "proc/arbitermessage.h"
#include "proc/listener.h"
#include "proc/peer.h"

enum {
    DEADLINE_MS = 10000,
    HELLO_MS = 2000,
    REQUEST_MAX = 32 << 10, /* bytes: it has LIMITS_DEVICES_MAX limits at most */
    OURS = 0600,
    GROUPS = 0660,
};

#define MIB (UINT64_C(1) << 20)

struct commands {
    const struct arbiteroptions *options;
    struct limiter *limiter;
    const struct auditor *auditor;
    struct listener *listener;
    struct localgrants all; /* as they are in the folder, which nobody else writes */
    struct findinglog log;  /* peers decide how often there is something to say */
    char folder[PATH_MAX];  /* of localgrant.h */
};

/* --- is there room --- */

struct sum {
    const char *uuid;
    uint64_t bytes;
};

/* Of pods: a command that has just begun is not among them yet. */
static void add_pod(const struct limituse *use, void *userdata)
{
    struct sum *sum = userdata;

    if (!localgrant_is_uid(use->pod_uid) && strcasecmp(use->uuid, sum->uuid) == 0)
        sum->bytes += use->limit_bytes;
}

static void add_commands(const struct localgrants *all, struct sum *sum)
{
    for (size_t i = 0; i < all->n; i++)
        for (size_t j = 0; j < all->items[i].n_limits; j++)
            if (strcasecmp(all->items[i].limits[j].uuid, sum->uuid) == 0)
                sum->bytes += all->items[i].limits[j].bytes;
}

static const struct audit_device *find_device(const struct commands *commands, const char *uuid)
{
    const struct audit *audit = auditor_view(commands->auditor).audit;

    return audit ? audit_find_uuid(audit, uuid) : NULL;
}

static int check_room(const struct commands *commands, const struct arbiter_run_limit *limit,
                      struct error *err)
{
    const struct audit_device *found = find_device(commands, limit->device);
    struct sum sum = {.uuid = limit->device};
    uint64_t total;

    if (!found)
        return error_set(err, -ENODEV, "the arbiter of this node knows no %s", limit->device);
    total = found->device.mem_total_bytes;
    limiter_each(commands->limiter, add_pod, &sum);
    add_commands(&commands->all, &sum);
    sum.bytes += found->device.mem_reserved_bytes;
    if (!total || (sum.bytes <= total && limit->bytes <= total - sum.bytes))
        return 0;
    return error_set(err, -ENOSPC,
                     "%" PRIu64 " MiB of %s are left beside the limits of pods and other commands, "
                     "and %" PRIu64 " MiB are asked for",
                     sum.bytes < total ? (total - sum.bytes) / MIB : 0, limit->device,
                     limit->bytes / MIB);
}

static int check_all_room(const struct commands *commands, const struct arbiter_run *run,
                          struct error *err)
{
    int r = 0;

    if (commands->all.n >= COMMANDS_MAX)
        r = error_set(err, -ENOSPC, "%d commands have limits already", COMMANDS_MAX);
    for (size_t i = 0; i < run->n_limits && r == 0; i++)
        r = check_room(commands, &run->limits[i], err);
    return r;
}

/* --- a grant --- */

static int check_asker(const struct commands *commands, pid_t pid, struct error *err)
{
    const char *root = commands->options->root;
    struct podcgroup cgroup;
    int r;

    if (pid <= 0)
        return error_set(err, -ESRCH, "gpuslice-arbiter does not see the process that asks");
    r = procfs_read_pod(root, pid, &cgroup, NULL);
    /* One that is not in the /proc of another root may be in ours. */
    if (r == PODCGROUP_NO_POD || (r == -ENOENT && *root))
        return 0;
    return error_set(err, -EPERM,
                     r < 0 ? "whose the process is that asks could not be found out"
                           : "a process of a pod gets its limit with the pod's slices");
}

static int fill(const struct arbiter_run *run, pid_t pid, struct localgrant *grant,
                struct error *err)
{
    int r = grant_make_id(grant->id);

    if (r < 0)
        return error_set_errno(err, r, "cannot name the grant");
    grant->owner = pid;
    for (size_t i = 0; i < run->n_limits; i++) {
        snprintf(grant->limits[i].uuid, GPU_UUID_SIZE, "%s", run->limits[i].device);
        grant->limits[i].bytes = run->limits[i].bytes;
        grant->limits[i].share_permille = (uint32_t)run->limits[i].share_permille;
    }
    grant->n_limits = run->n_limits;
    r = procfs_read_start("", pid, &grant->owner_start, err);
    if (r == 0 && *run->cgroup)
        return localgrant_set_cgroup(grant, pid, run->cgroup, err);
    grant->tree = pid;
    return r;
}

static int keep(struct commands *commands, const struct localgrant *grant, struct error *err)
{
    struct localgrants *all = &commands->all;
    struct localgrant *kept = array_push(&all->items, &all->n, &all->capacity, sizeof(*kept));
    int r;

    if (!kept)
        return error_set_errno(err, -ENOMEM, "cannot keep a limit");
    *kept = *grant;
    r = localgrant_store(commands->folder, grant, err);
    if (r < 0) {
        localgrant_remove(commands->folder, grant->id);
        all->n--;
    }
    return r;
}

static int begin(struct commands *commands, const char *body, size_t size,
                 const struct channel *channel, struct localgrant *grant, struct error *err)
{
    const pid_t pid = channel_peer_pid(channel);
    struct arbiter_run run;
    int r = arbiter_run_read(body, size, &run, err);

    if (r == 0)
        r = check_asker(commands, pid, err);
    if (r == 0)
        r = check_all_room(commands, &run, err);
    if (r == 0)
        r = fill(&run, pid, grant, err);
    /* Else what was read may be another's. */
    if (r == 0 && channel_peer_pid(channel) != pid)
        r = error_set(err, -ESRCH, "the process that asks has ended");
    if (r < 0)
        return r;
    r = keep(commands, grant, err);
    if (r == 0)
        limiter_look(commands->limiter);
    return r;
}

/* --- their end --- */

static bool has_process(const struct commands *commands, const struct localgrant *grant)
{
    char uid[PODCGROUP_UID_SIZE];

    localgrant_format_uid(grant->id, uid);
    return limiter_has_process(commands->limiter, uid);
}

static bool has_owner(const struct localgrant *grant)
{
    uint64_t start;

    return procfs_read_start("", grant->owner, &start, NULL) == 0 && start == grant->owner_start;
}

static bool may_log(struct commands *commands)
{
    unsigned n_left_out;
    const bool may = findinglog_admit(&commands->log, clock_now_ms(), &n_left_out);

    if (n_left_out)
        log_warning("limits of commands begin and end too often; some lines were left out", "lines",
                    log_number(n_left_out));
    return may;
}

static void end(struct commands *commands, size_t place, const char *why)
{
    struct localgrants *all = &commands->all;

    localgrant_remove(commands->folder, all->items[place].id);
    if (may_log(commands))
        log_info("the limit of a command ends", "grant", all->items[place].id, "reason", why);
    all->items[place] = all->items[--all->n];
    limiter_look(commands->limiter);
}

void commands_sweep(struct commands *commands)
{
    if (!limiter_count(commands->limiter).n_devices)
        return; /* who uses them is not known yet */
    for (size_t i = commands->all.n; i-- > 0;)
        if (!has_owner(&commands->all.items[i]) && !has_process(commands, &commands->all.items[i]))
            end(commands, i, "its processes are gone");
}

/* --- answers --- */

static void note(struct commands *commands, const struct localgrant *grant, pid_t pid,
                 const char *refusal)
{
    if (!may_log(commands))
        return;
    if (*refusal)
        log_warning("a command gets no limit", "pid", log_number(pid), "reason", refusal);
    else
        log_info("a command has a limit", "grant", grant->id, "pid", log_number(pid), "cgroup",
                 *grant->cgroup ? grant->cgroup : NULL);
}

static void answer_begin(struct commands *commands, const char *body, size_t size,
                         const struct channel *channel, struct text *out)
{
    struct localgrant grant = {.cgroup = ""};
    struct arbiter_run_grant answer = {.mode = limiter_get_mode(commands->limiter)};
    struct error err = ERROR_INIT;

    if (begin(commands, body, size, channel, &grant, &err) < 0) {
        snprintf(answer.refusal, sizeof(answer.refusal), "%s", error_text(&err));
    } else {
        snprintf(answer.id, sizeof(answer.id), "%s", grant.id);
        snprintf(answer.folder, sizeof(answer.folder), "%.400s/" LOCALGRANT_FOLDER "/%s",
                 commands->folder, grant.id);
    }
    note(commands, &grant, channel_peer_pid(channel), answer.refusal);
    (void)arbiter_run_grant_write(&answer, out);
}

struct counts {
    char pod_uid[PODCGROUP_UID_SIZE];
    struct text *out;
};

static void add_count(const struct limituse *use, void *userdata)
{
    const struct counts *counts = userdata;

    if (str_equal(use->pod_uid, counts->pod_uid))
        text_addf(counts->out, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", use->uuid,
                  use->limit_bytes, use->peak_bytes, use->n_denied);
}

/* n: there is none. */
static size_t find(const struct localgrants *all, const char *id)
{
    size_t i = 0;

    while (i < all->n && !str_equal(all->items[i].id, id))
        i++;
    return i;
}

/* Nobody else ends it, and not while a process has memory that it limits: that would be given
 * again. */
static void answer_end(struct commands *commands, const char *body, size_t size, pid_t pid,
                       struct text *out)
{
    const struct localgrants *all = &commands->all;
    struct arbiter_run_grant wanted = {.refusal = ""};
    struct counts counts = {.out = out};
    size_t place;

    if (arbiter_run_grant_read(body, size, &wanted, NULL) < 0)
        return;
    place = find(all, wanted.id);
    if (place == all->n || all->items[place].owner != pid || !has_owner(&all->items[place]))
        return;
    localgrant_format_uid(wanted.id, counts.pod_uid);
    limiter_each(commands->limiter, add_count, &counts);
    if (!has_process(commands, &all->items[place]))
        end(commands, place, "the command has ended");
}

/* One for each connection: no peer keeps us from the others. */
static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    struct commands *commands = userdata;
    cleanup_text struct text out = TEXT_INIT;

    if (kind == ARBITER_RUN_BEGIN)
        answer_begin(commands, body, size, channel, &out);
    else if (kind == ARBITER_RUN_END)
        answer_end(commands, body, size, channel_peer_pid(channel), &out);
    if (text_failed(&out) || channel_answer(channel, id, kind, out.data, out.length) < 0)
        (void)channel_answer(channel, id, kind, NULL, 0);
    channel_abort(channel, "it was answered");
}

/* --- life --- */

static int listen_at(struct commands *commands, uv_loop_t *loop, const char *path,
                     struct error *err)
{
    const struct arbiteroptions *options = commands->options;
    struct listener_options listener = {
        .path = path,
        .mode = options->has_run_group ? GROUPS : OURS,
        .users = {geteuid(), 0},
        .n_users = 2,
        .has_group = options->has_run_group,
        .group = options->run_group,
        .channel = peer_channel_options(ARBITER_MESSAGE_MAX, DEADLINE_MS),
    };
    const struct listener_service service = {
        .name = ARBITER_RUN,
        .max_peers = COMMANDS_PEERS,
        .on_request = on_request,
        .userdata = commands,
    };
    int r;

    listener.channel.name = ARBITER_NAME;
    listener.channel.is_from_stranger = true;
    listener.channel.hello_ms = HELLO_MS;
    listener.channel.max_receive_bytes = REQUEST_MAX;
    r = listener_new(loop, &listener, &commands->listener, err);
    if (r == 0)
        r = listener_serve(commands->listener, &service);
    return r;
}

int commands_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter *limiter,
                 const struct auditor *auditor, struct commands **ret_commands, struct error *err)
{
    struct commands *commands = calloc(1, sizeof(*commands));
    char path[PATH_MAX + sizeof(ARBITER_RUN_SOCKET)];
    int r;

    if (!commands)
        return error_set_errno(err, -ENOMEM, "cannot give limits to commands");
    commands->options = options;
    commands->limiter = limiter;
    commands->auditor = auditor;
    r = noderecords_command_folder(options, commands->folder);
    if (r < 0) {
        commands_free(commands);
        return error_set_errno(err, r, "cannot give limits to commands");
    }
    snprintf(path, sizeof(path), "%s", commands->folder);
    snprintf(strrchr(path, '/') + 1, sizeof(ARBITER_RUN_SOCKET), ARBITER_RUN_SOCKET);
    r = localgrants_read(commands->folder, &commands->all, err);
    if (r == 0)
        r = listen_at(commands, loop, path, err);
    if (r < 0) {
        commands_free(commands);
        return r;
    }
    *ret_commands = commands;
    return 0;
}

void commands_free(struct commands *commands)
{
    if (!commands)
        return;
    listener_free(commands->listener);
    localgrants_deinit(&commands->all);
    free(commands);
}
