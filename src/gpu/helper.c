// SPDX-License-Identifier: Apache-2.0
#include "gpu/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "gpu/eventwatch.h"
#include "gpu/gpu.h"
#include "gpu/guard.h"
#include "gpu/librarysearch.h"
#include "gpu/record.h"
#include "gpu/recordout.h"
#include "gpu/stepper.h"
#include "proc/role.h"

enum {
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 60000,
    /* After a change, until all GPUs are looked at: an event comes when a change begins, and a
     * change takes several steps. */
    SETTLE_MS = 500,
    /* Of GPUs that are partitioned and whose changes the driver does not report. */
    POLL_MS = 2000,
};

/* The result of the last round for a GPU, so that only changes are sent. */
struct watched_gpu {
    char uuid[GPU_UUID_SIZE];
    bool reported;
    int outcome;
    enum gpu_recovery recovery;
};

struct options {
    const char *library; /* this one; NULL = librarysearch.h's */
    const char *log_level, *log_format;
    const char *container_root, *driver_root; /* where that looks; NULL = by the loader alone */
    uint64_t deadline_ms, probe_ms;
    uint64_t backoff_ms; /* before the next new session; 0 = the last one was complete */
    const char *avoid;   /* "2,5": indices of devices that hung, avoided in this session; or NULL */
    uint64_t avoid_ms;   /* for how long */
    const char *step;    /* to be made before the session; NULL = none */
};

/* Two threads: this one, and that of the events (eventwatch.h). Both send to the channel in whole
 * frames. */
struct helper {
    struct options options;
    struct guard guards[GUARD_LANES];
    struct gpu_driver *driver;
    struct watched_gpu *devices;
    size_t n_devices;
    bool incomplete; /* a device does not respond, or there is none: a new session is due */
    uint64_t opened_ms;
    uint64_t round_ms; /* when the next round is due */
    struct eventwatch events;
    struct inventory inventory; /* as it was sent last */
    /* When to read again how all GPUs are partitioned; UINT64_MAX: never. */
    uint64_t poll_ms;            /* because of those whose changes the driver does not report, */
    uint64_t settle_ms;          /* and after a change, */
    char stepped[GPU_UUID_SIZE]; /* which was a step of ours on this GPU, as the last one was; or
                                    "" */
    struct stepper stepper;      /* what was done before this session */
};

static const struct gpu_backend *const backend = &gpu_nvml;

static uint64_t option_number(const char *text, uint64_t fallback)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    return end == text || *end ? fallback : value;
}

static struct options parse_options(int argc, char *argv[])
{
    struct options options = {.deadline_ms = 10000, .probe_ms = 60000};

    for (int i = 2; i < argc; i++) {
        const char *value = strchr(argv[i], '=');

        value = value ? value + 1 : "";
        if (str_starts_with(argv[i], "--library="))
            options.library = value;
        else if (str_starts_with(argv[i], "--log-level="))
            options.log_level = value;
        else if (str_starts_with(argv[i], "--log-format="))
            options.log_format = value;
        else if (str_starts_with(argv[i], "--container-driver-root="))
            options.container_root = value;
        else if (str_starts_with(argv[i], "--driver-root="))
            options.driver_root = value;
        else if (str_starts_with(argv[i], "--deadline-ms="))
            options.deadline_ms = option_number(value, options.deadline_ms);
        else if (str_starts_with(argv[i], "--probe-ms="))
            options.probe_ms = option_number(value, options.probe_ms);
        else if (str_starts_with(argv[i], "--backoff-ms="))
            options.backoff_ms = option_number(value, 0);
        else if (str_starts_with(argv[i], "--avoid="))
            options.avoid = value;
        else if (str_starts_with(argv[i], "--avoid-ms="))
            options.avoid_ms = option_number(value, 0);
        else if (str_starts_with(argv[i], "--step="))
            options.step = value;
    }
    return options;
}

static uint64_t grow_backoff(uint64_t backoff_ms)
{
    return backoff_ms ? clock_twice_ms(backoff_ms, BACKOFF_MAX_MS) : BACKOFF_FIRST_MS;
}

/* Ends this session by executing the program again; see helper.h. Devices that were to be avoided
   get another chance. step: to be made in between; NULL = none. */
