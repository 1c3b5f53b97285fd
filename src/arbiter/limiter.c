// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limiter.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "arbiter/contextcost.h"
#include "arbiter/endings.h"
#include "arbiter/grantsockets.h"
#include "arbiter/kernellimits.h"
#include "arbiter/limitsession.h"
#include "arbiter/nanotimer.h"
#include "arbiter/noderecords.h"
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

/* The records, read in a thread of the pool for a grant that is not known yet. */
struct rereading {
    uv_work_t work;
    struct limiter *limiter; /* NULL: freed meanwhile */
    const struct arbiteroptions *options;
    struct podrecords records;
    int outcome;
    struct error err;
};

#define ALL_PPM 1000000

/* What the next context of a device is expected to cost. */
struct kind {
    char uuid[GPU_UUID_SIZE];
    uint64_t context_bytes;
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
    struct contextcost costs;
    struct kind *kinds; /* one for each device of the last reading */
    size_t n_kinds;
    struct kernellimits kernel;
    struct endings endings;
    bool is_reading;
    limiter_doubt_fn *doubt; /* NULL = nobody reads */
    void *doubt_userdata;
    uint64_t began_ms;
    struct rereading *rereading; /* that runs; NULL = none */
    uv_timer_t tick, retry;
    unsigned n_handles;
    struct lograte records_trouble, memory, turns_trouble;
};

/* --- records --- */

static void note_memory(struct limiter *limiter)
{
    if (lograte_begin(&limiter->memory, "out of memory", clock_now_ms()))
        log_warning("not every container is charged", "reason", "out of memory");
}

static void set_costs(const struct limiter *limiter, struct tenant *tenant)
{
    for (size_t i = 0; i < tenant->account->n_devices; i++) {
        uint64_t bytes = CONTEXTCOST_UNKNOWN_BYTES;

        for (size_t j = 0; j < limiter->n_kinds; j++)
            if (strcasecmp(limiter->kinds[j].uuid, tenant->uuids[i]) == 0)
                bytes = limiter->kinds[j].context_bytes;
        tenant->account->devices[i].context_bytes = bytes;
    }
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
        set_costs(limiter, tenant);
        tenant_publish(tenant, limiter->mode);
    }
    limitsessions_retry(limiter->sessions);
}

static void read_records(uv_work_t *work)
{
    struct rereading *rereading = work->data;

    rereading->outcome = noderecords_read(rereading->options, &rereading->records, &rereading->err);
}

static void on_records(uv_work_t *work, int status)
{
    struct rereading *rereading = work->data;
    struct limiter *limiter = rereading->limiter;

    if (limiter) {
        limiter->rereading = NULL;
        if (status == 0 && rereading->outcome == 0) {
            lograte_end(&limiter->records_trouble);
            take_records(limiter, &rereading->records);
        } else if (lograte_begin(&limiter->records_trouble, error_text(&rereading->err),
                                 clock_now_ms())) {
            log_warning("it is not known which container has which grant", "reason",
                        error_text(&rereading->err));
        }
    }
    podrecords_deinit(&rereading->records);
    free(rereading);
}

static void reread(struct limiter *limiter)
{
    struct rereading *rereading = limiter->rereading ? NULL : calloc(1, sizeof(*rereading));

    if (!rereading)
        return;
    rereading->limiter = limiter;
    rereading->options = limiter->options;
    rereading->records = (struct podrecords)PODRECORDS_INIT;
    rereading->work.data = rereading;
    if (uv_queue_work(limiter->loop, &rereading->work, read_records, on_records) < 0)
        free(rereading);
    else
        limiter->rereading = rereading;
}

static void on_retry(uv_timer_t *timer)
{
    struct limiter *limiter = timer->data;

    if (limitsessions_count(limiter->sessions).n_waiting)
        reread(limiter);
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
        set_costs(limiter, *ret_tenant);
    return r;
}

