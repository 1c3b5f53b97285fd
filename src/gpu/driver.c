// SPDX-License-Identifier: Apache-2.0
#include "gpu/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "gpu/guard.h"
#include "gpu/helper.h"
#include "gpu/record.h"
#include "proc/subprocess.h"

enum {
    BACKOFF_FIRST_MS = 250,
    BACKOFF_MAX_MS = 60000,
    STEADY_MS = 60000, /* a helper that lived this long was healthy */
    HELLO_MS = 60000,
    PING_MS = 60000, /* it is silent while nothing changes */
    PONG_MS = 30000,
    PROBE_MS = 300000,   /* a device may be the last of many slow ones */
    AVOID_DEADLINES = 6, /* how many deadlines a device that hung is avoided, doubling */
    AVOID_MAX_MS = 900000,
    MESSAGE_MAX = HELPER_MAX_BODY,
};

/* Watches the driver calls of one process. Lives until its handles are closed. */
struct watchdog {
    struct driver *driver; /* NULL: it is detached */
    struct watchdog_timer {
        uv_poll_t poll; /* data = struct watchdog */
        enum guard_lane lane;
        int fd;
    } timers[GUARD_LANES];
    unsigned n_open_handles;
    struct guard_page *page;
    int page_fd;
    uint32_t turn; /* of the lane that answers us, at the last check */
};

/* A question for the processes of a GPU. */
struct listing {
    driver_listed_fn *done;
    void *userdata;
};

/* A change that was asked for. */
struct step {
    driver_changed_fn *done;
    void *userdata;
};

struct driver {
    uv_loop_t *loop;
    struct driver_callbacks callbacks;
    void *userdata;
    uint64_t deadline_ms, probe_period_ms;

    struct subprocess *subprocess;
    struct watchdog *watchdog; /* of the running process; NULL = none */
    uint64_t started_ms;       /* that process */
    bool described;            /* it delivered an inventory */
    struct {
        char deadline[48], probe[48], avoid_ms[48], log_level[32], log_format[32];
        char *avoid, *paths[3]; /* owned; `paths` ends with NULL */
    } arguments;
    char hung_call[GUARD_CALL_SIZE], hung_uuid[GUARD_UUID_SIZE]; /* of this process; "" = none */

    struct inventory inventory; /* being received */
    size_t n_gpus, n_links;     /* of it, so far */
    size_t n_boards;            /* of it, so far */
    size_t n_mig_devices;       /* of it, so far */
    struct inventory
        known; /* the last one: names devices that hang before they report their UUID */
    bool avoided[RECORD_GPUS_MAX]; /* by index, for the next helper */
    uint64_t avoid_ms;
};

static void notify_unavailable(struct driver *driver, const char *reason)
{
    if (driver->callbacks.on_unavailable)
        driver->callbacks.on_unavailable(reason, driver->userdata);
}

static void notify_hang(struct driver *driver, bool is_stuck)
{
    if (driver->callbacks.on_hang)
        driver->callbacks.on_hang(driver->hung_call, driver->hung_uuid, is_stuck, driver->userdata);
}

/* -- calls that hang ------------------------------------------------------------------------- */

static void free_watchdog(struct watchdog *watchdog)
{
    if (watchdog->page)
        munmap(watchdog->page, sizeof(*watchdog->page));
    if (watchdog->page_fd >= 0)
        close(watchdog->page_fd);
    for (int i = 0; i < GUARD_LANES; i++)
        if (watchdog->timers[i].fd >= 0)
            close(watchdog->timers[i].fd);
    free(watchdog);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct watchdog *watchdog = handle->data;

    if (--watchdog->n_open_handles == 0)
        free_watchdog(watchdog);
}

/* NULL is allowed. */
static void end_watchdog(struct watchdog *watchdog)
{
    const unsigned n = watchdog ? watchdog->n_open_handles : 0;

    if (!watchdog)
        return;
    watchdog->driver = NULL;
    for (unsigned i = 0; i < n; i++)
        uv_close((uv_handle_t *)&watchdog->timers[i].poll, on_timer_closed);
    if (!n)
        free_watchdog(watchdog);
}

