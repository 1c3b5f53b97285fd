// SPDX-License-Identifier: Apache-2.0

/*
 * Streams and their lanes, on a driver whose streams do what they are given when the test says so.
 */

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/captures.h"
#include "shim/devices.h"
#include "shim/handles.h"
#include "shim/lanes.h"
#include "shim/session.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum { WRITES_MAX = 4096 };

/* --- the session --- */

static struct claims *claims;
static int answer;

int session_claims(struct claims **ret_claims)
{
    *ret_claims = claims;
    return answer;
}

static const struct claims *named; /* the page that handles are named in */

void handles_show(struct claims *page)
{
    named = page;
}

int session_position(int slot)
{
    return slot;
}

int devices_slot(const struct cuda_functions *driver, CUdevice device)
{
    return device < 2 ? device : SESSION_NO_SLOT;
}

/* --- the driver --- */

static CUcontext context;
static CUdevice device;
static CUresult of_writes, of_registrations;
static CUstreamCaptureStatus capture;
static unsigned n_registrations;

static struct {
    uint32_t *to;
    uint32_t value;
    CUstream stream;
} writes[WRITES_MAX];
static unsigned n_writes;

bool devices_current(const struct cuda_functions *driver, CUdevice *ret_device,
                     CUcontext *ret_context)
{
    *ret_device = device;
    *ret_context = context;
    return context;
}

static CUresult get_current(CUcontext *ret_context)
{
    *ret_context = context;
    return CUDA_SUCCESS;
}

static CUresult is_capturing(CUstream stream, CUstreamCaptureStatus *ret_status)
{
    *ret_status = capture;
    return CUDA_SUCCESS;
}

/* What is registered is of the context that is current then, and ends with it. */
static struct {
    char *memory;
    CUcontext context;
} registered[WRITES_MAX];

static CUresult register_host(void *memory, size_t size, unsigned flags)
{
    assert_true(size == CLAIMS_SIZE && flags == 3);
    registered[n_registrations].memory = memory;
    registered[n_registrations++].context = context;
    return of_registrations;
}

static bool is_registered(const uint32_t *word, CUcontext in)
{
    for (unsigned i = 0; i < n_registrations; i++)
        if (registered[i].context == in && (const char *)word >= registered[i].memory &&
            (const char *)word < registered[i].memory + CLAIMS_SIZE)
            return true;
    return false;
}

static CUresult get_pointer(CUdeviceptr *ret_address, void *memory, unsigned flags)
{
    *ret_address = (uintptr_t)memory;
    return CUDA_SUCCESS;
}

/* A call that takes a while, unless something happens meanwhile that must not. */
static bool is_slow, is_overtaken;
static sem_t begun, overtaken;

static void take_a_while(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (until.tv_nsec + 100 * (long)MS) / 1000000000;
    until.tv_nsec = (until.tv_nsec + 100 * (long)MS) % 1000000000;
    is_slow = false;
    sem_post(&begun);
    is_overtaken = sem_timedwait(&overtaken, &until) == 0;
}

static CUresult write_value(CUstream stream, CUdeviceptr address, uint32_t value, unsigned flags)
{
    if (is_slow)
        take_a_while();
    if (of_writes != CUDA_SUCCESS)
        return of_writes;
    assert_true(n_writes < WRITES_MAX);
    writes[n_writes].to = (uint32_t *)(uintptr_t)address;
    writes[n_writes].stream = stream;
    writes[n_writes++].value = value;
    return CUDA_SUCCESS;
}

static const struct cuda_functions driver = {
    .cuCtxGetCurrent = get_current,
    .cuStreamIsCapturing = is_capturing,
    .cuMemHostRegister_v2 = register_host,
    .cuMemHostGetDevicePointer_v2 = get_pointer,
    .cuStreamWriteValue32_v2 = write_value,
};

static void do_all(void)
{
    for (unsigned i = 0; i < n_writes; i++)
        *writes[i].to = writes[i].value;
    n_writes = 0;
}

/* --- helpers --- */

static uint64_t now_ns = 1000 * MS;

static CUcontext context_of(uintptr_t number)
{
    return (CUcontext)(number * 256); /* the test's own name for it */
}

static CUstream stream_of(uintptr_t number)
{
    return (CUstream)(number * 64);
}

static bool is_any(CUcontext of, CUdevice on, const void *userdata)
{
    return true;
}

static void *new_claims(void)
{
    void *page = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(page != MAP_FAILED);
    return page;
}

static int set_up(void **state)
{
    context = context_of(1);
    device = 0;
    of_writes = of_registrations = CUDA_SUCCESS;
    capture = CU_STREAM_CAPTURE_STATUS_NONE;
    n_writes = n_registrations = 0;
    claims = new_claims();
    answer = 0;
    assert_true(lanes_start());
    lanes_end_contexts(is_any, NULL);
    return 0;
}

