// SPDX-License-Identifier: Apache-2.0

/* Two or three containers on one device, whose processes and whose device are played, in a time of
 * their own: what becomes of their gates. */

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/devicegates.h"
#include "base/array.h"
#include "grant/podrecords.h"
#include "limits/exchange.h"

#define GPU       "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define OTHER_GPU "GPU-ffeeddcc-bbaa-9988-7766-554433221100"

enum {
    N_PODS = 3, /* the last one has no process but where a case says so */
    SHARE_PERMILLE = 250,
    STEP_NS = 100000,
    COMMAND_STEPS = 10, /* of a command that has the device for itself */
    SLICE_STEPS = 20,   /* for which the device works for one container, while another has work */
    SWITCH_STEPS = 5,   /* for which it does nothing in between */
    QUEUE = 4,          /* commands that a busy process has in flight */
    AWAIT_MS = 60000,   /* of the played time */
    MS = 1000000,
};

static struct tenants tenants;
static struct podrecords records;
static struct devicegates *gates;
static uint64_t now_ns, due_ns;
static bool has_two_devices; /* of each pod */

/* A process of a pod, which launches as much as it may. */
struct player {
    struct tenant *tenant;
    struct claimspage page; /* the arbiter's */
    struct claims *claims;  /* its own */
    bool is_busy;
    unsigned left; /* steps until its first command is done */
};

static struct player players[N_PODS];
static int running;                      /* whose commands the device works on */
static unsigned slice_steps, idle_steps; /* that are left */

static void on_leave(struct tenant *tenant, void *userdata)
{
    (void)userdata;
    devicegates_forget(gates, tenant);
}

/* --- a node --- */

static void add_pod(struct kubeletcheckpoint_entry *entry, unsigned pod)
{
    struct grant grant = GRANT_INIT;
    char id[64];

    *entry = (struct kubeletcheckpoint_entry){.resource = NULL};
    snprintf(entry->pod_uid, sizeof(entry->pod_uid), "pod-%u", pod);
    snprintf(entry->container, sizeof(entry->container), "main");
    snprintf(entry->grant, sizeof(entry->grant), "%016x", pod);
    snprintf(grant.id, sizeof(grant.id), "%016x", pod);
    snprintf(id, sizeof(id), GPU "::%u", pod);
    grant.resource = strdup("nvidia.com/gpu");
    assert_int_equal(grant_add_id(&grant, id), 0);
    assert_int_equal(grant_add_device(&grant, GPU, SHARE_PERMILLE, 1 << 30), 0);
    if (has_two_devices)
        assert_int_equal(grant_add_device(&grant, OTHER_GPU, SHARE_PERMILLE, 1 << 30), 0);
    assert_int_equal(ledger_add(&records.ledger, &grant, 0), 0);
    grant_deinit(&grant);
}

static void open_page(unsigned pod)
{
    struct player *player = &players[pod];
    struct error err = ERROR_INIT;
    char id[GRANT_ID_SIZE];

    snprintf(id, sizeof(id), "%016x", pod);
    assert_int_equal(tenants_find(&tenants, &records, id, &player->tenant), 0);
    assert_int_equal(tenant_open_page(player->tenant, LIMITS_NONE, &err), 0);
    devicegates_show(gates, player->tenant);
}

static void join(unsigned pod)
{
    struct player *player = &players[pod];
    struct error err = ERROR_INIT;

    player->page = (struct claimspage)CLAIMSPAGE_INIT;
    assert_int_equal(tenant_add_claims(player->tenant, &player->page, &err), 0);
    player->claims =
        mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, player->page.fd, 0);
    assert_true(player->claims != MAP_FAILED);
    player->is_busy = true;
    assert_int_equal(devicegates_update(gates, player->tenant), 0);
}

/* Its process ends. */
static void leave(unsigned pod)
{
    struct player *player = &players[pod];

    if (!player->claims)
        return;
    munmap(player->claims, CLAIMS_SIZE);
    player->claims = NULL;
    tenant_drop_claims(player->tenant, &player->page);
    assert_int_equal(devicegates_update(gates, player->tenant), 0);
}

