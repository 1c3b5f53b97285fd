// SPDX-License-Identifier: Apache-2.0

/*
 * Processes that share devices. What is asserted is the device's own account, which does not depend
 * on how soon this machine runs a process.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "gpu/nvml-abi.h"
#include "nvml/state.h"
#include "shim/cuda-abi.h"

enum { DEADLINE_MS = 120000, LONG_US = 600000000 /* never done in a test */ };

#define MS UINT64_C(1000000)

static struct {
#define CUDA_CALL(name, asked, since, variant, arguments, values) CUresult(*name) arguments;
#define CUDA_SAME(name, other, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
} cu;

static struct state_file machine = STATE_FILE_INIT;

/* A process that does what it is sent. */
struct worker {
    pid_t pid;
    int to, from;
    unsigned gpu;
};

/* What a worker can do: launch `n` kernels in each of so many streams, wait, and more. */
struct order {
    enum {
        ORDER_CONTEXT,
        ORDER_LAUNCH,
        ORDER_SYNCHRONISE,
        ORDER_REGISTER,
        ORDER_WRITE,
        ORDER_WAIT
    } kind;
    unsigned n_streams, n, us;
    uint32_t value;
};

static uint32_t *page; /* of a memfd: this process and its workers share it */

/* In the worker. */
static CUstream streams[4];
static CUfunction spin;

static CUresult begin_context(unsigned gpu)
{
    CUcontext context;
    CUmodule module;
    CUresult r = cu.cuInit(0);

    if (r == CUDA_SUCCESS)
        r = cu.cuCtxCreate_v2(&context, 0, (CUdevice)gpu);
    if (r == CUDA_SUCCESS)
        r = cu.cuModuleLoadData(&module, "any image");
    if (r == CUDA_SUCCESS)
        r = cu.cuModuleGetFunction(&spin, module, "spin_us");
    for (unsigned i = 0; r == CUDA_SUCCESS && i < 4; i++)
        r = cu.cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING);
    return r;
}

static CUresult launch(const struct order *order)
{
    unsigned us = order->us;
    void *parameters[] = {&us};
    CUresult r = CUDA_SUCCESS;

    for (unsigned i = 0; i < order->n_streams; i++)
        for (unsigned k = 0; k < order->n && r == CUDA_SUCCESS; k++)
            r = cu.cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, streams[i], parameters, NULL);
    return r;
}

static CUresult carry_out(const struct order *order, unsigned gpu)
{
    CUdeviceptr address = 0;

    switch (order->kind) {
    case ORDER_CONTEXT:
        return begin_context(gpu);
    case ORDER_LAUNCH:
        return launch(order);
    case ORDER_SYNCHRONISE:
        return cu.cuCtxSynchronize();
    case ORDER_REGISTER:
        return cu.cuMemHostRegister_v2(page, 4096, 3);
    default:
        if (cu.cuMemHostGetDevicePointer_v2(&address, page, 0) != CUDA_SUCCESS)
            return CUDA_ERROR_INVALID_VALUE;
        return order->kind == ORDER_WRITE
                   ? cu.cuStreamWriteValue32_v2(streams[0], address, order->value, 0)
                   : cu.cuStreamWaitValue32_v2(streams[0], address, order->value,
                                               CU_STREAM_WAIT_VALUE_GEQ);
    }
}

static void work(int orders, int answers, unsigned gpu)
{
    struct order order;

    while (read(orders, &order, sizeof(order)) == sizeof(order)) {
        CUresult r = carry_out(&order, gpu);

        if (write(answers, &r, sizeof(r)) != sizeof(r))
            break;
    }
    _exit(0);
}

static void send_order(struct worker *w, struct order order)
{
    assert_int_equal(write(w->to, &order, sizeof(order)), sizeof(order));
}

static CUresult answer(struct worker *w)
{
    struct pollfd ready = {.fd = w->from, .events = POLLIN};
    CUresult r = CUDA_ERROR_UNKNOWN;

    assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
    assert_int_equal(read(w->from, &r, sizeof(r)), sizeof(r));
    return r;
}

