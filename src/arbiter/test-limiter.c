// SPDX-License-Identifier: Apache-2.0

/* A node with one grant: what the driver shows, what its process asks for, and what the limiter
 * reports. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/limiter.h"
#include "arbiter/test-limitsanswer.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "grant/test-tempdir.h"
#include "limits/message.h"

#define UID   "12345678-0000-4000-8000-000000000000"
#define GPU   "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define GRANT "0123456789abcdef"
#define ID    "279f883734e4a78ea025dd9adaff94ffff3a843e4b6b2664eee495475543597b"
#define MIB   (UINT64_C(1) << 20)

enum { LIMIT_MIB = 1000, STRANGER_PID = 4000000, PATIENCE_S = 30 };

static struct gpu gpus[] = {{.uuid = GPU,
                             .model = "NVIDIA A100-SXM4-40GB",
                             .pci_address = "0000:17:00.0",
                             .mem_total_bytes = 4000 * MIB}};
static const struct inventory machine = {.gpus = gpus, .n_gpus = 1};

static uv_loop_t loop;
static struct limiter *limiter;
static struct arbiteroptions options;
static uint32_t share_permille;

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(PATIENCE_S);              \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

/* In the node's root; valid until the next call. */
static const char *in_root(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s%s", tempdir, name);
    return path;
}

static void do_nothing(uv_work_t *work)
{
    (void)work;
}

static void note_turn(uv_work_t *work, int status)
{
    (void)status;
    *(bool *)work->data = true;
}

/* What was queued before has been done: the pool has one thread. */
static void await_pool(void)
{
    bool is_done = false;
    uv_work_t work = {.data = &is_done};

    assert_int_equal(uv_queue_work(&loop, &work, do_nothing, note_turn), 0);
    WAIT_FOR(is_done);
}

static int set_up(void **state)
{
    struct error err = ERROR_INIT;

    share_permille = 250;
    if (tempdir_make(state) < 0 || uv_loop_init(&loop) < 0)
        return -1;
    options = (struct arbiteroptions){.root = tempdir,
                                      .state_dir = "/run/gpuslice",
                                      .has_limits = true,
                                      .limits = LIMITS_OBSERVE};
    if (file_make_directory(in_root("/var/lib/gpuslice/grants/" GRANT), NULL) < 0)
        return -1;
    if (limiter_new(&loop, &options, &limiter, &err) < 0)
        return -1;
    await_pool(); /* it has read that there is no grant */
    return 0;
}

static int tear_down(void **state)
{
    limiter_free(limiter);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? tempdir_remove(state) : -1;
}

/* --- a reading --- */

static void make_records(struct podrecords *records)
{
    struct grant grant = {.id = GRANT, .resource = strdup("nvidia.com/gpu")};
    struct kubeletcheckpoint_entry *entry = calloc(1, sizeof(*entry));

    *records = (struct podrecords)PODRECORDS_INIT;
    assert_non_null(entry);
    snprintf(entry->pod_uid, sizeof(entry->pod_uid), UID);
    snprintf(entry->container, sizeof(entry->container), "main");
    snprintf(entry->grant, sizeof(entry->grant), GRANT);
    records->checkpoint.entries = entry;
    records->checkpoint.n_entries = records->checkpoint.capacity = 1;
    assert_int_equal(grant_add_id(&grant, GPU "::0"), 0);
    assert_int_equal(grant_add_device(&grant, GPU, share_permille, LIMIT_MIB * MIB), 0);
    assert_int_equal(ledger_add(&records->ledger, &grant, 0), 0);
    grant_deinit(&grant);
}

/* The driver shows that process of the pod; 0: none. */
static void take_reading(uint32_t pid, uint64_t mib)
{
    const struct gpu_process process = {
        .pid = pid, .mem_bytes = mib * MIB, .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}};
    const struct audit_owner owner = {
        .pod_uid = UID, .namespace_ = "default", .pod = "trainer", .container = "main"};
    cleanup_audit struct audit audit = AUDIT_INIT;
    struct podrecords records;

    make_records(&records);
    assert_int_equal(audit_begin(&audit, &machine), 0);
    if (pid)
        assert_int_equal(audit_add_process(&audit, 0, &process, &owner), 0);
    audit_end(&audit);
    limiter_take_reading(limiter, &audit, &machine, &records);
}