static int set_up(void **state)
{
    static struct kubeletcheckpoint_entry entries[N_PODS];

    (void)state;
    memset(players, 0, sizeof(players));
    running = 0;
    slice_steps = idle_steps = 0;
    now_ns = 1000 * (uint64_t)MS;
    due_ns = 0;
    tenants = (struct tenants){.on_leave = on_leave};
    records = (struct podrecords)PODRECORDS_INIT;
    for (unsigned i = 0; i < N_PODS; i++)
        add_pod(&entries[i], i);
    records.checkpoint.entries = entries;
    records.checkpoint.n_entries = N_PODS;
    gates = devicegates_new(&tenants);
    for (unsigned i = 0; i < N_PODS; i++)
        open_page(i);
    return gates ? 0 : -1;
}

static int set_up_two_devices(void **state)
{
    has_two_devices = true;
    return set_up(state);
}

static int tear_down(void **state)
{
    (void)state;
    has_two_devices = false;
    for (unsigned i = 0; i < N_PODS; i++)
        leave(i);
    tenants_deinit(&tenants);
    devicegates_free(gates);
    ledger_deinit(&records.ledger);
    return 0;
}

/* --- what is played --- */

static const struct limits_page *page_of(unsigned pod)
{
    return players[pod].tenant->page.page;
}

static const struct limits_device *gate_of(unsigned pod)
{
    return &page_of(pod)->devices[0];
}

static bool passes(unsigned pod)
{
    const struct limits_device *gate = gate_of(pod);

    return gate->gate == LIMITS_GATE_OPEN ||
           (gate->gate == LIMITS_GATE_TURN && now_ns < gate->turn_end_ns);
}

static uint32_t in_flight(const struct player *player)
{
    const struct claims_lane *lane = &player->claims->devices[0].lanes[0];

    return lane->fence - lane->done;
}

static void launch(unsigned pod)
{
    struct claims_device *device = &players[pod].claims->devices[0];
    const bool may = passes(pod);

    device->n_waiting = players[pod].is_busy && !may;
    for (; players[pod].is_busy && may && in_flight(&players[pod]) < QUEUE;) {
        device->n_launched++;
        device->lanes[0].fence++;
    }
}

static bool has_work(int pod)
{
    return players[pod].claims && in_flight(&players[pod]);
}

/* The next one that has work; negative: nobody else. */
static int find_other(void)
{
    for (int i = 1; i < N_PODS; i++)
        if (has_work((running + i) % N_PODS))
            return (running + i) % N_PODS;
    return -1;
}

/* For one after the other, a slice each: what the hardware does with several. */
static void work(void)
{
    const int other = find_other();
    struct player *player;

    if (other >= 0 && (!has_work(running) || !slice_steps)) {
        idle_steps = SWITCH_STEPS;
        slice_steps = SLICE_STEPS;
        running = other;
    }
    slice_steps -= slice_steps > 0;
    if (idle_steps) {
        idle_steps--;
        return;
    }
    player = &players[running];
    if (!has_work(running))
        return;
    player->left = player->left ? player->left - 1 : COMMAND_STEPS - 1;
    if (player->left)
        return;
    player->claims->devices[0].lanes[0].done++;
    player->claims->devices[0].n_done++;
}

static void step(void)
{
    now_ns += STEP_NS;
    for (unsigned i = 0; i < N_PODS; i++)
        if (players[i].claims)
            launch(i);
    work();
    if (due_ns <= now_ns)
        due_ns = devicegates_run(gates, false, now_ns);
}