static void tell(struct worker *w, struct order order)
{
    send_order(w, order);
    assert_int_equal(answer(w), CUDA_SUCCESS);
}

static void add_context(struct worker *w)
{
    tell(w, (struct order){.kind = ORDER_CONTEXT});
}

static struct worker start(unsigned gpu)
{
    int orders[2], answers[2];
    struct worker w = {.gpu = gpu};

    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(answers), 0);
    w.pid = fork();
    if (w.pid == 0) {
        close(orders[1]);
        close(answers[0]);
        work(orders[0], answers[1], gpu);
    }
    close(orders[0]);
    close(answers[1]);
    w.to = orders[1];
    w.from = answers[0];
    add_context(&w);
    return w;
}

static void end(struct worker *w)
{
    kill(w->pid, SIGKILL);
    assert_int_equal(waitpid(w->pid, NULL, 0), w->pid);
    close(w->to);
    close(w->from);
}

/* So many kernels, in each of so many streams. */
static void queue(struct worker *w, unsigned n_streams, unsigned n, unsigned us)
{
    tell(w, (struct order){.kind = ORDER_LAUNCH, .n_streams = n_streams, .n = n, .us = us});
}

static void synchronise(struct worker *w)
{
    tell(w, (struct order){.kind = ORDER_SYNCHRONISE});
}

/* The account of a worker's n-th context; of one that has none yet, all zero. */
static struct timeslice_context account(const struct timeslices *record, const struct worker *w,
                                        unsigned n)
{
    for (unsigned i = 0; i < record->n_contexts; i++)
        if (record->contexts[i].client &&
            atomic_load(&machine.state->processes[record->contexts[i].slot].pid) ==
                (unsigned)w->pid &&
            record->contexts[i].number == n + 1)
            return record->contexts[i];
    return (struct timeslice_context){0};
}

static struct timeslices now(unsigned gpu)
{
    struct timeslices record;

    (void)timeshare_read(&machine.state->shares[gpu], &record);
    return record;
}

/* The first record in which a context has received so much. */
static struct timeslices once_received(const struct worker *w, unsigned n, uint64_t ns)
{
    const uint64_t deadline = clock_now_ms() + DEADLINE_MS;
    struct timeslices record = now(w->gpu);

    while (account(&record, w, n).received_ns < ns) {
        assert_true(clock_now_ms() < deadline);
        poll(NULL, 0, 1);
        record = now(w->gpu);
    }
    return record;
}

static uint64_t gained(const struct timeslices *before, const struct timeslices *after,
                       const struct worker *w, unsigned n)
{
    return account(after, w, n).received_ns - account(before, w, n).received_ns;
}

/* Within a slice: one of them may be in the middle of it. */
static void assert_same_time(uint64_t a, uint64_t b)
{
    assert_in_range(a > b ? a - b : b - a, 0, TIMESLICE_SLICE_US * 1000);
}

static void test_backlogged_processes_get_equal_time(void **state)
{
    struct worker a = start(0), b = start(0);
    struct timeslices before, after;

    queue(&a, 1, 1, LONG_US);
    queue(&b, 1, 1, LONG_US);
    before = now(0);
    after = once_received(&b, 0, account(&before, &b, 0).received_ns + 60 * MS);
    assert_same_time(gained(&before, &after, &a, 0), gained(&before, &after, &b, 0));
    assert_true(after.switch_ns - before.switch_ns >= 50 * TIMESLICE_PREEMPT_US * 1000);
    end(&a);
    end(&b);
}

