// SPDX-License-Identifier: Apache-2.0

/*
 * Launches that follow each other, at a gate and into streams as they are, on a driver whose device
 * has done at once what it is given, or nothing. However slow this machine is, a launch may be
 * looked at; what is asserted of numbers holds all the same.
 */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/await.h"
#include "shim/captures.h"
#include "shim/devices.h"
#include "shim/gate.h"
#include "shim/handles.h"
#include "shim/quickpass.h"
#include "shim/test-fake-session.h"

#define MS UINT64_C(1000000)

enum { MANY = 200000, N_THREADS = 4 };

/* --- the session --- */

static struct claims *claimed;

int session_claims(struct claims **ret_claims)
{
    *ret_claims = claimed;
    return 0;
}

void handles_show(struct claims *claims)
{
}

/* --- the driver --- */

static __thread uintptr_t context; /* 1: on the first device, 2: on the second one */
static bool is_behind;             /* the device */
static bool is_opening;            /* the gate, at the next fence */
static unsigned n_fences;
static __thread unsigned n_questions; /* which context it is: what is looked at asks */
static uint64_t n_launched_at_fence;

int devices_slot(const struct cuda_functions *driver, CUdevice device)
{
    return device;
}

static CUresult get_current(CUcontext *ret_context)
{
    n_questions++;
    *ret_context = (CUcontext)(context * 256); /* the test's own name for it */
    return CUDA_SUCCESS;
}

bool devices_current(const struct cuda_functions *driver, CUdevice *ret_device,
                     CUcontext *ret_context)
{
    *ret_device = (CUdevice)context - 1;
    return get_current(ret_context) == CUDA_SUCCESS;
}

static CUresult is_capturing(CUstream stream, CUstreamCaptureStatus *ret_status)
{
    *ret_status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

static CUresult register_host(void *memory, size_t size, unsigned flags)
{
    return CUDA_SUCCESS;
}

static CUresult get_pointer(CUdeviceptr *ret_address, void *memory, unsigned flags)
{
    *ret_address = (uintptr_t)memory;
    return CUDA_SUCCESS;
}

static uint64_t n_launched(void)
{
    return limits_load(claimed->devices[0].n_launched);
}

static CUresult write_value(CUstream stream, CUdeviceptr address, uint32_t value, unsigned flags)
{
    __atomic_add_fetch(&n_fences, 1, __ATOMIC_RELAXED);
    if (!is_behind)
        __atomic_store_n((uint32_t *)(uintptr_t)address, value, __ATOMIC_RELEASE);
    if (is_opening) {
        n_launched_at_fence = n_launched();
        limits_store(page.devices[0].gate, LIMITS_GATE_OPEN);
    }
    return CUDA_SUCCESS;
}

static const struct cuda_functions driver = {
    .cuCtxGetCurrent = get_current,
    .cuStreamIsCapturing = is_capturing,
    .cuMemHostRegister_v2 = register_host,
    .cuMemHostGetDevicePointer_v2 = get_pointer,
    .cuStreamWriteValue32_v2 = write_value,
};

/* --- helpers --- */

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

static bool is_any(CUcontext of, CUdevice on, const void *userdata)
{
    return true;
}

static struct claims *new_claims(void)
{
    void *made = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(made != MAP_FAILED);
    return made;
}

static CUresult launch_with(CUstream stream, CUresult r)
{
    const struct gate_launch at = gate_enter(&driver, stream, false);

    return gate_leave(&driver, at, r);
}

static void launch(CUstream stream)
{
    assert_int_equal(launch_with(stream, CUDA_SUCCESS), CUDA_SUCCESS);
}

static void await(CUstream stream)
{
    const struct await wait = await_stream(&driver, stream, false);

    assert_int_equal(await_end(&wait, CUDA_SUCCESS), CUDA_SUCCESS);
}

static uint32_t n_waits(void)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < CLAIMS_WAIT_BINS; i++)
        n += limits_load(claimed->devices[0].waits[i]);
    return n;
}

/* Until one is not claimed; returns their number. */
static uint64_t launch_quickly(CUstream stream)
{
    const uint64_t end_ns = now_ns() + 60000 * MS, before = n_launched();
    uint64_t n = 0;

    do {
        launch(stream);
        n++;
    } while (n_launched() == before + n && now_ns() < end_ns);
    assert_true(n_launched() < before + n);
    return n;
}

static CUstream stream_of(uintptr_t number)
{
    return (CUstream)(number * 64);
}

static int set_up(void **state)
{
    memset(&page, 0, sizeof(page));
    may_claim = true;
    page.n_devices = 1;
    page.devices[0].compute = page.devices[1].compute = LIMITS_COMPUTE_ELASTIC;
    claimed = new_claims();
    context = 1;
    is_behind = is_opening = false;
    quickpass_claim_all();
    assert_true(lanes_start());
    lanes_end_contexts(is_any, NULL);
    n_fences = n_questions = 0;
    return 0;
}

/* --- tests --- */

/* Of a stream of which the driver would have to be asked for the context. */
static void test_few_of_many_are_looked_at(void **state)
{
    const uint64_t n_before = launch_quickly(NULL);

    n_questions = 0;
    for (uint64_t i = 1; i <= MANY; i++) {
        launch(NULL);
        assert_in_range(n_before + i - n_launched(), 0, QUICKPASS_MOST);
    }
    assert_true(n_questions < MANY / 2);
    await(NULL);
    assert_int_equal(n_launched(), n_before + MANY);
}

