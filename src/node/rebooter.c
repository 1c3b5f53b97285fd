// SPDX-License-Identifier: Apache-2.0
#include "node/rebooter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/hostid.h"
#include "base/log.h"
#include "base/text.h"
#include "node/gpuholders.h"

enum { MEMORY_MAX = 16384 };

#define HEADER "gpuslice-mig-reboot 1 "

enum phase {
    REST,      /* nothing needs a reboot */
    LOOKS,     /* the kubelet is asked which pods have GPUs */
    WAITS,     /* for them */
    WITHHOLDS, /* nobody has any; the owner withholds all */
    LOOKS_ONCE_MORE,
    GRACE,  /* the host is asked soon, */
    ASKS,   /* is being asked, */
    ASKED,  /* was asked, and said yes */
    FAILED, /* for `sentence`; begins again when the timer ends */
};

struct rebooter {
    uv_timer_t timer;
    const struct inventory *machine;
    const struct rebooter_backend *backend;
    void *owner;
    char path[PATH_MAX];
    char boot[HOSTID_SIZE];
    enum phase phase;
    bool is_listing;
    char sentence[512];
    /* What was read of the file, and is written to it. */
    char remembered_boot[HOSTID_SIZE]; /* "" = there is none */
    struct rebooter_need *remembered;
    size_t n_remembered, remembered_capacity;
    char unreadable[256]; /* why the file cannot be used: then nothing is rebooted */
    /* What needs one now. */
    struct rebooter_need *needs;
    size_t n_needs, needs_capacity;
};

/* --- what is remembered --- */

static struct rebooter_need *find(struct rebooter_need *needs, size_t n, const char *uuid)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(needs[i].uuid, uuid))
            return &needs[i];
    return NULL;
}

/* Adds it, or changes its mode. */
static int put(struct rebooter_need **needs, size_t *n, size_t *capacity, const char *uuid,
               bool enabled)
{
    struct rebooter_need *need = find(*needs, *n, uuid);

    if (!need)
        need = array_push(needs, n, capacity, sizeof(*need));
    if (!need)
        return -ENOMEM;
    snprintf(need->uuid, sizeof(need->uuid), "%s", uuid);
    need->enabled = enabled;
    return 0;
}

static int parse_line(struct rebooter *rebooter, char *line)
{
    char *mode = strchr(line, ' ');

    if (!mode || (!str_equal(mode + 1, "on") && !str_equal(mode + 1, "off")))
        return -EBADMSG;
    *mode = '\0';
    return put(&rebooter->remembered, &rebooter->n_remembered, &rebooter->remembered_capacity, line,
               str_equal(mode + 1, "on"));
}

static int parse(struct rebooter *rebooter, char *data)
{
    char *rest = data, *line = strsep(&rest, "\n");
    int r = 0;

    if (!rest || !str_starts_with(line, HEADER))
        return -EBADMSG;
    snprintf(rebooter->remembered_boot, sizeof(rebooter->remembered_boot), "%s",
             line + strlen(HEADER));
    while (r == 0 && (line = strsep(&rest, "\n")))
        if (*line)
            r = parse_line(rebooter, line);
    return r;
}

static void recall(struct rebooter *rebooter)
{
    cleanup_free char *data = NULL;
    struct error err = ERROR_INIT;
    size_t size;
    int r = file_read(rebooter->path, MEMORY_MAX, &data, &size, &err);

    rebooter->n_remembered = 0;
    rebooter->remembered_boot[0] = '\0';
    rebooter->unreadable[0] = '\0';
    if (r == -ENOENT)
        return;
    if (r == 0 && strlen(data) != size)
        r = error_set(&err, -EBADMSG, "%s: not a text", rebooter->path);
    if (r == 0 && parse(rebooter, data) < 0)
        r = error_set(&err, -EBADMSG, "%s: not a list of GPUs that a reboot was for",
                      rebooter->path);
    if (r < 0)
        snprintf(rebooter->unreadable, sizeof(rebooter->unreadable), "%s", error_text(&err));
}

static int store(const struct rebooter *rebooter, struct error *err)
{
    cleanup_text struct text text = TEXT_INIT;

    if (!rebooter->n_remembered)
        return unlink(rebooter->path) < 0 && errno != ENOENT
                   ? error_set_errno(err, -errno, "cannot remove %s", rebooter->path)
                   : 0;
    text_addf(&text, HEADER "%s\n", rebooter->remembered_boot);
    for (size_t i = 0; i < rebooter->n_remembered; i++)
        text_addf(&text, "%s %s\n", rebooter->remembered[i].uuid,
                  rebooter->remembered[i].enabled ? "on" : "off");
    if (text_failed(&text))
        return error_set_errno(err, -ENOMEM, "cannot write %s", rebooter->path);
    return file_write_durable(rebooter->path, text_string(&text), text.length, 0600, err);
}

