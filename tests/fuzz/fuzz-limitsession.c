// SPDX-License-Identifier: Apache-2.0

/* Connections of a process to the sockets of two grants, one of which the records may not have,
 * with any messages and ends in any order, and any bytes in its page of claims. */

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arbiter/devicegates.h"
#include "arbiter/limitsessions.h"
#include "base/file.h"
#include "base/log.h"
#include "limits/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define UID   "12345678-0000-4000-8000-000000000000"
#define GPU   "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define FIRST "0123456789abcdef"
#define LATER "fedcba9876543210"

enum { N_CLIENTS = 4, MESSAGES_MAX = 8, STEP_NS = 1000000 };

enum act { OPEN_FIRST, OPEN_LATER, SEND_REGISTER, SEND_REQUEST, SEND_BYTES, CLOSE, RETRY, READ };

struct world {
    uv_loop_t loop;
    struct limitsessions *sessions;
    struct tenants tenants;
    struct devicegates *gates;
    uint64_t now_ns;
    bool is_later_known;
    int fds[N_CLIENTS]; /* -1 = closed */
    bool is_waited_for;
};

static struct podrecords records;
static char root[] = "/tmp/gpuslice-fuzz-XXXXXX";

static void remove_root(void)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/proc/%d/cgroup", root, getpid());
    unlink(path);
    for (char *end = path + strlen(path); end > path + strlen(root); end = strrchr(path, '/')) {
        *end = '\0';
        rmdir(path);
    }
    rmdir(root);
    ledger_deinit(&records.ledger);
}

static void add_grant(struct kubeletcheckpoint_entry *entry, const char *id)
{
    struct grant grant = GRANT_INIT;
    char device[64];

    snprintf(entry->pod_uid, sizeof(entry->pod_uid), UID);
    snprintf(entry->container, sizeof(entry->container), "main");
    snprintf(entry->grant, sizeof(entry->grant), "%s", id);
    snprintf(grant.id, sizeof(grant.id), "%s", id);
    snprintf(device, sizeof(device), GPU "::%c", *id);
    grant.resource = strdup("nvidia.com/gpu");
    assert(grant.resource && grant_add_id(&grant, device) == 0);
    assert(grant_add_device(&grant, GPU, 250, UINT64_C(4) << 30) == 0);
    assert(ledger_add(&records.ledger, &grant, 0) == 0);
    grant_deinit(&grant);
}

