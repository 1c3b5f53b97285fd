// SPDX-License-Identifier: Apache-2.0
#include "gpu/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "gpu/guard.h"
#include "gpu/helper.h"
#include "gpu/record.h"

enum {
    BACKOFF_FIRST_MS = 250,
    BACKOFF_MAX_MS = 60000,
    KILL_WAIT_MS = 2000, /* for SIGKILL to take effect */
    STEADY_MS = 60000,   /* a helper that lived so long was a good one */
    AVOID_DEADLINES = 6, /* so many deadlines a device that hung is left alone, doubling */
    AVOID_MAX_MS = 900000,
    STUCK_MAX = 8, /* helpers left in the kernel before we stop adding to them */
    HELPER_ARGUMENTS_MAX = 8,
    HELPER_HANDLES_MAX = 3 + GUARD_LANES,
};

struct driver;

struct helper_timer {
    uv_poll_t poll; /* data = struct helper */
    enum guard_lane lane;
    int fd;
};

/* One process. Lives until its last handle has been closed. */
struct helper {
    struct driver *driver; /* NULL once the driver is gone: nobody listens */
    struct helper *next_stuck;
    uv_process_t process;
    uv_poll_t socket_poll;
    uv_timer_t kill_timer;
    struct helper_timer timers[GUARD_LANES];
    struct guard_page *page;
    uv_handle_t *handles[HELPER_HANDLES_MAX];
    unsigned n_handles, n_closed;
    int socket_fd;
    uint64_t started_ms;
    bool listening, killed, stuck;
    bool ended;     /* reaped: its process id may be somebody else's by now */
    bool described; /* it delivered an inventory */
    char hung_call[GUARD_CALL_SIZE], hung_uuid[GUARD_UUID_SIZE];

    struct inventory inventory; /* being received */
    size_t n_gpus, n_links;     /* of it, so far */
};

struct driver {
    uv_loop_t *loop;
    struct driver_callbacks callbacks;
    void *userdata;
    char *program, *library;
    uint64_t deadline_ms, probe_period_ms;

    struct helper *helper; /* NULL while none runs */
    struct helper *stuck;  /* those that SIGKILL did not end */
    unsigned n_stuck;
    uv_timer_t restart;
    uint64_t backoff_ms;
    struct inventory known; /* the last one: names devices that hang before they told their UUID */
    bool avoided[RECORD_GPUS_MAX]; /* by index, for the next helper */
    uint64_t avoid_ms;
};

static int start_helper(struct driver *driver, struct error *err);

static void free_helper(struct helper *helper)
{
    inventory_deinit(&helper->inventory);
    if (helper->page)
        munmap(helper->page, sizeof(*helper->page));
    if (helper->socket_fd >= 0)
        close(helper->socket_fd);
    for (int i = 0; i < GUARD_LANES; i++)
        if (helper->timers[i].fd >= 0)
            close(helper->timers[i].fd);
    free(helper);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct helper *helper = handle->data;

    if (++helper->n_closed == helper->n_handles)
        free_helper(helper);
}

static void own_handle(struct helper *helper, void *handle)
{
    uv_handle_set_data(handle, helper);
    helper->handles[helper->n_handles++] = handle;
}

/* Closes those that hear from the process, or all of them; the last one frees the helper. */
static void close_handles(struct helper *helper, bool all)
{
    helper->listening = false;
    for (unsigned i = 0; i < helper->n_handles; i++)
        if (!uv_is_closing(helper->handles[i]) &&
            (all || uv_handle_get_type(helper->handles[i]) == UV_POLL))
            uv_close(helper->handles[i], on_handle_closed);
}

static void on_restart(uv_timer_t *timer);

static void schedule_restart(struct driver *driver, uint64_t at_least_ms)
{
    uint64_t wait_ms = driver->backoff_ms > at_least_ms ? driver->backoff_ms : at_least_ms;

    driver->backoff_ms = clock_twice_ms(driver->backoff_ms, BACKOFF_MAX_MS);
    uv_timer_start(&driver->restart, on_restart, wait_ms, 0);
}

static void tell_unavailable(struct driver *driver, const char *reason)
{
    if (driver->callbacks.on_unavailable)
        driver->callbacks.on_unavailable(reason, driver->userdata);
}

