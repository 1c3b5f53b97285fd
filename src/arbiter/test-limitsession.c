// SPDX-License-Identifier: Apache-2.0

/* What a process is answered, what it is charged, and what becomes of that when it ends. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/limitsessions.h"
#include "arbiter/test-limitsanswer.h"
#include "base/array.h"
#include "base/file.h"
#include "base/log.h"
#include "grant/test-tempdir.h"

#define UID     "12345678-0000-4000-8000-000000000000"
#define ANOTHER "12345678-0000-4000-8000-000000000001"
#define GPU     "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define GRANT   "0123456789abcdef"
#define LATER   "fedcba9876543210"
#define MIB     (UINT64_C(1) << 20)

enum { N_GRANTS = 2, LIMIT_MIB = 1000, ANSWER_MS = 30000 };

static uv_loop_t loop;
static struct limitsessions *sessions;
static struct tenants tenants;
static struct podrecords records;
static struct arbiteroptions options;
static bool is_later_known;
static unsigned n_waits, n_ended, n_claims_told;
static int asking = -1;          /* the socket of who asks, ... */
static bool is_answered_already; /* ... when another one ends */

/* --- the records of the node --- */

static void add_grant(struct kubeletcheckpoint_entry *entry, const char *id)
{
    struct grant grant = GRANT_INIT;
    char device[64];

    *entry = (struct kubeletcheckpoint_entry){.resource = NULL};
    snprintf(entry->pod_uid, sizeof(entry->pod_uid), UID);
    snprintf(entry->container, sizeof(entry->container), "main");
    snprintf(entry->grant, sizeof(entry->grant), "%s", id);
    snprintf(grant.id, sizeof(grant.id), "%s", id);
    snprintf(device, sizeof(device), GPU "::%c", *id);
    grant.resource = strdup("nvidia.com/gpu");
    assert_int_equal(grant_add_id(&grant, device), 0);
    assert_int_equal(grant_add_device(&grant, GPU, 250, LIMIT_MIB / N_GRANTS * MIB), 0);
    assert_int_equal(ledger_add(&records.ledger, &grant, 0), 0);
    grant_deinit(&grant);
}

static int find_tenant(const char *grant_id, struct tenant **ret_tenant, void *userdata)
{
    (void)userdata;
    if (!is_later_known && strcmp(grant_id, LATER) == 0)
        return TENANT_UNKNOWN;
    return tenants_find(&tenants, &records, grant_id, ret_tenant);
}

static void on_register(struct tenant *tenant, void *userdata)
{
    (void)tenant, (void)userdata;
}

static void on_wait(void *userdata)
{
    (void)userdata;
    n_waits++;
}

static void on_claims(struct tenant *tenant, void *userdata)
{
    (void)tenant, (void)userdata;
    n_claims_told++;
}

static void on_ended(struct tenant *tenant, uint32_t pid, void *userdata)
{
    struct pollfd wait = {.fd = asking, .events = POLLIN};

    (void)tenant, (void)pid, (void)userdata;
    n_ended++;
    is_answered_already = poll(&wait, 1, 0) > 0;
}

static int set_up(void **state)
{
    static struct kubeletcheckpoint_entry entries[N_GRANTS];
    const struct limitsession_setup setup = {
        .loop = &loop,
        .options = &options,
        .callbacks = {.find = find_tenant,
                      .on_register = on_register,
                      .on_wait = on_wait,
                      .on_claims = on_claims,
                      .on_ended = on_ended},
    };

    n_waits = n_ended = n_claims_told = 0;
    asking = -1;
    is_later_known = false;
    tenants = (struct tenants){.first = NULL};
    records = (struct podrecords)PODRECORDS_INIT;
    if (tempdir_make(state) < 0 || uv_loop_init(&loop) < 0)
        return -1;
    add_grant(&entries[0], GRANT);
    add_grant(&entries[1], LATER);
    records.checkpoint.entries = entries;
    records.checkpoint.n_entries = N_GRANTS;
    options = (struct arbiteroptions){.root = tempdir};
    sessions = limitsessions_new(&setup);
    limitsessions_set_mode(sessions, LIMITS_ENFORCED);
    limitsessions_set_turns(sessions, true);
    return 0;
}

static int tear_down(void **state)
{
    limitsessions_free(sessions);
    tenants_deinit(&tenants);
    ledger_deinit(&records.ledger);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? tempdir_remove(state) : -1;
}

