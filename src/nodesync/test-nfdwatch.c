// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nfdwatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kube/test-fake-api.h"

#define GROUP       "/apis/nfd.k8s-sigs.io/v1alpha1"
#define OBJECT_PATH GROUP "/namespaces/gpus/nodefeatures/nvidia-features-for-gpu-1"

static uv_loop_t loop;
static struct sync_setup setup;
static struct sync_label label;
static struct observed observed;
static struct owner owner;
static struct feature feature;
static struct nfdwatch watch;
static unsigned n_changes;

static void ignore(void *userdata)
{
}

static void on_change(void *userdata)
{
    n_changes++;
}

static int set_up(void **state)
{
    fake_api_reset();
    n_changes = 0;
    setup = (struct sync_setup){.node = own("gpu-1"), .namespace_ = own("gpus"), .pod = own("")};
    label = (struct sync_label){own("a"), own("1")};
    observed = (struct observed){.client = fake_api_client(),
                                 .setup = &setup,
                                 .state = {.labels = &label, .n_labels = 1},
                                 .has_state = true};
    uv_loop_init(&loop);
    owner_init(&owner, &loop, &observed, ignore, NULL);
    writer_sync(&owner.writer);
    feature_init(&feature, &loop, &observed, &owner, ignore, NULL);
    nfdwatch_init(&watch, &loop, &observed, &feature, on_change, NULL);
    return 0;
}

static int tear_down(void **state)
{
    nfdwatch_deinit(&watch);
    feature_deinit(&feature);
    owner_deinit(&owner);
    json_decref(TAKE_PTR(observed.node));
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* The Node, on which NFD has set a=`value` at `time`; NULL = it set nothing. */
static void see(const char *value, const char *time)
{
    json_decref(observed.node);
    observed.node =
        value ? json_pack("{s:{s:{s:s},s:{s:s},s:[{s:s,s:s}]}}", "metadata", "labels", "a", value,
                          "annotations", "nfd.node.kubernetes.io/feature-labels", "a",
                          "managedFields", "manager", "nfd-master", "time", time)
              : json_pack("{s:{}}", "metadata");
    assert_non_null(observed.node);
    nfdwatch_sync(&watch);
}

static void tell(const char *value)
{
    label.value = own(value);
    nfdwatch_sync(&watch);
}

/* So that a test need not wait for it. */
static void let_pass(uv_timer_t *timer)
{
    const unsigned before = n_changes;

    assert_true(uv_is_active((uv_handle_t *)timer));
    uv_timer_set_repeat(timer, 1);
    uv_timer_again(timer);
    while (n_changes == before)
        uv_run(&loop, UV_RUN_ONCE);
    uv_timer_stop(timer);
}

static void a_lag_that_lasts_is_silence(void **state)
{
    see("1", "T1");
    tell("2");
    assert_in_range(uv_timer_get_due_in(&watch.lag), 30 * 1000, 60 * 1000);
    assert_null(observed.nfd_left);
    let_pass(&watch.lag);
    assert_string_equal(json_string_value(json_object_get(observed.nfd_left, "a")), "1");
    see("1", "T1");
    assert_false(uv_is_active((uv_handle_t *)&watch.lag));
    see("2", "T2"); /* it is back */
    assert_null(observed.nfd_left);
}

static void a_lag_that_ends_is_none(void **state)
{
    see("1", "T1");
    tell("2");
    see("2", "T2");
    assert_false(uv_is_active((uv_handle_t *)&watch.lag));
    assert_int_equal(n_changes, 0);
}

/* It may be a moment's: NFD has not yet seen what we tell. */
static void a_label_is_lost_when_it_stays_lost(void **state)
{
    see("9", "T1");
    assert_null(observed.nfd_lost);
    let_pass(&watch.lost);
    assert_string_equal(json_string_value(json_object_get(observed.nfd_lost, "a")), "9");
    see("8", "T2"); /* still another's */
    assert_string_equal(json_string_value(json_object_get(observed.nfd_lost, "a")), "8");
    assert_false(uv_is_active((uv_handle_t *)&watch.lost));
    see("1", "T3");
    assert_null(observed.nfd_lost);
    see("9", "T4"); /* a new story */
    assert_null(observed.nfd_lost);
    assert_true(uv_is_active((uv_handle_t *)&watch.lost));
    assert_null(observed.nfd_left);
}

static void a_label_that_is_won_was_not_lost(void **state)
{
    see("9", "T1");
    see("1", "T2");
    assert_false(uv_is_active((uv_handle_t *)&watch.lost));
    assert_int_equal(n_changes, 0);
}

/* Somebody may have removed it, and our object with it. */
static void an_nfd_that_comes_or_goes_is_asked(void **state)
{
    see(NULL, NULL);
    assert_int_equal(fake_api_n_sent(), 0);
    see("1", "T1");
    fake_api_serve("GET", GROUP, 200, "{\"resources\":[{\"name\":\"nodefeatures\"}]}");
    fake_api_serve("GET", OBJECT_PATH, 200, "{\"spec\":{\"labels\":{\"a\":\"1\"}}}");
    fake_api_serve("PATCH", OBJECT_PATH "?fieldManager=gpuslice-node", 403, "{}");
    see(NULL, NULL);
    writer_kick(&feature.writer);
    fake_api_expect("GET", GROUP);
}

/* Long after the start, too. */
static void an_api_without_it_is_asked_again(void **state)
{
    writer_sync(&feature.writer);
    fake_api_serve("GET", GROUP, 404, "{}");
    assert_true(uv_is_active((uv_handle_t *)&watch.check));
    assert_in_range(uv_timer_get_due_in(&watch.check), 60 * 1000, 60 * 60 * 1000);
    uv_timer_set_repeat(&watch.check, 1);
    uv_timer_again(&watch.check);
    while (!fake_api_n_open())
        uv_run(&loop, UV_RUN_ONCE);
    fake_api_serve("GET", GROUP, 200, "{\"resources\":[{\"name\":\"nodefeatures\"}]}");
    fake_api_expect("GET", OBJECT_PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lag_that_lasts_is_silence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lag_that_ends_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_label_is_lost_when_it_stays_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_label_that_is_won_was_not_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_nfd_that_comes_or_goes_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_api_without_it_is_asked_again, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/nfdwatch", tests, NULL, NULL);
}
