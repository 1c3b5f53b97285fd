// SPDX-License-Identifier: Apache-2.0
#include "plugin/grants.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hostid.h"
#include "base/log.h"
#include "grant/grantstore.h"
#include "plugin/grantmatch.h"
#include "plugin/holdings.h"

enum { STALE_MS = 60000, TRIM_AFTER = 256 /* grants freed at once */ };

struct grants_wait {
    struct grants *grants;
    grants_done_fn *on_done; /* NULL = the caller is gone */
    void *userdata;
    uint64_t ticket;    /* of the last record */
    uint64_t n_commits; /* number of commits that must have succeeded */
    uint64_t since_ms;
    char (*ids)[GRANT_ID_SIZE]; /* of what was given */
    size_t n_ids;
};

struct grants {
    struct grants_setup setup;
    struct hostid host;
    struct grantstore store;
    struct grantstore_commit *commit; /* the running one */
    uv_work_t commit_work;
    uint64_t commit_began_ns;
    uint64_t n_commits_begun, n_commits_done;
    uv_timer_t timer;      /* the next commit */
    uv_timer_t slow_timer; /* the running commit is slow */
    unsigned n_handles;    /* that libuv still knows */
    bool is_ready, is_closed, is_slow;
    bool has_logged_load;
    struct grants_wait **waits; /* oldest first */
    size_t n_waits, waits_capacity;
    void (*on_drained)(void *userdata); /* NULL = nobody waits for that */
    void *drained_userdata;
    char problem[320];
    char failure[256]; /* of the last commit; "" = it succeeded */
    unsigned n_failures;
    uint64_t retry_ms;
    struct holdings *holdings;
    uint64_t stale_ms; /* when a device list was last wanted */
    double sync_seconds;
};

static uint64_t now_ms(const struct grants *grants)
{
    return uv_now(grants->setup.loop);
}

/* --- lifetime --- */

static void wait_free(struct grants_wait *wait)
{
    free(wait->ids);
    free(wait);
}

/* Frees everything once neither libuv nor a thread refers to it. */
static void release(struct grants *grants)
{
    if (!grants->is_closed || grants->n_handles || grants->commit)
        return;
    grantstore_deinit(&grants->store);
    free(grants->waits);
    free(grants);
}

static void on_closed(uv_handle_t *handle)
{
    struct grants *grants = handle->data;

    grants->n_handles--;
    release(grants);
}

void grants_free(struct grants *grants)
{
    if (!grants)
        return;
    grants->is_closed = true;
    while (grants->n_waits)
        wait_free(grants->waits[--grants->n_waits]);
    uv_close((uv_handle_t *)&grants->timer, on_closed);
    uv_close((uv_handle_t *)&grants->slow_timer, on_closed);
    holdings_free(TAKE_PTR(grants->holdings));
}

/* --- problems --- */

static void make_problem(const struct grants *grants, char *problem, size_t size)
{
    const char *folder = grants->store.journal.folder;

    if (grants->is_slow)
        snprintf(problem, size, "the disk under %s has not responded for %u s", folder,
                 GRANTS_SLOW_MS / 1000);
    /* A single failure is usually fixed by the next try. */
    else if (grants->n_failures > 1 || (grants->n_failures && !grants->store.was_loaded))
        snprintf(problem, size, "cannot write grants: %s", grants->failure);
    else if (grants->store.is_full)
        snprintf(problem, size, "the disk under %s is full", folder);
    else
        problem[0] = '\0';
}

static void update_problem(struct grants *grants)
{
    char problem[sizeof(grants->problem)];
    bool was_ready = grants->is_ready;

    make_problem(grants, problem, sizeof(problem));
    grants->is_ready |=
        *problem || (grants->store.is_loaded && !grantstore_has_work(&grants->store));
    if (str_equal(problem, grants->problem) && grants->is_ready == was_ready)
        return;
    if (*problem && !str_equal(problem, grants->problem))
        log_error("devices that no pod holds are Unhealthy, because no new grants are possible",
                  "reason", problem, "waiting", log_number(grants->n_waits));
    else if (*grants->problem)
        log_info("writing grants again");
    snprintf(grants->problem, sizeof(grants->problem), "%s", problem);
    grants->setup.on_state(grants->setup.userdata);
}

/* --- pending calls --- */