static const struct gpu *find_known(const struct driver *driver, const char *who)
{
    for (size_t i = 0; i < driver->known.n_gpus; i++) {
        const struct gpu *gpu = &driver->known.gpus[i];

        if (who[0] == '#' ? strtoul(who + 1, NULL, 10) == gpu->index
                          : gpu->uuid[0] && strcasecmp(gpu->uuid, who) == 0)
            return gpu;
    }
    return NULL;
}

/* The next helper avoids this device, so that the others can be served. */
static void avoid_device(struct driver *driver)
{
    const struct gpu *gpu = find_known(driver, driver->hung_uuid);
    unsigned long index = RECORD_GPUS_MAX;

    if (gpu)
        index = gpu->index;
    else if (driver->hung_uuid[0] == '#')
        index = strtoul(driver->hung_uuid + 1, NULL, 10);
    if (index < RECORD_GPUS_MAX) {
        driver->avoided[index] = true;
        driver->avoid_ms =
            driver->avoid_ms ? driver->avoid_ms * 2 : AVOID_DEADLINES * driver->deadline_ms;
        if (driver->avoid_ms > AVOID_MAX_MS)
            driver->avoid_ms = AVOID_MAX_MS;
    }
    snprintf(driver->hung_uuid, sizeof(driver->hung_uuid), "%s", gpu ? gpu->uuid : "");
}

/* A guard's timer fired. */
static void on_overrun(uv_poll_t *poll, int status, int events)
{
    struct watchdog_timer *timer = (struct watchdog_timer *)(void *)poll;
    struct watchdog *watchdog = poll->data;
    struct driver *driver = watchdog->driver;
    uint64_t expirations;

    (void)status, (void)events;
    if (!driver || read(timer->fd, &expirations, sizeof(expirations)) != sizeof(expirations) ||
        !guard_overrun(&watchdog->page->slots[timer->lane], driver->hung_call, driver->hung_uuid))
        return; /* the call returned at the last moment */
    if (uv_now(poll->loop) - driver->started_ms > AVOID_MAX_MS)
        driver->avoid_ms = 0; /* not the previous fault again */
    avoid_device(driver);
    end_watchdog(TAKE_PTR(driver->watchdog));
    subprocess_kill(driver->subprocess);
    notify_hang(driver, false);
}

/* A helper in a driver call cannot respond; the guard watches that call. */
static bool is_in_calls(void *userdata)
{
    struct driver *driver = userdata;
    struct watchdog *watchdog = driver->watchdog;
    uint32_t turn;
    bool is_moving;

    if (!watchdog)
        return false;
    turn = atomic_load(&watchdog->page->slots[GUARD_CALLS].turn);
    is_moving = turn != watchdog->turn;
    watchdog->turn = turn;
    return is_moving || (turn & 1);
}

/* -- records --------------------------------------------------------------------------------- */

static int begin_inventory(struct driver *driver, const struct record_inventory *record)
{
    size_t n = record->n_gpus;
    cleanup_free struct gpu *gpus = calloc(n + 1, sizeof(*gpus));
    cleanup_free struct gpu_link *links = calloc(n * n + 1, sizeof(*links));
    cleanup_free struct device *mig_devices =
        calloc((size_t)record->n_mig_devices + 1, sizeof(*mig_devices));
    cleanup_free struct mig_board *boards = calloc((size_t)record->n_boards + 1, sizeof(*boards));

    if (!gpus || !links || !mig_devices || !boards)
        return -ENOMEM;
    inventory_deinit(&driver->inventory);
    memcpy(driver->inventory.driver_version, record->driver_version,
           sizeof(driver->inventory.driver_version));
    driver->inventory.cuda_version = record->cuda_version;
    driver->inventory.is_reread = record->is_reread;
    memcpy(driver->inventory.gaps, record->gaps, sizeof(driver->inventory.gaps));
    driver->inventory.gpus = TAKE_PTR(gpus);
    driver->inventory.links = TAKE_PTR(links);
    driver->inventory.n_gpus = n;
    driver->inventory.mig_devices = TAKE_PTR(mig_devices);
    driver->inventory.n_mig_devices = record->n_mig_devices;
    driver->inventory.boards = TAKE_PTR(boards);
    driver->inventory.n_boards = record->n_boards;
    driver->n_gpus = 0;
    driver->n_links = 0;
    driver->n_boards = 0;
    driver->n_mig_devices = 0;
    return 0;
}

