// SPDX-License-Identifier: Apache-2.0
#include "node/migcontrol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hostid.h"
#include "base/log.h"
#include "base/text.h"
#include "gpu/miglock.h"
#include "node/hostreboot.h"
#include "node/migbegun.h"
#include "node/migsocket.h"
#include "node/migwish.h"
#include "node/partitioner.h"
#include "node/rebooter.h"
#include "nodeconfig/configfile.h"
#include "plugin/grants.h"
#include "slice/migstep.h"

/* A pod that ends has half a minute by default. */
enum { LOCK_RETRY_MS = 1000, STANDSTILL_MS = 45000 };

struct migcontrol {
    struct migcontrol_setup setup;
    struct partitioner *partitioner;
    struct partitioner_backend backend;
    struct rebooter *rebooter;     /* NULL = the node is not rebooted */
    struct hostreboot *hostreboot; /* NULL = nobody is asking for one */
    struct migwish wish;
    struct migbegun begun;
    struct configfile *file; /* NULL without one */
    int lock;                /* of gpu/miglock.h; -1 = not held */
    struct error unlocked;   /* why it is not held */
    uv_timer_t lock_retry;
    uv_timer_t patience;      /* until the cluster's answer is no longer waited for */
    struct migsocket *socket; /* while the lock is held */
    struct migorder *order;   /* what gpuslice mig apply asked for; NULL: nothing */
    bool is_asked;            /* gpuslice mig apply, or an earlier agent's, waits for the layout */
    uint64_t steps;           /* of the partitioner, when `standstill` was started, */
    char message[512];        /* and what it waited for */
    uv_timer_t standstill;    /* a request ends when neither changed meanwhile */
};

/* --- what the partitioner asks --- */

/* Two that partition one node would undo each other's steps. */
static int mig_manager_is_there(const char *pod, struct error *err)
{
    return error_set(err, -EBUSY,
                     "NVIDIA's MIG manager (pod %.200s) partitions this node; uninstall it, or "
                     "switch mig.partition off",
                     pod);
}

static int want(const struct gpu *gpu, const struct mig_board *board, struct mig_want *ret_want,
                struct error *err, void *owner)
{
    const struct migcontrol *control = owner;
    const struct facts *facts = control->setup.facts;
    const char *manager = coexist_mig_manager(facts->coexist);

    if (manager)
        return mig_manager_is_there(manager, err);
    if (control->lock < 0)
        return error_set(err, -EBUSY, "%s", error_text(&control->unlocked));
    /* What pods have is known from the journal, and what the configuration wants from its file. */
    if (facts->grants && !grants_is_ready(facts->grants))
        return PARTITIONER_UNKNOWN;
    return migwish_want(&control->wish, gpu, board, ret_want, err);
}

static const char *wish(void *owner)
{
    struct migcontrol *control = owner;

    return migwish_text(&control->wish);
}

static bool may_change(void *owner)
{
    const struct migcontrol *control = owner;

    return migwish_may_change(&control->wish);
}

static uint64_t now_ms(void *owner)
{
    (void)owner;
    return clock_now_ms();
}

static bool is_granted(const char *device_uuid, void *owner)
{
    const struct migcontrol *control = owner;

    return grants_hold_device(control->setup.facts->grants, device_uuid);
}

static const char *pod_uid(const char *resource, const char *id, void *owner)
{
    const struct migcontrol *control = owner;

    return grants_pod_uid(control->setup.facts->grants, resource, id);
}

static int list_pods(podresources_list_fn *on_listed, void *userdata, void *owner)
{
    const struct migcontrol *control = owner;

    control->setup.look_for_ended(control->setup.userdata);
    return podresources_list(control->setup.podresources, on_listed, userdata);
}

static int change(const struct gpu_change *step, driver_changed_fn *done, void *userdata,
                  void *owner)
{
    const struct migcontrol *control = owner;

    return driverwatch_change(control->setup.driverwatch, step, PARTITIONER_DEADLINE_MS, done,
                              userdata);
}

