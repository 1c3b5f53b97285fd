// SPDX-License-Identifier: Apache-2.0
#include "controller/gateprofile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kube/test-fake-api.h"

#define STATUS "/apis/gpuslice.dev/v1alpha1/sliceprofiles/p/status?fieldManager=gpuslice-node"
#define OBJECT(status)                                                                             \
    "{\"apiVersion\": \"gpuslice.dev/v1alpha1\", \"kind\": \"SliceProfile\", \"metadata\": "       \
    "{\"name\": \"p\", \"generation\": 2}, \"spec\": {\"gpuNames\": [\"a10g\"], \"timeSlicing\": " \
    "{\"replicas\": 4}, \"repair\": \"replace\"}" status "}"
#define SPEC(mode)                                                                           \
    "{\"apiVersion\": \"gpuslice.dev/v1alpha1\", \"kind\": \"SliceProfile\", \"metadata\": " \
    "{\"name\": \"p\"}, \"spec\": {\"gpuNames\": [\"a10g\"], " mode "}}"
#define THEIRS "{\"type\": \"Ready\", \"status\": \"True\"}"

static uv_loop_t loop;
static struct gateprofile_setup setup;
static struct gateprofile *profile;
static bool leads;

static bool may_write(void *userdata)
{
    return leads;
}

static void see(const char *text)
{
    json_t *object = json_loads(text, 0, NULL);

    assert_non_null(object);
    gateprofile_see(profile, object);
    json_decref(object);
}

static int set_up(void **state)
{
    fake_api_reset();
    uv_loop_init(&loop);
    leads = true;
    setup = (struct gateprofile_setup){
        .loop = &loop, .client = fake_api_client(), .may_write = may_write};
    profile = gateprofile_new(&setup, "p");
    return !profile;
}

static int tear_down(void **state)
{
    gateprofile_free(profile);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* What a patch writes to a path; NULL = nothing. */
static const json_t *written(const struct kube_call *call, const char *path, const char *op)
{
    json_t *operation;
    size_t i;

    json_array_foreach(call->body, i, operation)
    {
        if (strcmp(json_string_value(json_object_get(operation, "path")), path) == 0 &&
            strcmp(json_string_value(json_object_get(operation, "op")), op) == 0)
            return json_object_get(operation, "value");
    }
    return NULL;
}

static void conditions_of_others_stay(void **state)
{
    const struct gateprofile_nodes nodes = {3, 1, "n-2", "DriverMissing", "no driver"};
    const json_t *conditions;
    struct kube_call *call;

    see(OBJECT(", \"status\": {\"conditions\": [" THEIRS "]}"));
    assert_true(gateprofile_read(profile) && gateprofile_read(profile)->replace);
    gateprofile_count(profile, &nodes);
    call = fake_api_expect("PATCH", STATUS);
    conditions = written(call, "/status/conditions", "replace");
    assert_int_equal(json_array_size(written(call, "/status/conditions", "test")), 1);
    assert_int_equal(json_array_size(conditions), 2);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(conditions, 1), "message")),
        "1 of 3 nodes; n-2: no driver");
    fake_api_answer(call, 200,
                    OBJECT(", \"status\": {\"conditions\": [" THEIRS
                           ", {\"type\": \"NodesAsPromised\", \"status\": \"False\", \"reason\": "
                           "\"DriverMissing\", \"message\": \"1 of 3 nodes; n-2: no driver\"}]}"));
    gateprofile_count(profile, &nodes);
    assert_int_equal(fake_api_n_open(), 0); /* it says so already */
}

static void a_profile_without_nodes_is_left_alone(void **state)
{
    see(OBJECT(""));
    gateprofile_count(profile, &(struct gateprofile_nodes){0});
    assert_int_equal(fake_api_n_sent(), 0);
    leads = false;
    gateprofile_count(profile, &(struct gateprofile_nodes){.n_nodes = 1});
    assert_int_equal(fake_api_n_sent(), 0);
}

/* What is to be written down meanwhile is not lost, and is there only once the server has it. */
static void a_replacement_is_written_down(void **state)
{
    struct kube_call *call;

    see(OBJECT(""));
    gateprofile_count(profile, &(struct gateprofile_nodes){.n_nodes = 1});
    gateprofile_record(profile, "t", "c1");
    call = fake_api_expect("PATCH", STATUS);
    assert_null(written(call, "/status/replacements", "add"));
    fake_api_answer(call, 200, OBJECT(", \"status\": {\"conditions\": []}"));
    assert_true(gateprofile_is_recording(profile));
    assert_false(replacement_has(gateprofile_list(profile), "t", "c1"));
    call = fake_api_expect("PATCH", STATUS);
    assert_non_null(written(call, "/status/replacements", "add"));
    fake_api_answer(call, 200,
                    OBJECT(", \"status\": {\"replacements\": {\"observedGeneration\": 2, "
                           "\"types\": [{\"instanceType\": \"t\", \"nodeClaims\": [\"c1\"]}]}}"));
    assert_false(gateprofile_is_recording(profile));
    assert_true(replacement_has(gateprofile_list(profile), "t", "c1"));
}

/* A status changes nothing that is read, another spec all of it. */
static void what_is_read_follows_the_spec(void **state)
{
    see(OBJECT(""));
    see(OBJECT(", \"status\": {\"conditions\": [" THEIRS "]}"));
    assert_int_equal(gateprofile_read(profile)->replicas, 4);
    see(SPEC("\"mps\": {\"replicas\": 3}"));
    assert_int_equal(gateprofile_read(profile)->replicas, 3);
    see(SPEC("\"mps\": {\"replicas\": 1}"));
    assert_null(gateprofile_read(profile));
    see(OBJECT(""));
    assert_true(gateprofile_read(profile)->replace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(conditions_of_others_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_profile_without_nodes_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replacement_is_written_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_read_follows_the_spec, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("controller/gateprofile", tests, NULL, NULL);
}