#define AWAIT(condition)                                                   \
    do {                                                                   \
        const uint64_t until_ns = now_ns + (uint64_t)AWAIT_MS * MS;        \
        while (!(condition)) {                                             \
            if (now_ns >= until_ns)                                        \
                fail_msg("in vain after %d ms: %s", AWAIT_MS, #condition); \
            step();                                                        \
        }                                                                  \
    } while (0)

static void start(enum limits_compute mode)
{
    assert_int_equal(devicegates_set_mode(gates, mode), 0);
    due_ns = devicegates_run(gates, true, now_ns);
}

static bool has_turn(unsigned pod)
{
    return gate_of(pod)->gate == LIMITS_GATE_TURN && gate_of(!pod)->gate == LIMITS_GATE_CLOSED;
}

static bool are_open(void)
{
    return gate_of(0)->gate == LIMITS_GATE_OPEN && gate_of(1)->gate == LIMITS_GATE_OPEN;
}

/* --- cases --- */

static void test_a_page_tells_mode_and_share_without_any_claims(void **state)
{
    (void)state;
    start(LIMITS_COMPUTE_STRICT);
    for (unsigned i = 0; i < N_PODS; i++) {
        assert_int_equal(gate_of(i)->compute, LIMITS_COMPUTE_STRICT);
        assert_int_equal(gate_of(i)->share_ppm, SHARE_PERMILLE * 1000);
        assert_int_equal(gate_of(i)->gate, LIMITS_GATE_OPEN);
    }
    assert_true(due_ns == DEVICEGATES_NEVER); /* nothing wakes this node */
    start(LIMITS_COMPUTE_NONE);
    assert_int_equal(gate_of(0)->compute, LIMITS_COMPUTE_NONE);
}

static void test_two_busy_containers_take_turns_one_at_a_time(void **state)
{
    uint32_t number;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    for (unsigned round = 0; round < 5; round++) {
        AWAIT(has_turn(0));
        number = gate_of(1)->gate_number;
        AWAIT(has_turn(1));
        assert_int_not_equal(gate_of(1)->gate_number, number);
    }
}

/* At no moment two of them may launch, while turns are given. */
static void test_no_two_have_a_turn(void **state)
{
    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    AWAIT(has_turn(0));
    for (unsigned i = 0; i < 20000; i++) {
        step();
        assert_false(gate_of(0)->gate == LIMITS_GATE_TURN && gate_of(1)->gate == LIMITS_GATE_TURN);
    }
}

/* Near the end of each turn, and for a small part of the time. */
static void test_the_end_of_a_turn_is_known_a_moment_before(void **state)
{
    enum { STEPS = 20000 };
    uint64_t soon_ns = 0, all_ns = 0;
    unsigned n_turns = 0, holder = 0;
    bool was_soon = false;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    assert_false(devicegates_is_soon(gates));
    join(0);
    join(1);
    due_ns = 0;
    for (unsigned i = 0; i < STEPS; i++)
        step(); /* they are probed */
    AWAIT(has_turn(0));
    for (unsigned i = 0; i < STEPS; i++) {
        const uint64_t begin_ns = now_ns;
        const bool is_soon = devicegates_is_soon(gates);

        was_soon = was_soon || is_soon;
        if (due_ns < now_ns + STEP_NS)
            due_ns = devicegates_run(gates, false, now_ns = due_ns);
        else
            step();
        soon_ns += is_soon ? now_ns - begin_ns : 0;
        all_ns += now_ns - begin_ns;
        if (!has_turn(!holder))
            continue;
        assert_true(was_soon);
        was_soon = false;
        holder = !holder;
        n_turns++;
    }
    assert_true(n_turns > 10);
    assert_true(soon_ns < all_ns / 10);
}

/* What a pod does on the first device it does on the other. */
static void step_on_two(void)
{
    for (unsigned i = 0; i < N_PODS; i++)
        if (players[i].claims)
            players[i].claims->devices[1] = players[i].claims->devices[0];
    step();
}

static bool has_turn_on(unsigned pod, size_t device)
{
    return page_of(pod)->devices[device].gate == LIMITS_GATE_TURN;
}

static void test_who_is_on_two_devices_has_its_turns_on_both(void **state)
{
    unsigned n_turns = 0, holder = 0;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    for (unsigned i = 0; i < 20000; i++) {
        step_on_two();
        assert_false(has_turn_on(0, 0) && has_turn_on(1, 1));
        assert_false(has_turn_on(1, 0) && has_turn_on(0, 1));
        if (!has_turn_on(!holder, 0) || !has_turn_on(!holder, 1))
            continue;
        holder = !holder;
        n_turns++;
    }
    assert_true(n_turns > 20);
    leave(0);
    due_ns = 0;
    AWAIT(passes(1) && page_of(1)->devices[1].gate != LIMITS_GATE_CLOSED);
}

static void test_while_a_gate_is_closed_the_page_has_a_beat(void **state)
{
    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    AWAIT(has_turn(0));
    for (unsigned i = 0; i < 5000; i++) {
        step();
        for (unsigned pod = 0; pod < 2; pod++)
            if (gate_of(pod)->gate != LIMITS_GATE_OPEN)
                assert_true((uint32_t)(now_ns / MS) - page_of(pod)->beat_ms <= 20);
    }
}

static void test_who_ends_gives_way(void **state)
{
    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    AWAIT(has_turn(0));
    leave(0);
    due_ns = 0;
    AWAIT(passes(1));
    assert_int_equal(gate_of(0)->gate, LIMITS_GATE_OPEN); /* for who comes next */
}

/* What a stopped process claims stays as it was. */
static void test_who_stands_still_does_not_stop_others(void **state)
{
    uint64_t n_launched;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    AWAIT(has_turn(0));
    players[0].is_busy = false;
    n_launched = players[1].claims->devices[0].n_launched;
    AWAIT(players[1].claims->devices[0].n_launched > n_launched + 100);
}

static void test_in_other_modes_gates_are_open(void **state)
{
    static const enum limits_compute modes[] = {LIMITS_COMPUTE_OBSERVE, LIMITS_COMPUTE_NONE};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        start(LIMITS_COMPUTE_ELASTIC);
        if (i == 0) {
            join(0);
            join(1);
        }
        due_ns = 0;
        AWAIT(has_turn(1));
        start(modes[i]);
        assert_true(are_open());
        assert_int_equal(gate_of(1)->compute, modes[i]);
        for (unsigned j = 0; j < 20000; j++) {
            step();
            assert_true(are_open());
        }
    }
}