static void on_withheld(void *owner)
{
    const struct migcontrol *control = owner;

    control->setup.on_withheld(control->setup.userdata);
}

static void on_state(void *owner)
{
    const struct migcontrol *control = owner;

    migsocket_tell(control->socket, partitioner_message(control->partitioner));
    publisher_touch(control->setup.publisher);
}

static void on_waits(void *owner)
{
    const struct migcontrol *control = owner;

    publisher_touch(control->setup.publisher);
}

static void on_idle(void *owner);

static void on_event(bool warning, const char *reason, const char *message, void *owner)
{
    const struct migcontrol *control = owner;

    publisher_event(control->setup.publisher, warning, reason, message, NULL, 0);
}

static int reboot(const struct rebooter_need *needs, size_t n, struct error *err, void *owner)
{
    struct migcontrol *control = owner;

    return rebooter_need(control->rebooter, needs, n, err);
}

static void on_settled(const char *uuid, void *owner)
{
    const struct migcontrol *control = owner;

    /* While label or configuration are not known, nothing seems wanted. */
    if (control->wish.is_told && control->setup.facts->offer)
        rebooter_settle(control->rebooter, uuid);
}

/* Without --mig-reboot. */
static const struct partitioner_backend common_backend = {
    .want = want,
    .wish = wish,
    .may_change = may_change,
    .now_ms = now_ms,
    .is_granted = is_granted,
    .pod_uid = pod_uid,
    .list_pods = list_pods,
    .change = change,
    .on_withheld = on_withheld,
    .on_waits = on_waits,
    .on_state = on_state,
    .on_idle = on_idle,
    .on_event = on_event,
};

/* --- what gpuslice mig apply asks for --- */

static void drop_order(struct migcontrol *control)
{
    if (!control->order)
        return;
    control->wish.order = NULL;
    migorder_free(TAKE_PTR(control->order));
    migorder_forget(control->setup.facts->flags->grant_dir);
    partitioner_touch(control->partitioner);
}

/* Nothing is wanted afterwards but what label, annotation or configuration choose: the layout stays
 * until somebody changes it, as after mig-parted. */
static void end_request(struct migcontrol *control, bool done, const char *sentence)
{
    uv_timer_stop(&control->standstill);
    control->is_asked = false;
    migsocket_end(control->socket, done, sentence);
    if (!done && control->order)
        log_warning("a MIG layout that gpuslice mig apply asked for is not made", "layout",
                    control->order->name, "reason", sentence);
    drop_order(control);
}

/* Without a step: the cluster or the host is waited for. */
static bool goes_on_by_itself(const struct migcontrol *control)
{
    const enum migreport_state state = partitioner_state(control->partitioner);

    return state == MIGREPORT_STARTING || state == MIGREPORT_REBOOTING;
}

static void on_standstill(uv_timer_t *timer);

static void watch_standstill(struct migcontrol *control)
{
    control->steps = partitioner_counters(control->partitioner).steps;
    snprintf(control->message, sizeof(control->message), "%s",
             partitioner_message(control->partitioner));
    uv_timer_start(&control->standstill, on_standstill, STANDSTILL_MS, 0);
}

static bool has_moved(const struct migcontrol *control)
{
    return partitioner_counters(control->partitioner).steps != control->steps ||
           strncmp(partitioner_message(control->partitioner), control->message,
                   sizeof(control->message) - 1) != 0;
}

static void on_standstill(uv_timer_t *timer)
{
    struct migcontrol *control = timer->data;

    if (has_moved(control) || goes_on_by_itself(control))
        watch_standstill(control);
    else
        end_request(control, false, partitioner_message(control->partitioner));
}

static int outranked(struct migcontrol *control, struct error *err)
{
    return error_set(err, -EPERM,
                     "the MIG layout of this node is %s, which outranks gpuslice mig apply: change "
                     "it there, or remove it",
                     migwish_text(&control->wish));
}