static void restart(struct helper *helper, const char *step)
{
    const uint64_t backoff_ms = helper->options.backoff_ms;
    const struct {
        const char *name, *value;
    } paths[] = {
        {"log-level", helper->options.log_level},
        {"log-format", helper->options.log_format},
        {"library", helper->options.library},
        {"container-driver-root", helper->options.container_root},
        {"driver-root", helper->options.driver_root},
        {"step", step},
    };
    char deadline[40], probe[40], backoff[40], texts[ARRAY_SIZE(paths)][PATH_MAX + 32];
    char *argv[6 + ARRAY_SIZE(paths)] = {(char *)"gpuslice-driver", (char *)HELPER_PART, deadline,
                                         probe, backoff};
    size_t n = 5;

    snprintf(deadline, sizeof(deadline), "--deadline-ms=%" PRIu64, helper->options.deadline_ms);
    snprintf(probe, sizeof(probe), "--probe-ms=%" PRIu64, helper->options.probe_ms);
    snprintf(backoff, sizeof(backoff), "--backoff-ms=%" PRIu64,
             step ? backoff_ms : grow_backoff(backoff_ms));
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (!paths[i].value)
            continue;
        snprintf(texts[i], sizeof(texts[i]), "--%s=%s", paths[i].name, paths[i].value);
        argv[n++] = texts[i];
    }
    execv("/proc/self/exe", argv);
    _exit(1); /* the agent starts another */
}

static struct watched_gpu *find_device(struct helper *helper, const char *uuid)
{
    for (size_t i = 0; i < helper->n_devices; i++)
        if (strcasecmp(helper->devices[i].uuid, uuid) == 0)
            return &helper->devices[i];
    return NULL;
}

/* Probes one device. id: of the agent's request; 0 = none: only changes are reported. */
static void probe_device(struct helper *helper, struct watched_gpu *device, uint32_t id)
{
    struct gpu_probe probe = GPU_PROBE_INIT;
    struct error err = ERROR_INIT;
    int r = backend->probe(helper->driver, device->uuid, &probe, &err);

    if (r)
        helper->incomplete = true;
    if (id || !device->reported || device->outcome != r || device->recovery != probe.recovery)
        recordout_probe(id, device->uuid, r, &probe, r ? error_text(&err) : "");
    device->reported = true;
    device->outcome = r;
    device->recovery = probe.recovery;
}

/* A device that this session does not have is not queried: its calls may be the ones that hang. */
static void answer_request(struct helper *helper, uint32_t id, const char *uuid)
{
    static const struct gpu_probe nothing = GPU_PROBE_INIT;
    struct watched_gpu *device = find_device(helper, uuid);

    if (device) {
        probe_device(helper, device, id);
        return;
    }
    helper->incomplete = true;
    recordout_probe(id, uuid, -ENXIO, &nothing, "the driver does not show it at present");
}

/* As for a probe: one that this session does not have is not queried. */
static void list_processes(struct helper *helper, uint32_t id, const char *uuid)
{
    cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;
    struct error err = ERROR_INIT;
    int r = -ENXIO;

    if (find_device(helper, uuid))
        r = backend->processes(helper->driver, uuid, &processes, &err);
    else
        error_set(&err, r, "the driver does not show it at present");
    if (r == GPU_LOST || r == -ENXIO)
        helper->incomplete = true;
    recordout_listed(id, r, &processes, r ? error_text(&err) : "");
}

static void probe_all(struct helper *helper)
{
    for (size_t i = 0; i < helper->n_devices; i++)
        probe_device(helper, &helper->devices[i], 0);
    helper->round_ms = clock_now_ms() + helper->options.probe_ms;
}

/* --- how GPUs are partitioned --- */

/* It is partitioned, and the driver does not report when that changes. */
static bool is_polled(const struct helper *helper, const struct gpu *gpu)
{
    return gpu->mig_enabled && !*gpu->unusable &&
           !backend->reports_changes(helper->driver, gpu->uuid);
}

static bool any_capable(const struct helper *helper)
{
    for (size_t i = 0; i < helper->inventory.n_gpus; i++)
        if (helper->inventory.gpus[i].mig_capable)
            return true;
    return false;
}