static struct lane *launch(CUstream stream)
{
    struct lane *lane = lanes_find(&driver, stream, false);

    now_ns += 1000;
    assert_non_null(lane);
    lanes_launched(&driver, lane, now_ns);
    return lane;
}

static unsigned n_busy(int position)
{
    unsigned n = 0;

    for (unsigned i = 0; i < CLAIMS_LANES; i++)
        n += claims->devices[position].lanes[i].fence != claims->devices[position].lanes[i].done;
    return n;
}

static const struct claims_lane *words(const struct lane *lane)
{
    return &claims->devices[lane->slot].lanes[lane->number];
}

/* --- fences --- */

static void test_a_fence_each_100_us(void **state)
{
    struct lane *lane = launch(stream_of(1));

    assert_int_equal(n_writes, 1);
    assert_true(words(lane)->fence == 1 && words(lane)->done == 0);
    for (unsigned i = 0; i < 99; i++)
        launch(stream_of(1));
    assert_int_equal(n_writes, 1);
    launch(stream_of(1));
    assert_int_equal(n_writes, 2);
    assert_true(words(lane)->fence == 2 && words(lane)->done == 0);
    do_all();
    assert_int_equal(n_busy(0), 0);
    assert_int_equal(n_registrations, 1);
}

static void test_a_tail_is_fenced_once(void **state)
{
    struct lane *lane = launch(stream_of(1));

    lanes_fence(&driver, lane, now_ns);
    assert_int_equal(n_writes, 1);
    launch(stream_of(1));
    lanes_fence(&driver, lane, now_ns);
    lanes_fence(&driver, lane, now_ns);
    lanes_fence_all(&driver, now_ns);
    assert_int_equal(n_writes, 2);
}

static void test_all_streams_of_the_context_are_fenced(void **state)
{
    for (uintptr_t i = 1; i <= 3; i++) {
        launch(stream_of(i));
        launch(stream_of(i));
    }
    context = context_of(2);
    launch(stream_of(9));
    launch(stream_of(9));
    n_writes = 0;
    lanes_fence_all(&driver, now_ns);
    assert_int_equal(n_writes, 1);
    context = context_of(1);
    lanes_fence_all(&driver, now_ns);
    assert_int_equal(n_writes, 4);
}

static void test_nothing_is_put_into_a_capture(void **state)
{
    struct lane *lane;

    capture = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    lane = launch(stream_of(1));
    assert_int_equal(n_writes, 0);
    capture = CU_STREAM_CAPTURE_STATUS_NONE;
    assert_true(captures_begin(stream_of(2)) && !captures_begin(stream_of(2)));
    now_ns += MS;
    launch(stream_of(1));
    lanes_fence(&driver, lane, now_ns);
    lanes_fence_all(&driver, now_ns);
    assert_int_equal(n_writes, 0);
    captures_end(stream_of(2));
    captures_end(stream_of(2));
    assert_false(captures_are_there());
    lanes_fence_all(&driver, now_ns);
    assert_int_equal(n_writes, 1);
}

/* The legacy stream waits for the blocking ones, and they for it: a fence that the program does not
 * know of would make one of them wait for another. */
static void test_a_fence_makes_no_streams_wait_for_each_other(void **state)
{
    launch(NULL);
    launch(NULL);
    launch(stream_of(1));
    n_writes = 0;
    lanes_fence_all(&driver, now_ns);
    assert_int_equal(n_writes, 0);
    lanes_end_contexts(is_any, NULL);
    launch(NULL);
    launch(NULL);
    lanes_fence_all(&driver, now_ns); /* alone it is fenced */
    assert_int_equal(n_writes, 2);
}

/* --- what has no fence --- */

static void test_streams_with_something_new(void **state)
{
    struct lane *lane, *found = NULL;

    assert_int_equal(lanes_find_new(&driver, NULL, &found), 0);
    lane = launch(stream_of(1));
    assert_int_equal(lanes_find_new(&driver, NULL, &found), 0); /* a fence is behind it */
    launch(stream_of(1));
    assert_int_equal(lanes_find_new(&driver, NULL, &found), 1);
    assert_ptr_equal(found, lane);
    launch(stream_of(2));
    launch(stream_of(2));
    assert_int_equal(lanes_find_new(&driver, NULL, &found), 2);
    assert_int_equal(lanes_find_new(&driver, stream_of(1), &found), 1);
    assert_ptr_equal(found, lane);
    assert_int_equal(lanes_find_new(&driver, stream_of(3), &found), 0);
    context = context_of(2);
    assert_int_equal(lanes_find_new(&driver, NULL, &found), 0);
    context = context_of(1);
    lanes_fence_all(&driver, now_ns);
    assert_int_equal(lanes_find_new(&driver, NULL, &found), 0);
}

