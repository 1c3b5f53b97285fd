// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limiter.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "arbiter/devicecosts.h"
#include "arbiter/devicegates.h"
#include "arbiter/formerprocesses.h"
#include "arbiter/grantsockets.h"
#include "arbiter/kernellimits.h"
#include "arbiter/limitreading.h"
#include "arbiter/limitsessions.h"
#include "arbiter/nanotimer.h"
#include "arbiter/noderecords.h"
#include "arbiter/recordsreader.h"
#include "arbiter/tenant.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"

enum {
    PERIOD_MS = 1000,
    RETRY_MS = 200,
    BLIND_MS = 3000,           /* that processes wait for the first reading */
    SPIN_MOST_NS = 300 * 1000, /* that the end of a turn is waited for without sleeping */
};

struct limiter {
    uv_loop_t *loop;
    const struct arbiteroptions *options;
    enum limits_mode mode;
    struct podrecords records;
    struct tenants tenants;
    struct limitsessions *sessions;
    struct devicegates *gates;
    struct nanotimer *turn; /* the next time that a gate may change */
    struct grantsockets *sockets, *command_sockets;
    struct devicecosts costs;
    struct kernellimits kernel;
    struct formerprocesses former;
    struct limitreading reading;
    limiter_unread_fn *unread; /* NULL = nobody reads */
    void *unread_userdata;
    uint64_t began_ms;
    struct recordsreader reader; /* for grants that are not known yet */
    uv_timer_t tick, retry;
    unsigned n_handles;
    struct lograte memory, turns_trouble;
};

/* --- records --- */

static void note_memory(struct limiter *limiter)
{
    if (lograte_begin(&limiter->memory, "out of memory", clock_now_ms()))
        log_warning("not every container is charged", "reason", "out of memory");
}

/* Takes them over, and lets those register whose grants were not known. */
static void take_records(struct limiter *limiter, struct podrecords *records)
{
    podrecords_deinit(&limiter->records);
    limiter->records = *records;
    *records = (struct podrecords)PODRECORDS_INIT;
    if (tenants_update(&limiter->tenants, &limiter->records) < 0)
        note_memory(limiter);
    for (struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next) {
        devicecosts_apply(&limiter->costs, tenant);
        tenant_publish(tenant, limiter->mode);
    }
    limitsessions_retry(limiter->sessions);
}

static void on_records(struct podrecords *records, void *userdata)
{
    take_records(userdata, records);
}

static void on_retry(uv_timer_t *timer)
{
    struct limiter *limiter = timer->data;

    if (limitsessions_count(limiter->sessions).n_waiting)
        recordsreader_read(&limiter->reader);
    else
        uv_timer_stop(timer);
}

/* --- turns --- */

_Static_assert(DEVICEGATES_NEVER == NANOTIMER_NEVER, "no timer runs on an idle node");

static void run_gates(const struct limiter *limiter, bool is_all)
{
    const uint64_t began_ns = clock_now_ns();
    const uint64_t due_ns = devicegates_run(limiter->gates, is_all, began_ns);

    nanotimer_set(limiter->turn, devicegates_pace(due_ns, began_ns, clock_now_ns()));
}

/* To be woken takes as long as a hand-over should: what is due in a moment is waited for, for a
 * while. Only here, where the time that it takes is left to others before the next call: processes
 * decide how often the rest is called. */
static void on_turn(void *userdata)
{
    const struct limiter *limiter = userdata;
    const uint64_t began_ns = clock_now_ns();
    uint64_t now_ns = began_ns, due_ns = devicegates_run(limiter->gates, false, began_ns);

    while (devicegates_is_soon(limiter->gates) && now_ns < began_ns + SPIN_MOST_NS) {
        now_ns = clock_now_ns();
        if (now_ns >= due_ns)
            due_ns = devicegates_run(limiter->gates, false, now_ns);
    }
    nanotimer_set(limiter->turn, devicegates_pace(due_ns, began_ns, clock_now_ns()));
}

