// SPDX-License-Identifier: Apache-2.0
#include "cli/runnode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/arbiterclient.h"
#include "proc/arbitermessage.h"

static int send_request(const char *socket, uint16_t kind, const struct text *body,
                        struct text *answer, struct error *err)
{
    const struct arbiterclient_request request = {
        .service = ARBITER_RUN, .kind = kind, .body = body->data, .size = body->length};

    if (text_failed(body))
        return error_set_errno(err, -ENOMEM, "cannot ask the arbiter");
    return arbiterclient_ask(socket, &request, answer, err);
}

static void write_wish(const struct localgrant *wanted, struct text *out)
{
    const char *name = strrchr(wanted->cgroup, '/');
    struct arbiter_run run = {.n_limits = wanted->n_limits};

    snprintf(run.cgroup, sizeof(run.cgroup), "%s", name ? name + 1 : "");
    for (size_t i = 0; i < wanted->n_limits; i++) {
        snprintf(run.limits[i].device, sizeof(run.limits[i].device), "%s", wanted->limits[i].uuid);
        run.limits[i].bytes = wanted->limits[i].bytes;
        run.limits[i].share_permille = wanted->limits[i].share_permille;
    }
    (void)arbiter_run_write(&run, out);
}

static int take_grant(const struct text *answer, struct runnode *node, struct error *err)
{
    struct arbiter_run_grant grant;
    int r = arbiter_run_grant_read(text_string(answer), answer->length, &grant, err);

    if (r < 0)
        return error_wrap(err, r, "cannot understand the arbiter's answer");
    if (*grant.refusal)
        return error_set(err, -EPERM, "the arbiter of this node refuses: %s", grant.refusal);
    node->mode = grant.mode;
    snprintf(node->folder, sizeof(node->folder), "%s", grant.folder);
    return str_copy(node->id, sizeof(node->id), grant.id);
}

int runnode_begin(const char *arbiter_dir, const struct localgrant *wanted,
                  struct runnode *ret_node, struct error *err)
{
    cleanup_text struct text body = TEXT_INIT, answer = TEXT_INIT;
    struct runnode node = RUNNODE_INIT;
    int r = arbiterclient_find("", arbiter_dir, ARBITER_RUN_SOCKET, node.socket, err);

    if (r < 0)
        return r;
    write_wish(wanted, &body);
    r = send_request(node.socket, ARBITER_RUN_BEGIN, &body, &answer, err);
    if (r == -ENOENT || r == -ECONNREFUSED)
        return RUNNODE_ABSENT;
    if (r == -EACCES || r == -EPERM)
        return RUNNODE_NOT_PERMITTED;
    if (r == 0)
        r = take_grant(&answer, &node, err);
    if (r == 0)
        *ret_node = node;
    return r;
}

void runnode_end(struct runnode *node, struct text *counts)
{
    struct arbiter_run_grant ended = {.refusal = ""};
    cleanup_text struct text body = TEXT_INIT;

    if (!*node->id)
        return;
    snprintf(ended.id, sizeof(ended.id), "%s", node->id);
    (void)arbiter_run_grant_write(&ended, &body);
    (void)send_request(node->socket, ARBITER_RUN_END, &body, counts, NULL);
    *node = (struct runnode)RUNNODE_INIT;
}