/* Another layout was chosen meanwhile, or an agent before did not know of the choice. */
static bool is_outranked(const struct migcontrol *control)
{
    return control->order && migwish_is_chosen(&control->wish) &&
           !migwish_agrees(&control->wish, control->order);
}

/* A standstill may be short: the kubelet does not answer yet, a pod is ending. */
static void on_idle(void *owner)
{
    struct migcontrol *control = owner;
    const enum migreport_state state = partitioner_state(control->partitioner);
    struct error err = ERROR_INIT;

    control->setup.on_idle(control->setup.userdata);
    if (!control->is_asked || control->lock < 0 || !control->setup.facts->machine.n_gpus ||
        state == MIGREPORT_STARTING)
        return;
    if (is_outranked(control)) {
        outranked(control, &err);
        end_request(control, false, error_text(&err));
    } else if (state == MIGREPORT_SUCCESS || state == MIGREPORT_NONE) {
        end_request(control, true, partitioner_message(control->partitioner));
    } else if (!uv_is_active((uv_handle_t *)&control->standstill)) {
        watch_standstill(control);
    }
}

/* Whether a GPU could have what is asked for, if nobody used it. */
static int check_gpu(const struct migwish *wish, const struct gpu *gpu, struct error *err)
{
    static const struct mig_board none;
    const struct mig_board *board = inventory_board(&wish->facts->machine, gpu);
    struct mig_next next = {.step.kind = MIG_STEP_DONE};
    struct mig_want want;
    int r = migwish_want(wish, gpu, board ? board : &none, &want, err);

    if (r < 0)
        return error_wrap(err, r, "GPU %u cannot have it", gpu->index);
    if (r == 0 && board)
        migstep_next(board, &gpu->layout, &want, NULL, 0, &next);
    return next.step.kind == MIG_STEP_IMPOSSIBLE
               ? error_set(err, -ENOENT, "GPU %u cannot have it: it %s", gpu->index, next.reason)
               : 0;
}

static int check_gpus(struct migcontrol *control, const struct migorder *order, struct error *err)
{
    const struct inventory *machine = &control->setup.facts->machine;
    int r = 0;

    control->wish.order = order;
    for (size_t i = 0; i < machine->n_gpus && r == 0; i++)
        if (!*machine->gpus[i].unusable)
            r = check_gpu(&control->wish, &machine->gpus[i], err);
    control->wish.order = control->order;
    return r;
}

static int accept_order(struct migcontrol *control, const struct migorder *order, const char *data,
                        size_t size, struct error *err)
{
    const struct facts *facts = control->setup.facts;
    const char *manager = coexist_mig_manager(facts->coexist);
    int r;

    if (manager)
        return mig_manager_is_there(manager, err);
    if (!facts->machine.n_gpus)
        return error_set(err, -ENODEV, "the agent sees no GPU%s%s",
                         *facts->driver_problem ? ": " : "", facts->driver_problem);
    if (migwish_is_chosen(&control->wish))
        return migwish_agrees(&control->wish, order) ? 0 : outranked(control, err);
    r = check_gpus(control, order, err);
    return r < 0 ? r : migorder_store(facts->flags->grant_dir, data, size, err);
}

/* The answer to who asked, with the GPUs that do not get it. */
static void describe_order(const struct migcontrol *control, const struct migorder *order,
                           struct text *sentence)
{
    const struct inventory *machine = &control->setup.facts->machine;
    const char *before = "; gpuslice.excludeDevices keeps GPU";

    text_addf(sentence, "the agent brings the GPUs into the layout %s", order->name);
    for (size_t i = 0; i < machine->n_gpus; i++)
        if (migwish_excludes(&control->wish, &machine->gpus[i])) {
            text_addf(sentence, "%s %u", before, machine->gpus[i].index);
            before = ",";
        }
    if (*before == ',')
        text_add(sentence, " as it is");
}