static struct account *the_account(void)
{
    struct tenant *tenant = NULL;

    assert_int_equal(tenants_find(&tenants, &records, GRANT, &tenant), 0);
    return tenant->account;
}

static uint64_t charged_mib(void)
{
    return the_account()->devices[0].charged_bytes / MIB;
}

/* --- processes --- */

struct process {
    pid_t pid;
    int fd; /* of its end, which it does not hold itself */
};

static void write_cgroup(pid_t pid, const char *pod_uid)
{
    char path[128], text[128];

    snprintf(path, sizeof(path), "%s/proc/%d", tempdir, pid);
    assert_int_equal(file_make_directory(path, NULL), 0);
    snprintf(path, sizeof(path), "%s/proc/%d/cgroup", tempdir, pid);
    snprintf(text, sizeof(text), "0::/kubepods.slice/kubepods-pod%s.slice\n", pod_uid);
    for (char *dash = strchr(text + 30, '-'); dash; dash = strchr(dash, '-'))
        *dash = '_';
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

/* One of that pod, connected to the grant's socket. It waits until it is killed. */
static struct process start(const char *pod_uid, const char *grant)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int listening = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct process process = {.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    int fd;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", tempdir);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listening, 1), 0);
    process.pid = fork();
    if (process.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (connect(process.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            _exit(1);
        close(process.fd);
        for (;;)
            pause();
    }
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    close(listening);
    unlink(address.sun_path);
    write_cgroup(process.pid, pod_uid);
    limitsessions_accept(sessions, fd, grant, false);
    return process;
}

static void end(struct process *process)
{
    kill(process->pid, SIGKILL);
    waitpid(process->pid, NULL, 0);
    if (process->fd >= 0)
        close(process->fd);
}

/* This process, with a further connection. */
static int connect_ourselves(const char *grant)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
                     0);
    write_cgroup(getpid(), UID);
    limitsessions_accept(sessions, ends[1], grant, false);
    return ends[0];
}

/* --- what they say --- */

static void send_request(int fd, struct limits_request request)
{
    assert_int_equal(send(fd, &request, sizeof(request), MSG_NOSIGNAL), sizeof(request));
}

static void send_register_of(int fd, uint64_t revision)
{
    send_request(
        fd, (struct limits_request){.kind = LIMITS_REGISTER, .bytes = revision, .sequence = 7});
}

static void send_register(int fd)
{
    send_register_of(fd, LIMITS_REVISION);
}

/* Turns of the loop until there is something to read. */
static void await_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    alarm(ANSWER_MS / 1000);
    do {
        uv_run(&loop, UV_RUN_NOWAIT);
    } while (poll(&wait, 1, 1) == 0);
    alarm(0);
}

/* ret_page: the descriptor that came along, -1 = none; NULL: there is none. */
static struct limits_answer receive(int fd, int *ret_page)
{
    struct limits_answer answer;
    int page;

    await_readable(fd);
    assert_true(limitsanswer_receive(fd, &answer, &page));
    if (ret_page)
        *ret_page = page;
    else
        assert_int_equal(page, -1);
    return answer;
}