/* What an avoided or lost device did not report this time is filled in from before. */
static int fill_in(struct driver *driver, struct gpu *gpu)
{
    char who[16], unusable[sizeof(gpu->unusable)];
    const bool is_out_of_reach = gpu->is_out_of_reach;
    const struct mig_board *board;
    const struct gpu *before;

    if (!gpu->unusable[0] || gpu->uuid[0])
        return 0;
    snprintf(who, sizeof(who), "#%u", gpu->index);
    before = find_known(driver, who);
    if (!before)
        return 0;
    memcpy(unusable, gpu->unusable, sizeof(unusable));
    *gpu = *before;
    memcpy(gpu->unusable, unusable, sizeof(gpu->unusable));
    gpu->is_out_of_reach = is_out_of_reach;
    board = inventory_board(&driver->known, before);
    gpu->board = 0;
    return board ? inventory_share_board(&driver->inventory, board, &gpu->board) : 0;
}

/* The layout of a GPU refers to its board. */
static bool is_consistent(const struct inventory *inventory, const struct gpu *gpu)
{
    const struct mig_board *board = inventory_board(inventory, gpu);
    const struct mig_layout *layout = &gpu->layout;

    if (gpu->board > inventory->n_boards || (layout->n_instances && !board))
        return false;
    for (uint32_t i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *instance = &layout->instances[i];

        if (instance->profile >= board->n_profiles)
            return false;
        for (uint32_t k = 0; k < instance->n_computes; k++)
            if (instance->computes[k].profile >= board->profiles[instance->profile].n_computes)
                return false;
    }
    return true;
}

static int end_inventory(struct driver *driver)
{
    struct inventory *inventory = &driver->inventory;
    int r = 0;

    for (size_t i = 0; i < inventory->n_gpus && r == 0; i++)
        r = is_consistent(inventory, &inventory->gpus[i]) ? fill_in(driver, &inventory->gpus[i])
                                                          : -EBADMSG;
    if (r < 0)
        return r;
    inventory_deinit(&driver->known);
    driver->known = *inventory;
    *inventory = (struct inventory)INVENTORY_INIT;
    driver->described = true;
    if (driver->callbacks.on_inventory)
        driver->callbacks.on_inventory(&driver->known, driver->userdata);
    return 0;
}

static int end_if_whole(struct driver *driver)
{
    const struct inventory *inventory = &driver->inventory;

    return driver->n_links == inventory->n_gpus && driver->n_boards == inventory->n_boards &&
                   driver->n_mig_devices == inventory->n_mig_devices
               ? end_inventory(driver)
               : 0;
}

static int take_gpu(struct driver *driver, const struct record_gpu *record)
{
    if (record->position != driver->n_gpus || driver->n_gpus >= driver->inventory.n_gpus)
        return -EBADMSG;
    driver->inventory.gpus[driver->n_gpus++] = record->gpu;
    return 0;
}

static int take_links(struct driver *driver, const struct record_links *record)
{
    struct inventory *inventory = &driver->inventory;
    size_t n = inventory->n_gpus;

    if (record->position != driver->n_links || driver->n_links >= driver->n_gpus ||
        !inventory->links)
        return -EBADMSG;
    memcpy(inventory->links + driver->n_links * n, record->links, n * sizeof(*inventory->links));
    driver->n_links++;
    return end_if_whole(driver);
}

static int take_board(struct driver *driver, const struct record_board *record)
{
    struct inventory *inventory = &driver->inventory;

    if (!inventory->boards || driver->n_links < inventory->n_gpus ||
        record->position != driver->n_boards || driver->n_boards >= inventory->n_boards)
        return -EBADMSG;
    inventory->boards[driver->n_boards++] = record->board;
    return end_if_whole(driver);
}