static void note_turns(struct limiter *limiter, int r)
{
    if (r < 0 && lograte_begin(&limiter->turns_trouble, strerror(-r), clock_now_ms()))
        log_warning("not every container takes part in turns", "reason", strerror(-r));
}

static void on_claims(struct tenant *tenant, void *userdata)
{
    struct limiter *limiter = userdata;

    if (!limiter->gates) /* it ends */
        return;
    note_turns(limiter, devicegates_update(limiter->gates, tenant));
    run_gates(limiter, false);
}

static void on_leave(struct tenant *tenant, void *userdata)
{
    const struct limiter *limiter = userdata;

    if (limiter->gates)
        devicegates_forget(limiter->gates, tenant);
}

/* --- sessions --- */

static int find_tenant(const char *grant_id, struct tenant **ret_tenant, void *userdata)
{
    struct limiter *limiter = userdata;
    const int r = tenants_find(&limiter->tenants, &limiter->records, grant_id, ret_tenant);

    if (r == 0)
        devicecosts_apply(&limiter->costs, *ret_tenant);
    return r;
}

/* At once: it may hang up before anybody looks again. */
static void note_processes(struct limiter *limiter, const struct tenant *tenant)
{
    for (struct account_process *one = tenant->account->processes; one; one = one->next)
        if (one->is_registered && !one->is_noted) {
            formerprocesses_meet(&limiter->former, one->pid, one->takes_turns);
            one->is_noted = true;
        }
}

static void on_register(struct tenant *tenant, void *userdata)
{
    struct limiter *limiter = userdata;

    note_processes(limiter, tenant);
    devicegates_show(limiter->gates, tenant);
    if (limiter->options->kernel_limits)
        kernellimits_apply(&limiter->kernel, tenant, limiter->mode);
}

static void limit_in_kernel(struct limiter *limiter)
{
    for (struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next)
        kernellimits_apply(&limiter->kernel, tenant, limiter->mode);
}

static void on_wait(void *userdata)
{
    struct limiter *limiter = userdata;

    if (!uv_is_active((uv_handle_t *)&limiter->retry))
        uv_timer_start(&limiter->retry, on_retry, 0, RETRY_MS);
}

static void on_unread(void *userdata)
{
    const struct limiter *limiter = userdata;

    if (limiter->unread)
        limiter->unread(limiter->unread_userdata);
}

static void on_ended(struct tenant *tenant, uint32_t pid, void *userdata)
{
    struct limiter *limiter = userdata;

    limitreading_note_ended(&limiter->reading, tenant, pid);
}

static void on_accept(int fd, const char *grant_id, void *userdata)
{
    struct limiter *limiter = userdata;

    limitsessions_accept(limiter->sessions, fd, grant_id, false);
}

static void on_accept_of_command(int fd, const char *grant_id, void *userdata)
{
    struct limiter *limiter = userdata;

    limitsessions_accept(limiter->sessions, fd, grant_id, true);
}

/* --- sockets --- */

/* Processes may be there already, of an arbiter that ended: what they have is charged before they
 * or others can ask for more. */
static bool serves(const struct limiter *limiter)
{
    return limiter->costs.n || clock_now_ms() - limiter->began_ms >= BLIND_MS;
}

void limiter_look(struct limiter *limiter)
{
    char folder[PATH_MAX], commands[PATH_MAX];

    if (!serves(limiter))
        return;
    if (!limiter->options->local_grant && noderecords_grant_folder(limiter->options, folder) == 0)
        grantsockets_check(limiter->sockets, folder);
    if (noderecords_command_folder(limiter->options, folder) == 0 &&
        snprintf(commands, sizeof(commands), "%s/" LOCALGRANT_FOLDER, folder) < PATH_MAX)
        grantsockets_check(limiter->command_sockets, commands);
}

/* --- readings --- */

void limiter_on_unread(struct limiter *limiter, limiter_unread_fn *fn, void *userdata)
{
    limiter->unread = fn;
    limiter->unread_userdata = userdata;
}

void limiter_begin_reading(struct limiter *limiter)
{
    limitreading_begin(&limiter->reading, &limiter->tenants, clock_now_ms());
}