static void test_what_is_shown_of_a_container(void **state)
{
    struct devicegates_view view;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    assert_false(devicegates_view(gates, players[0].tenant, 0, &view));
    join(0);
    join(1);
    due_ns = 0;
    AWAIT(has_turn(0));
    players[0].claims->devices[0].waits[3] = 10;
    AWAIT(devicegates_view(gates, players[0].tenant, 0, &view) && view.turns.received_ns > 0 &&
          view.turns.n_turns > 0 && claimspage_find_bin(&view.claims, 500) == 3);
    assert_true(view.turns.weight >= TURNS_HEAVY);
    assert_int_equal(view.device.n_units, 2);
    leave(0); /* what it received stays */
    assert_true(devicegates_view(gates, players[0].tenant, 0, &view));
    assert_true(view.turns.received_ns > 0);
}

/* A futex of the page as a process has it: read-only, and another mapping. */
static void wait_for_number(int fd, uint32_t number)
{
    const struct limits_page *page = mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    const struct timespec patience = {.tv_sec = 30};
    long r;

    do
        r = syscall(SYS_futex, &page->devices[0].gate_number, FUTEX_WAIT, number, &patience, NULL,
                    0);
    while (r < 0 && errno == EINTR);
    _exit(r < 0 && errno == ETIMEDOUT);
}

static void test_who_waits_is_woken_when_the_arbiter_ends(void **state)
{
    uint32_t number;
    unsigned loser;
    int status;
    pid_t pid;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    AWAIT(has_turn(0) || has_turn(1));
    loser = has_turn(0);
    number = gate_of(loser)->gate_number;
    pid = fork();
    if (pid == 0)
        wait_for_number(players[loser].tenant->page.fd, number);
    devicegates_free(gates);
    gates = devicegates_new(&tenants);
    assert_true(are_open());
    assert_int_equal(gate_of(loser)->compute, LIMITS_COMPUTE_NONE);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static struct limits_page *waited_for;

static void *wait_without_end(void *number)
{
    (void)syscall(SYS_futex, &waited_for->devices[0].gate_number, FUTEX_WAIT,
                  *(const uint32_t *)number, NULL, NULL, 0);
    return NULL;
}

/* The threads that wait for the number: all are moved to another word, and back. */
static long n_waiting_for_number(void)
{
    uint32_t *number = &waited_for->devices[0].gate_number;
    uint32_t *aside = &waited_for->devices[LIMITS_DEVICES_MAX - 1].gate_number;
    const long n = syscall(SYS_futex, number, FUTEX_REQUEUE, 0, INT_MAX, aside, 0);

    assert_true(n >= 0);
    assert_int_equal(syscall(SYS_futex, aside, FUTEX_REQUEUE, 0, INT_MAX, number, 0), n);
    return n;
}

/* A tenant may have thousands of threads there, and each takes the arbiter's time. They look again
 * by themselves. */
static void test_no_more_threads_are_woken_than_the_arbiter_has_time_for(void **state)
{
    enum { THREADS = 300, WOKEN_MOST = 200 };
    static pthread_t threads[THREADS];
    uint32_t number;
    int n_left;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    AWAIT(has_turn(0) || has_turn(1));
    number = gate_of(0)->gate_number;
    waited_for = mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ, MAP_SHARED, players[0].tenant->page.fd, 0);
    assert_true(waited_for != MAP_FAILED);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_without_end, &number), 0);
    while (n_waiting_for_number() < THREADS)
        sched_yield();
    assert_int_equal(devicegates_set_mode(gates, LIMITS_COMPUTE_NONE), 0);
    assert_true(gate_of(0)->gate_number != number);
    n_left = (int)syscall(SYS_futex, &waited_for->devices[0].gate_number, FUTEX_WAKE, INT_MAX, NULL,
                          NULL, 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    munmap(waited_for, LIMITS_PAGE_SIZE);
    assert_in_range(n_left, THREADS - WOKEN_MOST, THREADS);
}