static int take_request(const char *data, size_t size, struct error *err, void *userdata)
{
    struct migcontrol *control = userdata;
    struct migorder *order = NULL;
    cleanup_text struct text sentence = TEXT_INIT;
    int r = migorder_parse(data, size, &order, err);

    if (r == 0)
        r = accept_order(control, order, data, size, err);
    if (r < 0) {
        migorder_free(order);
        return error_wrap(err, r, "nothing was changed");
    }
    log_info("a MIG layout is asked for by gpuslice mig apply", "layout", order->name);
    describe_order(control, order, &sentence);
    migorder_free(control->order);
    control->wish.order = control->order = order;
    control->is_asked = true;
    uv_timer_stop(&control->standstill);
    migsocket_tell(control->socket, text_string(&sentence));
    partitioner_touch(control->partitioner);
    return 0;
}

static void open_socket(struct migcontrol *control)
{
    const struct agent_flags *flags = control->setup.facts->flags;
    const struct migsocket_setup setup = {.loop = control->setup.loop,
                                          .state_dir = flags->state_dir,
                                          .deadline_ms = flags->peer_deadline_ms,
                                          .take = take_request,
                                          .userdata = control};
    struct error err = ERROR_INIT;

    if (migsocket_new(&setup, &control->socket, &err) < 0)
        log_warning("gpuslice mig apply cannot ask this agent", "reason", error_text(&err));
}

/* An agent before this one ended before the layout was in force. */
static void resume(struct migcontrol *control)
{
    control->order = migorder_recall(control->setup.facts->flags->grant_dir);
    if (!control->order)
        return;
    log_info("a MIG layout that gpuslice mig apply asked for is still to be made", "layout",
             control->order->name);
    control->wish.order = control->order;
    control->is_asked = true;
}

/* --- what the rebooter asks --- */

static int ask_host(hostreboot_done_fn *done, void *userdata, void *owner)
{
    struct migcontrol *control = owner;

    return hostreboot_start(control->setup.loop, control->setup.facts->flags->system_bus, done,
                            userdata, &control->hostreboot);
}

static void cancel_asking(void *owner)
{
    struct migcontrol *control = owner;

    hostreboot_free(TAKE_PTR(control->hostreboot));
}

static void on_reboot_changed(void *owner)
{
    migcontrol_touch(owner);
}

static const struct rebooter_backend rebooter_backend = {
    .is_granted = is_granted,
    .list_pods = list_pods,
    .ask = ask_host,
    .cancel = cancel_asking,
    .on_changed = on_reboot_changed,
};

/* --- what changes --- */

void migcontrol_touch(struct migcontrol *control)
{
    if (control)
        partitioner_touch(control->partitioner);
}

void migcontrol_news(struct migcontrol *control, const struct sync_news *news)
{
    if (!control || news->gone)
        return;
    uv_timer_stop(&control->patience);
    if (migwish_node(&control->wish, sync_news_label(news, MIGWISH_LABEL),
                     sync_news_annotation(news, MIGWISH_ANNOTATION)))
        migcontrol_touch(control);
}

static void on_patience_ends(uv_timer_t *timer)
{
    struct migcontrol *control = timer->data;

    if (migwish_give_up(&control->wish))
        migcontrol_touch(control);
}

static void on_file_changed(void *userdata)
{
    struct migcontrol *control = userdata;

    migwish_read_file(&control->wish);
    migcontrol_touch(control);
}

/* --- life --- */

/* While the agent runs, `gpuslice mig apply` asks it; one that is at work already, or the agent
 * that this one replaces, ends first. */
