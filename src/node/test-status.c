// SPDX-License-Identifier: Apache-2.0
#include "node/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/test-played.h"
#include "plugin/test-bed.h"
#include "proc/httplink.h"

/* --- an agent with two resources --- */

struct world {
    struct played_node node;
    struct text body;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    played_reset();
    played_node_init(&world->node);
    world->node.services[0].counters = (struct service_counters){
        {11, 12, 13, 14}, .registrations = 15, .failed_registrations = 16};
    world->node.facts.machine.n_gpus = 2;
    world->node.facts.offer = bed_offer(BED_SHARED_BY_4);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    text_deinit(&world->body);
    bed_offer_free(world->node.facts.offer);
    free(world);
    return 0;
}

static unsigned ask(struct world *world, enum httplink_page page)
{
    text_deinit(&world->body);
    struct status status = {.facts = &world->node.facts};

    return status_answer(page, &world->body, &status);
}

static void assert_answer(struct world *world, enum httplink_page page, unsigned status,
                          const char *body)
{
    assert_int_equal(ask(world, page), status);
    assert_string_equal(text_string(&world->body), body);
}

/* --- healthy and ready --- */

static void who_answers_is_healthy(void **state)
{
    struct world *world = *state;

    world->node.services[0].ready = false;
    assert_answer(world, HTTPLINK_HEALTH, 200, "ok\n");
}

static void ready_is_who_serves_everything(void **state)
{
    struct world *world = *state;

    assert_answer(world, HTTPLINK_READY, 200, "ok\n");
    world->node.services[0].ready = world->node.services[1].ready = false;
    assert_answer(world, HTTPLINK_READY, 503,
                  "nvidia.com/gpu is not registered with the kubelet\n"
                  "nvidia.com/gpu-half is not registered with the kubelet\n");
}

static void a_foreign_plugin_is_named(void **state)
{
    struct world *world = *state;

    world->node.services[0].ready = false;
    played.coexist_message = "NVIDIA's device plugin serves nvidia.com/gpu; uninstall it";
    assert_answer(world, HTTPLINK_READY, 503,
                  "NVIDIA's device plugin serves nvidia.com/gpu; uninstall it\n");
}

static void an_agent_that_just_started_says_what_it_waits_for(void **state)
{
    struct world *world = *state;
    struct offer *offer = world->node.facts.offer;

    world->node.set.n = 0;
    world->node.facts.offer = NULL;
    assert_answer(world, HTTPLINK_READY, 503, "there is no configuration yet for this node\n");
    world->node.facts.machine_known = false;
    assert_answer(world, HTTPLINK_READY, 503, "the driver has not responded yet\n");
    snprintf(world->node.facts.driver_problem, sizeof(world->node.facts.driver_problem),
             "no libnvidia-ml");
    assert_answer(world, HTTPLINK_READY, 503, "no libnvidia-ml\n");
    world->node.facts.machine_known = true;
    world->node.facts.machine.n_gpus = 0; /* a node without a GPU waits for nothing */
    assert_answer(world, HTTPLINK_READY, 200, "ok\n");
    world->node.facts.offer = offer;
}

/* --- metrics --- */

static void assert_metric(const struct world *world, const char *line)
{
    char whole[200];

    snprintf(whole, sizeof(whole), "\n%s\n", line);
    if (!strstr(text_string(&world->body), whole))
        fail_msg("no %s in:\n%s", line, text_string(&world->body));
}

static void devices_are_counted_by_health(void **state)
{
    struct world *world = *state;

    world->node.facts.offer->device_healthy[1] = false;
    assert_int_equal(ask(world, HTTPLINK_METRICS), 200);
    assert_metric(world, "gpuslice_devices{resource=\"nvidia.com/gpu\",health=\"Healthy\"} 4");
    assert_metric(world, "gpuslice_devices{resource=\"nvidia.com/gpu\",health=\"Unhealthy\"} 4");
    assert_metric(world, "gpuslice_gpu_healthy{gpu=\"0\",uuid=\"" BED_UUID_0
                         "\",model=\"Tesla V100-SXM2-16GB\"} 1");
    assert_metric(world, "gpuslice_gpu_healthy{gpu=\"1\",uuid=\"" BED_UUID_1
                         "\",model=\"Tesla V100-SXM2-16GB\"} 0");
}

/* Else the alert for it never ends, though somebody knows of the fault. */
static void an_excluded_gpu_has_no_health(void **state)
{
    struct world *world = *state;

    world->node.facts.offer->plan->devices[1].excluded = true;
    world->node.facts.offer->device_healthy[1] = false;
    assert_int_equal(ask(world, HTTPLINK_METRICS), 200);
    assert_metric(world, "gpuslice_gpu_healthy{gpu=\"0\",uuid=\"" BED_UUID_0
                         "\",model=\"Tesla V100-SXM2-16GB\"} 1");
    assert_null(strstr(text_string(&world->body), "gpuslice_gpu_healthy{gpu=\"1\""));
}