static void test_what_was_launched_long_ago_is_at_work_no_more(void **state)
{
    struct lane *found = NULL, *lane = launch(stream_of(1));

    launch(stream_of(1));
    now_ns += 49 * MS;
    assert_int_equal(lanes_find_recent(&driver, NULL, now_ns, &found), 1);
    assert_ptr_equal(found, lane);
    now_ns += 2 * MS;
    assert_int_equal(lanes_find_recent(&driver, NULL, now_ns, &found), 0);
    assert_int_equal(lanes_find_new(&driver, NULL, &found), 1);
}

static void test_a_fence_that_is_not_due_is_not_put(void **state)
{
    launch(stream_of(1));
    launch(stream_of(1));
    lanes_fence_due(&driver, stream_of(1), now_ns);
    lanes_fence_due(&driver, NULL, now_ns);
    assert_int_equal(n_writes, 1);
    now_ns += 100 * US;
    lanes_fence_due(&driver, stream_of(2), now_ns);
    assert_int_equal(n_writes, 1);
    lanes_fence_due(&driver, stream_of(1), now_ns);
    lanes_fence_due(&driver, stream_of(1), now_ns);
    assert_int_equal(n_writes, 2);
    launch(stream_of(1));
    now_ns += 100 * US;
    lanes_fence_due(&driver, NULL, now_ns);
    assert_int_equal(n_writes, 3);
}

/* --- threads --- */

static void *fence_all(void *userdata)
{
    lanes_fence_all(&driver, now_ns);
    return NULL;
}

static void assert_waits_for_a_fence(void (*call)(void))
{
    pthread_t thread;

    sem_init(&begun, 0, 0);
    sem_init(&overtaken, 0, 0);
    launch(stream_of(1));
    launch(stream_of(1));
    is_slow = true;
    assert_int_equal(pthread_create(&thread, NULL, fence_all, NULL), 0);
    sem_wait(&begun);
    call();
    sem_post(&overtaken);
    pthread_join(thread, NULL);
    assert_false(is_overtaken);
    assert_int_equal(n_writes, 2);
}

static void end_stream(void)
{
    lanes_end_stream(&driver, stream_of(1));
}

/* The thread that puts the fence is about to launch elsewhere: the program is not at fault. */
static void test_a_stream_does_not_end_during_its_fence(void **state)
{
    assert_waits_for_a_fence(end_stream);
}

static void begin_capture(void)
{
    captures_begin(stream_of(1));
    lanes_settle();
}

/* Else it would be part of the program's graph. */
static void test_a_capture_does_not_begin_during_a_fence(void **state)
{
    assert_waits_for_a_fence(begin_capture);
    captures_end(stream_of(1));
}

/* --- streams --- */

static void test_streams_have_lanes_of_their_own(void **state)
{
    struct lane *first = launch(stream_of(1)), *second = launch(stream_of(2));
    struct lane *legacy = launch(NULL);

    assert_true(first != second && first->number != second->number);
    assert_ptr_equal(launch(stream_of(1)), first);
    assert_ptr_equal(launch(CU_STREAM_LEGACY), legacy);
    assert_true(lanes_find(&driver, NULL, true) != legacy);
    assert_ptr_equal(lanes_find(&driver, NULL, true),
                     lanes_find(&driver, CU_STREAM_PER_THREAD, false));
    assert_ptr_equal(writes[2].stream, CU_STREAM_LEGACY);
    context = context_of(2);
    assert_true(launch(NULL) != legacy);
    assert_int_equal(n_busy(0), 4);
}

static void test_devices_have_lanes_of_their_own(void **state)
{
    const struct lane *lane;

    launch(stream_of(1));
    context = context_of(2);
    device = 1;
    lane = launch(stream_of(2));
    assert_true(lane->slot == 1 && lane->number == 0);
    assert_true(n_busy(0) == 1 && n_busy(1) == 1);
    context = context_of(3);
    device = 2;
    assert_null(lanes_find(&driver, stream_of(3), false)); /* nothing is limited there */
    context = NULL;
    assert_null(lanes_find(&driver, stream_of(4), false));
}

static void test_more_streams_than_lanes_are_never_busy(void **state)
{
    for (uintptr_t i = 1; i <= 300; i++)
        assert_int_equal(launch(stream_of(i))->slot, 0);
    assert_int_equal(n_busy(0), CLAIMS_LANES);
    assert_int_equal(n_writes, CLAIMS_LANES);
}