static void end_wait(struct grants *grants, size_t position, int result, const char *why)
{
    struct grants_wait *wait = grants->waits[position];

    memmove(grants->waits + position, grants->waits + position + 1,
            (--grants->n_waits - position) * sizeof(struct grants_wait *));
    for (size_t i = 0; result == 0 && i < wait->n_ids; i++)
        ledger_answered(&grants->store.ledger, wait->ids[i], now_ms(grants));
    /* It was never answered. If the record has reached the disk, the lists will free it. */
    for (size_t i = 0; result < 0 && i < wait->n_ids; i++)
        (void)grantstore_free(&grants->store, wait->ids[i]);
    if (wait->on_done)
        wait->on_done(result, why, wait->userdata);
    wait_free(wait);
}

/* on_done may end other calls, and begin new ones: the array is rescanned from its beginning. */
static void answer_durable(struct grants *grants)
{
    size_t i = 0;

    while (i < grants->n_waits) {
        const struct grants_wait *wait = grants->waits[i];

        if (grantstore_is_durable(&grants->store, wait->ticket) &&
            grants->n_commits_done >= wait->n_commits) {
            end_wait(grants, i, 0, NULL);
            i = 0;
        } else {
            i++;
        }
    }
}

static void refuse_overdue(struct grants *grants)
{
    char why[sizeof(grants->problem)];

    snprintf(why, sizeof(why), "%s", grants->problem);
    while (grants->n_waits && now_ms(grants) - grants->waits[0]->since_ms >= GRANTS_TIMEOUT_MS)
        end_wait(grants, 0, -EIO, why);
}

/* --- commits --- */

static void begin_commit(struct grants *grants);

static void on_due(uv_timer_t *timer)
{
    begin_commit(timer->data);
}

/* From a timer, so that all calls of this loop iteration share one sync. A pending retry is soon
 * enough. */
static void schedule(struct grants *grants)
{
    if (!grants->commit && !uv_is_active((uv_handle_t *)&grants->timer))
        uv_timer_start(&grants->timer, on_due, 0, 0);
}

static void retry(struct grants *grants)
{
    uv_timer_start(&grants->timer, on_due, grants->retry_ms, 0);
    grants->retry_ms = clock_twice_ms(grants->retry_ms, GRANTS_RETRY_LAST_MS);
}

static void log_notes(struct grants *grants, const struct grantstore_notes *notes)
{
    const char *path = grants->store.journal.path;
    const struct ledger_counts counts = ledger_count(&grants->store.ledger);

    if (!notes->was_loaded)
        return;
    if (!grants->has_logged_load)
        log_info("grants loaded", "file", path, "current", log_number(counts.n_current), "ending",
                 log_number(counts.n_ending));
    grants->has_logged_load = true;
    if (*notes->damaged)
        log_warning("the grant log is damaged; what follows the damage is lost, and kept in a file",
                    "file", path, "bytes", log_number(notes->n_torn_bytes), "kept", notes->damaged,
                    "hint", "adopting devices that pods hold, without limits");
    else if (notes->n_torn_bytes)
        log_info("a crash truncated the grant log; the lost record was never answered", "file",
                 path, "bytes", log_number(notes->n_torn_bytes));
    if (*notes->set_aside)
        log_warning("the grant log was not written on this node, or is damaged; it is kept beside "
                    "a new one",
                    "file", path, "kept", notes->set_aside, "hint",
                    "adopting devices that pods hold, without limits");
    if (*notes->other)
        log_info("ignoring the grant log of another release", "file", notes->other, "hint",
                 "adopting devices that pods hold, without limits");
}

static void on_failure(struct grants *grants, const struct error *err)
{
    grants->n_failures++;
    snprintf(grants->failure, sizeof(grants->failure), "%s", error_text(err));
    update_problem(grants);
    refuse_overdue(grants);
    retry(grants);
}

static void on_success(struct grants *grants)
{
    grants->n_failures = 0;
    grants->retry_ms = GRANTS_RETRY_FIRST_MS;
    grants->n_commits_done = grants->n_commits_begun;
    answer_durable(grants);
    update_problem(grants);
    if (grantstore_has_work(&grants->store))
        schedule(grants);
}

/* Calls end in a commit's wake, or by their callers: then the next commit is soon enough. */
static void report_drained(struct grants *grants)
{
    void (*on_drained)(void *userdata) = grants->n_waits ? NULL : TAKE_PTR(grants->on_drained);

    if (on_drained)
        on_drained(grants->drained_userdata);
}

static void run_commit(uv_work_t *work)
{
    const struct grants *grants = work->data;

    grantstore_run(grants->commit);
}