/* Neither more streams nor more kernels are more time; a second context is. */
static void test_time_is_shared_by_contexts(void **state)
{
    struct worker a = start(0), b = start(0), c = start(0);
    struct timeslices before, after;

    queue(&a, 1, 1, LONG_US);
    queue(&b, 3, 400, 1000);
    queue(&c, 1, 1, LONG_US);
    add_context(&c);
    queue(&c, 1, 1, LONG_US);
    before = now(0);
    after = once_received(&a, 0, account(&before, &a, 0).received_ns + 60 * MS);
    assert_same_time(gained(&before, &after, &a, 0), gained(&before, &after, &b, 0));
    assert_same_time(gained(&before, &after, &a, 0), gained(&before, &after, &c, 0));
    assert_same_time(gained(&before, &after, &a, 0), gained(&before, &after, &c, 1));
    end(&a);
    end(&b);
    end(&c);
}

/* Slices of others between a launch and its begin: one of each, however long they have been there.
 */
static void test_light_waits_for_a_slice_of_each_heavy_one(void **state)
{
    enum { HEAVY = 3, BURSTS = 5 };
    struct worker heavy[HEAVY], light = start(0);
    struct timeslices record;

    for (unsigned i = 0; i < HEAVY; i++) {
        heavy[i] = start(0);
        queue(&heavy[i], 1, 1, LONG_US);
    }
    for (unsigned burst = 1; burst <= BURSTS; burst++) {
        queue(&light, 1, 1, 70);
        synchronise(&light);
        record = now(0);
        assert_int_equal(account(&record, &light, 0).received_ns, burst * 70000);
        assert_int_equal(account(&record, &light, 0).n_foreign, burst * HEAVY);
        assert_int_equal(account(&record, &light, 0).n_slices, burst);
    }
    end(&light);
    for (unsigned i = 0; i < HEAVY; i++)
        end(&heavy[i]);
}

/* The other one soon has the device for itself, without a change. */
static void test_slices_of_a_killed_process_go_on(void **state)
{
    struct worker a = start(0), b = start(0);
    struct timeslices before, after;

    queue(&a, 1, 1, LONG_US);
    queue(&b, 1, 1, LONG_US);
    before = now(0);
    (void)once_received(&a, 0, account(&before, &a, 0).received_ns + 5 * MS);
    end(&a);
    do {
        before = now(0);
        after = once_received(&b, 0, account(&before, &b, 0).received_ns + 30 * MS);
    } while (after.switch_ns > before.switch_ns);
    assert_int_equal(gained(&before, &after, &b, 0), after.busy_ns - before.busy_ns);
    assert_int_equal(after.now_ns - before.now_ns, after.busy_ns - before.busy_ns);
    end(&b);
}

/* What a stopped process gave to the device is done, and nothing after it; others go on. */
static void test_a_stopped_process_holds_up_nobody(void **state)
{
    enum { KERNELS = 40 };
    struct worker a = start(0), b = start(0);
    struct timeslices record;

    queue(&b, 1, 1, LONG_US);
    queue(&a, 1, KERNELS, 1000);
    kill(a.pid, SIGSTOP);
    record = once_received(&a, 0, KERNELS * MS);
    assert_int_equal(account(&record, &a, 0).received_ns, KERNELS * MS);
    record = once_received(&b, 0, account(&record, &b, 0).received_ns + 30 * MS);
    assert_int_equal(account(&record, &a, 0).received_ns, KERNELS * MS);
    queue(&b, 2, 1, 1000);
    kill(a.pid, SIGCONT);
    synchronise(&a);
    end(&a);
    end(&b);
}

/* No change after the first, no time that it did not ask for, and no lock of the machine. */
static void test_one_alone_pays_nothing(void **state)
{
    enum { KERNELS = 30 };
    struct worker a = start(2);
    struct timeslices record;

    state_lock(&machine);
    for (unsigned i = 0; i < KERNELS; i++) {
        queue(&a, 1, 1, 200);
        synchronise(&a);
    }
    state_unlock(&machine);
    record = now(2);
    assert_int_equal(account(&record, &a, 0).received_ns, KERNELS * 200000);
    assert_int_equal(record.switch_ns, TIMESLICE_SWITCH_US * 1000);
    assert_int_equal(account(&record, &a, 0).n_foreign, 0);
    end(&a);
}