static void on_register(struct tenant *tenant, void *userdata)
{
    struct limiter *limiter = userdata;

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

static void on_doubt(void *userdata)
{
    const struct limiter *limiter = userdata;

    if (limiter->doubt)
        limiter->doubt(limiter->doubt_userdata);
}

static void on_ended(struct tenant *tenant, uint32_t pid, void *userdata)
{
    struct limiter *limiter = userdata;

    if (limiter->is_reading)
        endings_add(&limiter->endings, pid, tenant);
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
    return limiter->n_kinds || clock_now_ms() - limiter->began_ms >= BLIND_MS;
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

void limiter_on_doubt(struct limiter *limiter, limiter_doubt_fn *fn, void *userdata)
{
    limiter->doubt = fn;
    limiter->doubt_userdata = userdata;
}

void limiter_begin_reading(struct limiter *limiter)
{
    const uint64_t now_ms = clock_now_ms();

    endings_clear(&limiter->endings);
    limiter->is_reading = true;
    for (struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next)
        account_begin_reading(tenant->account, now_ms);
}

static bool has_ended(const struct limiter *limiter, const struct tenant *tenant, uint32_t pid)
{
    return !account_find(tenant->account, pid) && endings_have(&limiter->endings, pid, tenant);
}

/* Who has connected is known by that; of others the cgroups decide. */
static struct tenant *find_of_process(const struct limiter *limiter,
                                      const struct audit_process *process)
{
    for (struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next) {
        const struct account_process *found = account_find(tenant->account, process->pid);

        if (found && found->is_registered)
            return tenant;
    }
    return *process->pod_uid
               ? tenants_guess(&limiter->tenants, process->pod_uid, process->container)
               : NULL;
}

static void show_process(struct limiter *limiter, const struct audit *audit,
                         const struct audit_process *process)
{
    struct tenant *tenant = find_of_process(limiter, process);
    size_t device;

    if (!tenant || !tenant->account->is_reading || has_ended(limiter, tenant, process->pid))
        return;
    device = tenant_find_device(tenant, audit->devices[process->device].device.uuid);
    if (device == tenant->account->n_devices) /* another device: the audit's affair */
        return;
    if (account_show(tenant->account, process->pid, device, process->mem_bytes) == -ENOMEM)
        note_memory(limiter);
}

static const struct audit_device *find_device(const struct audit *audit, const char *uuid)
{
    for (size_t i = 0; i < audit->n_devices; i++)
        if (strcasecmp(audit->devices[i].device.uuid, uuid) == 0)
            return &audit->devices[i];
    return NULL;
}

/* Of the kind of device that it is, by what its first contexts were measured to be. */
static void learn_costs(struct limiter *limiter, struct account_device *of,
                        const struct audit_device *device, const struct inventory *machine)
{
    if (of->measured_context_bytes)
        contextcost_learn(&limiter->costs, machine->gpus[device->device.gpu].model,
                          device->device.profile, of->measured_context_bytes);
    of->measured_context_bytes = 0;
}

static void end_reading(struct limiter *limiter, struct tenant *tenant, const struct audit *audit,
                        const struct inventory *machine)
{
    struct account *account = tenant->account;
    const struct audit_device *devices[LIMITS_DEVICES_MAX] = {NULL};
    bool is_read[LIMITS_DEVICES_MAX] = {false};

    for (size_t i = 0; i < account->n_devices; i++) {
        devices[i] = find_device(audit, tenant->uuids[i]);
        is_read[i] = devices[i] && !devices[i]->is_unread;
    }
    account_end_reading(account, is_read);
    for (size_t i = 0; i < account->n_devices; i++)
        if (devices[i])
            learn_costs(limiter, &account->devices[i], devices[i], machine);
}

/* Without memory those of the last reading stay. */
static void update_kinds(struct limiter *limiter, const struct audit *audit,
                         const struct inventory *machine)
{
    struct kind *kinds = calloc(audit->n_devices + 1, sizeof(*kinds));

    if (!kinds)
        return;
    for (size_t i = 0; i < audit->n_devices; i++) {
        const struct device *device = &audit->devices[i].device;

        memcpy(kinds[i].uuid, device->uuid, sizeof(kinds[i].uuid));
        kinds[i].context_bytes = contextcost_get(&limiter->costs, machine->gpus[device->gpu].model,
                                                 device->profile, machine->driver_version);
    }
    free(limiter->kinds);
    limiter->kinds = kinds;
    limiter->n_kinds = audit->n_devices;
}

static void name_tenants(struct limiter *limiter, const struct audit *audit)
{
    for (size_t i = 0; i < audit->n_uses; i++) {
        const struct audit_owner *owner = &audit->uses[i].owner;

        for (struct tenant *tenant = limiter->tenants.first; *owner->pod && tenant;
             tenant = tenant->next) {
            if (!str_equal(tenant->pod_uid, owner->pod_uid))
                continue;
            memcpy(tenant->namespace_, owner->namespace_, sizeof(tenant->namespace_));
            memcpy(tenant->pod, owner->pod, sizeof(tenant->pod));
        }
    }
}

void limiter_take_reading(struct limiter *limiter, const struct audit *audit,
                          const struct inventory *machine, struct podrecords *records)
{
    for (size_t i = 0; i < audit->n_processes; i++)
        show_process(limiter, audit, &audit->processes[i]);
    for (struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next)
        end_reading(limiter, tenant, audit, machine);
    limiter->is_reading = false;
    update_kinds(limiter, audit, machine);
    take_records(limiter, records);
    if (limiter->options->kernel_limits) {
        kernellimits_set_gpus(&limiter->kernel, audit, machine);
        limit_in_kernel(limiter);
    }
    name_tenants(limiter, audit);
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

static void on_tick(uv_timer_t *timer)
{
    struct limiter *limiter = timer->data;

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
    const struct limitsessions_setup setup = {
        .loop = limiter->loop,
        .options = limiter->options,
        .callbacks = {.find = find_tenant,
                      .on_register = on_register,
                      .on_wait = on_wait,
                      .on_doubt = on_doubt,
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
    limiter->kernel.root = options->root;
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
    reread(limiter);
    *ret_limiter = limiter;
    return 0;
}

void limiter_free(struct limiter *limiter)
{
    if (!limiter)
        return;
    if (limiter->rereading)
        limiter->rereading->limiter = NULL;
    nanotimer_free(limiter->turn);
    devicegates_free(TAKE_PTR(limiter->gates)); /* before anybody is disconnected */
    grantsockets_free(limiter->sockets);
    grantsockets_free(limiter->command_sockets);
    limitsessions_free(limiter->sessions);
    tenants_deinit(&limiter->tenants);
    podrecords_deinit(&limiter->records);
    endings_deinit(&limiter->endings);
    kernellimits_deinit(&limiter->kernel);
    free(limiter->kinds);
    uv_close((uv_handle_t *)&limiter->tick, on_closed);
    uv_close((uv_handle_t *)&limiter->retry, on_closed);
}

/* --- what there is to show --- */

/* Who has all of a device shares it with nobody, and runs without the library. A container that has
 * claims, and no part in turns, was refused one: its gate is open. */
static size_t count_unenforced_compute(const struct tenant *tenant, size_t device,
                                       const struct limiter_use *use)
{
    const struct account_contexts contexts = account_count_contexts(tenant->account, device);

    if (use->compute == LIMITS_COMPUTE_NONE || use->share_ppm >= ALL_PPM)
        return 0;
    return tenant->claims && !use->has_turns ? contexts.n_processes : contexts.n_without_turns;
}

void limiter_each(const struct limiter *limiter, limiter_use_fn *fn, void *userdata)
{
    for (const struct tenant *tenant = limiter->tenants.first; tenant; tenant = tenant->next) {
        for (size_t i = 0; i < tenant->account->n_devices; i++) {
            const struct account_device *device = &tenant->account->devices[i];
            struct limiter_use use = {
                .namespace_ = tenant->namespace_,
                .pod = tenant->pod,
                .pod_uid = tenant->pod_uid,
                .container = tenant->container,
                .uuid = tenant->uuids[i],
                .limit_bytes = device->limit_bytes,
                .charged_bytes = device->charged_bytes,
                .overhead_bytes = device->overhead_bytes,
                .peak_bytes = device->peak_bytes,
                .gap_bytes = device->gap_bytes,
                .has_gap = device->has_gap,
                .n_denied = device->n_denied,
                .n_processes = tenant->account->n_processes,
                .n_registered = tenant->account->n_registered,
                .is_starved = account_is_starved(tenant->account, limiter->mode),
                .share_ppm = tenant->shares_ppm[i],
                .compute = devicegates_get_mode(limiter->gates),
            };

            use.has_turns = devicegates_view(limiter->gates, tenant, i, &use.turns);
            use.n_unenforced_compute = count_unenforced_compute(tenant, i, &use);
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
        .n_devices = limiter->n_kinds,
        .n_sockets =
            grantsockets_count(limiter->sockets) + grantsockets_count(limiter->command_sockets),
        .n_connections = counts.n_connections,
        .n_refused = counts.n_refused,
        .n_malformed = counts.n_malformed,
    };
}