static void assert_welcome(int fd)
{
    int page;
    const struct limits_answer answer = receive(fd, &page);

    assert_int_equal(answer.kind, LIMITS_WELCOME);
    assert_int_equal(answer.mode, LIMITS_ENFORCED);
    assert_int_equal(answer.sequence, 7);
    assert_int_equal(fcntl(page, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(page);
}

static void assert_disconnected(int fd)
{
    char byte;

    await_readable(fd);
    assert_true(recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) <= 0);
}

static void assert_refused(int fd, const char *text)
{
    const struct limits_answer answer = receive(fd, NULL);

    assert_int_equal(answer.kind, LIMITS_REFUSED);
    assert_string_equal(answer.text, text);
    assert_disconnected(fd);
}

static struct limits_answer reserve(int fd, uint64_t mib)
{
    send_request(fd, (struct limits_request){
                         .kind = LIMITS_RESERVE, .bytes = mib * MIB, .wanted_bytes = mib * MIB});
    return receive(fd, NULL);
}

/* --- cases --- */

static void test_a_process_of_the_pod_gets_what_its_container_has(void **state)
{
    struct process process = start(UID, GRANT);

    (void)state;
    send_register(process.fd);
    assert_welcome(process.fd);
    assert_int_equal(the_account()->n_registered, 1);
    assert_int_equal(reserve(process.fd, LIMIT_MIB - 1).kind, LIMITS_GRANTED);
    assert_int_equal(reserve(process.fd, 2).kind, LIMITS_DENIED);
    assert_int_equal(charged_mib(), LIMIT_MIB - 1);
    end(&process);
}

static void test_a_process_of_another_pod_is_refused(void **state)
{
    struct process process = start(ANOTHER, GRANT);

    (void)state;
    send_register(process.fd);
    assert_refused(process.fd, "not of the pod that has the grant");
    assert_int_equal(limitsessions_count(sessions).n_refused, 1);
    assert_int_equal(limitsessions_count(sessions).n_connections, 0);
    end(&process);
}

static void test_a_grant_that_is_not_known_yet_is_waited_for(void **state)
{
    struct process process = start(UID, LATER);

    (void)state;
    send_register(process.fd);
    alarm(ANSWER_MS / 1000);
    while (limitsessions_count(sessions).n_waiting == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(n_waits, 1);
    limitsessions_retry(sessions);
    limitsessions_sweep(sessions);
    assert_int_equal(limitsessions_count(sessions).n_waiting, 1);
    is_later_known = true;
    limitsessions_retry(sessions);
    assert_welcome(process.fd);
    end(&process);
}

static void test_a_grant_that_nobody_records_is_refused_in_the_end(void **state)
{
    struct process process = start(UID, LATER);
    struct pollfd wait = {.fd = process.fd, .events = POLLIN};

    (void)state;
    send_register(process.fd);
    alarm(ANSWER_MS / 1000);
    do {
        uv_run(&loop, UV_RUN_NOWAIT);
        limitsessions_sweep(sessions);
    } while (poll(&wait, 1, 50) == 0);
    assert_refused(process.fd, "the grant is in no record");
    end(&process);
}

static void test_what_no_library_of_ours_sends_ends_the_connection(void **state)
{
    static const struct limits_request requests[] = {
        {.kind = LIMITS_RESERVE, .bytes = 1, .wanted_bytes = 1}, /* it is not registered */
        {.kind = LIMITS_REGISTER, .bytes = 0},                   /* of no version */
        {.kind = LIMITS_WELCOME},
    };
    struct process process;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        process = start(UID, GRANT);
        send_request(process.fd, requests[i]);
        assert_disconnected(process.fd);
        end(&process);
    }
    process = start(UID, GRANT);
    assert_int_equal(send(process.fd, "abc", 3, 0), 3);
    assert_disconnected(process.fd);
    end(&process);
    assert_int_equal(limitsessions_count(sessions).n_malformed, ARRAY_SIZE(requests) + 1);
}

static void test_what_a_process_has_is_free_when_it_ends_and_not_before(void **state)
{
    struct process process = start(UID, GRANT);

    (void)state;
    send_register(process.fd);
    assert_welcome(process.fd);
    assert_int_equal(reserve(process.fd, 10).kind, LIMITS_GRANTED);
    close(process.fd);
    process.fd = -1;
    alarm(ANSWER_MS / 1000);
    while (limitsessions_count(sessions).n_connections)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(charged_mib(), 10);
    assert_int_equal(n_ended, 0);
    end(&process);
    while (n_ended == 0)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
    assert_int_equal(n_ended, 1);
    assert_int_equal(charged_mib(), 0);
    assert_int_equal(the_account()->n_processes, 0);
}

static void test_a_process_that_is_killed_releases_all(void **state)
{
    struct process process = start(UID, GRANT), neighbour = start(UID, GRANT);

    (void)state;
    send_register(process.fd);
    assert_welcome(process.fd);
    send_register(neighbour.fd);
    assert_welcome(neighbour.fd);
    assert_int_equal(reserve(process.fd, LIMIT_MIB - 10).kind, LIMITS_GRANTED);
    assert_int_equal(reserve(neighbour.fd, 20).kind, LIMITS_DENIED);
    end(&process);
    alarm(ANSWER_MS / 1000);
    while (n_ended == 0)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
    assert_int_equal(reserve(neighbour.fd, 20).kind, LIMITS_GRANTED);
    assert_int_equal(charged_mib(), 20);
    end(&neighbour);
}

/* As after exec: the end of the earlier connection may be told later. */
static void test_the_newest_connection_of_a_process_counts(void **state)
{
    const int first = connect_ourselves(GRANT);
    int second;

    (void)state;
    send_register(first);
    assert_welcome(first);
    assert_int_equal(reserve(first, 10).kind, LIMITS_GRANTED);
    second = connect_ourselves(GRANT);
    send_register(second);
    assert_welcome(second);
    assert_disconnected(first);
    assert_int_equal(the_account()->n_processes, 1);
    assert_int_equal(the_account()->n_registered, 1);
    assert_int_equal(charged_mib(), 10);
    close(first);
    close(second);
}

static void test_who_does_not_read_its_answers_is_disconnected(void **state)
{
    const struct limits_request request = {.kind = LIMITS_RESERVE, .bytes = 1, .wanted_bytes = 1};
    const int fd = connect_ourselves(GRANT);
    ssize_t n;

    (void)state;
    send_register(fd);
    assert_welcome(fd);
    alarm(ANSWER_MS / 1000);
    do {
        n = send(fd, &request, sizeof(request), MSG_NOSIGNAL);
        uv_run(&loop, UV_RUN_NOWAIT);
    } while (n > 0 || errno == EAGAIN);
    alarm(0);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(limitsessions_count(sessions).n_connections, 0);
    close(fd);
}

/* epoll tells of the socket first that it told of last. */
static void test_the_page_is_answered_for_after_all_that_was_before(void **state)
{
    struct process one = start(UID, GRANT), other = start(UID, GRANT);

    (void)state;
    send_register(one.fd);
    assert_welcome(one.fd);
    send_register(other.fd);
    assert_welcome(other.fd);
    assert_int_equal(reserve(other.fd, 1).kind, LIMITS_GRANTED);
    assert_int_equal(reserve(one.fd, 0).kind, LIMITS_GRANTED);
    asking = one.fd;
    end(&other);
    assert_int_equal(reserve(one.fd, 0).kind, LIMITS_GRANTED);
    assert_int_equal(n_ended, 1);
    assert_false(is_answered_already);
    assert_int_equal(charged_mib(), 0);
    end(&one);
}

/* One answer for each question, in their order, whatever is between them. */
static void test_who_asks_for_the_page_and_goes_on(void **state)
{
    static const uint64_t mib[] = {0, 0, 1, 0, LIMIT_MIB};
    static const uint32_t kinds[] = {LIMITS_GRANTED, LIMITS_GRANTED, LIMITS_GRANTED, LIMITS_GRANTED,
                                     LIMITS_DENIED};
    const int fd = connect_ourselves(GRANT);

    (void)state;
    send_register(fd);
    assert_welcome(fd);
    for (size_t i = 0; i < ARRAY_SIZE(mib); i++)
        send_request(fd, (struct limits_request){.kind = LIMITS_RESERVE,
                                                 .bytes = mib[i] * MIB,
                                                 .wanted_bytes = mib[i] * MIB,
                                                 .sequence = i});
    for (size_t i = 0; i < ARRAY_SIZE(mib); i++) {
        const struct limits_answer answer = receive(fd, NULL);

        assert_int_equal(answer.sequence, i);
        assert_int_equal(answer.kind, kinds[i]);
    }
    close(fd);
}

static void test_who_asks_for_the_page_and_is_gone(void **state)
{
    struct process process = start(UID, GRANT);

    (void)state;
    send_register(process.fd);
    assert_welcome(process.fd);
    send_request(process.fd, (struct limits_request){.kind = LIMITS_RESERVE});
    end(&process);
    alarm(ANSWER_MS / 1000);
    while (n_ended == 0)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
    assert_int_equal(limitsessions_count(sessions).n_connections, 0);
}

static void test_a_mode_is_that_of_the_next_answer(void **state)
{
    const int fd = connect_ourselves(GRANT);

    (void)state;
    send_register(fd);
    assert_welcome(fd);
    assert_int_equal(reserve(fd, LIMIT_MIB + 1).kind, LIMITS_DENIED);
    limitsessions_set_mode(sessions, LIMITS_OBSERVE);
    assert_int_equal(reserve(fd, LIMIT_MIB + 1).kind, LIMITS_GRANTED);
    close(fd);
}

/* --- claims --- */

static struct tenant *the_tenant(void)
{
    struct tenant *tenant = NULL;

    assert_int_equal(tenants_find(&tenants, &records, GRANT, &tenant), 0);
    return tenant;
}

/* -1: it was denied. */
static int ask_claims(int fd)
{
    struct limits_answer answer;
    int page;

    send_request(fd, (struct limits_request){.kind = LIMITS_CLAIMS, .sequence = 8});
    answer = receive(fd, &page);
    assert_int_equal(answer.sequence, 8);
    assert_int_equal(answer.kind, page < 0 ? LIMITS_DENIED : LIMITS_GRANTED);
    return page;
}

static struct claims *map_claims(int page)
{
    struct claims *claims = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);

    assert_true(claims != MAP_FAILED);
    return claims;
}