/* Any bytes: gates stay gates, and the neighbour launches. */
static void test_a_page_of_nonsense(void **state)
{
    unsigned seed = 1;
    uint64_t n_launched;

    (void)state;
    start(LIMITS_COMPUTE_ELASTIC);
    join(0);
    join(1);
    due_ns = 0;
    players[0].is_busy = false;
    n_launched = players[1].claims->devices[0].n_launched;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t *bytes = (uint8_t *)players[0].claims;

        for (unsigned j = 0; j < 16; j++)
            bytes[(unsigned)rand_r(&seed) % CLAIMS_SIZE] = (uint8_t)rand_r(&seed);
        now_ns += STEP_NS;
        launch(1);
        if (in_flight(&players[1]))
            players[1].claims->devices[0].lanes[0].done++;
        due_ns = devicegates_run(gates, true, now_ns);
        assert_true(due_ns > now_ns);
        assert_true(gate_of(0)->gate <= LIMITS_GATE_CLOSED);
    }
    assert_true(players[1].claims->devices[0].n_launched > n_launched + 1000);
}

/* --- who exchanges handles --- */

static void name_as(unsigned pod, enum exchange_side side, enum exchange_kind kind, uint64_t handle)
{
    struct exchange *exchange = exchange_of(players[pod].claims);
    struct exchange_name *name = &exchange->names[exchange->n_changes % EXCHANGE_NAMES];

    *name = (struct exchange_name){
        .side = side, .kind = (uint16_t)kind, .handle = {0x1234, handle, 0, 7}};
    exchange->n_changes++;
}

static void name_handle(unsigned pod, enum exchange_side side, uint64_t handle)
{
    name_as(pod, side, EXCHANGE_MEMORY, handle);
}

static uint64_t group_of(unsigned pod)
{
    struct devicegates_view view;

    return devicegates_view(gates, players[pod].tenant, 0, &view) ? view.group : 0;
}

static struct turns_view turns_of(unsigned pod)
{
    struct devicegates_view view;

    assert_true(devicegates_view(gates, players[pod].tenant, 0, &view));
    return view.turns;
}

static void join_all(void)
{
    start(LIMITS_COMPUTE_ELASTIC);
    for (unsigned i = 0; i < N_PODS; i++)
        join(i);
    due_ns = 0;
}

/* What each of them did in some seconds of turns. */
static void measure(uint64_t n_done[static N_PODS])
{
    const uint64_t until_ns = now_ns + 4000 * (uint64_t)MS;

    for (unsigned i = 0; i < N_PODS; i++)
        n_done[i] = players[i].claims->devices[0].n_done;
    while (now_ns < until_ns)
        step();
    for (unsigned i = 0; i < N_PODS; i++)
        n_done[i] = players[i].claims->devices[0].n_done - n_done[i];
}

static bool are_known(void)
{
    for (unsigned i = 0; i < N_PODS; i++)
        if (turns_of(i).weight < TURNS_HEAVY)
            return false;
    return true;
}

static void assert_about(uint64_t value, uint64_t expected)
{
    assert_in_range(value, expected - expected / 5, expected + expected / 5);
}

