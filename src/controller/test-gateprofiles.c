// SPDX-License-Identifier: Apache-2.0
#include "controller/gateprofiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kube/test-fake-api.h"

static uv_loop_t loop;
static struct gateprofile_setup setup;
static struct gateprofiles profiles;

static bool may_write(void *userdata)
{
    return true;
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    setup = (struct gateprofile_setup){
        .loop = &loop, .client = fake_api_client(), .may_write = may_write};
    return 0;
}

static int tear_down(void **state)
{
    gateprofiles_deinit(&profiles);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void see(const char *name, unsigned replicas)
{
    json_t *object =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:[s], s:{s:i}}}", "apiVersion", "gpuslice.dev/v1alpha1",
                  "kind", "SliceProfile", "metadata", "name", name, "spec", "gpuNames", "a10g",
                  "timeSlicing", "replicas", (int)replicas);

    assert_int_equal(gateprofiles_see(&profiles, &setup, name, object), 0);
    json_decref(object);
}

static unsigned replicas_of(const char *name)
{
    const struct gateprofile *profile = gateprofiles_find(&profiles, name);

    assert_true(profile && gateprofile_read(profile));
    return gateprofile_read(profile)->replicas;
}

static void profiles_come_change_and_go(void **state)
{
    see("a", 2);
    see("b", 3);
    see("a", 4);
    assert_int_equal(profiles.n_items, 2);
    assert_int_equal(replicas_of("a"), 4);
    assert_int_equal(replicas_of("b"), 3);
    assert_null(gateprofiles_find(&profiles, "c"));

    assert_int_equal(gateprofiles_see(&profiles, &setup, "a", NULL), 0);
    assert_int_equal(gateprofiles_see(&profiles, &setup, "a", NULL), 0);
    assert_null(gateprofiles_find(&profiles, "a"));
    assert_int_equal(replicas_of("b"), 3);
}

static void those_that_write_are_counted(void **state)
{
    see("a", 2);
    see("b", 3);
    assert_int_equal(gateprofiles_count_recording(&profiles), 0);
    gateprofile_record(gateprofiles_find(&profiles, "b"), "g5.xlarge", "claim-1");
    assert_int_equal(gateprofiles_count_recording(&profiles), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(profiles_come_change_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_that_write_are_counted, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("controller/gateprofiles", tests, NULL, NULL);
}