static void test_a_lane_is_another_stream_s_once_it_is_done(void **state)
{
    const struct lane *lane = launch(stream_of(1));
    const int number = lane->number;

    launch(stream_of(1));
    lanes_end_stream(&driver, stream_of(1));
    assert_int_equal(n_writes, 2); /* its tail has a fence */
    assert_true(launch(stream_of(1))->number != number);
    lanes_end_stream(&driver, stream_of(1));
    do_all();
    lane = launch(stream_of(1));
    assert_int_equal(lane->number, number);
    assert_true(words(lane)->fence == 3 && words(lane)->done == 2);
    do_all();
    assert_int_equal(n_busy(0), 0);
}

static void test_a_handle_that_is_used_again_is_another_stream(void **state)
{
    launch(stream_of(1));
    launch(stream_of(2));
    context = context_of(2); /* the first one was destroyed unseen, */
    device = 1;
    lanes_end_stream(&driver, stream_of(2)); /* and something was seen since */
    assert_int_equal(launch(stream_of(1))->slot, 1);
}

static void test_what_a_context_had_is_over(void **state)
{
    launch(stream_of(1));
    assert_int_equal(n_busy(0), 1);
    lanes_end_contexts(is_any, NULL);
    assert_int_equal(n_busy(0), 0);
    launch(stream_of(1));
    assert_int_equal(n_registrations, 2);
}

static bool is_first(CUcontext of, CUdevice on, const void *userdata)
{
    return of == context_of(1);
}

/* Another context goes on, and its device has still to write what it was given. */
static void test_a_context_that_ends_takes_no_fence_of_others_along(void **state)
{
    launch(stream_of(1));
    context = context_of(2);
    launch(stream_of(2));
    assert_int_equal(n_writes, 2);
    lanes_end_contexts(is_first, NULL);
    assert_true(is_registered(writes[1].to, context_of(2)));
    do_all();
    assert_int_equal(n_busy(0), 0);
}

/* --- the page --- */

static void test_another_page_is_written_from_then_on(void **state)
{
    struct claims *first = claims;
    const struct lane *lane;

    launch(stream_of(1));
    claims = new_claims();
    assert_true(lanes_start());
    now_ns += MS;
    lane = launch(stream_of(1));
    assert_true(words(lane)->fence != 0 && words(lane)->done == 0);
    assert_ptr_equal(named, claims);
    assert_int_equal(first->devices[0].lanes[lane->number].fence, 1);
    do_all();
    assert_int_equal(n_busy(0), 0);
    answer = SESSION_DENIED;
    assert_false(lanes_start());
    assert_null(lanes_claims(0));
    answer = -1; /* away, then: nothing changes */
    assert_false(lanes_start());
}