static void test_who_exchange_handles_have_turns_together(void **state)
{
    uint64_t n_done[N_PODS];
    struct turns_view before[N_PODS];
    uint64_t received_ns[N_PODS];
    bool have_had_a_turn = false;

    (void)state;
    join_all();
    name_handle(0, EXCHANGE_GAVE, 1);
    name_handle(1, EXCHANGE_OPENED, 1);
    AWAIT(group_of(0) && group_of(0) == group_of(1));
    assert_true(group_of(2) == 0);
    AWAIT(are_known() && gate_of(2)->gate == LIMITS_GATE_TURN);
    for (unsigned i = 0; i < 20000; i++) {
        step();
        assert_int_equal(gate_of(0)->gate, gate_of(1)->gate);
        have_had_a_turn = have_had_a_turn || gate_of(0)->gate == LIMITS_GATE_TURN;
        assert_false(gate_of(0)->gate == LIMITS_GATE_TURN && gate_of(2)->gate == LIMITS_GATE_TURN);
    }
    assert_true(have_had_a_turn);
    for (unsigned i = 0; i < N_PODS; i++)
        before[i] = turns_of(i);
    measure(n_done);
    for (unsigned i = 0; i < N_PODS; i++) {
        const struct turns_view after = turns_of(i);

        assert_about(after.entitled_ns - before[i].entitled_ns, 1000 * (uint64_t)MS);
        received_ns[i] = after.received_ns - before[i].received_ns;
    }
    assert_about(received_ns[0] + received_ns[1], 2 * received_ns[2]); /* by shares */
    assert_about(received_ns[0], received_ns[1]);                      /* by what they launched */
    assert_about(n_done[0], n_done[1]);
    assert_in_range(n_done[0] + n_done[1], n_done[2] * 13 / 10, n_done[2] * 22 / 10);
}

static void test_after_one_of_them_ended_the_other_has_its_own_share(void **state)
{
    uint64_t n_done[N_PODS];
    struct turns_view before, after;

    (void)state;
    join_all();
    name_handle(0, EXCHANGE_OPENED, 1);
    name_handle(1, EXCHANGE_GAVE, 1);
    AWAIT(group_of(0) && are_known() && turns_of(0).n_turns > 20);
    before = turns_of(0);
    leave(1);
    AWAIT(!group_of(0) && !group_of(1));
    join(1); /* another process, which knows of nothing */
    players[1].is_busy = false;
    measure(n_done);
    assert_about(n_done[0], n_done[2]);
    assert_true(n_done[1] == 0);
    after = turns_of(0); /* what was its own stays */
    assert_true(after.received_ns > before.received_ns && after.n_turns > before.n_turns);
    name_handle(0, EXCHANGE_OPENED, 2);
    name_handle(1, EXCHANGE_GAVE, 2);
    AWAIT(group_of(0) && group_of(0) == group_of(1)); /* once more, some time later */
    name_handle(2, EXCHANGE_OPENED, 2);
    AWAIT(group_of(0) && group_of(0) == group_of(2));
}

/* Whichever it is. */
static void test_after_one_of_three_ended_the_others_stay_together(void **state)
{
    for (unsigned ends = 0; ends < N_PODS; ends++) {
        const unsigned a = (ends + 1) % N_PODS, b = (ends + 2) % N_PODS;

        if (ends > 0) {
            tear_down(state);
            set_up(state);
        }
        join_all();
        name_handle(ends, EXCHANGE_GAVE, 1);
        name_handle(a, EXCHANGE_OPENED, 1);
        name_handle(b, EXCHANGE_GAVE, 2);
        name_handle(a, EXCHANGE_OPENED, 2);
        AWAIT(group_of(0) && group_of(0) == group_of(1) && group_of(0) == group_of(2));
        leave(ends);
        AWAIT(!group_of(ends));
        assert_true(group_of(a) && group_of(a) == group_of(b));
        for (unsigned i = 0; i < 1000; i++) {
            step();
            assert_int_equal(gate_of(a)->gate, gate_of(b)->gate);
        }
    }
}

