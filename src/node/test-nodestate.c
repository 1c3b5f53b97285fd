// SPDX-License-Identifier: Apache-2.0
#include "node/nodestate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "node/status.h"
#include "node/test-played.h"
#include "plugin/test-bed.h"

/* --- an agent that knows its machine and offers something --- */

struct world {
    struct played_node node;
    struct sync_state said;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    played_reset();
    played_node_init(&world->node);
    world->node.facts.config_taken_at = 1700000000;
    world->node.facts.offer = bed_offer(BED_SHARED_BY_4);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    sync_state_deinit(&world->said);
    if (world->node.facts.offer)
        bed_offer_free(world->node.facts.offer);
    free(world);
    return 0;
}

/* Offers what the text says instead; NULL = nothing. */
static void reconfigure(struct world *world, const char *yaml)
{
    bed_offer_free(world->node.facts.offer);
    world->node.facts.offer = yaml ? bed_offer(yaml) : NULL;
}

static int say(struct world *world)
{
    int r;

    sync_state_deinit(&world->said);
    world->said = (struct sync_state){.n_labels = 0};
    r = nodestate_make(&world->node.facts, &world->said);
    assert_true(r >= 0);
    return r;
}

static const char *label(const struct sync_state *state, const char *key)
{
    for (size_t i = 0; i < state->n_labels; i++)
        if (str_equal(state->labels[i].key, key))
            return state->labels[i].value;
    return NULL;
}

static void assert_condition(const struct world *world, bool ready, const char *reason,
                             const char *message)
{
    assert_true(world->said.has_condition);
    assert_int_equal(world->said.ready, ready);
    assert_string_equal(world->said.reason, reason);
    assert_string_equal(world->said.message, message);
}

/* --- when --- */

/* What is not said is removed from the Node: an agent that just started must not. */
static void nothing_is_published_before_something_is_known(void **state)
{
    struct world *world = *state;

    world->node.facts.machine_known = false;
    assert_int_equal(say(world), NODESTATE_UNKNOWN);
    reconfigure(world, NULL);
    world->node.facts.machine_known = true; /* the configuration is to come yet */
    assert_int_equal(say(world), NODESTATE_UNKNOWN);
}

static void a_node_without_a_gpu_has_no_condition(void **state)
{
    struct world *world = *state;

    world->node.facts.machine.n_gpus = 0;
    world->node.set.n = 0;
    assert_int_equal(say(world), 0);
    assert_false(world->said.has_condition);
    assert_int_equal(world->said.n_labels, 0);
}

/* GPUs of virtual machines, say: no trouble, but a word on it. */
static void gpus_that_are_nobodys_to_slice_are_explained(void **state)
{
    struct world *world = *state;

    world->node.facts.machine.n_gpus = 0;
    world->node.set.n = 0;
    snprintf(world->node.facts.unserved, sizeof(world->node.facts.unserved), "passed through");
    assert_int_equal(say(world), 0);
    assert_true(world->said.has_condition);
    assert_true(world->said.ready);
    assert_string_equal(world->said.reason, "NoGPUsToServe");
    assert_string_equal(world->said.message, "passed through");
    assert_int_equal(world->said.n_labels, 0);
}

static void resources_on_their_way_are_told_from_those_that_arrived(void **state)
{
    struct world *world = *state;

    world->node.services[0].ready = world->node.services[1].ready = false;
    assert_int_equal(say(world), NODESTATE_SETTLING);
    assert_condition(world, false, "ResourcesNotRegistered",
                     "not registered with the kubelet: nvidia.com/gpu, nvidia.com/gpu-half");
    world->node.services[0].ready = true;
    assert_int_equal(say(world), NODESTATE_SETTLING);
    assert_condition(world, false, "ResourcesNotRegistered",
                     "not registered with the kubelet: nvidia.com/gpu-half");
    world->node.services[1].ready = true;
    assert_int_equal(say(world), 0);
    assert_condition(world, true, "AllResourcesRegistered",
                     "2 resources are registered with the kubelet");
}

/* --- the condition --- */

static void counts_resources_as_people_do(void **state)
{
    struct world *world = *state;

    world->node.set.n = 1;
    say(world);
    assert_condition(world, true, "AllResourcesRegistered",
                     "1 resource is registered with the kubelet");
    world->node.set.n = 0;
    say(world);
    assert_condition(world, true, "AllResourcesRegistered",
                     "the configuration offers none of this node's GPUs");
}