static int remember(struct rebooter *rebooter, struct error *err)
{
    for (size_t i = 0; i < rebooter->n_needs; i++)
        if (put(&rebooter->remembered, &rebooter->n_remembered, &rebooter->remembered_capacity,
                rebooter->needs[i].uuid, rebooter->needs[i].enabled) < 0)
            return error_set_errno(err, -ENOMEM, "cannot remember the reboot");
    memcpy(rebooter->remembered_boot, rebooter->boot, sizeof(rebooter->boot));
    return store(rebooter, err);
}

void rebooter_settle(struct rebooter *rebooter, const char *uuid)
{
    struct rebooter_need *need = find(rebooter->remembered, rebooter->n_remembered, uuid);
    struct error err = ERROR_INIT;

    if (!need)
        return;
    *need = rebooter->remembered[--rebooter->n_remembered];
    if (store(rebooter, &err) < 0)
        log_warning(error_text(&err));
}

/* All of them were rebooted for. */
static bool was_made(const struct rebooter *rebooter)
{
    if (str_equal(rebooter->remembered_boot, rebooter->boot))
        return false;
    for (size_t i = 0; i < rebooter->n_needs; i++) {
        const struct rebooter_need *need = &rebooter->needs[i];
        const struct rebooter_need *earlier =
            find(rebooter->remembered, rebooter->n_remembered, need->uuid);

        if (!earlier || earlier->enabled != need->enabled)
            return false;
    }
    return true;
}

/* --- phases --- */

static void enter(struct rebooter *rebooter, enum phase phase)
{
    rebooter->phase = phase;
    rebooter->backend->on_changed(rebooter->owner);
}

static void on_timer(uv_timer_t *timer);

static void enter_for(struct rebooter *rebooter, enum phase phase, uint64_t ms)
{
    uv_timer_start(&rebooter->timer, on_timer, ms, 0);
    enter(rebooter, phase);
}

static void fail(struct rebooter *rebooter, const char *sentence, uint64_t retry_ms)
{
    snprintf(rebooter->sentence, sizeof(rebooter->sentence), "%s", sentence);
    enter_for(rebooter, FAILED, retry_ms);
}

/* Who has a GPU of this node, by the kubelet and by our grants. False: nobody. */
static bool find_holders(const struct rebooter *rebooter, const struct podresources_list *list,
                         struct text *names)
{
    cleanup_free struct gpuholders *holders = calloc(1, sizeof(*holders));
    uint32_t places[GPUHOLDERS_MAX];

    if (!holders) {
        text_add(names, "memory");
        return true;
    }
    for (size_t i = 0; i < rebooter->machine->n_gpus; i++) {
        if (*rebooter->machine->gpus[i].uuid) {
            gpuholders_add_pods(holders, rebooter->machine, i, list, NULL, NULL);
            gpuholders_add_grants(holders, rebooter->machine, i, rebooter->backend->is_granted,
                                  rebooter->owner);
        }
    }
    for (uint32_t i = 0; i < GPUHOLDERS_MAX; i++)
        places[i] = i;
    gpuholders_add_names(holders, places, holders->n, names);
    return holders->n > 0;
}

static void on_pods(const struct podresources_list *list, void *userdata)
{
    struct rebooter *rebooter = userdata;
    const enum phase phase = rebooter->phase;
    cleanup_text struct text names = TEXT_INIT;

    rebooter->is_listing = false;
    if (phase != LOOKS && phase != LOOKS_ONCE_MORE)
        return; /* it was given up meanwhile */
    if (!list->is_complete) {
        fail(rebooter, "the kubelet does not tell which pods have GPUs", REBOOTER_RETRY_MS);
        return;
    }
    if (find_holders(rebooter, list, &names)) {
        snprintf(rebooter->sentence, sizeof(rebooter->sentence), "%s", text_string(&names));
        enter_for(rebooter, WAITS, REBOOTER_WAIT_MS);
        return;
    }
    if (phase == LOOKS)
        enter(rebooter, WITHHOLDS);
    else
        enter_for(rebooter, GRACE, REBOOTER_GRACE_MS);
}

static void look(struct rebooter *rebooter, enum phase phase)
{
    rebooter->phase = phase;
    if (rebooter->is_listing)
        return; /* its answer serves as well */
    rebooter->is_listing = true;
    if (rebooter->backend->list_pods(on_pods, rebooter, rebooter->owner) == 0)
        return;
    rebooter->is_listing = false;
    fail(rebooter, "out of memory for asking which pods have GPUs", REBOOTER_RETRY_MS);
}

static void on_answer(int outcome, const char *sentence, void *userdata)
{
    struct rebooter *rebooter = userdata;
    char text[sizeof(rebooter->sentence)];

    snprintf(text, sizeof(text), "the host does not reboot: %s", sentence);
    rebooter->backend->cancel(rebooter->owner);
    if (outcome < 0)
        fail(rebooter, text, REBOOTER_PATIENCE_MS);
    else
        enter_for(rebooter, ASKED, REBOOTER_PATIENCE_MS);
}