static void test_devices_do_not_depend_on_each_other(void **state)
{
    struct worker a = start(3), b = start(4);
    struct timeslices record;

    queue(&a, 1, 1, LONG_US);
    queue(&b, 1, 1, LONG_US);
    (void)once_received(&a, 0, 20 * MS);
    record = once_received(&b, 0, 20 * MS);
    assert_int_equal(record.switch_ns, TIMESLICE_SWITCH_US * 1000);
    record = now(3);
    assert_int_equal(record.switch_ns, TIMESLICE_SWITCH_US * 1000);
    end(&a);
    end(&b);
}

static bool says(const char *wanted)
{
    char line[4096], *text = NULL;
    size_t size = 0;
    FILE *pipe_in;
    bool found;

    snprintf(line, sizeof(line), "%s state -o json", getenv("GPUSLICE_TEST_SIM"));
    pipe_in = popen(line, "r");
    assert_non_null(pipe_in);
    assert_true(getdelim(&text, &size, '\0', pipe_in) > 0);
    assert_int_equal(pclose(pipe_in), 0);
    found = strstr(text, wanted);
    free(text);
    return found;
}

/* Streams of one context run side by side: 30 ms each, and 30 in sum. */
static void test_the_tool_tells_time_and_kernels(void **state)
{
    struct worker a = start(5);
    char wanted[200];

    queue(&a, 3, 10, 3000);
    synchronise(&a);
    snprintf(wanted, sizeof(wanted), "{\"gpu\": 5, \"pid\": %d, \"kind\": \"compute\", ", a.pid);
    assert_true(says(wanted));
    if (!says("\"received_us\": 30000, \"kernels\": 30, ")) /* or they were queued that late */
        assert_true(now(5).busy_ns > 30 * MS && says("\"kernels\": 30, "));
    end(&a);
}