static void read_driver(uint32_t pid, uint64_t mib)
{
    limiter_begin_reading(limiter);
    take_reading(pid, mib);
}

/* --- what it reports --- */

static void copy_use(const struct limituse *use, void *userdata)
{
    *(struct limituse *)userdata = *use;
}

static struct limituse the_use(void)
{
    struct limituse use = {.pod = NULL};

    limiter_each(limiter, copy_use, &use);
    assert_non_null(use.pod);
    return use;
}

/* --- a process of the pod --- */

struct process {
    pid_t pid;
    int fd;
};

static void send_request(int fd, struct limits_request request)
{
    assert_int_equal(send(fd, &request, sizeof(request), MSG_NOSIGNAL), sizeof(request));
}

/* The page that came along is mapped. */
static struct limits_answer receive(int fd, const struct limits_page **ret_page)
{
    struct limits_answer answer;
    int page = -1;

    WAIT_FOR(limitsanswer_receive(fd, &answer, &page));
    if (ret_page && page >= 0) {
        *ret_page = mmap(NULL, sizeof(**ret_page), PROT_READ, MAP_SHARED, page, 0);
        assert_ptr_not_equal(*ret_page, MAP_FAILED);
    }
    if (page >= 0)
        close(page);
    return answer;
}

static void write_cgroup(pid_t pid)
{
    static const char text[] = "0::/kubepods/pod" UID "/" ID "\n";
    char name[64];

    snprintf(name, sizeof(name), "/proc/%d", pid);
    assert_int_equal(file_make_directory(in_root(name), NULL), 0);
    snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
    assert_int_equal(file_write_atomic(in_root(name), text, strlen(text), 0644, NULL), 0);
}