static void take_lock(uv_timer_t *timer)
{
    struct migcontrol *control = timer->data;
    const bool is_first = !control->unlocked.code;
    int r = miglock_take(control->setup.facts->flags->state_dir, "gpuslice-node", &control->lock,
                         &control->unlocked);

    if (r == 0) {
        resume(control);
        open_socket(control);
        migcontrol_touch(control);
        return;
    }
    if (is_first)
        log_warning("no GPU is partitioned yet", "reason", error_text(&control->unlocked));
    uv_timer_start(timer, take_lock, LOCK_RETRY_MS, 0);
}

static int start_rebooter(struct migcontrol *control)
{
    const struct migcontrol_setup *setup = &control->setup;
    struct hostid host;

    control->backend = common_backend;
    control->backend.begun = &control->begun;
    if (!setup->facts->flags->mig_reboot)
        return 0;
    control->backend.reboot = reboot;
    control->backend.on_settled = on_settled;
    hostid_read(&host);
    return rebooter_new(setup->loop, &setup->facts->machine, setup->facts->flags->grant_dir,
                        host.boot, &rebooter_backend, control, &control->rebooter);
}

static int start(struct migcontrol *control, struct error *err)
{
    const struct migcontrol_setup *setup = &control->setup;
    const char *path = setup->facts->flags->mig_config_file;
    int r = start_rebooter(control);

    if (r == 0)
        r = partitioner_new(setup->loop, &setup->facts->machine, &control->backend, control,
                            &control->partitioner);
    if (r < 0)
        return error_set_errno(err, r, "cannot start the partitioner");
    uv_timer_init(setup->loop, &control->patience);
    control->patience.data = control;
    uv_timer_init(setup->loop, &control->standstill);
    control->standstill.data = control;
    migwish_init(&control->wish, setup->facts);
    migbegun_init(&control->begun, setup->facts->flags->grant_dir);
    if (!control->wish.is_told)
        uv_timer_start(&control->patience, on_patience_ends, MIGWISH_TIMEOUT_MS, 0);
    setup->facts->partitioner = control->partitioner;
    uv_timer_init(setup->loop, &control->lock_retry);
    control->lock_retry.data = control;
    take_lock(&control->lock_retry);
    return path ? configfile_new(setup->loop, path, on_file_changed, control, &control->file, err)
                : 0;
}

int migcontrol_new(const struct migcontrol_setup *setup, struct migcontrol **ret_control,
                   struct error *err)
{
    struct migcontrol *control = NULL;
    int r = 0;

    if (setup->facts->flags->mig_partition && !setup->facts->flags->grant_dir)
        r = error_set(err, -EINVAL,
                      "--mig-partition needs --grant-dir: what pods have must be known");
    else if (setup->facts->flags->mig_partition)
        control = calloc(1, sizeof(*control));
    if (r < 0 || !setup->facts->flags->mig_partition) {
        *ret_control = NULL;
        return r;
    }
    if (!control)
        return error_set_errno(err, -ENOMEM, "cannot start the partitioner");
    control->setup = *setup;
    control->lock = -1;
    *ret_control = control;
    return start(control, err);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_lock_retry_closed(uv_handle_t *handle)
{
    struct migcontrol *control = handle->data;

    uv_close((uv_handle_t *)&control->patience, on_closed);
}

static void on_standstill_closed(uv_handle_t *handle)
{
    struct migcontrol *control = handle->data;

    uv_close((uv_handle_t *)&control->lock_retry, on_lock_retry_closed);
}

void migcontrol_free(struct migcontrol *control)
{
    if (!control)
        return;
    control->setup.facts->partitioner = NULL;
    migsocket_free(control->socket);
    migorder_free(control->order);
    if (control->lock >= 0)
        close(control->lock);
    configfile_free(control->file);
    migwish_deinit(&control->wish);
    migbegun_deinit(&control->begun);
    rebooter_free(TAKE_PTR(control->rebooter));
    if (!control->partitioner) {
        free(control); /* its start failed at once */
        return;
    }
    partitioner_free(control->partitioner);
    uv_close((uv_handle_t *)&control->standstill, on_standstill_closed);
}