/* A MIG device is in the family of the GPUs, and two labels more tell which of its GPU it is. */
static void mig_devices_are_named(void **state)
{
    struct world *world = *state;
    struct plan_device *on = &world->node.facts.offer->plan->devices[1];

    on->device.kind = DEVICE_MIG;
    on->device.mig_index = 3;
    snprintf(on->device.uuid, sizeof(on->device.uuid), "MIG-a");
    snprintf(on->device.profile, sizeof(on->device.profile), "1g.5gb");
    world->node.facts.offer->device_healthy[1] = false;
    assert_int_equal(ask(world, HTTPLINK_METRICS), 200);
    assert_metric(world, "gpuslice_gpu_healthy{gpu=\"0\",uuid=\"" BED_UUID_0
                         "\",model=\"Tesla V100-SXM2-16GB\"} 1");
    assert_metric(world, "gpuslice_gpu_healthy{gpu=\"1\",uuid=\"MIG-a\",model=\"Tesla "
                         "V100-SXM2-16GB\",device=\"1:3\",profile=\"1g.5gb\"} 0");
}

/* Each number in its place: a table maps them by offsets. */
static void counters_are_those_of_their_resource(void **state)
{
    static const char *const lines[] = {
        "gpuslice_allocations_total{resource=\"nvidia.com/gpu\"} 11",
        "gpuslice_failed_allocations_total{resource=\"nvidia.com/gpu\"} 12",
        "gpuslice_preferences_total{resource=\"nvidia.com/gpu\"} 13",
        "gpuslice_device_lists_total{resource=\"nvidia.com/gpu\"} 14",
        "gpuslice_registrations_total{resource=\"nvidia.com/gpu\"} 15",
        "gpuslice_failed_registrations_total{resource=\"nvidia.com/gpu\"} 16",
        "gpuslice_allocations_total{resource=\"nvidia.com/gpu-half\"} 0",
        "gpuslice_registered{resource=\"nvidia.com/gpu\"} 1",
        "gpuslice_registered{resource=\"nvidia.com/gpu-half\"} 0",
        "gpuslice_config_reloads_total 21",
        "gpuslice_config_failed_reloads_total 22",
        "gpuslice_xid_events_total 23",
        "gpuslice_driver_hangs_total 24",
    };
    struct world *world = *state;

    world->node.services[1].ready = false;
    world->node.facts.counters = (struct facts_counters){21, 22, 23, 24};
    ask(world, HTTPLINK_METRICS);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        assert_metric(world, lines[i]);
}

static void a_refused_configuration_shows(void **state)
{
    struct world *world = *state;

    snprintf(world->node.facts.config_path, sizeof(world->node.facts.config_path),
             "/config/a.yaml");
    ask(world, HTTPLINK_METRICS);
    assert_metric(world, "gpuslice_config_refused 0");
    assert_metric(world, "gpuslice_config_info{file=\"/config/a.yaml\"} 1");
    snprintf(world->node.facts.refusal, sizeof(world->node.facts.refusal), "no such key");
    ask(world, HTTPLINK_METRICS);
    assert_metric(world, "gpuslice_config_refused 1");
}

static void the_cluster_shows_where_there_is_one(void **state)
{
    struct world *world = *state;

    ask(world, HTTPLINK_METRICS);
    assert_null(strstr(text_string(&world->body), "gpuslice_cluster"));
    played.has_cluster = true;
    ask(world, HTTPLINK_METRICS);
    assert_metric(world, "gpuslice_cluster_connected 1");
    assert_metric(world, "gpuslice_cluster_lost_events_total 3");
}

/* Before the first plan there is a scrape, too. */
static void an_agent_without_an_offer_has_metrics(void **state)
{
    struct world *world = *state;
    struct offer *offer = world->node.facts.offer;

    world->node.facts.offer = NULL;
    world->node.set.n = 0;
    assert_int_equal(ask(world, HTTPLINK_METRICS), 200);
    assert_non_null(strstr(text_string(&world->body), "gpuslice_build_info{version="));
    world->node.facts.offer = offer;
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(who_answers_is_healthy),
        IN_A_WORLD(ready_is_who_serves_everything),
        IN_A_WORLD(a_foreign_plugin_is_named),
        IN_A_WORLD(an_agent_that_just_started_says_what_it_waits_for),
        IN_A_WORLD(devices_are_counted_by_health),
        IN_A_WORLD(an_excluded_gpu_has_no_health),
        IN_A_WORLD(mig_devices_are_named),
        IN_A_WORLD(counters_are_those_of_their_resource),
        IN_A_WORLD(a_refused_configuration_shows),
        IN_A_WORLD(the_cluster_shows_where_there_is_one),
        IN_A_WORLD(an_agent_without_an_offer_has_metrics),
    };

    return cmocka_run_group_tests_name("node/status", tests, NULL, NULL);
}