/* It is connected, by a library of that revision, and waits until it is killed. */
static struct process start_of(uint64_t revision, const struct limits_page **ret_page)
{
    struct process process = {.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path),
             "%s/var/lib/gpuslice/grants/" GRANT "/" LIMITS_SOCKET, tempdir);
    process.pid = fork();
    if (process.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (connect(process.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            _exit(1);
        close(process.fd);
        for (;;)
            pause();
    }
    write_cgroup(process.pid);
    WAIT_FOR(limiter_count(limiter).n_connections == 1);
    send_request(process.fd, (struct limits_request){.kind = LIMITS_REGISTER, .bytes = revision});
    assert_int_equal(receive(process.fd, ret_page).kind, LIMITS_WELCOME);
    return process;
}

static struct process start(const struct limits_page **ret_page)
{
    return start_of(LIMITS_REVISION, ret_page);
}

static void end(const struct process *process)
{
    kill(process->pid, SIGKILL);
    waitpid(process->pid, NULL, 0);
    close(process->fd);
}

static uint32_t reserve(int fd, uint64_t mib)
{
    send_request(fd, (struct limits_request){
                         .kind = LIMITS_RESERVE, .bytes = mib * MIB, .wanted_bytes = mib * MIB});
    return receive(fd, NULL).kind;
}

/* --- cases --- */

static void test_nobody_connects_before_the_driver_was_read(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(limiter_count(limiter).n_sockets, 0);
    read_driver(0, 0);
    assert_int_equal(limiter_count(limiter).n_devices, 1);
    assert_int_equal(limiter_count(limiter).n_sockets, 1);
    assert_int_equal(the_use().limit_bytes, LIMIT_MIB * MIB);
    assert_string_equal(the_use().pod_uid, UID);
    assert_string_equal(the_use().container, "main");
}

static void test_a_mode_holds_at_once(void **state)
{
    const struct limits_page *page = NULL;
    struct process process;

    (void)state;
    read_driver(0, 0);
    process = start(&page);
    assert_int_equal(page->mode, LIMITS_OBSERVE);
    assert_int_equal(reserve(process.fd, LIMIT_MIB + 1), LIMITS_GRANTED);
    assert_int_equal(the_use().n_denied, 1); /* it would have been */
    limiter_set_mode(limiter, LIMITS_ENFORCED);
    assert_int_equal(limiter_get_mode(limiter), LIMITS_ENFORCED);
    assert_int_equal(page->mode, LIMITS_ENFORCED);
    assert_int_equal(reserve(process.fd, 1), LIMITS_DENIED);
    assert_int_equal(the_use().n_denied, 2);
    assert_int_equal(the_use().charged_bytes, page->devices[0].charged_bytes);
    munmap((void *)page, sizeof(*page));
    end(&process);
}

static void test_who_never_connected_is_charged_to_its_container(void **state)
{
    struct process process;

    (void)state;
    limiter_set_mode(limiter, LIMITS_ENFORCED);
    read_driver(0, 0);
    read_driver(STRANGER_PID, LIMIT_MIB - 100);
    assert_int_equal(the_use().charged_bytes, (LIMIT_MIB - 100) * MIB);
    assert_int_equal(the_use().n_processes, 1);
    assert_int_equal(the_use().n_registered, 0);
    assert_string_equal(the_use().namespace_, "default");
    assert_string_equal(the_use().pod, "trainer");
    process = start(NULL);
    assert_int_equal(reserve(process.fd, 101), LIMITS_DENIED);
    assert_int_equal(reserve(process.fd, 99), LIMITS_GRANTED);
    end(&process);
}

/* With a context, that is; what nobody shares is nobody's turn. */
static void test_who_takes_no_part_in_turns_is_counted(void **state)
{
    static const struct {
        uint64_t revision;
        size_t n;
    } rows[] = {{2, 1}, {LIMITS_REVISION, 0}};

    (void)state;
    read_driver(0, 0);
    read_driver(STRANGER_PID, 300);
    assert_int_equal(the_use().n_unenforced_compute, 0);
    limiter_set_compute(limiter, LIMITS_COMPUTE_ELASTIC);
    assert_int_equal(the_use().n_unenforced_compute, 1); /* it has no library */
    read_driver(0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct process process = start_of(rows[i].revision, NULL);

        assert_int_equal(reserve(process.fd, 100), LIMITS_GRANTED);
        assert_int_equal(the_use().n_unenforced_compute, 0);
        read_driver((uint32_t)process.pid, 300);
        assert_int_equal(the_use().n_unenforced_compute, rows[i].n);
        end(&process);
        WAIT_FOR(the_use().n_processes == 0);
    }
}

/* It has no library: none is given with a whole GPU. */
static void test_who_has_a_whole_device_takes_no_turns_and_is_not_counted(void **state)
{
    (void)state;
    share_permille = 1000;
    limiter_set_compute(limiter, LIMITS_COMPUTE_ELASTIC);
    read_driver(0, 0);
    read_driver(STRANGER_PID, 300);
    assert_int_equal(the_use().n_processes, 1);
    assert_int_equal(the_use().n_unenforced_compute, 0);
}

static void test_a_reading_that_never_arrives_changes_nothing(void **state)
{
    (void)state;
    read_driver(0, 0);
    read_driver(STRANGER_PID, 300);
    limiter_begin_reading(limiter);
    assert_int_equal(the_use().charged_bytes, 300 * MIB);
    read_driver(STRANGER_PID, 400);
    assert_int_equal(the_use().charged_bytes, 400 * MIB);
}

/* What the driver showed of it is from before. */
static void test_who_ends_while_the_driver_is_read_is_not_charged_again(void **state)
{
    struct process process;

    (void)state;
    read_driver(0, 0);
    process = start(NULL);
    assert_int_equal(reserve(process.fd, 100), LIMITS_GRANTED);
    limiter_begin_reading(limiter);
    end(&process);
    WAIT_FOR(the_use().n_processes == 0);
    take_reading((uint32_t)process.pid, 100);
    assert_int_equal(the_use().n_processes, 0);
    assert_int_equal(the_use().charged_bytes, 0);
}

static void write_in_root(const char *name, const char *content)
{
    assert_int_equal(file_write_atomic(in_root(name), content, strlen(content), 0644, NULL), 0);
}

static void assert_kernel_limit(const char *value)
{
    cleanup_free char *data = NULL;
    char wanted[64];
    size_t size;

    snprintf(wanted, sizeof(wanted), "nvidia/0000:17:00.0/vidmem %s\n", value);
    assert_int_equal(file_read(in_root("/sys/fs/cgroup/kubepods/pod" UID "/" ID "/dmem.max"), 4096,
                               &data, &size, NULL),
                     0);
    assert_string_equal(data, wanted);
}

static void make_cgroups(void)
{
    static const char *const cgroups[] = {"", "/kubepods", ("/kubepods/pod" UID),
                                          ("/kubepods/pod" UID "/" ID)};

    for (size_t i = 0; i < ARRAY_SIZE(cgroups); i++) {
        char path[256];

        snprintf(path, sizeof(path), "/sys/fs/cgroup%s", cgroups[i]);
        assert_int_equal(file_make_directory(in_root(path), NULL), 0);
        strcat(path, "/cgroup.subtree_control");
        write_in_root(path, "");
    }
    write_in_root("/sys/fs/cgroup/dmem.capacity", "nvidia/0000:17:00.0/vidmem 4194304000\n");
    write_in_root("/sys/fs/cgroup/kubepods/pod" UID "/" ID "/dmem.max", "");
}

static void test_the_kernel_has_the_limit_before_the_process(void **state)
{
    struct process process;

    (void)state;
    options.kernel_limits = true;
    make_cgroups();
    limiter_set_mode(limiter, LIMITS_ENFORCED);
    read_driver(0, 0);
    process = start(NULL);
    assert_kernel_limit("1048576000");
    limiter_set_mode(limiter, LIMITS_OBSERVE);
    assert_kernel_limit("max");
    limiter_set_mode(limiter, LIMITS_ENFORCED);
    assert_kernel_limit("1048576000");
    end(&process);
}

static void test_the_kernel_limits_who_does_not_run_the_library(void **state)
{
    (void)state;
    options.kernel_limits = true;
    make_cgroups();
    write_cgroup(STRANGER_PID);
    limiter_set_mode(limiter, LIMITS_ENFORCED);
    read_driver(STRANGER_PID, 100);
    read_driver(STRANGER_PID, 100);
    assert_kernel_limit("1048576000");
}

static void test_the_end_removes_its_sockets(void **state)
{
    (void)state;
    read_driver(0, 0);
    assert_int_equal(access(in_root("/var/lib/gpuslice/grants/" GRANT "/" LIMITS_SOCKET), F_OK), 0);
    limiter_free(limiter);
    limiter = NULL;
    assert_int_equal(access(in_root("/var/lib/gpuslice/grants/" GRANT "/" LIMITS_SOCKET), F_OK),
                     -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_nobody_connects_before_the_driver_was_read),
        TEST(test_a_mode_holds_at_once),
        TEST(test_who_never_connected_is_charged_to_its_container),
        TEST(test_who_takes_no_part_in_turns_is_counted),
        TEST(test_who_has_a_whole_device_takes_no_turns_and_is_not_counted),
        TEST(test_a_reading_that_never_arrives_changes_nothing),
        TEST(test_who_ends_while_the_driver_is_read_is_not_charged_again),
        TEST(test_the_kernel_has_the_limit_before_the_process),
        TEST(test_the_kernel_limits_who_does_not_run_the_library),
        TEST(test_the_end_removes_its_sockets),
    };

    setenv("UV_THREADPOOL_SIZE", "1", 1);
    log_setup_by_name("error", "logfmt");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