static void plan_poll(struct helper *helper)
{
    bool any = false;

    for (size_t i = 0; i < helper->inventory.n_gpus; i++)
        any |= is_polled(helper, &helper->inventory.gpus[i]);
    helper->poll_ms = any ? clock_now_ms() + POLL_MS : UINT64_MAX;
}

/* Reads it again of the GPU of that UUID, or (NULL) of all, and sends what changed. */
static void read_partitions(struct helper *helper, const char *uuid)
{
    cleanup_inventory struct inventory next = INVENTORY_INIT;
    struct error err = ERROR_INIT;

    if (inventory_copy(&next, &helper->inventory) < 0 ||
        backend->partitions(helper->driver, &next, uuid, &err) < 0 ||
        inventory_same_partitions(&next, &helper->inventory))
        return;
    next.is_reread = true;
    recordout_inventory(&next);
    for (size_t i = 0; i < next.n_gpus; i++)
        helper->incomplete |= *next.gpus[i].unusable != '\0';
    inventory_deinit(&helper->inventory);
    helper->inventory = next;
    next = (struct inventory)INVENTORY_INIT;
}

static void read_all_partitions(struct helper *helper)
{
    helper->settle_ms = UINT64_MAX;
    helper->stepped[0] = '\0';
    read_partitions(helper, NULL);
    plan_poll(helper);
}

static void poll_partitions(struct helper *helper)
{
    for (size_t i = 0; i < helper->inventory.n_gpus; i++)
        if (is_polled(helper, &helper->inventory.gpus[i]))
            read_partitions(helper, helper->inventory.gpus[i].uuid);
    plan_poll(helper);
}

/* A step shows in what the driver tells of its GPU; what else may have changed meanwhile is looked
 * at when the last of several steps was made. */
static void look_after_step(struct helper *helper, const char *uuid)
{
    read_partitions(helper, uuid);
    snprintf(helper->stepped, sizeof(helper->stepped), "%s", uuid);
    helper->settle_ms = clock_now_ms() + SETTLE_MS;
}

/* A process that the driver cannot name may be this one: then the step is made without a session.
 */
static void make_change(struct helper *helper, uint32_t id, const struct gpu_change *change)
{
    char text[STEPPER_TEXT_SIZE];
    struct gpu_changed changed;

    stepper_format(id, change, text);
    if (stepper_needs_no_session(change))
        restart(helper, text);
    backend->change(helper->driver, change, &changed);
    if (changed.outcome == GPU_IN_USE && changed.n_holders == 0)
        restart(helper, text);
    if (change->verb != GPU_FIND_HOLDERS)
        look_after_step(helper, change->uuid);
    recordout_changed(id, &changed);
}

/* Waits for input: 1 = the agent wrote, 2 = the events thread did, 3 = how a GPU is partitioned has
 * changed, 0 = timeout. */
static int wait_until(struct helper *helper, uint64_t due_ms)
{
    struct pollfd fds[] = {{.fd = HELPER_CHANNEL, .events = POLLIN},
                           {.fd = helper->events.trouble_fd, .events = POLLIN},
                           {.fd = helper->events.changes_fd, .events = POLLIN}};
    uint64_t now_ms = clock_now_ms();
    uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;

    if (poll(fds, ARRAY_SIZE(fds), wait_ms > INT_MAX ? INT_MAX : (int)wait_ms) <= 0)
        return 0;
    return fds[0].revents ? 1 : fds[1].revents ? 2 : 3;
}

static int open_once(void *userdata, struct gpu_driver **ret_driver, struct error *err)
{
    const struct options *options = &((struct helper *)userdata)->options;
    struct driverroot root;

    if (options->library)
        return backend->open(options->library, ret_driver, err);
    driverroot_init(&root, options->container_root, options->driver_root, NULL);
    return librarysearch_open(backend, &root, ret_driver, err);
}

/* There is nothing to ask about yet. */
static void refuse_request(const char *reason)
{
    struct gpu_changed changed = {.outcome = -EAGAIN};
    struct proc_frame frame;

    if (!recordout_receive(&frame) || frame.kind != RECORD_CHANGE)
        return;
    snprintf(changed.reason, sizeof(changed.reason), "the driver is not available: %.200s", reason);
    recordout_changed(frame.id, &changed);
}

