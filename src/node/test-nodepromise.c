// SPDX-License-Identifier: Apache-2.0
#include "node/nodepromise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/log.h"

#define QUARTERS "nvidia.com/gpu=0,nvidia.com/gpu.shared=4 per GPU"

static void assert_count(const char *text, const char *type, unsigned n_items, unsigned count)
{
    struct nodepromise promise = {.text = NULL};

    nodepromise_set(&promise, text, type);
    assert_int_equal(promise.counts.n_items, n_items);
    assert_int_equal(namedemand_count(&promise.counts, "nvidia.com/gpu.shared"), count);
    nodepromise_deinit(&promise);
}

/* However many the driver lists. */
static void the_type_says_how_many_gpus_there_are(void **state)
{
    (void)state;
    assert_count(QUARTERS, "p3.8xlarge", 2, 16);
    assert_count(QUARTERS, "g5.xlarge", 2, 4);
    assert_count("NVIDIA A10G: nvidia.com/gpu.shared=2 per GPU; Tesla V100-SXM2-16GB: "
                 "nvidia.com/gpu.shared=3 per GPU",
                 "p3.8xlarge", 1, 12);
}

static void what_is_not_known_is_nothing(void **state)
{
    (void)state;
    assert_count(NULL, "p3.8xlarge", 0, 0);
    assert_count(QUARTERS, NULL, 0, 0);
    assert_count(QUARTERS, "m5.large", 0, 0);
    assert_count("nvidia.com/gpu.shared=4", "p3.8xlarge", 0, 0);
    assert_count("NVIDIA A10G: nvidia.com/gpu.shared=2 per GPU", "p3.8xlarge", 0, 0);
}

static void only_changes_are_read(void **state)
{
    struct nodepromise promise = {.text = NULL};

    (void)state;
    assert_false(nodepromise_set(&promise, NULL, NULL));
    assert_true(nodepromise_set(&promise, QUARTERS, "g5.xlarge"));
    assert_false(nodepromise_set(&promise, QUARTERS, "g5.xlarge"));
    assert_true(nodepromise_set(&promise, NULL, "g5.xlarge"));
    assert_int_equal(promise.counts.n_items, 0);
    nodepromise_deinit(&promise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_type_says_how_many_gpus_there_are),
        cmocka_unit_test(what_is_not_known_is_nothing),
        cmocka_unit_test(only_changes_are_read),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests_name("node/nodepromise", tests, NULL, NULL);
}
