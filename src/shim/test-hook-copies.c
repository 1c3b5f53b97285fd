// SPDX-License-Identifier: Apache-2.0

/* What is known of copies before the driver makes them, on one that makes none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/await.h"
#include "shim/hook.h"

#define MIB UINT64_C(1048576)

/* --- what is awaited --- */

static CUstream copied_into;
static bool was_per_thread;
static uint64_t copied_bytes;
static enum await_copy copied;
static unsigned n_begun, n_ended;

struct await await_copy(const struct cuda_functions *driver, CUstream stream, bool is_per_thread,
                        uint64_t bytes, enum await_copy copy)
{
    copied_into = stream;
    was_per_thread = is_per_thread;
    copied_bytes = bytes;
    copied = copy;
    n_begun++;
    return (struct await){NULL};
}

CUresult await_end(const struct await *wait, CUresult r)
{
    n_ended++;
    return r;
}

/* --- the driver --- */

static CUresult of_copies;

static CUresult to_host(void *to, CUdeviceptr from, size_t size)
{
    return of_copies;
}

static CUresult to_device(CUdeviceptr to, const void *from, size_t size, CUstream stream)
{
    return of_copies;
}

static CUresult copy_2d(const CUDA_MEMCPY2D *copy)
{
    return of_copies;
}

static CUresult copy_2d_async(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return of_copies;
}

static CUresult copy_3d(const CUDA_MEMCPY3D *copy)
{
    return of_copies;
}

static CUresult copy_3d_async(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return of_copies;
}

static const struct cuda_functions driver = {
    .cuMemcpyDtoH_v2 = to_host,
    .cuMemcpyDtoH_v2_ptds = to_host,
    .cuMemcpyHtoDAsync_v2 = to_device,
    .cuMemcpy2D_v2 = copy_2d,
    .cuMemcpy2DAsync_v2 = copy_2d_async,
    .cuMemcpy3D_v2 = copy_3d,
    .cuMemcpy3DAsync_v2 = copy_3d_async,
};

const struct cuda_functions *driver_get(void)
{
    return &driver;
}

/* --- tests --- */

static char of_stream;

static CUstream stream_of_own(void)
{
    return (CUstream)&of_stream;
}

static int set_up(void **state)
{
    copied_into = NULL;
    copied_bytes = n_begun = n_ended = 0;
    of_copies = CUDA_SUCCESS;
    return 0;
}

static void test_lines(void **state)
{
    assert_int_equal(cuMemcpyDtoH_v2(NULL, 0, 4), CUDA_SUCCESS);
    assert_true(copied == AWAIT_DONE && copied_bytes == 4 && !copied_into && !was_per_thread);
    assert_int_equal(cuMemcpyDtoH_v2_ptds(NULL, 0, 4), CUDA_SUCCESS);
    assert_true(copied == AWAIT_DONE && !copied_into && was_per_thread);
    of_copies = CUDA_ERROR_LAUNCH_FAILED;
    assert_int_equal(cuMemcpyHtoDAsync_v2(0, NULL, MIB, stream_of_own()), CUDA_ERROR_LAUNCH_FAILED);
    assert_true(copied == AWAIT_SENT && copied_bytes == MIB && copied_into == stream_of_own());
    assert_true(n_begun == 3 && n_ended == 3);
}

/* Of two and of three dimensions, at once and into a stream. */
static void test_what_is_known_of_a_shape_depends_on_its_ends(void **state)
{
    static const struct {
        CUmemorytype from, to;
        enum await_copy copy, async_copy;
    } rows[] = {
        {CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST, AWAIT_DONE, AWAIT_MAYBE},
        {CU_MEMORYTYPE_ARRAY, CU_MEMORYTYPE_HOST, AWAIT_DONE, AWAIT_MAYBE},
        {CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_HOST, AWAIT_MAYBE, AWAIT_MAYBE},
        {CU_MEMORYTYPE_UNIFIED, CU_MEMORYTYPE_HOST, AWAIT_MAYBE, AWAIT_MAYBE},
        {CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_UNIFIED, AWAIT_MAYBE, AWAIT_MAYBE},
        {CU_MEMORYTYPE_UNIFIED, CU_MEMORYTYPE_UNIFIED, AWAIT_MAYBE, AWAIT_MAYBE},
        {CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_DEVICE, AWAIT_MAYBE, AWAIT_SENT},
        {CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_ARRAY, AWAIT_MAYBE, AWAIT_SENT},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const CUDA_MEMCPY2D flat = {.srcMemoryType = rows[i].from,
                                    .dstMemoryType = rows[i].to,
                                    .WidthInBytes = 3,
                                    .Height = 5};
        const CUDA_MEMCPY3D deep = {.srcMemoryType = rows[i].from,
                                    .dstMemoryType = rows[i].to,
                                    .WidthInBytes = 3,
                                    .Height = 5,
                                    .Depth = 7};

        print_message("from %d to %d\n", (int)rows[i].from, (int)rows[i].to);
        assert_int_equal(cuMemcpy2D_v2(&flat), CUDA_SUCCESS);
        assert_true(copied == rows[i].copy && copied_bytes == 15);
        assert_int_equal(cuMemcpy2DAsync_v2(&flat, stream_of_own()), CUDA_SUCCESS);
        assert_true(copied == rows[i].async_copy && copied_into == stream_of_own());
        assert_int_equal(cuMemcpy3D_v2(&deep), CUDA_SUCCESS);
        assert_true(copied == rows[i].copy && copied_bytes == 105);
        assert_int_equal(cuMemcpy3DAsync_v2(&deep, stream_of_own()), CUDA_SUCCESS);
        assert_true(copied == rows[i].async_copy && copied_into == stream_of_own());
    }
}

/* That is for the driver to refuse. */
static void test_a_shape_that_is_not_there(void **state)
{
    of_copies = CUDA_ERROR_INVALID_VALUE;
    assert_int_equal(cuMemcpy2D_v2(NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpy3DAsync_v2(NULL, stream_of_own()), CUDA_ERROR_INVALID_VALUE);
    assert_true(copied_bytes == 0 && n_begun == 2 && n_ended == 2);
}

static void test_what_the_driver_does_not_have(void **state)
{
    assert_int_equal(cuMemcpy(0, 0, 4), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(n_begun, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_lines, set_up),
        cmocka_unit_test_setup(test_what_is_known_of_a_shape_depends_on_its_ends, set_up),
        cmocka_unit_test_setup(test_a_shape_that_is_not_there, set_up),
        cmocka_unit_test_setup(test_what_the_driver_does_not_have, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