/* Whose it is may be known after they said so. */
static void test_descriptors_group_those_of_one_namespace(void **state)
{
    (void)state;
    join_all();
    name_as(0, EXCHANGE_GAVE, EXCHANGE_DESCRIPTOR, 1);
    name_as(1, EXCHANGE_OPENED, EXCHANGE_DESCRIPTOR, 1);
    name_as(2, EXCHANGE_OPENED, EXCHANGE_DESCRIPTOR, 1);
    AWAIT(are_known());
    assert_true(!group_of(0) && !group_of(1) && !group_of(2));
    for (unsigned i = 0; i < N_PODS; i++)
        snprintf(players[i].tenant->namespace_, sizeof(players[i].tenant->namespace_), "%s",
                 i < 2 ? "one" : "other");
    AWAIT(group_of(0) && group_of(0) == group_of(1));
    for (unsigned i = 0; i < 1000; i++)
        step();
    assert_true(!group_of(2));
}

/* Each of them has a share like any other. */
static void test_a_claim_without_a_counterpart_changes_nothing(void **state)
{
    uint64_t n_done[N_PODS];

    (void)state;
    join_all();
    name_handle(0, EXCHANGE_OPENED, 1);
    name_handle(1, EXCHANGE_OPENED, 1);
    name_handle(1, EXCHANGE_GAVE, 2);
    name_handle(2, EXCHANGE_GAVE, 3);
    AWAIT(are_known());
    measure(n_done);
    for (unsigned i = 0; i < N_PODS; i++) {
        assert_true(group_of(i) == 0);
        assert_about(n_done[i], (n_done[0] + n_done[1] + n_done[2]) / 3);
    }
}

/* News at every look, and as many names as there is room for: others are a group all the same, and
 * have their turns. */
static void test_a_flood_of_names_holds_nobody_up(void **state)
{
    const uint64_t first_ns = now_ns + 2000 * (uint64_t)MS;
    uint64_t n_done[N_PODS], handle = 100, known_ns = 0;

    (void)state;
    join_all();
    while (now_ns < first_ns + 2000 * (uint64_t)MS) {
        name_handle(0, handle % 2 ? EXCHANGE_GAVE : EXCHANGE_OPENED, handle);
        handle++;
        if (now_ns < first_ns && now_ns + STEP_NS >= first_ns) {
            name_handle(1, EXCHANGE_GAVE, 1);
            name_handle(2, EXCHANGE_OPENED, 1);
        }
        step();
        if (!known_ns && group_of(1))
            known_ns = now_ns;
    }
    assert_true(known_ns >= first_ns && known_ns - first_ns < 200 * (uint64_t)MS);
    assert_int_equal(group_of(1), group_of(2));
    assert_true(group_of(0) == 0);
    measure(n_done);
    assert_in_range(n_done[1] + n_done[2], n_done[0] * 13 / 10, n_done[0] * 22 / 10);
}

/* A run reads what each process claims, and tenants decide how many there are. */
static void test_as_much_time_as_a_run_takes_is_left_to_others(void **state)
{
    (void)state;
    assert_int_equal(devicegates_pace(2000, 1000, 1100), 2000);
    assert_int_equal(devicegates_pace(1200, 1000, 1500), 2000);
    assert_true(devicegates_pace(DEVICEGATES_NEVER, 1000, 1500) == DEVICEGATES_NEVER);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_page_tells_mode_and_share_without_any_claims),
        TEST(test_two_busy_containers_take_turns_one_at_a_time),
        TEST(test_no_two_have_a_turn),
        TEST(test_the_end_of_a_turn_is_known_a_moment_before),
        cmocka_unit_test_setup_teardown(test_who_is_on_two_devices_has_its_turns_on_both,
                                        set_up_two_devices, tear_down),
        TEST(test_while_a_gate_is_closed_the_page_has_a_beat),
        TEST(test_who_ends_gives_way),
        TEST(test_who_stands_still_does_not_stop_others),
        TEST(test_in_other_modes_gates_are_open),
        TEST(test_what_is_shown_of_a_container),
        TEST(test_who_waits_is_woken_when_the_arbiter_ends),
        TEST(test_no_more_threads_are_woken_than_the_arbiter_has_time_for),
        TEST(test_a_page_of_nonsense),
        TEST(test_who_exchange_handles_have_turns_together),
        TEST(test_after_one_of_them_ended_the_other_has_its_own_share),
        TEST(test_after_one_of_three_ended_the_others_stay_together),
        TEST(test_descriptors_group_those_of_one_namespace),
        TEST(test_a_claim_without_a_counterpart_changes_nothing),
        TEST(test_a_flood_of_names_holds_nobody_up),
        TEST(test_as_much_time_as_a_run_takes_is_left_to_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
