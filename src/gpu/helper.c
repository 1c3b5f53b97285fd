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
#include "proc/blocking.h"
#include "proc/role.h"

enum {
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 60000,
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
    }
    return options;
}

/* To the agent; both threads send. */
static struct blocking_channel agent;

/* id 0: a notice, else the response to that request. Without a reader there is nothing left to
 * do. */
static void send_or_exit(enum record_type type, uint32_t id, const struct record *record)
{
    const struct proc_frame frame = {
        .type = id ? PROC_FRAME_ANSWER : PROC_FRAME_NOTICE,
        .kind = (uint16_t)type,
        .id = id,
        .body = &record->inventory, /* common address of all bodies */
        .size = record_size(type),
    };

    if (blocking_send(&agent, &frame) < 0)
        _exit(0);
}

static void send_reason(enum record_type type, const char *uuid, const char *reason)
{
    struct record record = {.type = 0};

    snprintf(record.reason.uuid, sizeof(record.reason.uuid), "%s", uuid);
    snprintf(record.reason.reason, sizeof(record.reason.reason), "%.255s", reason);
    send_or_exit(type, 0, &record);
}

static void send_watch(const char *uuid, const char *reason)
{
    send_reason(RECORD_WATCH, uuid, reason);
}

static void send_event(const struct gpu_event *event)
{
    const struct record record = {.event = *event};

    send_or_exit(RECORD_EVENT, 0, &record);
}

static void send_inventory(const struct inventory *inventory)
{
    struct record record = {.type = 0};

    memcpy(record.inventory.driver_version, inventory->driver_version,
           sizeof(record.inventory.driver_version));
    record.inventory.cuda_version = inventory->cuda_version;
    memcpy(record.inventory.gaps, inventory->gaps, sizeof(record.inventory.gaps));
    record.inventory.n_gpus = (uint32_t)inventory->n_gpus;
    record.inventory.n_mig_devices = (uint32_t)inventory->n_mig_devices;
    send_or_exit(RECORD_INVENTORY, 0, &record);
    for (uint32_t i = 0; i < inventory->n_gpus; i++) {
        record.gpu.position = i;
        record.gpu.gpu = inventory->gpus[i];
        send_or_exit(RECORD_GPU, 0, &record);
        memset(&record.links, 0, sizeof(record.links));
        record.links.position = i;
        memcpy(record.links.links, inventory->links + i * inventory->n_gpus,
               inventory->n_gpus * sizeof(*inventory->links));
        send_or_exit(RECORD_LINKS, 0, &record);
    }
    for (uint32_t i = 0; i < inventory->n_mig_devices; i++) {
        record.mig.position = i;
        record.mig.device = inventory->mig_devices[i];
        send_or_exit(RECORD_MIG, 0, &record);
    }
}

static uint64_t grow_backoff(uint64_t backoff_ms)
{
    return backoff_ms ? clock_twice_ms(backoff_ms, BACKOFF_MAX_MS) : BACKOFF_FIRST_MS;
}

/* Ends this session by executing the program again; see helper.h. Devices that were to be avoided
   get another chance. */