static void test_all_are_looked_at_while_the_device_is_behind(void **state)
{
    const uint64_t n_before = launch_quickly(NULL), begin_ns = now_ns();
    uint64_t n = 0;

    await(NULL);
    is_behind = true;
    while (now_ns() < begin_ns + 2 * MS) /* a fence is due */
        ;
    n_fences = n_questions = 0;
    launch(NULL);
    assert_int_equal(n_fences, 1); /* at once, after a pause */
    for (n = 1; n < 1000; n++) {
        assert_int_equal(n_launched(), n_before + n);
        launch(NULL);
    }
    assert_true(n_questions >= n);
}

static void test_who_waits_for_each_launch_claims_each(void **state)
{
    const uint64_t n = launch_quickly(stream_of(1));

    await(stream_of(1));
    for (unsigned i = 1; i <= 1000; i++) {
        launch(stream_of(1));
        assert_int_equal(n_launched(), n + i);
        await(stream_of(1));
    }
}

/* What was counted is claimed before the thread waits. */
static void test_a_gate_that_closes_is_seen_by_the_next_launch(void **state)
{
    static const uint32_t gates[] = {LIMITS_GATE_CLOSED, LIMITS_GATE_TURN};

    for (size_t i = 0; i < sizeof(gates) / sizeof(*gates); i++) {
        const uint64_t n = n_launched() + launch_quickly(stream_of(1));

        is_opening = true;
        page.beat_ms = (uint32_t)(now_ns() / MS) + 900;
        page.devices[0].turn_end_ns = 1;
        limits_store(page.devices[0].gate, gates[i]);
        launch(stream_of(1));
        is_opening = false;
        assert_int_equal(n_launched_at_fence, n);
        assert_int_equal(n_launched(), n + 1);
        assert_int_equal(n_waits(), i + 1);
    }
}

static void test_a_launch_that_failed_is_not_counted(void **state)
{
    const uint64_t n = launch_quickly(NULL);

    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(launch_with(NULL, CUDA_ERROR_INVALID_VALUE), CUDA_ERROR_INVALID_VALUE);
    await(NULL);
    assert_int_equal(n_launched(), n);
}

static void test_what_is_captured_is_not_counted(void **state)
{
    const uint64_t n = launch_quickly(NULL);

    assert_true(captures_begin(CU_STREAM_LEGACY));
    lanes_settle();
    n_questions = 0;
    for (unsigned i = 0; i < 10; i++)
        launch(stream_of(2));
    assert_int_equal(n_launched(), n + 9); /* one of those before is not claimed yet */
    captures_end(CU_STREAM_LEGACY);
    await(NULL);
    assert_int_equal(n_launched(), n + 10);
}

static void test_calls_from_streams_are_looked_at(void **state)
{
    const uint64_t n = launch_quickly(NULL);

    gate_begin_call();
    assert_int_equal(n_launched(), n);
    for (unsigned i = 1; i <= 10; i++) {
        launch(NULL);
        assert_int_equal(n_launched(), n + i);
    }
    gate_end_call();
}

/* Its lane may be another stream's by now. */
static void test_what_went_into_a_stream_that_ended_is_claimed(void **state)
{
    const uint64_t n = launch_quickly(stream_of(1));

    lanes_end_stream(&driver, stream_of(1));
    launch(stream_of(1));
    assert_int_equal(n_launched(), n + 1);
}

static void test_streams_are_counted_each_by_itself(void **state)
{
    uint64_t n = launch_quickly(stream_of(1));

    for (uintptr_t i = 0; i < MANY; i++, n++)
        launch(stream_of(1 + i % 7));
    await_all(&driver);
    assert_int_equal(n_launched(), n);
}

/* The same stream is another one in another context, with another gate. */
static void test_a_context_of_another_device_has_its_gate(void **state)
{
    uint64_t n;

    page.n_devices = 2;
    n = launch_quickly(NULL);
    context = 2;
    launch(NULL);
    assert_int_equal(n_launched(), n);
    assert_int_equal(limits_load(claimed->devices[1].n_launched), 1);
}

static void test_a_child_claims_its_own_launches_alone(void **state)
{
    const uint64_t n = launch_quickly(NULL);
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        claimed = new_claims();
        launch(NULL);
        await(NULL);
        _exit(n_launched() == 1 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    await(NULL);
    assert_int_equal(n_launched(), n);
}

static void *launch_many(void *stream)
{
    context = 1;
    for (unsigned i = 0; i < MANY; i++)
        launch(stream);
    await(stream);
    return NULL;
}

static void test_threads_share_a_stream(void **state)
{
    pthread_t threads[N_THREADS];

    for (unsigned i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, launch_many, stream_of(1)), 0);
    for (unsigned i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n_launched(), N_THREADS * MANY);
    assert_in_range(limits_load(claimed->devices[0].n_done), 0, N_THREADS * MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_few_of_many_are_looked_at, set_up),
        cmocka_unit_test_setup(test_all_are_looked_at_while_the_device_is_behind, set_up),
        cmocka_unit_test_setup(test_who_waits_for_each_launch_claims_each, set_up),
        cmocka_unit_test_setup(test_a_gate_that_closes_is_seen_by_the_next_launch, set_up),
        cmocka_unit_test_setup(test_a_launch_that_failed_is_not_counted, set_up),
        cmocka_unit_test_setup(test_what_is_captured_is_not_counted, set_up),
        cmocka_unit_test_setup(test_calls_from_streams_are_looked_at, set_up),
        cmocka_unit_test_setup(test_what_went_into_a_stream_that_ended_is_claimed, set_up),
        cmocka_unit_test_setup(test_streams_are_counted_each_by_itself, set_up),
        cmocka_unit_test_setup(test_a_context_of_another_device_has_its_gate, set_up),
        cmocka_unit_test_setup(test_a_child_claims_its_own_launches_alone, set_up),
        cmocka_unit_test_setup(test_threads_share_a_stream, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
