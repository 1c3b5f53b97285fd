// SPDX-License-Identifier: Apache-2.0
#include "gpu/migchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"

enum { NO = DEVICE_NO_INSTANCE };

static const struct row {
    struct mig_step step;
    enum gpu_verb verb;
    bool enabled;
    uint32_t profile, start, gpu, compute;
} rows[] = {
    {{.kind = MIG_STEP_SET_MODE, .enable = true}, GPU_SET_MIG_MODE, true, 0, 0, NO, NO},
    {{.kind = MIG_STEP_SET_MODE}, GPU_SET_MIG_MODE, false, 0, 0, NO, NO},
    {{.kind = MIG_STEP_RESET}, GPU_RESET, false, 0, 0, NO, NO},
    {{.kind = MIG_STEP_DESTROY_COMPUTE, .instance = 3, .compute = 1},
     GPU_DESTROY_COMPUTE,
     false,
     0,
     0,
     3,
     1},
    {{.kind = MIG_STEP_DESTROY_GPU, .instance = 3}, GPU_DESTROY_INSTANCE, false, 0, 0, 3, NO},
    {{.kind = MIG_STEP_CREATE_GPU, .profile = 1, .start = 4},
     GPU_CREATE_INSTANCE,
     false,
     9,
     4,
     NO,
     NO},
    {{.kind = MIG_STEP_CREATE_COMPUTE,
      .profile = 1,
      .compute_profile = 1,
      .instance = 2,
      .start = 1},
     GPU_CREATE_COMPUTE,
     false,
     7,
     1,
     2,
     NO},
};

static void each_step_names_what_the_driver_knows(void **state)
{
    static const struct gpu gpu = {.uuid = "GPU-a"};
    static const struct mig_board board = {
        .n_profiles = 2,
        .profiles =
            {{.index = 0, .id = 19},
             {.index = 9, .id = 15, .n_computes = 2, .computes = {{.index = 0}, {.index = 7}}}},
    };

    (void)state;
    for (const struct row *row = rows; row < rows + ARRAY_SIZE(rows); row++) {
        const struct gpu_change change = migchange_of(&gpu, &board, &row->step);

        assert_string_equal(change.uuid, "GPU-a");
        assert_int_equal(change.verb, row->verb);
        assert_int_equal(change.enabled, row->enabled);
        assert_int_equal(change.profile, row->profile);
        assert_int_equal(change.start, row->start);
        assert_int_equal(change.instance.gpu, row->gpu);
        assert_int_equal(change.instance.compute, row->compute);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_step_names_what_the_driver_knows)};

    return cmocka_run_group_tests_name("gpu/migchange", tests, NULL, NULL);
}
