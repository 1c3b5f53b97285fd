// SPDX-License-Identifier: Apache-2.0
#include "gpu/usage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

/* A driver whose answer for a GPU is in its UUID. */
static int processes(struct gpu_driver *driver, const char *uuid,
                     struct gpu_processes *ret_processes, struct error *err)
{
    struct gpu_process *process;

    (void)driver;
    if (str_equal(uuid, "GPU-lost"))
        return GPU_LOST;
    if (str_equal(uuid, "GPU-silent"))
        return error_set(err, -EPERM, "it does not tell");
    if (str_equal(uuid, "GPU-no-memory"))
        return -ENOMEM;
    assert_string_equal(uuid, "GPU-used");
    process = array_push(&ret_processes->items, &ret_processes->n_items, &ret_processes->capacity,
                         sizeof(*process));
    assert_non_null(process);
    process->pid = 7;
    return 0;
}

static const struct gpu_backend backend = {.name = "played", .processes = processes};

static int read_gpus(struct gpu *gpus, size_t n_gpus, struct usage *ret_usage)
{
    const struct inventory machine = {.gpus = gpus, .n_gpus = n_gpus};

    return usage_read(&backend, NULL, &machine, ret_usage);
}

static void one_that_does_not_tell_leaves_the_others(void **state)
{
    struct gpu gpus[] = {{.uuid = "GPU-silent"},
                         {.uuid = "GPU-lost"},
                         {.uuid = "GPU-broken", .unusable = "it is broken"},
                         {.uuid = "GPU-used"}};
    cleanup_usage struct usage usage = USAGE_INIT;

    (void)state;
    assert_int_equal(read_gpus(gpus, ARRAY_SIZE(gpus), &usage), 0);
    assert_int_equal(usage.n, 4);
    assert_string_equal(usage.of_gpus[0].unread, "it does not tell");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(usage.of_gpus[i].list.n_items, 0);
    for (size_t i = 1; i < 4; i++)
        assert_string_equal(usage.of_gpus[i].unread, "");
    assert_int_equal(usage.of_gpus[3].list.n_items, 1);
    assert_int_equal(usage.of_gpus[3].list.items[0].pid, 7);
}

static void without_memory_nothing_is_told(void **state)
{
    struct gpu gpus[] = {{.uuid = "GPU-used"}, {.uuid = "GPU-no-memory"}};
    cleanup_usage struct usage usage = USAGE_INIT;

    (void)state;
    assert_int_equal(read_gpus(gpus, ARRAY_SIZE(gpus), &usage), -ENOMEM);
    assert_null(usage.of_gpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_does_not_tell_leaves_the_others),
        cmocka_unit_test(without_memory_nothing_is_told),
    };

    return cmocka_run_group_tests_name("gpu/usage", tests, NULL, NULL);
}