void limiter_take_reading(struct limiter *limiter, const struct audit *audit,
                          const struct inventory *machine, struct podrecords *records)
{
    if (limitreading_end(&limiter->reading, &limiter->tenants, audit) < 0)
        note_memory(limiter);
    devicecosts_update(&limiter->costs, &limiter->tenants, audit, machine);
    take_records(limiter, records);
    if (limiter->options->kernel_limits) {
        kernellimits_set_gpus(&limiter->kernel, audit, machine);
        limit_in_kernel(limiter);
    }
    tenants_name(&limiter->tenants, audit);
    limiter_look(limiter);
}

static bool is_starved(const struct violations *violations, const struct tenant *tenant)
{
    for (size_t i = 0; i < violations->n; i++)
        if (violations->items[i].is_starved &&
            str_equal(violations->items[i].owner.pod_uid, tenant->pod_uid))
            return true;
    return false;
}

void limiter_starve(struct limiter *limiter, const struct violations *violations)
{
    for (struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next) {
        const bool starves = is_starved(violations, tenant);

        if (tenant->account->is_starved == starves)
            continue;
        tenant->account->is_starved = starves;
        tenant_publish(tenant, limiter->mode);
    }
}

/* --- the mode --- */

void limiter_set_mode(struct limiter *limiter, enum limits_mode mode)
{
    limiter->mode = mode;
    limitsessions_set_mode(limiter->sessions, mode);
    if (limiter->options->kernel_limits)
        limit_in_kernel(limiter);
    for (struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next)
        tenant_publish(tenant, mode);
}

enum limits_mode limiter_get_mode(const struct limiter *limiter)
{
    return limiter->mode;
}

void limiter_set_compute(struct limiter *limiter, enum limits_compute compute)
{
    limitsessions_set_turns(limiter->sessions, compute != LIMITS_COMPUTE_NONE);
    note_turns(limiter, devicegates_set_mode(limiter->gates, compute));
    run_gates(limiter, true);
}

enum limits_compute limiter_get_compute(const struct limiter *limiter)
{
    return devicegates_get_mode(limiter->gates);
}

/* --- life --- */

/* For the arbiter after this one. Who was refused a part in turns is noted again. */
static void store_processes(struct limiter *limiter)
{
    struct error err = ERROR_INIT;

    for (const struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next)
        note_processes(limiter, tenant);
    if (formerprocesses_store(&limiter->former, &err) < 0)
        log_warning("who has the library will not be known to the next arbiter until it connects",
                    "reason", error_text(&err));
}

static void on_tick(uv_timer_t *timer)
{
    struct limiter *limiter = timer->data;

    store_processes(limiter);
    limitsessions_sweep(limiter->sessions);
    limiter_look(limiter);
    run_gates(limiter, true); /* what nobody waits for is counted as well */
}

static void on_closed(uv_handle_t *handle)
{
    struct limiter *limiter = handle->data;

    if (--limiter->n_handles == 0)
        free(limiter);
}

/* Three for each process, and the standard number is 1024. */
static void raise_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static int check_kernel(struct error *err)
{
    struct limitspage page = LIMITSPAGE_INIT;
    const int r = limitspage_make(&page, err);

    limitspage_deinit(&page);
    return r;
}

static int start(struct limiter *limiter, struct error *err)
{
    const struct limitsession_setup setup = {
        .loop = limiter->loop,
        .options = limiter->options,
        .callbacks = {.find = find_tenant,
                      .on_register = on_register,
                      .on_wait = on_wait,
                      .on_unread = on_unread,
                      .on_claims = on_claims,
                      .on_ended = on_ended},
        .userdata = limiter,
    };
    int r;

    limiter->tenants.on_leave = on_leave;
    limiter->tenants.userdata = limiter;
    limiter->gates = devicegates_new(&limiter->tenants);
    limiter->sessions = limitsessions_new(&setup);
    limiter->sockets = grantsockets_new(limiter->loop, on_accept, limiter);
    limiter->command_sockets = grantsockets_new(limiter->loop, on_accept_of_command, limiter);
    if (!limiter->gates || !limiter->sessions || !limiter->sockets || !limiter->command_sockets)
        return error_set_errno(err, -ENOMEM, "cannot limit memory");
    limitsessions_set_mode(limiter->sessions, limiter->mode);
    r = nanotimer_new(limiter->loop, on_turn, limiter, &limiter->turn, err);
    if (r < 0)
        return r;
    limiter_set_compute(limiter, limiter->options->compute);
    return 0;
}