static void on_restart(uv_timer_t *timer)
{
    struct driver *driver = timer->data;
    struct error err = ERROR_INIT;

    if (driver->n_stuck >= STUCK_MAX) {
        schedule_restart(driver, BACKOFF_MAX_MS);
    } else if (start_helper(driver, &err) < 0) {
        schedule_restart(driver, 0);
        tell_unavailable(driver, error_text(&err));
    }
}

static void forget_stuck(struct driver *driver, struct helper *helper)
{
    struct helper **where = &driver->stuck;

    while (*where && *where != helper)
        where = &(*where)->next_stuck;
    if (*where) {
        *where = helper->next_stuck;
        driver->n_stuck--;
    }
}

static void read_records(struct helper *helper);

/* The process ended: killed for a hang, or all by itself. Its last words may still be in the
 * socket. */
static void on_ended(uv_process_t *process, int64_t status, int signal_number)
{
    struct helper *helper = process->data;
    struct driver *driver;
    char reason[120];

    helper->ended = true;
    read_records(helper);
    driver = helper->driver;
    close_handles(helper, true);
    if (!driver)
        return;
    if (helper->stuck) {
        forget_stuck(driver, helper);
        return;
    }
    driver->helper = NULL;
    /* A helper that lived long owes nothing to the trouble before it. */
    if (helper->described && uv_now(driver->loop) - helper->started_ms >= STEADY_MS)
        driver->backoff_ms = BACKOFF_FIRST_MS;
    schedule_restart(driver, 0);
    snprintf(reason, sizeof(reason), "the helper process that calls the driver ended with %s %d",
             signal_number ? "signal" : "status", signal_number ? signal_number : (int)status);
    log_debug(reason);
    /* One that had been at work is replaced without a word: no device came to harm. */
    if (!helper->described && !helper->killed)
        tell_unavailable(driver, reason);
}

static void tell_hang(struct helper *helper)
{
    struct driver *driver = helper->driver;

    if (driver->callbacks.on_hang)
        driver->callbacks.on_hang(helper->hung_call, helper->hung_uuid, helper->stuck,
                                  driver->userdata);
}