/* The slices are registered, but fewer than the node has: the message says why. */
static void unhealthy_devices_are_in_the_message(void **state)
{
    struct world *world = *state;
    struct health health = HEALTH_INIT;
    const struct gpu_event event = {BED_UUID_1, 79, DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};

    health_inventory(&health, &world->node.facts.offer->inventory, 1);
    health_event(&health, &event, XID_REBOOT, 2);
    world->node.facts.health = &health;
    world->node.facts.offer->device_healthy[1] = false;
    say(world);
    assert_condition(world, true, "AllResourcesRegistered",
                     "2 resources are registered with the kubelet; GPU 1 is Unhealthy: XID 79: GPU "
                     "has fallen off the bus; reset the GPU or reboot the node");
    health_deinit(&health);
}

/* One trouble after the other is solved, the gravest first. */
static void the_gravest_trouble_is_reported(void **state)
{
    struct world *world = *state;
    struct facts *facts = &world->node.facts;

    world->node.services[0].ready = false;
    snprintf(facts->refusal, sizeof(facts->refusal), "a.yaml:1:1: no such key");
    played.coexist_message = "NVIDIA's device plugin serves nvidia.com/gpu";
    snprintf(facts->driver_problem, sizeof(facts->driver_problem), "the driver is not loaded");
    assert_int_equal(say(world), 0);
    assert_condition(world, false, "DriverNotAvailable", "the driver is not loaded");
    facts->driver_problem[0] = '\0';
    assert_int_equal(say(world), 0);
    assert_condition(world, false, "ForeignDevicePlugin", played.coexist_message);
    played.coexist_message = NULL;
    assert_int_equal(say(world), 0);
    assert_condition(world, false, "ConfigurationRefused", "a.yaml:1:1: no such key");
    facts->refusal[0] = '\0';
    assert_int_equal(say(world), NODESTATE_SETTLING);
}

static void an_unasked_driver_is_trouble_on_any_node(void **state)
{
    struct world *world = *state;

    reconfigure(world, NULL);
    world->node.facts.machine_known = false;
    world->node.facts.machine.n_gpus = 0;
    snprintf(world->node.facts.driver_problem, sizeof(world->node.facts.driver_problem),
             "no libnvidia-ml");
    assert_int_equal(say(world), 0);
    assert_condition(world, false, "DriverNotAvailable", "no libnvidia-ml");
    assert_true(world->said.keeps_labels); /* those of the agent before stay */
}

static void an_empty_folder_of_configurations_is_reported(void **state)
{
    struct world *world = *state;

    reconfigure(world, NULL);
    played.config_is_missing = true;
    assert_int_equal(say(world), 0);
    assert_condition(world, false, "ConfigurationMissing",
                     "there is no configuration yet for this node");
}

/* --- labels and taints --- */

static void labels_say_what_is_offered(void **state)
{
    struct world *world = *state;

    say(world);
    assert_string_equal(label(&world->said, "nvidia.com/gpu.count"), "2");
    assert_string_equal(label(&world->said, "nvidia.com/gpu.replicas"), "4");
    assert_string_equal(label(&world->said, "nvidia.com/gpu.product"),
                        "Tesla-V100-SXM2-16GB-SHARED");
    assert_null(label(&world->said, "nvidia.com/gfd.timestamp"));
}

/* For who compares it with what the kubelet has. */
static void the_node_says_what_it_is_configured_to_offer(void **state)
{
    struct world *world = *state;

    say(world);
    assert_string_equal(world->said.advertises, "nvidia.com/gpu=8");
    reconfigure(world, "sharing: {timeSlicing: {renameByDefault: true, resources: [{name: "
                       "nvidia.com/gpu, replicas: 3}]}}\n");
    world->node.facts.offer->device_healthy[0] = false;
    say(world);
    assert_string_equal(world->said.advertises, "nvidia.com/gpu.shared=6");
    world->node.facts.machine.n_gpus = 0;
    say(world);
    assert_null(world->said.advertises);
}

static void the_configuration_says_how_labels_are_published(void **state)
{
    static const struct {
        const char *yaml;
        enum sync_labels_by by;
        const char *file; /* NULL = in none */
    } rows[] = {
        {"flags: {}\n", SYNC_LABELS_AUTO, NULL},
        {"flags: {useNodeFeatureAPI: true}\n", SYNC_LABELS_AUTO, NULL},
        {"flags: {useNodeFeatureAPI: false}\n", SYNC_LABELS_NODE, NULL},
        {"flags: {gfd: {outputFile: /nfd/gfd}}\n", SYNC_LABELS_NONE, "/nfd/gfd"},
    };
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        reconfigure(world, rows[i].yaml);
        say(world);
        assert_int_equal(world->said.labels_by, rows[i].by);
        if (rows[i].file)
            assert_string_equal(nodestate_label_file(&world->node.facts), rows[i].file);
        else
            assert_null(nodestate_label_file(&world->node.facts));
    }
}