static void after_commit(uv_work_t *work, int status)
{
    struct grants *grants = work->data;
    struct grantstore_notes notes;
    struct error err = ERROR_INIT;
    int r;

    (void)status; /* nobody cancels it */
    r = grantstore_finish(&grants->store, TAKE_PTR(grants->commit), now_ms(grants), &notes, &err);
    grants->sync_seconds += (double)(clock_now_ns() - grants->commit_began_ns) / 1e9;
    if (grants->is_closed) {
        release(grants);
        return;
    }
    uv_timer_stop(&grants->slow_timer);
    grants->is_slow = false;
    log_notes(grants, &notes);
    if (r < 0)
        on_failure(grants, &err);
    else if (r == GRANTSTORE_AGAIN)
        begin_commit(grants);
    else
        on_success(grants);
    report_drained(grants);
}

static void on_slow(uv_timer_t *timer)
{
    struct grants *grants = timer->data;

    grants->is_slow = true;
    update_problem(grants);
}

static void begin_commit(struct grants *grants)
{
    grants->commit = grantstore_begin(&grants->store);
    if (!grants->commit) {
        retry(grants); /* no memory */
        return;
    }
    grants->n_commits_begun++;
    grants->commit_began_ns = clock_now_ns();
    grants->commit_work.data = grants;
    uv_timer_start(&grants->slow_timer, on_slow, GRANTS_SLOW_MS, 0);
    uv_queue_work(grants->setup.loop, &grants->commit_work, run_commit, after_commit);
}

/* --- giving --- */

int grants_name(const struct grants *grants, struct grant *grant)
{
    grant->granted_at_s = time(NULL);
    snprintf(grant->boot, sizeof(grant->boot), "%s", grants->host.boot);
    return grant_make_id(grant->id);
}

static struct grants_wait *wait_new(struct grants *grants, size_t n_ids, grants_done_fn *on_done,
                                    void *userdata)
{
    struct grants_wait *wait = calloc(1, sizeof(*wait)), **place;

    if (!wait)
        return NULL;
    *wait = (struct grants_wait){.grants = grants,
                                 .on_done = on_done,
                                 .userdata = userdata,
                                 .since_ms = now_ms(grants),
                                 .ids = calloc(n_ids + 1, sizeof(*wait->ids))};
    place = wait->ids ? array_push(&grants->waits, &grants->n_waits, &grants->waits_capacity,
                                   sizeof(struct grants_wait *))
                      : NULL;
    if (!place) {
        wait_free(wait);
        return NULL;
    }
    *place = wait;
    return wait;
}

static void undo(struct grants *grants, struct grants_wait *wait)
{
    while (wait->n_ids)
        (void)grantstore_free(&grants->store, wait->ids[--wait->n_ids]);
    grants->n_waits--;
    wait_free(wait);
}

int grants_give(struct grants *grants, const struct grant *given, size_t n, grants_done_fn *on_done,
                void *userdata, struct grants_wait **ret_wait)
{
    struct grants_wait *wait = wait_new(grants, n, on_done, userdata);
    int r = wait ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < n; i++) {
        r = grantstore_add(&grants->store, &given[i], now_ms(grants), &wait->ticket);
        if (r == 0)
            memcpy(wait->ids[wait->n_ids++], given[i].id, GRANT_ID_SIZE);
    }
    if (r != 0) {
        if (wait)
            undo(grants, wait);
        return -ENOMEM;
    }
    schedule(grants);
    *ret_wait = wait;
    return 0;
}

int grants_before_start(struct grants *grants, const char *resource, char *const *ids, size_t n_ids,
                        grants_done_fn *on_done, void *userdata, struct grants_wait **ret_wait)
{
    struct grants_wait *wait;

    for (size_t i = 0; i < n_ids; i++)
        if (!ids[i] || !grants_holds(grants, resource, ids[i])) {
            grants_kubelet_changed(grants, NULL); /* to be adopted, possibly */
            return GRANTS_UNKNOWN;
        }
    wait = wait_new(grants, 0, on_done, userdata);
    if (!wait)
        return -ENOMEM;
    wait->n_commits = grants->n_commits_begun + 1;
    grants->store.must_rebuild = true;
    schedule(grants);
    *ret_wait = wait;
    return 0;
}

void grants_set_mode(struct grants *grants, const char *mode)
{
    grantstore_set_mode(&grants->store, mode);
    if (grantstore_has_work(&grants->store))
        schedule(grants);
}

