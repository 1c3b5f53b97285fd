// SPDX-License-Identifier: Apache-2.0

/* The layout that releases share, and where a grant's directory is in its container. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "limits/directory.h"
#include "limits/message.h"

static void test_fields_stay_where_they_are(void **state)
{
    assert_int_equal(offsetof(struct limits_page, mode), 12);
    assert_int_equal(offsetof(struct limits_device, limit_bytes), 16);
    assert_int_equal(offsetof(struct limits_device, charged_bytes), 24);
    assert_int_equal(offsetof(struct limits_device, overhead_bytes), 32);
    assert_int_equal(offsetof(struct limits_device, n_denied), 40);
    assert_int_equal(offsetof(struct limits_device, n_processes), 48);
    assert_int_equal(offsetof(struct limits_device, context_bytes_mib), 52);
    assert_int_equal(offsetof(struct limits_device, returned_bytes), 88);
    assert_int_equal(offsetof(struct limits_request, sequence), 8);
    assert_int_equal(offsetof(struct limits_request, allocated_bytes), 32);
    assert_int_equal(offsetof(struct limits_request, text), 40);
    assert_int_equal(offsetof(struct limits_answer, bytes), 16);
    assert_int_equal(offsetof(struct limits_answer, text), 24);
}

/* Who maps it before the seals writes; nobody else can, nor change its size. */
static void test_a_sealed_page_is_its_makers_alone(void **state)
{
    int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct limits_page *ours;
    const struct limits_page *theirs;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, LIMITS_PAGE_SIZE), 0);
    ours = mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(ours, MAP_FAILED);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, LIMITS_SEALS), 0);
    assert_ptr_equal(mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
                     MAP_FAILED);
    assert_int_equal(errno, EPERM);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    theirs = mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(theirs, MAP_FAILED);
    limits_store(ours->mode, LIMITS_ENFORCED);
    assert_int_equal(limits_load(theirs->mode), LIMITS_ENFORCED);
    munmap(ours, LIMITS_PAGE_SIZE);
    munmap((void *)theirs, LIMITS_PAGE_SIZE);
    close(fd);
}

static void test_each_resource_has_a_directory(void **state)
{
    char path[64];

    assert_int_equal(limits_directory("nvidia.com/gpu.shared", path, sizeof(path)), 0);
    assert_string_equal(path, "/opt/gpuslice/nvidia.com.gpu.shared");
    assert_int_equal(limits_directory("nvidia.com/gpu", path, 27), -ENAMETOOLONG);
    assert_int_equal(limits_directory("nvidia.com/gpu", path, 29), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_stay_where_they_are),
        cmocka_unit_test(test_a_sealed_page_is_its_makers_alone),
        cmocka_unit_test(test_each_resource_has_a_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