/* SIGKILL did not end it: it sits in the kernel. It is left behind and told of. */
static void on_kill_timeout(uv_timer_t *timer)
{
    struct helper *helper = timer->data;
    struct driver *driver = helper->driver;

    if (!driver) { /* nobody listens any more: it is left behind */
        close_handles(helper, true);
        return;
    }
    helper->stuck = true;
    helper->next_stuck = driver->stuck;
    driver->stuck = helper;
    driver->n_stuck++;
    driver->helper = NULL;
    /* It may end late, or never: that shall not keep the loop going. */
    uv_unref((uv_handle_t *)&helper->process);
    schedule_restart(driver, BACKOFF_MAX_MS);
    tell_hang(helper);
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

/* The next helper leaves this device alone, so that the others can be served. */
static void avoid_device(struct driver *driver, struct helper *helper)
{
    const struct gpu *gpu = find_known(driver, helper->hung_uuid);
    unsigned long index = RECORD_GPUS_MAX;

    if (gpu)
        index = gpu->index;
    else if (helper->hung_uuid[0] == '#')
        index = strtoul(helper->hung_uuid + 1, NULL, 10);
    if (index < RECORD_GPUS_MAX) {
        driver->avoided[index] = true;
        driver->avoid_ms =
            driver->avoid_ms ? driver->avoid_ms * 2 : AVOID_DEADLINES * driver->deadline_ms;
        if (driver->avoid_ms > AVOID_MAX_MS)
            driver->avoid_ms = AVOID_MAX_MS;
    }
    snprintf(helper->hung_uuid, sizeof(helper->hung_uuid), "%s", gpu ? gpu->uuid : "");
}

static void kill_helper(struct helper *helper)
{
    helper->killed = true;
    close_handles(helper, false);
    if (!helper->ended) /* or its process id may be somebody else's by now */
        uv_process_kill(&helper->process, SIGKILL);
    uv_timer_start(&helper->kill_timer, on_kill_timeout, KILL_WAIT_MS, 0);
}

/* A guard's timer fired. */
static void on_overrun(uv_poll_t *poll, int status, int events)
{
    struct helper_timer *timer = (struct helper_timer *)(void *)poll;
    struct helper *helper = poll->data;
    uint64_t expirations;

    if (read(timer->fd, &expirations, sizeof(expirations)) != sizeof(expirations) ||
        !guard_overrun(&helper->page->slots[timer->lane], helper->hung_call, helper->hung_uuid))
        return; /* the call came back at the last moment */
    if (uv_now(poll->loop) - helper->started_ms > AVOID_MAX_MS)
        helper->driver->avoid_ms = 0; /* a new trouble, not the last one again */
    avoid_device(helper->driver, helper);
    kill_helper(helper);
    tell_hang(helper);
}

static int begin_inventory(struct helper *helper, const struct record_inventory *record)
{
    size_t n = record->n_gpus;
    cleanup_free struct gpu *gpus = calloc(n + 1, sizeof(*gpus));
    cleanup_free struct gpu_link *links = calloc(n * n + 1, sizeof(*links));

    if (!gpus || !links)
        return -ENOMEM;
    inventory_deinit(&helper->inventory);
    memcpy(helper->inventory.driver_version, record->driver_version,
           sizeof(helper->inventory.driver_version));
    helper->inventory.cuda_version = record->cuda_version;
    helper->inventory.gpus = TAKE_PTR(gpus);
    helper->inventory.links = TAKE_PTR(links);
    helper->inventory.n_gpus = n;
    helper->n_gpus = 0;
    helper->n_links = 0;
    return 0;
}

/* What an avoided or lost device did not tell this time is known from before. */
static void fill_in(struct driver *driver, struct gpu *gpu)
{
    char who[16], unusable[sizeof(gpu->unusable)];
    const struct gpu *before;

    if (!gpu->unusable[0] || gpu->uuid[0])
        return;
    snprintf(who, sizeof(who), "#%u", gpu->index);
    before = find_known(driver, who);
    if (!before)
        return;
    memcpy(unusable, gpu->unusable, sizeof(unusable));
    *gpu = *before;
    memcpy(gpu->unusable, unusable, sizeof(gpu->unusable));
}

static int end_inventory(struct helper *helper)
{
    struct driver *driver = helper->driver;
    struct inventory *inventory = &helper->inventory;

    for (size_t i = 0; i < inventory->n_gpus; i++)
        fill_in(driver, &inventory->gpus[i]);
    inventory_deinit(&driver->known);
    driver->known = *inventory;
    *inventory = (struct inventory)INVENTORY_INIT;
    helper->described = true;
    if (driver->callbacks.on_inventory)
        driver->callbacks.on_inventory(&driver->known, driver->userdata);
    return 0;
}

static int take_gpu(struct helper *helper, const struct record_gpu *record)
{
    if (record->position != helper->n_gpus || helper->n_gpus >= helper->inventory.n_gpus)
        return -EBADMSG;
    helper->inventory.gpus[helper->n_gpus++] = record->gpu;
    return 0;
}

static int take_links(struct helper *helper, const struct record_links *record)
{
    struct inventory *inventory = &helper->inventory;
    size_t n = inventory->n_gpus;

    if (record->position != helper->n_links || helper->n_links >= helper->n_gpus ||
        !inventory->links)
        return -EBADMSG;
    memcpy(inventory->links + helper->n_links * n, record->links, n * sizeof(*inventory->links));
    helper->n_links++;
    return helper->n_links == n ? end_inventory(helper) : 0;
}

static int take_record(struct helper *helper, const struct record *record)
{
    const struct driver_callbacks *callbacks = &helper->driver->callbacks;
    void *userdata = helper->driver->userdata;
    int r;

    switch (record->type) {
    case RECORD_INVENTORY:
        r = begin_inventory(helper, &record->inventory);
        return r < 0 || record->inventory.n_gpus ? r : end_inventory(helper);
    case RECORD_GPU:
        return take_gpu(helper, &record->gpu);
    case RECORD_LINKS:
        return take_links(helper, &record->links);
    case RECORD_UNAVAILABLE:
        if (callbacks->on_unavailable)
            callbacks->on_unavailable(record->reason.reason, userdata);
        return 0;
    case RECORD_UNWATCHED:
        if (callbacks->on_unwatched)
            callbacks->on_unwatched(record->reason.uuid, record->reason.reason, userdata);
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
    }
    return -EBADMSG;
}

/* Each callback may free the driver, which ends the listening. */
static void read_records(struct helper *helper)
{
    struct record record;
    int r = 0;

    while (r == 0 && helper->listening) {
        r = record_receive(helper->socket_fd, &record);
        if (r == 0)
            r = take_record(helper, &record);
    }
    if (r == 0 || r == -EAGAIN || !helper->listening)
        return;
    /* The end of the stream comes with the end of the process; one that talks nonsense is replaced.
     */
    uv_poll_stop(&helper->socket_poll);
    if (!helper->ended)
        uv_process_kill(&helper->process, SIGKILL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    read_records(poll->data);
}

static char *list_avoided(struct driver *driver)
{
    cleanup_text struct text list = TEXT_INIT;

    text_add(&list, "--avoid=");
    for (unsigned i = 0, n = 0; i < RECORD_GPUS_MAX; i++) {
        if (driver->avoided[i])
            text_addf(&list, n++ ? ",%u" : "%u", i);
        driver->avoided[i] = false;
    }
    return text_take(&list);
}

static int spawn(struct driver *driver, struct helper *helper, const int fds[HELPER_FD_END],
                 struct error *err)
{
    cleanup_text struct text library = TEXT_INIT;
    cleanup_free char *avoid = list_avoided(driver);
    char deadline[48], probe[48], avoid_ms[48];
    char *argv[HELPER_ARGUMENTS_MAX] = {driver->program, (char *)HELPER_PART, deadline, probe};
    uv_stdio_container_t stdio[HELPER_FD_END];
    uv_process_options_t options = {
        .file = driver->program,
        .args = argv,
        .exit_cb = on_ended,
        .stdio = stdio,
        .stdio_count = HELPER_FD_END,
    };
    int r, n = 4;

    snprintf(deadline, sizeof(deadline), "--deadline-ms=%" PRIu64, driver->deadline_ms);
    snprintf(probe, sizeof(probe), "--probe-ms=%" PRIu64, driver->probe_period_ms);
    snprintf(avoid_ms, sizeof(avoid_ms), "--avoid-ms=%" PRIu64, driver->avoid_ms);
    if (avoid && !str_ends_with(avoid, "=")) {
        argv[n++] = avoid;
        argv[n++] = avoid_ms;
    }
    if (driver->library) {
        text_addf(&library, "--library=%s", driver->library);
        argv[n++] = library.data;
    }
    for (int i = 0; i < HELPER_FD_END; i++) {
        stdio[i].flags = fds[i] < 0 ? UV_IGNORE : UV_INHERIT_FD;
        stdio[i].data.fd = fds[i];
    }
    r = uv_spawn(driver->loop, &helper->process, &options);
    own_handle(helper, &helper->process); /* also after a failure */
    if (r < 0)
        return error_set(err, r, "cannot start %s as the driver's helper: %s", driver->program,
                         uv_strerror(r));
    return 0;
}

static int make_page(struct guard_page **ret_page, int *ret_fd)
{
    cleanup_close int fd = memfd_create("gpuslice-driver-calls", MFD_CLOEXEC);
    void *page;

    if (fd < 0 || ftruncate(fd, sizeof(struct guard_page)) < 0)
        return -errno;
    page = mmap(NULL, sizeof(struct guard_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    *ret_page = page;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int make_descriptors(struct helper *helper, int *ret_socket, int *ret_page)
{
    int sockets[2];
    int r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    helper->socket_fd = sockets[0];
    *ret_socket = sockets[1];
    /* Only our end: a helper that finds the socket full may wait. */
    if (fcntl(helper->socket_fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    for (int i = 0; i < GUARD_LANES; i++) {
        helper->timers[i].fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (helper->timers[i].fd < 0)
            return -errno;
    }
    r = make_page(&helper->page, ret_page);
    return r;
}

static int listen_to(struct helper *helper, uv_poll_t *poll, int fd, uv_poll_cb callback)
{
    int r = uv_poll_init(helper->driver->loop, poll, fd);

    if (r < 0)
        return r;
    own_handle(helper, poll);
    return uv_poll_start(poll, UV_READABLE, callback);
}

static int listen_to_all(struct helper *helper)
{
    int r = listen_to(helper, &helper->socket_poll, helper->socket_fd, on_readable);

    for (int i = 0; i < GUARD_LANES && r == 0; i++) {
        helper->timers[i].lane = (enum guard_lane)i;
        r = listen_to(helper, &helper->timers[i].poll, helper->timers[i].fd, on_overrun);
    }
    helper->listening = r == 0;
    return r;
}

static struct helper *new_helper(struct driver *driver)
{
    struct helper *helper = calloc(1, sizeof(*helper));

    if (!helper)
        return NULL;
    helper->driver = driver;
    helper->socket_fd = -1;
    for (int i = 0; i < GUARD_LANES; i++)
        helper->timers[i].fd = -1;
    helper->started_ms = uv_now(driver->loop);
    uv_timer_init(driver->loop, &helper->kill_timer);
    own_handle(helper, &helper->kill_timer);
    return helper;
}

static int start_helper(struct driver *driver, struct error *err)
{
    cleanup_close int socket_fd = -1, page_fd = -1;
    struct helper *helper = new_helper(driver);
    int r;

    if (!helper)
        return error_set_errno(err, -ENOMEM, "cannot start the driver's helper");
    r = make_descriptors(helper, &socket_fd, &page_fd);
    if (r == 0)
        r = listen_to_all(helper);
    if (r < 0) {
        error_set_errno(err, r, "cannot prepare the driver's helper");
    } else {
        const int fds[HELPER_FD_END] = {
            -1, /* no input, and what the driver's library prints goes where our log goes */
            STDERR_FILENO,
            STDERR_FILENO,
            [HELPER_SOCKET] = socket_fd,
            [HELPER_PAGE] = page_fd,
            [HELPER_TIMER_CALLS] = helper->timers[GUARD_CALLS].fd,
            [HELPER_TIMER_EVENTS] = helper->timers[GUARD_EVENTS].fd,
        };

        r = spawn(driver, helper, fds, err);
    }
    if (r < 0) {
        helper->driver = NULL;
        close_handles(helper, true);
        return r;
    }
    driver->helper = helper;
    return 0;
}

static int copy_options(struct driver *driver, const struct driver_options *options)
{
    driver->deadline_ms = options->deadline_ms ? options->deadline_ms : 10000;
    driver->probe_period_ms = options->probe_period_ms ? options->probe_period_ms : 60000;
    driver->program = strdup(options->program ? options->program : "/proc/self/exe");
    if (options->library)
        driver->library = strdup(options->library);
    return !driver->program || (options->library && !driver->library) ? -ENOMEM : 0;
}

static void free_driver(struct driver *driver)
{
    inventory_deinit(&driver->known);
    free(driver->program);
    free(driver->library);
    free(driver);
}

static void on_driver_closed(uv_handle_t *handle)
{
    free_driver(handle->data);
}

int driver_new(uv_loop_t *loop, const struct driver_options *options,
               const struct driver_callbacks *callbacks, void *userdata, struct driver **ret_driver,
               struct error *err)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    int r;

    if (!driver)
        return error_set_errno(err, -ENOMEM, "cannot watch the driver");
    driver->loop = loop;
    driver->callbacks = *callbacks;
    driver->userdata = userdata;
    driver->backoff_ms = BACKOFF_FIRST_MS;
    r = copy_options(driver, options);
    if (r < 0) {
        free_driver(driver);
        return error_set_errno(err, r, "cannot watch the driver");
    }
    uv_timer_init(loop, &driver->restart);
    driver->restart.data = driver;
    r = start_helper(driver, err);
    if (r < 0) {
        uv_close((uv_handle_t *)&driver->restart, on_driver_closed);
        return r;
    }
    *ret_driver = driver;
    return 0;
}

/* The loop goes on until the helper ended, so that it does not outlive the agent, or is stuck. */
static void abandon_helper(struct helper *helper)
{
    helper->driver = NULL;
    if (helper->stuck)
        close_handles(helper, true);
    else
        kill_helper(helper);
}

void driver_free(struct driver *driver)
{
    if (!driver)
        return;
    driver->callbacks = (struct driver_callbacks){.on_inventory = NULL};
    if (driver->helper)
        abandon_helper(driver->helper);
    while (driver->stuck) {
        struct helper *helper = driver->stuck;

        driver->stuck = helper->next_stuck;
        abandon_helper(helper);
    }
    uv_close((uv_handle_t *)&driver->restart, on_driver_closed);
}

void driver_probe(struct driver *driver, const char *uuid)
{
    struct record record = {.version = 0};

    if (!driver->helper || !driver->helper->listening)
        return;
    snprintf(record.ask.uuid, sizeof(record.ask.uuid), "%s", uuid);
    /* A full socket holds as many questions as anybody could want answered. */
    (void)record_send(driver->helper->socket_fd, RECORD_ASK, &record);
}

int driver_pid(const struct driver *driver)
{
    return driver->helper ? (int)driver->helper->process.pid : 0;
}
