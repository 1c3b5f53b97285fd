// SPDX-License-Identifier: Apache-2.0

/* Captures, and calls from a stream into the program, on a driver that makes them when the test
 * says so. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/await.h"
#include "shim/captures.h"
#include "shim/gate.h"
#include "shim/growth.h"
#include "shim/hook.h"
#include "shim/quickpass.h"

/* --- the gate --- */

static bool is_shared;
static int n_calls, n_within; /* of ours that run, and what the program's saw of that */

bool gate_is_shared(void)
{
    return is_shared;
}

void gate_begin_call(void)
{
    n_calls++;
}

void gate_end_call(void)
{
    n_calls--;
}

struct await await_stream(const struct cuda_functions *driver, CUstream stream, bool is_per_thread)
{
    return (struct await){NULL};
}

CUresult await_end(const struct await *wait, CUresult r)
{
    return r;
}

void await_all(const struct cuda_functions *driver)
{
}

CUresult await_asked_stream(const struct cuda_functions *driver, CUstream stream, CUresult r)
{
    return r;
}

CUresult await_asked_event(const struct cuda_functions *driver, CUevent event, CUresult r)
{
    return r;
}

void growth_waited(const struct cuda_functions *driver)
{
}

void lanes_settle(void)
{
}

void quickpass_claim_all(void)
{
}

void lanes_end_stream(const struct cuda_functions *driver, CUstream stream)
{
}

/* --- the driver --- */

static CUhostFn given;
static void *given_data;
static unsigned n_questions;

static CUresult launch_host(CUstream stream, CUhostFn function, void *data)
{
    given = function;
    given_data = data;
    return CUDA_SUCCESS;
}

static CUresult is_capturing(CUstream stream, CUstreamCaptureStatus *ret_status)
{
    n_questions++;
    *ret_status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

static CUresult of_captures;

static CUresult begin_capture(CUstream stream, CUstreamCaptureMode mode)
{
    return CUDA_SUCCESS;
}

static CUresult end_capture(CUstream stream, CUgraph *graph)
{
    return of_captures;
}

static const struct cuda_functions driver = {
    .cuStreamBeginCapture_v2 = begin_capture,
    .cuStreamEndCapture = end_capture,
    .cuLaunchHostFunc = launch_host,
    .cuStreamIsCapturing = is_capturing,
};

const struct cuda_functions *driver_get(void)
{
    return &driver;
}

/* --- tests --- */

static int data;

static void call(void *of)
{
    assert_ptr_equal(of, &data);
    n_within = n_calls;
}

static int set_up(void **state)
{
    is_shared = false;
    n_calls = n_within = 0;
    n_questions = 0;
    return 0;
}

static void test_without_turns_the_driver_has_what_the_program_gave(void **state)
{
    assert_int_equal(cuLaunchHostFunc(NULL, call, &data), CUDA_SUCCESS);
    assert_true(given == call);
    assert_ptr_equal(given_data, &data);
    assert_int_equal(n_questions, 0);
}

static void test_with_turns_it_is_known_where_the_thread_is(void **state)
{
    is_shared = true;
    assert_int_equal(cuLaunchHostFunc(NULL, call, &data), CUDA_SUCCESS);
    given(given_data);
    assert_true(n_within == 1 && n_calls == 0);
}

static void capture(CUresult r)
{
    CUgraph graph;

    of_captures = r;
    cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL);
    assert_true(captures_are_there());
    assert_int_equal(cuStreamEndCapture(NULL, &graph), r);
    assert_false(captures_are_there());
}

static void test_without_turns_a_capture_that_fails_asks_nothing(void **state)
{
    capture(CUDA_SUCCESS);
    capture(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(n_questions, 0);
    is_shared = true;
    capture(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(n_questions, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_turns_the_driver_has_what_the_program_gave, set_up),
        cmocka_unit_test_setup(test_without_turns_a_capture_that_fails_asks_nothing, set_up),
        cmocka_unit_test_setup(test_with_turns_it_is_known_where_the_thread_is, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
