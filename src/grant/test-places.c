// SPDX-License-Identifier: Apache-2.0
#include "grant/places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "grant/test-tempdir.h"

static void expect(const char *state_dir, const char *plugin_dir, const char *grant_dir)
{
    struct places places;

    places_find(state_dir, &places);
    assert_string_equal(places.plugin_dir, plugin_dir);
    assert_string_equal(places.grant_dir, grant_dir);
}

static void clear(void)
{
    unsetenv("GPUSLICE_DEVICE_PLUGIN_DIR");
    unsetenv("KUBELET_SOCKET");
    unsetenv("GPUSLICE_GRANT_DIR");
}

static void what_the_agent_left_is_found(void **state)
{
    char state_dir[256], first[300], second[300], target[300] = "";

    (void)state;
    clear();
    snprintf(state_dir, sizeof(state_dir), "%s", tempdir_path("state"));
    snprintf(first, sizeof(first), "%s/device-plugins", state_dir);
    snprintf(second, sizeof(second), "%s/grants", state_dir);
    expect(state_dir, "/var/lib/kubelet/device-plugins", "/var/lib/gpuslice");
    assert_int_equal(places_leave(state_dir, "/k/plugins", "/g", NULL), 0);
    expect(state_dir, first, second);
    assert_int_equal(places_leave(state_dir, "/k/plugins", "/later", NULL), 0);
    assert_int_equal(readlink(second, target, sizeof(target) - 1), 6);
    assert_string_equal(target, "/later");
}

static void variables_take_precedence(void **state)
{
    (void)state;
    clear();
    setenv("KUBELET_SOCKET", "/k/plugins/kubelet.sock", 1);
    setenv("GPUSLICE_GRANT_DIR", "/g", 1);
    expect("/nowhere", "/k/plugins", "/g");
    setenv("KUBELET_SOCKET", "/kubelet.sock", 1);
    setenv("GPUSLICE_GRANT_DIR", "", 1);
    expect("/nowhere", "/", "/var/lib/gpuslice");
    setenv("GPUSLICE_DEVICE_PLUGIN_DIR", "/p", 1);
    expect("/nowhere", "/p", "/var/lib/gpuslice");
}

static void below_another_root_links_lead_there(void **state)
{
    char root[256], expected[300];
    struct places places;

    (void)state;
    clear();
    snprintf(root, sizeof(root), "%s", tempdir_path("root"));
    assert_int_equal(places_leave(tempdir_path("root/run"), "/k/plugins", "/g", NULL), 0);
    assert_int_equal(places_find_below(root, "/run", &places, NULL), 0);
    snprintf(expected, sizeof(expected), "%s/k/plugins", root);
    assert_string_equal(places.plugin_dir, expected);
    snprintf(expected, sizeof(expected), "%s/g", root);
    assert_string_equal(places.grant_dir, expected);
    assert_int_equal(places_find_below(root, "/elsewhere", &places, NULL), 0);
    snprintf(expected, sizeof(expected), "%s/var/lib/gpuslice", root);
    assert_string_equal(places.grant_dir, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_the_agent_left_is_found, tempdir_make, tempdir_remove),
        cmocka_unit_test_setup_teardown(below_another_root_links_lead_there, tempdir_make,
                                        tempdir_remove),
        cmocka_unit_test(variables_take_precedence),
    };

    return cmocka_run_group_tests_name("grant/places", tests, NULL, NULL);
}