static unsigned nvml_percent(unsigned gpu)
{
    void *nvml = dlopen(getenv("GPUSLICE_TEST_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    nvmlReturn_t (*init)(void) = (nvmlReturn_t(*)(void))dlsym(nvml, "nvmlInit_v2");
    nvmlReturn_t (*get)(unsigned, nvmlDevice_t *) =
        (nvmlReturn_t(*)(unsigned, nvmlDevice_t *))dlsym(nvml, "nvmlDeviceGetHandleByIndex_v2");
    nvmlReturn_t (*rates)(nvmlDevice_t, nvmlUtilization_t *) =
        (nvmlReturn_t(*)(nvmlDevice_t, nvmlUtilization_t *))dlsym(nvml,
                                                                  "nvmlDeviceGetUtilizationRates");
    nvmlUtilization_t utilization = {999, 999};
    nvmlDevice_t device;

    assert_int_equal(init(), NVML_SUCCESS);
    assert_int_equal(get(gpu, &device), NVML_SUCCESS);
    assert_int_equal(rates(device, &utilization), NVML_SUCCESS);
    return utilization.gpu;
}

/* Of a device, by any process; not before it did anything, nor long after. */
static void test_nvml_shows_the_busy_share(void **state)
{
    const uint64_t deadline = clock_now_ms() + DEADLINE_MS;
    struct worker a = start(1);

    assert_int_equal(nvml_percent(1), 0);
    queue(&a, 1, 1, LONG_US);
    (void)once_received(&a, 0, 2 * TIMESLICE_SAMPLE_MS * MS);
    assert_int_equal(nvml_percent(1), 100);
    assert_int_equal(nvml_percent(2), 0);
    end(&a);
    assert_int_equal(nvml_percent(1), 0); /* killed */
    a = start(1);
    queue(&a, 1, 1, 100);
    while (nvml_percent(1) > 0 && clock_now_ms() < deadline)
        poll(NULL, 0, 10);
    assert_int_equal(nvml_percent(1), 0);
    end(&a);
}

static uint32_t seen(void)
{
    return __atomic_load_n(page, __ATOMIC_ACQUIRE);
}

/* The device writes it behind the kernel, and this process, which has no context, sees it. */
static void test_fences_are_seen_by_another_process(void **state)
{
    const uint64_t deadline = clock_now_ms() + DEADLINE_MS;
    struct worker a = start(6);
    struct timeslices record;

    __atomic_store_n(page, 0, __ATOMIC_RELEASE);
    tell(&a, (struct order){.kind = ORDER_REGISTER});
    for (uint32_t i = 1; i <= 3; i++) {
        queue(&a, 1, 4, 5000);
        tell(&a, (struct order){.kind = ORDER_WRITE, .value = i});
    }
    for (uint32_t i = 1; i <= 3; i++) {
        while (seen() < i && clock_now_ms() < deadline)
            poll(NULL, 0, 1);
        record = now(6);
        assert_true(seen() >= i);
        assert_true(account(&record, &a, 0).received_ns >= i * 20 * MS);
    }
    end(&a);
}

/* Nor does what is behind it reach the device before. */
static void test_a_stream_waits_for_a_value_of_another_process(void **state)
{
    struct worker a = start(7);
    struct timeslices record;

    __atomic_store_n(page, 0, __ATOMIC_RELEASE);
    tell(&a, (struct order){.kind = ORDER_REGISTER});
    tell(&a, (struct order){.kind = ORDER_WAIT, .value = 5});
    queue(&a, 1, 2, 1000);
    send_order(&a, (struct order){.kind = ORDER_SYNCHRONISE});
    __atomic_store_n(page, 4, __ATOMIC_RELEASE);
    poll(NULL, 0, 20); /* it has the time to do it wrong */
    record = now(7);
    assert_int_equal(account(&record, &a, 0).wanted_ns, 0);
    __atomic_store_n(page, 5, __ATOMIC_RELEASE);
    assert_int_equal(answer(&a), CUDA_SUCCESS);
    record = now(7);
    assert_int_equal(account(&record, &a, 0).received_ns, 2 * MS);
    end(&a);
}

static int map_page(void)
{
    int fd = memfd_create("fence", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4096), 0);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    return close(fd);
}

static int setup(void **state)
{
    void *cuda = dlopen(getenv("GPUSLICE_TEST_CUDA"), RTLD_NOW | RTLD_LOCAL);
    char path[] = "/tmp/test-engine-XXXXXX";

    assert_non_null(cuda);
    assert_int_equal(close(mkstemp(path)), 0);
    setenv("GPUSLICE_SIM_STATE", path, 1);
    setenv("GPUSLICE_MACHINE", "p5en.48xlarge", 1);
    *state = strdup(path);
#define CUDA_CALL(name, asked, since, variant, arguments, values) \
    cu.name = (CUresult(*) arguments)dlsym(cuda, #name);
#define CUDA_SAME(name, other, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
    assert_int_equal(state_open("p5en.48xlarge", NULL, &machine, NULL), 0);
    signal(SIGPIPE, SIG_IGN);
    return map_page();
}

static int teardown(void **state)
{
    char clients[80];

    snprintf(clients, sizeof(clients), "%s.clients", (char *)*state);
    unlink(clients);
    unlink(*state);
    free(*state);
    state_close(&machine);
    return munmap(page, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backlogged_processes_get_equal_time),
        cmocka_unit_test(test_time_is_shared_by_contexts),
        cmocka_unit_test(test_light_waits_for_a_slice_of_each_heavy_one),
        cmocka_unit_test(test_slices_of_a_killed_process_go_on),
        cmocka_unit_test(test_a_stopped_process_holds_up_nobody),
        cmocka_unit_test(test_one_alone_pays_nothing),
        cmocka_unit_test(test_devices_do_not_depend_on_each_other),
        cmocka_unit_test(test_the_tool_tells_time_and_kernels),
        cmocka_unit_test(test_nvml_shows_the_busy_share),
        cmocka_unit_test(test_fences_are_seen_by_another_process),
        cmocka_unit_test(test_a_stream_waits_for_a_value_of_another_process),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