void grants_forget(struct grants_wait *wait)
{
    wait->on_done = NULL;
}

/* --- what pods hold --- */

/* Before the journal is read, every device would look like one of an earlier release. */
static void list_soon(struct grants *grants)
{
    if (grants->store.was_loaded)
        holdings_soon(grants->holdings);
}

static void log_adoption(const struct grant *grant, const struct ledger_entry *from)
{
    cleanup_text struct text ids = TEXT_INIT;

    for (size_t i = 0; i < grant->n_ids; i++)
        text_addf(&ids, "%s%s", i ? "," : "", grant->ids[i]);
    log_warning("adopted devices that a pod already held; they have no limits", "resource",
                grant->resource, "ids", text_string(&ids), "namespace", from->pod_namespace, "pod",
                from->pod, "container", from->container, "grant", grant->id);
}

static void adopt(struct grants *grants, struct grant *grant, const struct ledger_entry *from)
{
    uint64_t ticket;

    if (!*grant->id && grant_make_id(grant->id) < 0)
        return; /* with the next list */
    if (grantstore_add(&grants->store, grant, now_ms(grants), &ticket) != 0)
        return;
    ledger_answered(&grants->store.ledger, grant->id, now_ms(grants));
    log_adoption(grant, from);
}

static bool is_missing_one(const struct grants *grants)
{
    const struct ledger *ledger = &grants->store.ledger;

    for (size_t i = 0; i < ledger->n_grants; i++)
        if (ledger->grants[i]->n_absent && !ledger->grants[i]->is_in_checkpoint)
            return true;
    return false;
}

static void apply_changes(struct grants *grants, struct ledger_changes *changes)
{
    for (size_t i = 0; i < changes->n_freed; i++)
        log_debug("grant ended", "grant", changes->freed[i]);
    (void)grantstore_free_many(&grants->store, (const char(*)[GRANT_ID_SIZE])changes->freed,
                               changes->n_freed);
    for (size_t i = 0; i < changes->n_adopted; i++)
        if (grants->setup.is_ours(&changes->adopted[i], grants->setup.userdata))
            adopt(grants, &changes->adopted[i], changes->adopted_from[i]);
    if (grantstore_has_work(&grants->store))
        schedule(grants);
    if (changes->n_freed && grants->setup.on_freed)
        grants->setup.on_freed(grants->setup.userdata);
    if (changes->n_freed >= TRIM_AFTER)
        malloc_trim(0); /* they lay between what lives on, so nothing was given back */
    if (changes->n_only_in_checkpoint &&
        (!grants->stale_ms || now_ms(grants) - grants->stale_ms >= STALE_MS)) {
        grants->stale_ms = now_ms(grants);
        grants->setup.on_stale_checkpoint(grants->setup.userdata);
    }
}

/* What neither a list nor the checkpoint can show to have ended would pile up without a limit. */
static void drop_excess(struct grants *grants, const struct ledger_view *view)
{
    cleanup(ledger_changes_deinit) struct ledger_changes changes = LEDGER_CHANGES_INIT;

    if (ledger_find_excess(&grants->store.ledger, view, &changes) < 0 || !changes.n_freed)
        return;
    log_warning("dropped the oldest grants that lost their devices", "reason",
                view->checkpoint ? "the kubelet does not list its pods"
                                 : "the kubelet's checkpoint cannot be read",
                "grants", log_number(changes.n_freed));
    apply_changes(grants, &changes);
}

static void on_view(const struct holdings_view *seen, void *userdata)
{
    cleanup(ledger_changes_deinit) struct ledger_changes changes = LEDGER_CHANGES_INIT;
    struct grants *grants = userdata;
    const struct ledger_view view = {
        .began_ms = seen->began_ms,
        .entries = seen->entries,
        .n_entries = seen->n_entries,
        .checkpoint = seen->checkpoint,
        .backend = &ledger_backend_none,
        .boot = grants->host.boot,
        .now_s = time(NULL),
    };

    if (seen->is_complete && ledger_observe(&grants->store.ledger, &view, &changes) == 0) {
        apply_changes(grants, &changes);
        if (grants->setup.on_seen)
            grants->setup.on_seen(grants->setup.userdata);
    }
    if (!seen->is_complete || !seen->checkpoint)
        drop_excess(grants, &view);
    if (seen->is_complete && is_missing_one(grants))
        list_soon(grants);
}