/* This process as one of a pod that has both grants. */
static void set_up_node(void)
{
    static struct kubeletcheckpoint_entry entries[2];
    static const char cgroup[] = "0::/kubepods/pod" UID "/x\n";
    char path[128];

    if (records.checkpoint.n_entries)
        return;
    log_setup_by_name("error", "logfmt");
    assert(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/proc/%d", root, getpid());
    assert(file_make_directory(path, NULL) == 0);
    snprintf(path, sizeof(path), "%s/proc/%d/cgroup", root, getpid());
    assert(file_write_atomic(path, cgroup, sizeof(cgroup) - 1, 0644, NULL) == 0);
    add_grant(&entries[0], FIRST);
    add_grant(&entries[1], LATER);
    records.checkpoint.entries = entries;
    records.checkpoint.n_entries = 2;
    atexit(remove_root);
}

static int find_tenant(const char *grant_id, struct tenant **ret_tenant, void *userdata)
{
    struct world *world = userdata;

    if (!world->is_later_known && strcmp(grant_id, LATER) == 0)
        return TENANT_UNKNOWN;
    return tenants_find(&world->tenants, &records, grant_id, ret_tenant);
}

static void on_register(struct tenant *tenant, void *userdata)
{
    (void)tenant, (void)userdata;
}

static void on_wait(void *userdata)
{
    ((struct world *)userdata)->is_waited_for = true;
}

static void on_unread(void *userdata)
{
    (void)userdata;
}

static void on_claims(struct tenant *tenant, void *userdata)
{
    const struct world *world = userdata;

    if (world->gates)
        assert(devicegates_update(world->gates, tenant) == 0);
}

static void on_leave(struct tenant *tenant, void *userdata)
{
    const struct world *world = userdata;

    if (world->gates)
        devicegates_forget(world->gates, tenant);
}

static void on_ended(struct tenant *tenant, uint32_t pid, void *userdata)
{
    (void)tenant, (void)pid, (void)userdata;
    abort(); /* this process goes on */
}

/* --- what a process does --- */

static void close_client(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void open_client(struct world *world, int *fd, const char *grant_id)
{
    int pair[2];

    close_client(fd);
    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    *fd = pair[0];
    limitsessions_accept(world->sessions, pair[1], grant_id, false);
}

static void send_bytes(int fd, const void *bytes, size_t size)
{
    if (fd >= 0)
        (void)!send(fd, bytes, size, MSG_NOSIGNAL);
}

/* A page of claims has its size for good, and whatever is in it. */
static void scribble(int page, uint8_t seed)
{
    uint8_t *claims = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);

    assert(claims != MAP_FAILED && fcntl(page, F_GET_SEALS) == CLAIMS_SEALS);
    assert(ftruncate(page, 0) < 0);
    for (size_t i = 0; i < CLAIMS_SIZE; i++)
        claims[i] = (uint8_t)(seed + i * 7);
    munmap(claims, CLAIMS_SIZE);
}

/* Answers are whole, and the page of limits that comes along is read-only. */
static void read_answers(int fd)
{
    struct limits_answer answer;
    char control[64];

    for (int i = 0; fd >= 0 && i < MESSAGES_MAX; i++) {
        struct iovec body = {.iov_base = &answer, .iov_len = sizeof(answer)};
        struct msghdr message = {.msg_iov = &body,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};
        const ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        int page;

        if (n <= 0)
            return;
        assert(n == (ssize_t)sizeof(answer) && answer.kind >= LIMITS_WELCOME &&
               answer.kind <= LIMITS_DENIED);
        if (message.msg_controllen < CMSG_LEN(sizeof(page)))
            continue;
        memcpy(&page, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(page));
        assert(answer.kind == LIMITS_WELCOME || answer.kind == LIMITS_GRANTED);
        if (answer.kind == LIMITS_WELCOME)
            assert((fcntl(page, F_GETFL) & O_ACCMODE) == O_RDONLY);
        else
            scribble(page, (uint8_t)answer.sequence);
        close(page);
    }
}

static size_t send_some(int fd, enum act act, const uint8_t *data, size_t size)
{
    struct limits_request request = {.kind = LIMITS_REGISTER, .bytes = LIMITS_REVISION};
    size_t n = 0;

    if (act == SEND_REQUEST) { /* the first fields, of which high bytes are rare */
        n = size < 3 ? size : 3;
        request = (struct limits_request){.kind = n > 0 ? data[0] : 0};
        request.device = n > 1 ? data[1] : 0;
        request.sequence = n > 2 ? data[2] : 0;
        request.wanted_bytes = request.bytes = n > 2 ? (uint64_t)data[2] << 25 : 0;
    } else if (act == SEND_BYTES) {
        n = size && data[0] < size ? data[0] : size;
        send_bytes(fd, data, n);
        return n;
    }
    send_bytes(fd, &request, sizeof(request));
    return n;
}

static size_t do_one(struct world *world, uint8_t first, const uint8_t *data, size_t size)
{
    int *fd = &world->fds[first % N_CLIENTS];
    const enum act act = (enum act)(first / N_CLIENTS % 8);

    switch (act) {
    case OPEN_FIRST:
    case OPEN_LATER:
        open_client(world, fd, act == OPEN_FIRST ? FIRST : LATER);
        return 0;
    case SEND_REGISTER:
    case SEND_REQUEST:
    case SEND_BYTES:
        return send_some(*fd, act, data, size);
    case CLOSE:
        close_client(fd);
        return 0;
    case RETRY:
        world->is_later_known = !world->is_later_known;
        limitsessions_retry(world->sessions);
        limitsessions_sweep(world->sessions);
        return 0;
    case READ:
        read_answers(*fd);
        return 0;
    }
    return 0;
}

/* Of one process there is one page, and who is alone never waits. */
static void check_gate(const struct world *world, const struct tenant *tenant)
{
    struct devicegates_view view;

    assert(!tenant->claims || !tenant->claims->next);
    if (devicegates_view(world->gates, tenant, 0, &view))
        assert(claimspage_find_bin(&view.claims, 990) >= claimspage_find_bin(&view.claims, 500));
    if (tenant->page.page)
        assert(tenant->page.page->devices[0].gate == LIMITS_GATE_OPEN);
}

/* Sums agree with the page and with the connections. */
static void check(struct world *world)
{
    const struct limitsessions_counts counts = limitsessions_count(world->sessions);

    world->now_ns += STEP_NS;
    assert(devicegates_run(world->gates, true, world->now_ns) > world->now_ns);
    assert(!counts.n_waiting || world->is_waited_for);
    for (const struct tenant *tenant = world->tenants.first; tenant; tenant = tenant->next) {
        const struct account *account = tenant->account;

        assert(account->n_registered <= 1 && account->n_processes <= 1);
        assert(account->n_registered <= counts.n_connections);
        check_gate(world, tenant);
        if (tenant->page.page)
            assert(tenant->page.page->devices[0].charged_bytes ==
                   account->devices[0].charged_bytes);
    }
}

static void begin(struct world *world)
{
    static const struct arbiteroptions options = {.root = root};
    const struct limitsession_setup setup = {
        .loop = &world->loop,
        .options = &options,
        .callbacks = {.find = find_tenant,
                      .on_register = on_register,
                      .on_wait = on_wait,
                      .on_unread = on_unread,
                      .on_claims = on_claims,
                      .on_ended = on_ended},
        .userdata = world,
    };

    *world = (struct world){.tenants = {.first = NULL}};
    assert(uv_loop_init(&world->loop) == 0);
    world->tenants.on_leave = on_leave;
    world->tenants.userdata = world;
    world->gates = devicegates_new(&world->tenants);
    world->sessions = limitsessions_new(&setup);
    assert(world->sessions && world->gates);
    assert(devicegates_set_mode(world->gates, LIMITS_COMPUTE_ELASTIC) == 0);
    limitsessions_set_mode(world->sessions, LIMITS_ENFORCED);
    limitsessions_set_turns(world->sessions, true);
    for (size_t i = 0; i < N_CLIENTS; i++)
        world->fds[i] = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world;

    set_up_node();
    begin(&world);
    while (size) {
        const uint8_t first = *data++;
        size_t n;

        n = do_one(&world, first, data, --size);
        data += n;
        size -= n;
        uv_run(&world.loop, UV_RUN_NOWAIT);
        check(&world);
    }
    for (size_t i = 0; i < N_CLIENTS; i++)
        close_client(&world.fds[i]);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    devicegates_free(world.gates);
    world.gates = NULL;
    limitsessions_free(world.sessions);
    tenants_deinit(&world.tenants);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert(uv_loop_close(&world.loop) == 0);
    return 0;
}
