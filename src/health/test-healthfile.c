// SPDX-License-Identifier: Apache-2.0
#include "health/healthfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"

#define UUID "GPU-aaaaaaaa-0000-0000-0000-000000000000"

static void a_restart_remembers_and_a_reboot_forgets(void **state)
{
    struct gpu gpu = {.uuid = UUID};
    const struct inventory inventory = {.gpus = &gpu, .n_gpus = 1};
    const struct gpu_event event = {.uuid = UUID, .xid = 95};
    struct health before = HEALTH_INIT, after = HEALTH_INIT, other = HEALTH_INIT;
    char folder[] = "/tmp/gpuslice-health-XXXXXX", deep[64];
    struct xid_filter filter = XID_FILTER_INIT;
    struct healthfile file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(deep, sizeof(deep), "%s/run/gpuslice", folder); /* made by the first save */
    healthfile_init(&file, deep);
    assert_true(*file.boot);
    health_inventory(&before, &inventory, 1);
    health_event(&before, &event, XID_RESET, 2);
    healthfile_save(&file, &before);
    assert_int_equal(file.failure.state, 0);

    healthfile_load(&file, &after, &filter);
    assert_non_null(health_find(&after, UUID));
    assert_false(health_find(&after, UUID)->healthy);

    assert_false(healthfile_was_removed(&file, 1));
    assert_int_equal(unlink(file.path), 0);
    assert_false(healthfile_was_removed(&file, 1)); /* it has looked */
    assert_true(healthfile_was_removed(&file, 2));
    assert_false(healthfile_was_removed(&file, 3));
    healthfile_save(&file, &before);
    assert_false(healthfile_was_removed(&file, 4));

    filter.disable_all = true; /* what is overruled is not remembered either */
    for (int i = 0; i < 2; i++) {
        health_deinit(&after);
        healthfile_load(&file, &after, &filter);
        assert_true(health_find(&after, UUID)->healthy);
        filter.disable_all = false;
    }
    healthfile_save(&file, &before);

    memcpy(file.boot, "another", sizeof("another"));
    healthfile_load(&file, &other, &filter);
    assert_null(health_find(&other, UUID));

    unlink(file.path);
    snprintf(file.path, sizeof(file.path), "rm -r %s", folder);
    assert_int_equal(system(file.path), 0);
    health_deinit(&before);
    health_deinit(&after);
    health_deinit(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_remembers_and_a_reboot_forgets),
    };

    return cmocka_run_group_tests_name("health/healthfile", tests, NULL, NULL);
}