static bool has_excess(void *userdata)
{
    const struct grants *grants = userdata;

    return ledger_count(&grants->store.ledger).n_ending > LEDGER_ENDING_MAX;
}

size_t grants_n_waiting(const struct grants *grants)
{
    return grants->n_waits;
}

void grants_drain(struct grants *grants, void (*on_drained)(void *userdata), void *userdata)
{
    grants->on_drained = on_drained;
    grants->drained_userdata = userdata;
    schedule(grants);
}

void grants_tick(struct grants *grants)
{
    if (grants->store.is_full)
        schedule(grants);
    list_soon(grants);
}

void grants_kubelet_changed(struct grants *grants, const char *name)
{
    if (!name || str_equal(name, KUBELETCHECKPOINT_NAME))
        list_soon(grants);
}

/* --- questions --- */

bool grants_is_ready(const struct grants *grants)
{
    return grants->is_ready;
}

const char *grants_problem(const struct grants *grants)
{
    return grants->problem;
}

const struct ledger *grants_ledger(const struct grants *grants)
{
    return grants ? &grants->store.ledger : NULL;
}

bool grants_holds(const struct grants *grants, const char *resource, const char *device_id)
{
    return ledger_holder(&grants->store.ledger, resource, device_id) != NULL;
}

bool grants_next_held(const struct grants *grants, size_t *position, struct ledger_held *ret_held)
{
    return ledger_next_held(&grants->store.ledger, position, ret_held);
}

bool grants_hold_device(const struct grants *grants, const char *uuid)
{
    size_t position = 0;

    return grants && ledger_next_of_device(&grants->store.ledger, uuid, &position);
}

bool grants_hold_as(const struct grants *grants, const char *uuid, const char *resource)
{
    const struct ledger_grant *found;
    size_t position = 0;

    while ((found = ledger_next_of_device(&grants->store.ledger, uuid, &position)))
        if (str_equal(found->grant.resource, resource))
            return true;
    return false;
}

const char *grants_pod_uid(const struct grants *grants, const char *resource, const char *device_id)
{
    const struct ledger_grant *holder =
        grants ? ledger_holder(&grants->store.ledger, resource, device_id) : NULL;

    return holder ? holder->pod_uid : "";
}

const char *grants_hold_other(const struct grants *grants, const struct device *device)
{
    const struct ledger_grant *found;
    size_t position = 0;

    if (!grants || device->kind != DEVICE_MIG)
        return NULL;
    while ((found = ledger_next_of_device(&grants->store.ledger, device->uuid, &position)))
        if (grantmatch_is_other(&found->grant, device))
            return found->grant.resource;
    return NULL;
}

struct grants_counters grants_counters(const struct grants *grants)
{
    return (struct grants_counters){
        .grants = ledger_count(&grants->store.ledger),
        .log_bytes = grants->store.size,
        .syncs = grants->store.n_syncs,
        .failed_syncs = grants->store.n_failed_syncs,
        .waiting = grants->n_waits,
        .sync_seconds = grants->sync_seconds,
    };
}

/* --- birth --- */

static void start_timer(struct grants *grants, uv_timer_t *timer)
{
    uv_timer_init(grants->setup.loop, timer); /* cannot fail */
    timer->data = grants;
    grants->n_handles++;
}

int grants_new(const struct grants_setup *setup, struct grants **ret_grants, struct error *err)
{
    struct grants *grants = calloc(1, sizeof(*grants));
    struct grantstore_setup store = {.folder = setup->folder,
                                     .keeps_directories = setup->keeps_directories};
    int r;

    if (!grants)
        return error_set_errno(err, -ENOMEM, "cannot record grants");
    hostid_read(&grants->host);
    store.machine = grants->host.machine;
    store.boot = grants->host.boot;
    r = grantstore_init(&grants->store, &store, err);
    if (r == 0)
        r = holdings_new(&(struct holdings_setup){.loop = setup->loop,
                                                  .folder = setup->kubelet_folder,
                                                  .list = setup->list,
                                                  .podresources = setup->podresources,
                                                  .wants_checkpoint = has_excess,
                                                  .on_view = on_view,
                                                  .userdata = grants},
                         &grants->holdings, err);
    if (r < 0) {
        free(grants);
        return r;
    }
    grants->setup = *setup;
    grants->retry_ms = GRANTS_RETRY_FIRST_MS;
    start_timer(grants, &grants->timer);
    start_timer(grants, &grants->slow_timer);
    schedule(grants);
    *ret_grants = grants;
    return 0;
}