static int take_mig(struct driver *driver, const struct record_mig *record)
{
    struct inventory *inventory = &driver->inventory;

    if (!inventory->mig_devices || driver->n_links < inventory->n_gpus ||
        driver->n_boards < inventory->n_boards || record->position != driver->n_mig_devices ||
        driver->n_mig_devices >= inventory->n_mig_devices ||
        record->device.gpu >= inventory->n_gpus)
        return -EBADMSG;
    inventory->mig_devices[driver->n_mig_devices++] = record->device;
    return end_if_whole(driver);
}

static int take_record(struct driver *driver, const struct record *record)
{
    const struct driver_callbacks *callbacks = &driver->callbacks;
    void *userdata = driver->userdata;
    int r;

    switch (record->type) {
    case RECORD_INVENTORY:
        r = begin_inventory(driver, &record->inventory);
        return r < 0 ? r : end_if_whole(driver);
    case RECORD_GPU:
        return take_gpu(driver, &record->gpu);
    case RECORD_LINKS:
        return take_links(driver, &record->links);
    case RECORD_BOARD:
        return take_board(driver, &record->board);
    case RECORD_MIG:
        return take_mig(driver, &record->mig);
    case RECORD_UNAVAILABLE:
        if (callbacks->on_unavailable)
            callbacks->on_unavailable(record->reason.reason, userdata);
        return 0;
    case RECORD_WATCH:
        if (callbacks->on_watch)
            callbacks->on_watch(record->reason.uuid, record->reason.reason, userdata);
        return 0;
    case RECORD_EVENT:
        if (callbacks->on_event)
            callbacks->on_event(&record->event, userdata);
        return 0;
    case RECORD_PROBE:
        if (callbacks->on_probe)
            callbacks->on_probe(record->probe.uuid, record->probe.outcome, &record->probe.probe,
                                record->probe.reason, userdata);
        return 0;
    case RECORD_ASK: /* ours */
    case RECORD_CHANGE:
    case RECORD_LIST:
    case RECORD_CHANGED: /* answers */
    case RECORD_LISTED:
        break;
    }
    return -EBADMSG;
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    struct record record;
    int r = record_load(kind, body, size, &record);

    if (r == 0)
        r = take_record(userdata, &record); /* which may free the driver, and the channel with it */
    if (r == -EBADMSG)
        channel_abort(channel, "it sends invalid records");
}

static void on_probed(const struct channel_answer *answer, void *userdata)
{
    struct record record;

    if (answer->result == CHANNEL_ANSWERED && answer->kind == RECORD_PROBE &&
        record_load(answer->kind, answer->body, answer->size, &record) == 0)
        take_record(userdata, &record);
    else /* requested again when the next one is due */
        log_debug("a probe was not answered");
}

/* -- requests -------------------------------------------------------------------------------- */

/* Why an answer is missing. */
static const struct {
    int outcome;
    const char *reason;
} missing_answers[] = {
    [CHANNEL_ANSWERED] = {-EBADMSG, "the driver's helper sent an invalid answer"},
    [CHANNEL_TIMED_OUT] = {-ETIMEDOUT, "the driver did not answer in time"},
    [CHANNEL_REFUSED] = {-EBUSY, "the driver's helper has too many requests"},
    [CHANNEL_CLOSED] = {-ECANCELED, "the driver's helper ended before it had an answer"},
};

static bool load_answer(const struct channel_answer *answer, enum record_type type,
                        struct record *ret_record)
{
    return answer->result == CHANNEL_ANSWERED && answer->kind == type &&
           record_load(answer->kind, answer->body, answer->size, ret_record) == 0;
}

static void end_step(struct step *step, const struct gpu_changed *changed)
{
    const struct step ended = *step;

    free(step);
    ended.done(changed, ended.userdata); /* may free the driver */
}

static void on_changed(const struct channel_answer *answer, void *userdata)
{
    struct record record;
    struct gpu_changed failure = {.outcome = missing_answers[answer->result].outcome};

    snprintf(failure.reason, sizeof(failure.reason), "%s", missing_answers[answer->result].reason);
    end_step(userdata, load_answer(answer, RECORD_CHANGED, &record) ? &record.changed : &failure);
}