/* It is written down before it happens. */
static void ask(struct rebooter *rebooter)
{
    struct error err = ERROR_INIT;
    int r = remember(rebooter, &err);

    rebooter->phase = ASKS;
    if (r == 0) {
        log_warning("the node is rebooted, for the MIG mode of GPUs that cannot be reset");
        r = rebooter->backend->ask(on_answer, rebooter, rebooter->owner);
        if (r < 0)
            error_set_errno(&err, r, "cannot start the process that asks for a reboot");
    }
    if (r < 0)
        fail(rebooter, error_text(&err), REBOOTER_PATIENCE_MS);
}

static void on_timer(uv_timer_t *timer)
{
    struct rebooter *rebooter = timer->data;

    if (rebooter->phase == WAITS)
        look(rebooter, LOOKS);
    else if (rebooter->phase == GRACE)
        ask(rebooter);
    else if (rebooter->phase == ASKED)
        fail(rebooter, "the host said that it reboots, and has not", REBOOTER_PATIENCE_MS);
    else if (rebooter->phase == FAILED || rebooter->phase == REST)
        enter(rebooter, REST);
}

/* --- what is needed --- */

static void give_up(struct rebooter *rebooter)
{
    if (rebooter->phase == ASKS)
        rebooter->backend->cancel(rebooter->owner);
    uv_timer_stop(&rebooter->timer);
    rebooter->phase = REST;
}

static int note_needs(struct rebooter *rebooter, const struct rebooter_need *needs, size_t n)
{
    rebooter->n_needs = 0;
    for (size_t i = 0; i < n; i++)
        if (put(&rebooter->needs, &rebooter->n_needs, &rebooter->needs_capacity, needs[i].uuid,
                needs[i].enabled) < 0)
            return -ENOMEM;
    return 0;
}

/* The one thing that must never happen is a reboot after each boot. */
static int check_memory(const struct rebooter *rebooter, struct error *err)
{
    if (*rebooter->unreadable)
        return error_set(err, -EBADMSG,
                         "it is unknown whether the node was rebooted for it already: %s; remove "
                         "the file, or reboot the node yourself",
                         rebooter->unreadable);
    if (!*rebooter->boot)
        return error_set(err, -ENODATA,
                         "the id of this boot is unknown, so the agent does not "
                         "reboot the node; reboot it yourself");
    if (was_made(rebooter))
        return error_set(err, -EALREADY,
                         "the node was rebooted for it, which did not help; the "
                         "agent does not reboot it again");
    return 0;
}

static int answer(struct rebooter *rebooter, struct error *err)
{
    switch (rebooter->phase) {
    case REST:
        rebooter->sentence[0] = '\0';
        look(rebooter, LOOKS);
        return REBOOTER_LOOKS;
    case LOOKS:
    case WAITS:
        if (!*rebooter->sentence)
            return REBOOTER_LOOKS;
        error_set(err, -EBUSY, "%s", rebooter->sentence); /* while it looks: as the last time */
        return REBOOTER_WAITS;
    case WITHHOLDS: /* the owner has done so */
        look(rebooter, LOOKS_ONCE_MORE);
        return REBOOTER_QUIET;
    case LOOKS_ONCE_MORE:
        return REBOOTER_QUIET;
    case GRACE:
    case ASKS:
    case ASKED:
        return 0;
    case FAILED:
        break;
    }
    return error_set(err, -EIO, "%s", rebooter->sentence);
}

int rebooter_need(struct rebooter *rebooter, const struct rebooter_need *needs, size_t n,
                  struct error *err)
{
    int r = note_needs(rebooter, needs, n);

    if (n && *rebooter->unreadable)
        recall(rebooter); /* somebody may have removed it */
    if (r == 0 && n)
        r = check_memory(rebooter, err);
    else if (r < 0)
        error_set_errno(err, r, "cannot reboot the node");
    if (r < 0 || !n) {
        give_up(rebooter);
        if (n && *rebooter->unreadable)
            uv_timer_start(&rebooter->timer, on_timer, REBOOTER_WAIT_MS, 0);
        return r;
    }
    return answer(rebooter, err);
}

/* --- life --- */

int rebooter_new(uv_loop_t *loop, const struct inventory *machine, const char *folder,
                 const char *boot, const struct rebooter_backend *backend, void *owner,
                 struct rebooter **ret_rebooter)
{
    struct rebooter *rebooter = calloc(1, sizeof(*rebooter));

    if (!rebooter)
        return -ENOMEM;
    rebooter->machine = machine;
    rebooter->backend = backend;
    rebooter->owner = owner;
    snprintf(rebooter->path, sizeof(rebooter->path), "%s/mig-reboot", folder);
    snprintf(rebooter->boot, sizeof(rebooter->boot), "%s", boot);
    recall(rebooter);
    uv_timer_init(loop, &rebooter->timer);
    rebooter->timer.data = rebooter;
    *ret_rebooter = rebooter;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct rebooter *rebooter = handle->data;

    free(rebooter->remembered);
    free(rebooter->needs);
    free(rebooter);
}

void rebooter_free(struct rebooter *rebooter)
{
    if (!rebooter)
        return;
    give_up(rebooter);
    uv_close((uv_handle_t *)&rebooter->timer, on_closed);
}