/* The driver may appear late (a new node) and come back (an upgrade): retried until it opens. */
static void open_driver(struct helper *helper)
{
    char said[sizeof(((struct error *)NULL)->message)] = "";
    uint64_t backoff_ms = BACKOFF_FIRST_MS;

    for (;;) {
        struct error err = ERROR_INIT;
        uint64_t due_ms;

        if (open_once(helper, &helper->driver, &err) == 0)
            return;
        if (strcmp(said, error_text(&err)) != 0)
            recordout_reason(RECORD_UNAVAILABLE, "", error_text(&err));
        snprintf(said, sizeof(said), "%s", error_text(&err));
        due_ms = clock_now_ms() + backoff_ms;
        backoff_ms = grow_backoff(backoff_ms);
        while (wait_until(helper, due_ms) == 1)
            refuse_request(said);
    }
}

static int remember_devices(struct helper *helper, const struct inventory *inventory)
{
    helper->devices = calloc(inventory->n_gpus + 1, sizeof(*helper->devices));
    if (!helper->devices)
        return -ENOMEM;
    helper->incomplete = !inventory->n_gpus; /* they may come */
    for (size_t i = 0; i < inventory->n_gpus; i++) {
        if (inventory->gpus[i].unusable[0]) {
            helper->incomplete = true;
            continue;
        }
        memcpy(helper->devices[helper->n_devices++].uuid, inventory->gpus[i].uuid, GPU_UUID_SIZE);
    }
    return 0;
}

static int register_all(struct helper *helper)
{
    int r = 0;

    for (size_t i = 0; i < helper->n_devices && r >= 0; i++) {
        r = eventwatch_add(&helper->events, helper->devices[i].uuid);
        if (r == EVENTWATCH_RENEW)
            helper->incomplete = true;
    }
    return r < 0 ? r : 0;
}

/* GPUs are registered for events before the inventory is sent, so that nothing is missed after it;
 * whether they are watched is sent behind it, when it is known which they are. */
static int begin_session(struct helper *helper, struct error *err)
{
    int r = backend->inventory(helper->driver, &helper->inventory, err);

    if (r < 0)
        return r;
    r = remember_devices(helper, &helper->inventory);
    if (r == 0)
        r = register_all(helper);
    if (r == 0)
        recordout_inventory(&helper->inventory);
    helper->settle_ms = UINT64_MAX;
    plan_poll(helper);
    if (r == 0)
        r = eventwatch_start(&helper->events, err);
    if (r == EVENTWATCH_RENEW)
        helper->incomplete = true;
    return r < 0 ? r : 0;
}

/* When a session with a missing device ends. */
static uint64_t session_end_ms(const struct helper *helper)
{
    uint64_t wait_ms = helper->options.backoff_ms;

    if (helper->options.avoid && wait_ms < helper->options.avoid_ms)
        wait_ms = helper->options.avoid_ms;
    return helper->opened_ms + wait_ms;
}

static void avoid_devices(struct helper *helper)
{
    const char *item = helper->options.avoid;

    while (item && *item) {
        char *end;
        unsigned long index = strtoul(item, &end, 10);

        if (end == item)
            return;
        backend->avoid(helper->driver, (unsigned)index);
        item = *end ? end + 1 : end;
    }
}

/* The wait failed, mostly because a device is lost: probe each, then watch in a new session. */
static void take_trouble(struct helper *helper)
{
    if (eventwatch_take_trouble(&helper->events) != EVENTWATCH_RENEW)
        return; /* it is tried again */
    probe_all(helper);
    helper->incomplete = true;
}

static void take_request(struct helper *helper)
{
    struct proc_frame frame;
    struct record record;

    if (!recordout_receive(&frame) || record_load(frame.kind, frame.body, frame.size, &record) < 0)
        return;
    if (frame.kind == RECORD_ASK)
        answer_request(helper, frame.id, record.ask.uuid);
    if (frame.kind == RECORD_LIST)
        list_processes(helper, frame.id, record.ask.uuid);
    if (frame.kind == RECORD_CHANGE)
        make_change(helper, frame.id, &record.change);
}