/* A time is in a file unless it is refused, and on the Node only when it is asked for. */
static void the_time_is_said_where_it_costs_nothing(void **state)
{
    static const struct {
        const char *yaml;
        bool on_node, in_file;
    } rows[] = {
        {"flags: {}\n", false, true},
        {"flags: {gfd: {noTimestamp: false}}\n", true, true},
        {"flags: {gfd: {noTimestamp: true}}\n", false, false},
    };
    struct world *world = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t n_labels;

        reconfigure(world, rows[i].yaml);
        say(world);
        assert_int_equal(!!label(&world->said, "nvidia.com/gfd.timestamp"), rows[i].on_node);
        n_labels = world->said.n_labels;
        assert_int_equal(nodestate_add_timestamp(&world->node.facts, &world->said), 0);
        assert_int_equal(!!label(&world->said, "nvidia.com/gfd.timestamp"), rows[i].in_file);
        assert_int_equal(world->said.n_labels - n_labels, rows[i].in_file && !rows[i].on_node);
        if (rows[i].in_file)
            assert_string_equal(label(&world->said, "nvidia.com/gfd.timestamp"), "1700000000");
    }
}

static void the_machine_comes_from_the_file_that_is_named(void **state)
{
    struct world *world = *state;
    char path[64], yaml[160];

    snprintf(path, sizeof(path), "/tmp/gpuslice-machine-%p", (void *)world);
    snprintf(yaml, sizeof(yaml), "flags: {gfd: {machineTypeFile: %s}}\n", path);
    reconfigure(world, yaml);
    say(world); /* there is no such file */
    assert_string_equal(label(&world->said, "nvidia.com/gpu.machine"), "unknown");
    assert_int_equal(file_write_atomic(path, "DGX A100\n", 9, 0644, NULL), 0);
    say(world);
    assert_string_equal(label(&world->said, "nvidia.com/gpu.machine"), "DGX-A100");
    assert_int_equal(remove(path), 0);
}

static void own_labels_and_taints_go_along(void **state)
{
    struct world *world = *state;

    reconfigure(world, "gpuslice: {labels: {team: ml}, taints: [{key: gpu, effect: NoSchedule}, "
                       "{key: big, value: very, effect: NoExecute}]}\n");
    say(world);
    assert_int_equal(world->said.n_extra_labels, 1);
    assert_string_equal(world->said.extra_labels[0].key, "team");
    assert_string_equal(world->said.extra_labels[0].value, "ml");
    assert_null(label(&world->said, "team")); /* it goes on the Node itself */
    assert_int_equal(world->said.n_taints, 2);
    assert_string_equal(world->said.taints[0].value, "");
    assert_string_equal(world->said.taints[1].value, "very");
    assert_string_equal(world->said.taints[1].effect, "NoExecute");
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(nothing_is_published_before_something_is_known),
        IN_A_WORLD(a_node_without_a_gpu_has_no_condition),
        IN_A_WORLD(gpus_that_are_nobodys_to_slice_are_explained),
        IN_A_WORLD(resources_on_their_way_are_told_from_those_that_arrived),
        IN_A_WORLD(counts_resources_as_people_do),
        IN_A_WORLD(unhealthy_devices_are_in_the_message),
        IN_A_WORLD(the_gravest_trouble_is_reported),
        IN_A_WORLD(an_unasked_driver_is_trouble_on_any_node),
        IN_A_WORLD(an_empty_folder_of_configurations_is_reported),
        IN_A_WORLD(labels_say_what_is_offered),
        IN_A_WORLD(the_node_says_what_it_is_configured_to_offer),
        IN_A_WORLD(the_configuration_says_how_labels_are_published),
        IN_A_WORLD(the_time_is_said_where_it_costs_nothing),
        IN_A_WORLD(the_machine_comes_from_the_file_that_is_named),
        IN_A_WORLD(own_labels_and_taints_go_along),
    };

    return cmocka_run_group_tests_name("node/nodestate", tests, NULL, NULL);
}