static void test_a_process_claims_in_a_page_of_its_own(void **state)
{
    struct process process = start(UID, GRANT), neighbour = start(UID, GRANT);
    struct claimspage_sum sum = {.n_launched = 0};
    struct claims *claims, *others;
    int page, again, other;

    (void)state;
    send_register(process.fd);
    assert_welcome(process.fd);
    send_register(neighbour.fd);
    assert_welcome(neighbour.fd);
    page = ask_claims(process.fd);
    other = ask_claims(neighbour.fd);
    assert_true(page >= 0 && other >= 0);
    assert_int_equal(fcntl(page, F_GET_SEALS), CLAIMS_SEALS);
    assert_int_equal(n_claims_told, 2);
    claims = map_claims(page);
    others = map_claims(other);
    assert_int_equal(claims->magic, CLAIMS_MAGIC);
    assert_int_equal(claims->version, CLAIMS_VERSION);
    claims->devices[0].n_launched = 5;
    others->devices[0].n_launched = 2;
    others->devices[0].lanes[3].fence = 1;
    for (struct claimspage *one = the_tenant()->claims; one; one = one->next)
        claimspage_read(one, 0, 1, &sum);
    assert_int_equal(sum.n_launched, 7);
    assert_true(sum.is_in_flight);
    again = ask_claims(process.fd); /* the same */
    assert_int_equal(n_claims_told, 2);
    munmap(claims, CLAIMS_SIZE);
    claims = map_claims(again);
    assert_int_equal(claims->devices[0].n_launched, 5);
    munmap(claims, CLAIMS_SIZE);
    munmap(others, CLAIMS_SIZE);
    close(page), close(again), close(other);
    end(&process);
    end(&neighbour);
}