int limiter_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter **ret_limiter,
                struct error *err)
{
    struct limiter *limiter;
    int r = check_kernel(err);

    if (r < 0)
        return r;
    limiter = calloc(1, sizeof(*limiter));
    if (!limiter)
        return error_set_errno(err, -ENOMEM, "cannot limit memory");
    limiter->loop = loop;
    limiter->options = options;
    limiter->mode = options->limits;
    limiter->began_ms = clock_now_ms();
    limiter->records = (struct podrecords)PODRECORDS_INIT;
    recordsreader_init(&limiter->reader, loop, options, on_records, limiter);
    limiter->kernel.root = options->root;
    formerprocesses_load(&limiter->former, options->state_dir, options->root);
    raise_files();
    uv_timer_init(loop, &limiter->tick);
    uv_timer_init(loop, &limiter->retry);
    limiter->tick.data = limiter->retry.data = limiter;
    limiter->n_handles = 2;
    r = start(limiter, err);
    if (r < 0) {
        limiter_free(limiter);
        return r;
    }
    uv_timer_start(&limiter->tick, on_tick, 0, PERIOD_MS);
    recordsreader_read(&limiter->reader);
    *ret_limiter = limiter;
    return 0;
}

void limiter_free(struct limiter *limiter)
{
    if (!limiter)
        return;
    recordsreader_deinit(&limiter->reader);
    nanotimer_free(limiter->turn);
    devicegates_free(TAKE_PTR(limiter->gates)); /* before anybody is disconnected */
    grantsockets_free(limiter->sockets);
    grantsockets_free(limiter->command_sockets);
    limitsessions_free(limiter->sessions);
    tenants_deinit(&limiter->tenants);
    podrecords_deinit(&limiter->records);
    limitreading_deinit(&limiter->reading);
    formerprocesses_deinit(&limiter->former);
    kernellimits_deinit(&limiter->kernel);
    devicecosts_deinit(&limiter->costs);
    uv_close((uv_handle_t *)&limiter->tick, on_closed);
    uv_close((uv_handle_t *)&limiter->retry, on_closed);
}

/* --- what there is to show --- */

void limiter_each(const struct limiter *limiter, limituse_fn *fn, void *userdata)
{
    for (const struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next) {
        for (size_t i = 0; i < tenant->account->n_devices; i++) {
            struct limituse use;

            limituse_read(&use, tenant, i, limiter->mode, limiter->gates, &limiter->former);
            fn(&use, userdata);
        }
    }
}

/* A process that never connected is in the account until a reading does not show it any more. */
static bool has_process(const struct account *account)
{
    for (const struct account_process *one = account->processes; one; one = one->next)
        if (kill((pid_t)one->pid, 0) == 0 || errno != ESRCH)
            return true;
    return false;
}

bool limiter_has_process(const struct limiter *limiter, const char *pod_uid)
{
    for (const struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next)
        if (str_equal(tenant->pod_uid, pod_uid) && has_process(tenant->account))
            return true;
    return false;
}

struct limiter_counts limiter_count(const struct limiter *limiter)
{
    const struct limitsessions_counts counts = limitsessions_count(limiter->sessions);

    return (struct limiter_counts){
        .n_devices = limiter->costs.n,
        .n_sockets =
            grantsockets_count(limiter->sockets) + grantsockets_count(limiter->command_sockets),
        .n_connections = counts.n_connections,
        .n_refused = counts.n_refused,
        .n_malformed = counts.n_malformed,
    };
}