static void take_event(struct helper *helper)
{
    /* Our own step was looked at. */
    if (eventwatch_take_changes(&helper->events, *helper->stepped ? helper->stepped : NULL))
        read_all_partitions(helper);
    helper->settle_ms = clock_now_ms() + SETTLE_MS;
}

/* The rounds see what no event reported. */
static void do_round(struct helper *helper)
{
    probe_all(helper);
    if (any_capable(helper))
        read_all_partitions(helper);
}

/* The main loop of a session; returns only by restart. */
static void serve(struct helper *helper)
{
    probe_all(helper);
    for (;;) {
        uint64_t due_ms = helper->round_ms;

        if (eventwatch_retry(&helper->events) == EVENTWATCH_RENEW)
            helper->incomplete = true;
        if (eventwatch_due_ms(&helper->events) < due_ms)
            due_ms = eventwatch_due_ms(&helper->events);
        if (helper->settle_ms < due_ms)
            due_ms = helper->settle_ms;
        if (helper->poll_ms < due_ms)
            due_ms = helper->poll_ms;
        if (helper->incomplete) {
            uint64_t restart_ms = session_end_ms(helper);

            if (clock_now_ms() >= restart_ms)
                restart(helper, NULL);
            due_ms = restart_ms < due_ms ? restart_ms : due_ms;
        }
        switch (wait_until(helper, due_ms)) {
        case 1:
            take_request(helper);
            break;
        case 2:
            take_trouble(helper);
            break;
        case 3:
            take_event(helper);
            break;
        default:
            if (clock_now_ms() >= helper->round_ms)
                do_round(helper);
            if (clock_now_ms() >= helper->settle_ms)
                read_all_partitions(helper);
            else if (clock_now_ms() >= helper->poll_ms)
                poll_partitions(helper);
        }
        if (!helper->incomplete && eventwatch_due_ms(&helper->events) == UINT64_MAX)
            helper->options.backoff_ms = 0;
    }
}

static int attach_guards(struct helper *helper)
{
    const int timers[GUARD_LANES] = {HELPER_TIMER_CALLS, HELPER_TIMER_EVENTS};
    struct guard_page *page;

    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, HELPER_PAGE, 0);
    if (page == MAP_FAILED)
        return -errno;
    for (int i = 0; i < GUARD_LANES; i++) {
        guard_init(&helper->guards[i], &page->slots[i], timers[i], helper->options.deadline_ms);
    }
    guard_thread(&helper->guards[GUARD_CALLS]);
    return 0;
}

static void prepare_process(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "gpuslice-driver");
    /* The agent decides when to stop; it gets the terminal's ^C. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, 1); /* two threads that rarely allocate need no second arena */
}

int helper_main(int argc, char *argv[])
{
    struct helper helper = {.options = parse_options(argc, argv),
                            .events = {.backend = backend,
                                       .guard = &helper.guards[GUARD_EVENTS],
                                       .on_event = recordout_event,
                                       .on_watch = recordout_watch}};
    struct error err = ERROR_INIT;
    int r;

    log_setup_by_name(helper.options.log_level, helper.options.log_format);
    if (role_enter(ROLE_DRIVER, &err) < 0) {
        log_error(error_text(&err));
        return 1;
    }
    prepare_process();
    if (recordout_start(HELPER_CHANNEL, HELPER_MAX_BODY) < 0)
        return 0;
    r = eventwatch_init(&helper.events);
    if (r == 0)
        r = attach_guards(&helper);
    if (r < 0)
        return 1;
    if (helper.options.step && stepper_parse(helper.options.step, &helper.stepper))
        stepper_make(&helper.stepper, &(struct stepper_session){backend, open_once, &helper});
    open_driver(&helper);
    helper.opened_ms = clock_now_ms();
    helper.events.driver = helper.driver;
    helper.events.backoff_ms = helper.options.backoff_ms;
    avoid_devices(&helper);
    r = begin_session(&helper, &err);
    if (r < 0) {
        recordout_reason(RECORD_UNAVAILABLE, "", error_text(&err));
        helper.incomplete = true;
    }
    if (helper.stepper.id)
        recordout_changed(helper.stepper.id, &helper.stepper.changed);
    malloc_trim(0); /* opening and listing used more memory than will be needed later */
    serve(&helper);
    return 0;
}