static void on_listed(const struct channel_answer *answer, void *userdata)
{
    struct listing *listing = userdata;
    const struct listing ended = *listing;
    struct driver_listed listed = {.outcome = missing_answers[answer->result].outcome,
                                   .reason = missing_answers[answer->result].reason,
                                   .unseen = ""};
    struct record record;

    free(listing);
    if (load_answer(answer, RECORD_LISTED, &record))
        listed = (struct driver_listed){.outcome = record.listed.outcome,
                                        .reason = record.listed.reason,
                                        .items = record.listed.processes,
                                        .n_items = record.listed.n_processes,
                                        .mem_free_bytes = record.listed.mem_free_bytes,
                                        .unseen = record.listed.unseen};
    ended.done(&listed, ended.userdata); /* may free the driver */
}

/* -- the process ----------------------------------------------------------------------------- */

static int watch_timer(struct watchdog *watchdog, enum guard_lane lane)
{
    struct watchdog_timer *timer = &watchdog->timers[lane];
    int r;

    timer->lane = lane;
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer->fd < 0)
        return -errno;
    r = uv_poll_init(watchdog->driver->loop, &timer->poll, timer->fd);
    if (r < 0)
        return r;
    timer->poll.data = watchdog;
    watchdog->n_open_handles++;
    return uv_poll_start(&timer->poll, UV_READABLE, on_overrun);
}