/* What is sent and not received counts against the arbiter, which could welcome nobody any more. */
static void test_who_asks_for_its_page_again_and_again_gets_few_descriptors(void **state)
{
    const int fd = connect_ourselves(GRANT);
    unsigned n_given = 0;

    (void)state;
    send_register(fd);
    assert_welcome(fd);
    for (int i = 0; i < 100; i++) {
        const int page = ask_claims(fd);

        n_given += page >= 0;
        close(page);
    }
    assert_in_range(n_given, 1, 10);
    assert_int_equal(reserve(fd, 1).kind, LIMITS_GRANTED); /* it is still connected */
    close(fd);
}

static void test_what_a_process_claimed_goes_when_it_ends_and_not_before(void **state)
{
    struct process process = start(UID, GRANT);

    (void)state;
    send_register(process.fd);
    assert_welcome(process.fd);
    close(ask_claims(process.fd));
    close(process.fd);
    process.fd = -1;
    alarm(ANSWER_MS / 1000);
    while (limitsessions_count(sessions).n_connections)
        uv_run(&loop, UV_RUN_ONCE);
    assert_non_null(the_tenant()->claims);
    end(&process);
    while (n_ended == 0)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
    assert_null(the_tenant()->claims);
    assert_int_equal(n_claims_told, 2);
}

/* What the page of before exec says is nobody's. */
static void test_the_newest_connection_has_the_claims(void **state)
{
    const int first = connect_ourselves(GRANT);
    int second;

    (void)state;
    send_register(first);
    assert_welcome(first);
    close(ask_claims(first));
    second = connect_ourselves(GRANT);
    send_register(second);
    assert_welcome(second);
    assert_null(the_tenant()->claims);
    close(ask_claims(second));
    assert_non_null(the_tenant()->claims);
    assert_null(the_tenant()->claims->next);
    close(first);
    close(second);
}