/* One of ours, that what is in flight never is. */
static void test_a_child_starts_over(void **state)
{
    const struct lane *lane = launch(stream_of(1));
    int status = 0;
    pid_t child;

    assert_true(captures_begin(stream_of(5)));
    child = fork();
    if (child == 0) {
        bool good = !lanes_are_on() && !lanes_claims(0);

        claims = new_claims();
        good = good && lanes_start() && !captures_are_there();
        launch(stream_of(1));
        _exit(good && claims->devices[0].lanes[0].fence == 1 && n_registrations == 2 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(words(lane)->fence, 1);
    captures_end(stream_of(5));
}

static void test_queues_are_known_by_their_fences(void **state)
{
    struct lane *lane = launch(stream_of(1));
    struct lane_work work;

    assert_true(lanes_look(lane, now_ns).ns == UINT64_MAX);
    do_all();
    now_ns += MS;
    assert_int_equal(lanes_look(lane, now_ns).ns, 0);
    launch(stream_of(1));
    work = lanes_look(lane, now_ns + MS / 4);
    assert_int_equal(work.ns, MS);
    assert_int_equal(work.command_ns, MS);
    assert_int_equal(work.first_ns, MS / 4);
}

static void test_what_is_done_is_claimed(void **state)
{
    struct lane *lane = launch(stream_of(1));

    assert_int_equal(claims->devices[0].n_done, 0);
    do_all();
    launch(stream_of(1));
    assert_int_equal(claims->devices[0].n_done, 1);
    now_ns += MS;
    launch(stream_of(1));
    launch(stream_of(1));
    do_all();
    lanes_look(lane, now_ns);
    assert_int_equal(claims->devices[0].n_done, 3); /* the last one has no fence behind it */
}

/* Else they would be missing forever. */
static void test_what_ends_with_its_stream_is_claimed(void **state)
{
    for (uintptr_t i = 1; i <= 10; i++) {
        for (unsigned k = 0; k < 3; k++)
            launch(stream_of(i));
        lanes_end_stream(&driver, stream_of(i));
        do_all();
    }
    launch(stream_of(11));
    launch(stream_of(11));
    assert_int_equal(claims->devices[0].n_done, 30);
    lanes_end_contexts(is_any, NULL);
    assert_int_equal(claims->devices[0].n_done, 32);
}

static void test_who_waits_for_a_moment_puts_no_fence(void **state)
{
    struct lane *lane = launch(stream_of(1));
    struct claims_device *of_device = &claims->devices[0];
    struct lane_wait wait;

    assert_false(lanes_begin_wait(lane, now_ns, &wait)); /* there is a fence behind it */
    now_ns += 50 * US;
    do_all();
    launch(stream_of(1));
    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    assert_true(of_device->n_awaiting == 1 && of_device->n_awaits == 1 && of_device->n_done == 1);
    now_ns += 48 * US;
    lanes_end_wait(lane, &wait, true, now_ns);
    assert_true(of_device->n_awaiting == 0 && of_device->n_awaits == 2 && of_device->n_done == 2);
    lanes_fence(&driver, lane, now_ns);
    assert_int_equal(n_writes, 0); /* nothing is left to be fenced */
    now_ns -= 20 * US;             /* no fence is due */
    for (unsigned i = 0; i < 7; i++)
        launch(stream_of(1)); /* some 50 us each: more than a moment */
    assert_false(lanes_begin_wait(lane, now_ns, &wait));
    lanes_fence(&driver, lane, now_ns);
    assert_int_equal(n_writes, 1);
}

static void test_what_was_launched_meanwhile_is_not_done(void **state)
{
    struct lane *lane = launch(stream_of(1));
    struct lane_wait wait;

    now_ns += 50 * US;
    do_all();
    launch(stream_of(1));
    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    launch(stream_of(1));
    now_ns += 10 * US;
    lanes_end_wait(lane, &wait, true, now_ns);
    assert_int_equal(claims->devices[0].n_done, 2);
    assert_false(lanes_look(lane, now_ns).ns == 0);
    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    lanes_end_wait(lane, &wait, false, now_ns); /* the driver gave an error */
    assert_int_equal(claims->devices[0].n_done, 2);
    assert_int_equal(claims->devices[0].n_awaiting, 0);
}

/* A stream with a moment's work, behind which there is no fence. */
static struct lane *launch_short(CUstream stream)
{
    struct lane *lane = launch(stream);

    now_ns += 50 * US;
    do_all();
    lane = launch(stream);
    return lane;
}

static void wait_for(struct lane *lane)
{
    struct lane_wait wait;

    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    lanes_end_wait(lane, &wait, true, now_ns);
}

static sem_t waits, goes_on;
static int waiter; /* the kernel's number of it */

static void *begin_to_wait(void *lane)
{
    struct lane_wait wait;

    waiter = (int)syscall(SYS_gettid);
    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    sem_post(&waits);
    while (sem_wait(&goes_on) != 0) /* as in the driver */
        ;
    lanes_end_wait(lane, &wait, true, now_ns);
    return NULL;
}

static pthread_t start_waiter(struct lane *lane)
{
    pthread_t thread;

    sem_init(&waits, 0, 0);
    sem_init(&goes_on, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, begin_to_wait, lane), 0);
    sem_wait(&waits);
    return thread;
}

/* The kernel knows its number a moment longer than that can be joined. */
static void cancel(pthread_t thread)
{
    assert_int_equal(pthread_cancel(thread), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    while (syscall(SYS_tgkill, getpid(), waiter, 0) == 0)
        sched_yield();
}

/* Else the process would seem busy as often as another one of its threads waits. */
static void test_the_wait_of_a_thread_that_is_cancelled_ends(void **state)
{
    struct claims_device *of_device = &claims->devices[0];
    struct lane *lane;

    (void)state;
    cancel(start_waiter(launch_short(stream_of(1))));
    assert_int_equal(of_device->n_awaiting, 1);
    now_ns += 200 * MS;
    wait_for(launch_short(stream_of(2)));
    assert_int_equal(of_device->n_awaiting, 0);
    lane = launch_short(stream_of(3)); /* the same stream is waited for at once */
    cancel(start_waiter(lane));
    wait_for(lane);
    assert_int_equal(of_device->n_awaiting, 0);
    lane = launch_short(stream_of(4)); /* and where it is another one's */
    cancel(start_waiter(lane));
    do_all();
    lanes_end_contexts(is_any, NULL);
    for (size_t i = 5; i < 10; i++)
        launch(stream_of(i));
    assert_int_equal(of_device->n_awaiting, 0);
}

/* By longjmp, or an exception. */
static void test_the_wait_that_a_thread_has_left_ends_with_its_next(void **state)
{
    struct claims_device *of_device = &claims->devices[0];
    struct lane *lane = launch_short(stream_of(1));
    struct lane_wait wait;

    (void)state;
    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    wait_for(lane);
    assert_int_equal(of_device->n_awaiting, 0);
    assert_true(lanes_begin_wait(launch_short(stream_of(2)), now_ns, &wait));
    now_ns += 200 * MS;
    wait_for(launch_short(stream_of(3)));
    assert_int_equal(of_device->n_awaiting, 0);
}

/* It has the thread, which seems to wait still, and not the page that says so. */
static void test_a_child_ends_no_wait_of_its_parent(void **state)
{
    struct claims_device *of_device = &claims->devices[0];
    struct lane *lane = launch_short(stream_of(1));
    struct lane_wait wait;
    int status = 0;
    pid_t child;

    (void)state;
    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    assert_int_equal(madvise(claims, CLAIMS_SIZE, MADV_DONTFORK), 0);
    child = fork();
    if (child == 0) {
        lanes_end_wait(lane, &wait, true, now_ns);
        claims = new_claims();
        lanes_start();
        lanes_end_wait(lane, &wait, true, now_ns);
        _exit(claims->devices[0].n_awaiting == 0 && claims->devices[0].n_awaits == 0 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(of_device->n_awaiting, 1);
    lanes_end_wait(lane, &wait, true, now_ns);
    assert_int_equal(of_device->n_awaiting, 0);
}

static void test_who_still_waits_is_counted(void **state)
{
    struct claims_device *of_device = &claims->devices[0];
    struct lane *lane = launch_short(stream_of(1));
    const pthread_t thread = start_waiter(lane);
    struct lane_wait wait;

    (void)state;
    assert_false(lanes_begin_wait(lane, now_ns, &wait)); /* one claim is enough */
    now_ns += 200 * MS;
    wait_for(launch_short(stream_of(2)));
    assert_int_equal(of_device->n_awaiting, 1);
    sem_post(&goes_on);
    pthread_join(thread, NULL);
    assert_int_equal(of_device->n_awaiting, 0);
}

/* Another thread launches while one waits, and claims it later: that is still to be fenced. */
static void test_what_is_claimed_later_has_its_tail(void **state)
{
    struct lane *lane = launch(stream_of(1));
    struct lane_wait wait;

    now_ns += 50 * US;
    do_all();
    launch(stream_of(1));
    assert_true(lanes_begin_wait(lane, now_ns, &wait));
    lanes_note_tail(lane);
    now_ns += 10 * US;
    lanes_end_wait(lane, &wait, true, now_ns);
    lanes_fence(&driver, lane, now_ns);
    assert_int_equal(n_writes, 1);
    lanes_given(lane, 3, now_ns);
    assert_false(lanes_look(lane, now_ns).ns == 0);
    do_all();
}

static void test_it_is_known_when_the_device_is_not_behind(void **state)
{
    struct lane *lane = launch(stream_of(1));

    assert_false(lanes_launched(&driver, lane, now_ns + US)); /* the fence is not passed */
    do_all();
    assert_true(lanes_launched(&driver, lane, now_ns + 2 * US));
    assert_false(lanes_launched(&driver, lane, now_ns + MS)); /* another one was due */
    of_writes = CUDA_ERROR_INVALID_VALUE;
    do_all();
    assert_false(lanes_launched(&driver, lane, now_ns + 2 * MS)); /* and refused */
}

static void test_fences_are_fewer_where_each_is_passed(void **state)
{
    struct lane *lane = launch(stream_of(1));
    uint32_t n;

    for (unsigned i = 0; i < 20000; i++) {
        do_all();
        launch(stream_of(1)); /* 1 us each */
    }
    n = words(lane)->fence;
    assert_in_range(n, 20000 / 1600, 20000 / 1600 + 5);
    lane->is_gated = true;
    for (unsigned i = 0; i < 3400; i++)
        launch(stream_of(1));
    assert_in_range(words(lane)->fence - n, 17, 34); /* each 100 us, as soon as one is not */
}

/* --- a device that takes its time --- */

/* Commands of a stream one after another, each of so long; a fence is passed with the command
 * before it. */
static struct {
    uint64_t command_ns, end_ns; /* of the last one */
    unsigned n_fences;
} pace;

static void set_pace(uint64_t command_ns)
{
    pace.command_ns = command_ns;
    pace.end_ns = 0;
    pace.n_fences = 0;
}

static uint64_t passed_ns[WRITES_MAX];

static void launch_at(uint64_t at_ns)
{
    const unsigned before = n_writes;

    now_ns = at_ns;
    pace.end_ns = (pace.end_ns > at_ns ? pace.end_ns : at_ns) + pace.command_ns;
    lanes_launched(&driver, lanes_find(&driver, stream_of(1), false), at_ns);
    if (n_writes > before)
        passed_ns[before] = pace.end_ns;
    pace.n_fences += n_writes - before;
}

/* What the arbiter sees at that time. */
static bool is_seen_at(uint64_t at_ns)
{
    unsigned n = 0;

    while (n < n_writes && passed_ns[n] <= at_ns)
        *writes[n].to = writes[n].value, n++;
    memmove(writes, writes + n, (n_writes - n) * sizeof(writes[0]));
    memmove(passed_ns, passed_ns + n, (n_writes - n) * sizeof(passed_ns[0]));
    n_writes -= n;
    return n_busy(0) > 0;
}

/* It polls for the end of each, so that four are always in flight. */
static void test_who_keeps_a_short_queue_is_seen(void **state)
{
    const uint64_t begin_ns = now_ns + MS;
    unsigned n_seen = 0, n_looks = 0;

    set_pace(50 * US);
    for (unsigned i = 0; i < 4; i++)
        launch_at(begin_ns);
    for (uint64_t i = 1; i < 1000; i++) {
        n_seen += is_seen_at(begin_ns + i * 50 * US);
        n_looks++;
        launch_at(begin_ns + i * 50 * US);
    }
    assert_true(n_seen > n_looks * 9 / 10);
}

/* It had little to do for long, and keeps as short a queue then. */
static void test_who_has_more_to_do_than_before_is_seen(void **state)
{
    const uint64_t little_ns = now_ns + MS, more_ns = little_ns + 100 * MS;
    unsigned n_seen = 0, n_looks = 0;

    set_pace(5 * US);
    for (uint64_t i = 0; i < 4000; i++) {
        (void)is_seen_at(little_ns + i * 25 * US);
        launch_at(little_ns + i * 25 * US);
    }
    set_pace(50 * US);
    for (unsigned i = 0; i < 4; i++)
        launch_at(more_ns);
    for (uint64_t i = 1; i < 1000; i++) {
        n_seen += is_seen_at(more_ns + i * 50 * US);
        n_looks++;
        launch_at(more_ns + i * 50 * US);
    }
    assert_true(n_seen > n_looks * 9 / 10);
}

/* It launches a little faster than the device does what it is given, for 10 ms, waits, and does so
 * again: the device always has something to do. */
static void test_a_queue_that_grows_slowly_is_seen(void **state)
{
    uint64_t at_ns = now_ns + MS;
    unsigned n_seen = 0, n_looks = 0;

    set_pace(5 * US);
    for (unsigned burst = 0; burst < 10; burst++) {
        for (unsigned i = 0; i < 2000; i++, at_ns += 4500) {
            n_seen += is_seen_at(at_ns);
            n_looks++;
            launch_at(at_ns);
        }
        at_ns = pace.end_ns + 10 * US;
        (void)is_seen_at(at_ns);
    }
    assert_true(n_seen > n_looks * 7 / 10);
}

/* It launches 100 at once, polls for their end, and does so again. */
static void test_bursts_are_seen(void **state)
{
    static const struct {
        uint64_t command_ns, launch_ns;
        unsigned percent;
    } rows[] = {{50 * US, 4 * US, 70}, {20 * US, 3 * US, 60}};

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        uint64_t at_ns = now_ns + 10 * MS;
        unsigned n_seen = 0, n_looks = 0;

        set_pace(rows[row].command_ns);
        for (unsigned burst = 0; burst < 20; burst++) {
            for (unsigned i = 0; i < 100; i++, at_ns += rows[row].launch_ns) {
                n_seen += is_seen_at(at_ns);
                n_looks++;
                launch_at(at_ns);
            }
            for (; at_ns < pace.end_ns; at_ns += rows[row].launch_ns) {
                n_seen += is_seen_at(at_ns);
                n_looks++;
            }
        }
        assert_true(n_seen > n_looks * rows[row].percent / 100);
    }
}

/* It launches all the time, and the device has others for three of five milliseconds. */
static void test_who_waits_for_the_device_puts_few_fences(void **state)
{
    const uint64_t begin_ns = now_ns + MS;
    struct lane *lane = launch(stream_of(1));
    uint32_t n = 0;

    for (uint64_t i = 0; i < 20000; i++) {
        now_ns = begin_ns + i * 5 * US;
        if (now_ns / MS % 5 >= 3)
            do_all();
        launch(stream_of(1));
        n = i == 4000 ? words(lane)->fence : n;
    }
    assert_in_range(words(lane)->fence - n, 80 / 5, 80 / 5 * 6); /* within 80 ms */
}

/* What is done by the time of the next launch needs few fences. */
static void test_little_work_has_few_fences(void **state)
{
    static const struct {
        uint64_t command_ns, launch_ns;
    } rows[] = {{5 * US, 25 * US}, {20 * US, 60 * US}, {20 * US, 90 * US}};

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        const uint64_t begin_ns = now_ns + 10 * MS;

        set_pace(rows[row].command_ns);
        for (uint64_t at_ns = begin_ns; at_ns < begin_ns + 100 * MS; at_ns += rows[row].launch_ns) {
            (void)is_seen_at(at_ns);
            launch_at(at_ns);
        }
        assert_true(pace.n_fences < 100 * 10 / 7);
    }
}

/* Says so once, on standard error, and puts none from then on: last. */
static void test_a_driver_that_cannot_write_has_no_fences(void **state)
{
    struct lane *lane;
    uint64_t n_done;

    of_writes = CUDA_ERROR_INVALID_VALUE;
    lane = launch(stream_of(1));
    assert_true(words(lane)->fence == 0);
    of_writes = CUDA_SUCCESS;
    lanes_fence(&driver, lane, now_ns);
    assert_int_equal(words(lane)->fence, 1);
    of_writes = CUDA_ERROR_NOT_SUPPORTED;
    now_ns += MS;
    launch(stream_of(1));
    of_writes = CUDA_SUCCESS;
    now_ns += MS;
    launch(stream_of(1));
    assert_true(words(lane)->fence == 1 && n_writes == 1);
    assert_int_equal(lanes_look(lane, now_ns).ns, 0);
    n_done = claims->devices[0].n_done;
    launch(stream_of(1));
    assert_int_equal(claims->devices[0].n_done, n_done + 1); /* nobody will see when */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_fence_each_100_us, set_up),
        cmocka_unit_test_setup(test_a_tail_is_fenced_once, set_up),
        cmocka_unit_test_setup(test_all_streams_of_the_context_are_fenced, set_up),
        cmocka_unit_test_setup(test_nothing_is_put_into_a_capture, set_up),
        cmocka_unit_test_setup(test_streams_with_something_new, set_up),
        cmocka_unit_test_setup(test_what_was_launched_long_ago_is_at_work_no_more, set_up),
        cmocka_unit_test_setup(test_a_fence_that_is_not_due_is_not_put, set_up),
        cmocka_unit_test_setup(test_a_fence_makes_no_streams_wait_for_each_other, set_up),
        cmocka_unit_test_setup(test_a_stream_does_not_end_during_its_fence, set_up),
        cmocka_unit_test_setup(test_a_capture_does_not_begin_during_a_fence, set_up),
        cmocka_unit_test_setup(test_streams_have_lanes_of_their_own, set_up),
        cmocka_unit_test_setup(test_devices_have_lanes_of_their_own, set_up),
        cmocka_unit_test_setup(test_more_streams_than_lanes_are_never_busy, set_up),
        cmocka_unit_test_setup(test_a_lane_is_another_stream_s_once_it_is_done, set_up),
        cmocka_unit_test_setup(test_a_handle_that_is_used_again_is_another_stream, set_up),
        cmocka_unit_test_setup(test_what_a_context_had_is_over, set_up),
        cmocka_unit_test_setup(test_a_context_that_ends_takes_no_fence_of_others_along, set_up),
        cmocka_unit_test_setup(test_another_page_is_written_from_then_on, set_up),
        cmocka_unit_test_setup(test_a_child_starts_over, set_up),
        cmocka_unit_test_setup(test_queues_are_known_by_their_fences, set_up),
        cmocka_unit_test_setup(test_what_is_done_is_claimed, set_up),
        cmocka_unit_test_setup(test_what_ends_with_its_stream_is_claimed, set_up),
        cmocka_unit_test_setup(test_who_waits_for_a_moment_puts_no_fence, set_up),
        cmocka_unit_test_setup(test_what_was_launched_meanwhile_is_not_done, set_up),
        cmocka_unit_test_setup(test_the_wait_of_a_thread_that_is_cancelled_ends, set_up),
        cmocka_unit_test_setup(test_the_wait_that_a_thread_has_left_ends_with_its_next, set_up),
        cmocka_unit_test_setup(test_a_child_ends_no_wait_of_its_parent, set_up),
        cmocka_unit_test_setup(test_who_still_waits_is_counted, set_up),
        cmocka_unit_test_setup(test_what_is_claimed_later_has_its_tail, set_up),
        cmocka_unit_test_setup(test_it_is_known_when_the_device_is_not_behind, set_up),
        cmocka_unit_test_setup(test_fences_are_fewer_where_each_is_passed, set_up),
        cmocka_unit_test_setup(test_who_keeps_a_short_queue_is_seen, set_up),
        cmocka_unit_test_setup(test_who_has_more_to_do_than_before_is_seen, set_up),
        cmocka_unit_test_setup(test_a_queue_that_grows_slowly_is_seen, set_up),
        cmocka_unit_test_setup(test_bursts_are_seen, set_up),
        cmocka_unit_test_setup(test_who_waits_for_the_device_puts_few_fences, set_up),
        cmocka_unit_test_setup(test_little_work_has_few_fences, set_up),
        cmocka_unit_test_setup(test_a_driver_that_cannot_write_has_no_fences, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