static void restart(struct helper *helper)
{
    const struct {
        const char *name, *value;
    } paths[] = {
        {"log-level", helper->options.log_level},
        {"log-format", helper->options.log_format},
        {"library", helper->options.library},
        {"container-driver-root", helper->options.container_root},
        {"driver-root", helper->options.driver_root},
    };
    char deadline[40], probe[40], backoff[40], texts[ARRAY_SIZE(paths)][PATH_MAX + 32];
    char *argv[6 + ARRAY_SIZE(paths)] = {(char *)"gpuslice-driver", (char *)HELPER_PART, deadline,
                                         probe, backoff};
    size_t n = 5;

    snprintf(deadline, sizeof(deadline), "--deadline-ms=%" PRIu64, helper->options.deadline_ms);
    snprintf(probe, sizeof(probe), "--probe-ms=%" PRIu64, helper->options.probe_ms);
    snprintf(backoff, sizeof(backoff), "--backoff-ms=%" PRIu64,
             grow_backoff(helper->options.backoff_ms));
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

static void send_probe(uint32_t id, const char *uuid, int outcome, const struct gpu_probe *probe,
                       const char *reason)
{
    struct record record = {.type = 0};

    snprintf(record.probe.uuid, sizeof(record.probe.uuid), "%s", uuid);
    record.probe.outcome = outcome;
    record.probe.probe = *probe;
    snprintf(record.probe.reason, sizeof(record.probe.reason), "%.255s", reason);
    send_or_exit(RECORD_PROBE, id, &record);
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
        send_probe(id, device->uuid, r, &probe, r ? error_text(&err) : "");
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
    send_probe(id, uuid, -ENXIO, &nothing, "the driver does not show it at present");
}

static void probe_all(struct helper *helper)
{
    for (size_t i = 0; i < helper->n_devices; i++)
        probe_device(helper, &helper->devices[i], 0);
    helper->round_ms = clock_now_ms() + helper->options.probe_ms;
}

/* Waits for input: 1 = the agent wrote, 2 = the events thread did, 0 = timeout. */
static int wait_until(struct helper *helper, uint64_t due_ms)
{
    struct pollfd fds[2] = {{.fd = HELPER_CHANNEL, .events = POLLIN},
                            {.fd = helper->events.trouble_fd, .events = POLLIN}};
    uint64_t now_ms = clock_now_ms();
    uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;

    if (poll(fds, ARRAY_SIZE(fds), wait_ms > INT_MAX ? INT_MAX : (int)wait_ms) <= 0)
        return 0;
    return fds[0].revents ? 1 : 2;
}

/* Receives without waiting; pings are answered. False if it is not a request. */
static bool receive_request(struct proc_frame *ret_frame)
{
    const int r = blocking_receive(&agent, 0, ret_frame, NULL);

    if (r < 0)
        _exit(0); /* the agent is gone */
    return r == 0 && ret_frame->type == PROC_FRAME_REQUEST;
}

static int open_once(struct helper *helper, struct error *err)
{
    const struct options *options = &helper->options;
    struct driverroot root;

    if (options->library)
        return backend->open(options->library, &helper->driver, err);
    driverroot_init(&root, options->container_root, options->driver_root, NULL);
    return librarysearch_open(backend, &root, &helper->driver, err);
}

/* The driver may appear late (a new node) and come back (an upgrade): retried until it opens. */
static void open_driver(struct helper *helper)
{
    char said[sizeof(((struct error *)NULL)->message)] = "";
    uint64_t backoff_ms = BACKOFF_FIRST_MS;

    for (;;) {
        struct error err = ERROR_INIT;
        uint64_t due_ms;

        if (open_once(helper, &err) == 0)
            return;
        if (strcmp(said, error_text(&err)) != 0)
            send_reason(RECORD_UNAVAILABLE, "", error_text(&err));
        snprintf(said, sizeof(said), "%s", error_text(&err));
        due_ms = clock_now_ms() + backoff_ms;
        backoff_ms = grow_backoff(backoff_ms);
        while (wait_until(helper, due_ms) == 1)
            (void)receive_request(&(struct proc_frame){.id = 0}); /* nothing to ask about yet */
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
    struct inventory inventory = INVENTORY_INIT;
    int r;

    r = backend->inventory(helper->driver, &inventory, err);
    if (r < 0)
        return r;
    r = remember_devices(helper, &inventory);
    if (r == 0)
        r = register_all(helper);
    if (r == 0)
        send_inventory(&inventory);
    inventory_deinit(&inventory);
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

    if (receive_request(&frame) && frame.kind == RECORD_ASK &&
        record_load(frame.kind, frame.body, frame.size, &record) == 0)
        answer_request(helper, frame.id, record.ask.uuid);
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
        if (helper->incomplete) {
            uint64_t restart_ms = session_end_ms(helper);

            if (clock_now_ms() >= restart_ms)
                restart(helper);
            due_ms = restart_ms < due_ms ? restart_ms : due_ms;
        }
        switch (wait_until(helper, due_ms)) {
        case 1:
            take_request(helper);
            break;
        case 2:
            take_trouble(helper);
            break;
        default:
            if (clock_now_ms() >= helper->round_ms)
                probe_all(helper);
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
                                       .on_event = send_event,
                                       .on_watch = send_watch}};
    struct error err = ERROR_INIT;
    int r;

    log_setup_by_name(helper.options.log_level, helper.options.log_format);
    if (role_enter(ROLE_DRIVER, &err) < 0) {
        log_error(error_text(&err));
        return 1;
    }
    prepare_process();
    blocking_init(&agent, HELPER_CHANNEL, HELPER_MAX_BODY);
    if (blocking_hello(&agent, "driver") < 0)
        return 0;
    r = eventwatch_init(&helper.events);
    if (r == 0)
        r = attach_guards(&helper);
    if (r < 0)
        return 1;
    open_driver(&helper);
    helper.opened_ms = clock_now_ms();
    helper.events.driver = helper.driver;
    helper.events.backoff_ms = helper.options.backoff_ms;
    avoid_devices(&helper);
    r = begin_session(&helper, &err);
    if (r < 0) {
        send_reason(RECORD_UNAVAILABLE, "", error_text(&err));
        helper.incomplete = true;
    }
    malloc_trim(0); /* opening and listing used more memory than will be needed later */
    serve(&helper);
    return 0;
}