static int make_page(struct watchdog *watchdog)
{
    void *page;

    watchdog->page_fd = memfd_create("gpuslice-driver-calls", MFD_CLOEXEC);
    if (watchdog->page_fd < 0 || ftruncate(watchdog->page_fd, sizeof(struct guard_page)) < 0)
        return -errno;
    page = mmap(NULL, sizeof(struct guard_page), PROT_READ | PROT_WRITE, MAP_SHARED,
                watchdog->page_fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    watchdog->page = page;
    return 0;
}

static int start_watchdog(struct driver *driver)
{
    struct watchdog *watchdog = calloc(1, sizeof(*watchdog));
    int r;

    if (!watchdog)
        return -ENOMEM;
    watchdog->driver = driver;
    watchdog->page_fd = -1;
    for (int i = 0; i < GUARD_LANES; i++)
        watchdog->timers[i].fd = -1;
    r = make_page(watchdog);
    for (int i = 0; i < GUARD_LANES && r == 0; i++)
        r = watch_timer(watchdog, (enum guard_lane)i);
    if (r < 0)
        end_watchdog(watchdog);
    else
        driver->watchdog = watchdog;
    return r;
}

/* Into driver->arguments.avoid; "" = none. */
static int list_avoided(struct driver *driver)
{
    cleanup_text struct text list = TEXT_INIT;
    unsigned n = 0;

    for (unsigned i = 0; i < RECORD_GPUS_MAX; i++)
        if (driver->avoided[i])
            text_addf(&list, n++ ? ",%u" : "--avoid=%u", i);
    free(TAKE_PTR(driver->arguments.avoid));
    if (!n)
        return 0;
    driver->arguments.avoid = text_take(&list);
    return driver->arguments.avoid ? 0 : -ENOMEM;
}

static int prepare(struct subprocess_start *start, void *userdata, struct error *err)
{
    struct driver *driver = userdata;
    int r = list_avoided(driver);
    unsigned n = 3;

    end_watchdog(TAKE_PTR(driver->watchdog));
    if (r == 0)
        r = start_watchdog(driver);
    if (r < 0)
        return error_set_errno(err, r, "cannot prepare the driver's helper");
    snprintf(driver->arguments.avoid_ms, sizeof(driver->arguments.avoid_ms), "--avoid-ms=%" PRIu64,
             driver->avoid_ms);
    start->arguments[0] = HELPER_PART;
    start->arguments[1] = driver->arguments.deadline;
    start->arguments[2] = driver->arguments.probe;
    if (driver->arguments.avoid) {
        start->arguments[n++] = driver->arguments.avoid;
        start->arguments[n++] = driver->arguments.avoid_ms;
    }
    for (size_t i = 0; i < ARRAY_SIZE(driver->arguments.paths) && driver->arguments.paths[i]; i++)
        start->arguments[n++] = driver->arguments.paths[i];
    start->arguments[n++] = driver->arguments.log_level;
    start->arguments[n] = driver->arguments.log_format;
    start->fds[HELPER_PAGE - HELPER_CHANNEL - 1] = driver->watchdog->page_fd;
    start->fds[HELPER_TIMER_CALLS - HELPER_CHANNEL - 1] = driver->watchdog->timers[GUARD_CALLS].fd;
    start->fds[HELPER_TIMER_EVENTS - HELPER_CHANNEL - 1] =
        driver->watchdog->timers[GUARD_EVENTS].fd;
    start->n_fds = HELPER_TIMER_EVENTS - HELPER_CHANNEL;
    return 0;
}

static void on_started(void *userdata)
{
    struct driver *driver = userdata;

    driver->started_ms = uv_now(driver->loop);
    driver->described = false;
    driver->hung_call[0] = '\0';
    memset(driver->avoided, 0, sizeof(driver->avoided)); /* passed to this helper */
}

/* Also after it re-executed itself: a new session begins with a new inventory. */
static void on_up(struct channel *channel, const char *name, void *userdata)
{
    struct driver *driver = userdata;

    (void)channel, (void)name;
    inventory_deinit(&driver->inventory);
    driver->n_gpus = driver->n_links = driver->n_boards = driver->n_mig_devices = 0;
}

static void on_ended(const struct subprocess_end *end, void *userdata)
{
    struct driver *driver = userdata;
    char reason[400];

    end_watchdog(TAKE_PTR(driver->watchdog));
    if (end->is_stuck && driver->hung_call[0]) {
        notify_hang(driver, true);
        return;
    }
    snprintf(reason, sizeof(reason), "%s%s",
             end->did_not_start ? "" : "the helper process that calls the driver ", end->sentence);
    log_debug(reason);
    /* One that had been working is replaced silently: no device was affected. */
    if (end->did_not_start || (!driver->described && !end->was_killed))
        notify_unavailable(driver, reason);
}

/* -- life ------------------------------------------------------------------------------------ */

static int copy_paths(struct driver *driver, const struct driver_options *options)
{
    const struct {
        const char *name, *value;
    } paths[ARRAY_SIZE(driver->arguments.paths)] = {
        {"library", options->library},
        {"container-driver-root", options->container_driver_root},
        {"driver-root", options->driver_root},
    };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        cleanup_text struct text argument = TEXT_INIT;

        if (!paths[i].value)
            continue;
        text_addf(&argument, "--%s=%s", paths[i].name, paths[i].value);
        driver->arguments.paths[n] = text_take(&argument);
        if (!driver->arguments.paths[n++])
            return -ENOMEM;
    }
    return 0;
}

static int copy_options(struct driver *driver, const struct driver_options *options)
{
    driver->deadline_ms = options->deadline_ms ? options->deadline_ms : 10000;
    driver->probe_period_ms = options->probe_period_ms ? options->probe_period_ms : 60000;
    snprintf(driver->arguments.deadline, sizeof(driver->arguments.deadline),
             "--deadline-ms=%" PRIu64, driver->deadline_ms);
    snprintf(driver->arguments.probe, sizeof(driver->arguments.probe), "--probe-ms=%" PRIu64,
             driver->probe_period_ms);
    snprintf(driver->arguments.log_level, sizeof(driver->arguments.log_level), "--log-level=%s",
             log_level_name());
    snprintf(driver->arguments.log_format, sizeof(driver->arguments.log_format), "--log-format=%s",
             log_format_name());
    return copy_paths(driver, options);
}

static void free_arguments(struct driver *driver)
{
    free(driver->arguments.avoid);
    for (size_t i = 0; i < ARRAY_SIZE(driver->arguments.paths); i++)
        free(driver->arguments.paths[i]);
}