static void test_without_turns_there_are_no_claims(void **state)
{
    const int fd = connect_ourselves(GRANT);

    (void)state;
    limitsessions_set_turns(sessions, false);
    send_register(fd);
    assert_welcome(fd);
    assert_int_equal(ask_claims(fd), -1);
    assert_null(the_tenant()->claims);
    assert_int_equal(reserve(fd, 1).kind, LIMITS_GRANTED); /* it is still connected */
    limitsessions_set_turns(sessions, true);
    close(ask_claims(fd));
    assert_non_null(the_tenant()->claims);
    close(fd);
}

static bool takes_turns(pid_t pid)
{
    const struct account_process *process = account_find(the_tenant()->account, (uint32_t)pid);

    assert_non_null(process);
    return process->takes_turns;
}

/* By what its library says of itself, whether or not it has asked for anything. */
static void test_a_library_that_knows_claims_takes_turns(void **state)
{
    static const struct {
        uint64_t revision;
        bool takes_turns;
    } rows[] = {{1, false}, {2, false}, {3, true}, {LIMITS_REVISION + 1000, true}, {2, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const int fd = connect_ourselves(GRANT); /* the newest one counts */

        send_register_of(fd, rows[i].revision);
        assert_welcome(fd);
        assert_int_equal(takes_turns(getpid()), rows[i].takes_turns);
        close(fd);
    }
}

static void test_a_process_that_goes_on_without_its_connection_takes_turns(void **state)
{
    struct process process = start(UID, GRANT);

    (void)state;
    send_register(process.fd);
    assert_welcome(process.fd);
    close(process.fd);
    process.fd = -1;
    alarm(ANSWER_MS / 1000);
    while (limitsessions_count(sessions).n_connections)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
    assert_true(takes_turns(process.pid));
    end(&process);
}

/* Where there are none now, it asks again. */
static void test_who_is_refused_a_page_of_claims_takes_no_turns(void **state)
{
    const int fd = connect_ourselves(GRANT);
    int page;

    (void)state;
    limitsessions_set_turns(sessions, false);
    send_register(fd);
    assert_welcome(fd);
    assert_int_equal(ask_claims(fd), -1);
    assert_true(takes_turns(getpid()));
    limitsessions_set_turns(sessions, true);
    for (int i = 0; (page = ask_claims(fd)) >= 0; i++) {
        assert_true(takes_turns(getpid()));
        assert_true(i < 100); /* it is given so often, and then no more */
        close(page);
    }
    assert_false(takes_turns(getpid()));
    close(fd);
}

static void test_claims_of_who_is_not_registered_end_the_connection(void **state)
{
    const int fd = connect_ourselves(GRANT);

    (void)state;
    send_request(fd, (struct limits_request){.kind = LIMITS_CLAIMS});
    assert_disconnected(fd);
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_process_of_the_pod_gets_what_its_container_has),
        TEST(test_a_process_of_another_pod_is_refused),
        TEST(test_a_grant_that_is_not_known_yet_is_waited_for),
        TEST(test_a_grant_that_nobody_records_is_refused_in_the_end),
        TEST(test_what_no_library_of_ours_sends_ends_the_connection),
        TEST(test_what_a_process_has_is_free_when_it_ends_and_not_before),
        TEST(test_a_process_that_is_killed_releases_all),
        TEST(test_the_newest_connection_of_a_process_counts),
        TEST(test_the_page_is_answered_for_after_all_that_was_before),
        TEST(test_who_asks_for_the_page_and_goes_on),
        TEST(test_who_asks_for_the_page_and_is_gone),
        TEST(test_who_does_not_read_its_answers_is_disconnected),
        TEST(test_a_mode_is_that_of_the_next_answer),
        TEST(test_a_process_claims_in_a_page_of_its_own),
        TEST(test_who_asks_for_its_page_again_and_again_gets_few_descriptors),
        TEST(test_what_a_process_claimed_goes_when_it_ends_and_not_before),
        TEST(test_the_newest_connection_has_the_claims),
        TEST(test_without_turns_there_are_no_claims),
        TEST(test_a_library_that_knows_claims_takes_turns),
        TEST(test_a_process_that_goes_on_without_its_connection_takes_turns),
        TEST(test_who_is_refused_a_page_of_claims_takes_no_turns),
        TEST(test_claims_of_who_is_not_registered_end_the_connection),
    };

    log_setup_by_name("error", "logfmt");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