static int start_helper(struct driver *driver, const char *program, struct error *err)
{
    static const struct subprocess_callbacks callbacks = {
        .prepare = prepare,
        .on_started = on_started,
        .on_up = on_up,
        .on_notice = on_notice,
        .on_ended = on_ended,
    };
    const struct subprocess_options options = {
        .program = program ? program : "/proc/self/exe",
        .channel = {.name = "agent",
                    .max_body_bytes = MESSAGE_MAX,
                    .hello_ms = HELLO_MS,
                    .ping_ms = PING_MS,
                    .pong_ms = PONG_MS,
                    .is_busy = is_in_calls},
        .backoff_first_ms = BACKOFF_FIRST_MS,
        .backoff_last_ms = BACKOFF_MAX_MS,
        .steady_ms = STEADY_MS,
    };
    int r = subprocess_new(driver->loop, &options, &callbacks, driver, &driver->subprocess, err);

    if (r == 0 && subprocess_start(driver->subprocess, NULL) < 0)
        subprocess_start_soon(driver->subprocess); /* which reports it, and tries again */
    return r;
}

int driver_new(uv_loop_t *loop, const struct driver_options *options,
               const struct driver_callbacks *callbacks, void *userdata, struct driver **ret_driver,
               struct error *err)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    int r = driver ? copy_options(driver, options) : -ENOMEM;

    if (r < 0) {
        if (driver)
            free_arguments(driver);
        free(driver);
        return error_set_errno(err, r, "cannot watch the driver");
    }
    driver->loop = loop;
    driver->callbacks = *callbacks;
    driver->userdata = userdata;
    r = start_helper(driver, options->program, err);
    if (r < 0) {
        driver_free(driver);
        return error_wrap(err, r, "cannot start the driver's helper");
    }
    *ret_driver = driver;
    return 0;
}

void driver_free(struct driver *driver)
{
    if (!driver)
        return;
    driver->callbacks = (struct driver_callbacks){.on_inventory = NULL};
    subprocess_free(driver->subprocess);
    end_watchdog(driver->watchdog);
    inventory_deinit(&driver->inventory);
    inventory_deinit(&driver->known);
    free_arguments(driver);
    free(driver);
}

void driver_probe(struct driver *driver, const char *uuid)
{
    struct channel *channel = subprocess_channel(driver->subprocess);
    struct record_ask ask = {.uuid = ""};

    snprintf(ask.uuid, sizeof(ask.uuid), "%s", uuid);
    if (!channel ||
        channel_request(channel, RECORD_ASK, &ask, sizeof(ask), PROBE_MS, on_probed, driver) < 0)
        log_debug("a probe cannot be asked for now"); /* it is when the next one is due */
}

int driver_change(struct driver *driver, const struct gpu_change *change, uint64_t deadline_ms,
                  driver_changed_fn *done, void *userdata)
{
    struct channel *channel = subprocess_channel(driver->subprocess);
    cleanup_free struct step *step = calloc(1, sizeof(*step));
    int r;

    if (!step)
        return -ENOMEM;
    if (!channel)
        return -EAGAIN;
    *step = (struct step){.done = done, .userdata = userdata};
    r = channel_request(channel, RECORD_CHANGE, change, sizeof(*change), deadline_ms, on_changed,
                        step);
    if (r == 0)
        (void)TAKE_PTR(step);
    return r;
}

int driver_list_processes(struct driver *driver, const char *uuid, uint64_t deadline_ms,
                          driver_listed_fn *done, void *userdata)
{
    struct channel *channel = subprocess_channel(driver->subprocess);
    cleanup_free struct listing *listing = calloc(1, sizeof(*listing));
    struct record_ask ask = {.uuid = ""};
    int r;

    if (!listing)
        return -ENOMEM;
    if (!channel)
        return -EAGAIN;
    snprintf(ask.uuid, sizeof(ask.uuid), "%s", uuid);
    *listing = (struct listing){.done = done, .userdata = userdata};
    r = channel_request(channel, RECORD_LIST, &ask, sizeof(ask), deadline_ms, on_listed, listing);
    if (r == 0)
        (void)TAKE_PTR(listing);
    return r;
}

int driver_pid(const struct driver *driver)
{
    return subprocess_pid(driver->subprocess);
}
