// SPDX-License-Identifier: Apache-2.0
#include "node/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "node/nodestate.h"
#include "node/status.h"
#include "node/test-played.h"
#include "plugin/test-bed.h"

/* --- a node --- */

struct world {
    struct played_node node;
    struct offer *offer;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    played_reset();
    played_node_init(&world->node);
    world->offer = bed_offer(BED_SHARED_BY_4);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    bed_offer_free(world->offer);
    free(world);
    return 0;
}

/* What is wrong, in letters: d driver, ? the driver has not answered yet, n no GPU, g grants,
 * x passed through, f a foreign plugin, r refused, o no offer, m no configuration, u unregistered,
 * s not all of it can be offered, p no MPS daemon. */
static void play(struct world *world, const char *wrong)
{
    const bool offers = !strpbrk(wrong, "on?");

    played.coexist_message = strchr(wrong, 'f') ? "another plugin serves it" : NULL;
    played.grants_problem = strchr(wrong, 'g') ? "the disk is full" : "";
    played.config_is_missing = strchr(wrong, 'm');
    world->node.services[0].ready = !strpbrk(wrong, "uf");
    world->node.services[1].ready = !strchr(wrong, 'u');
    world->node.set.n = offers ? 2 : 0;
    world->node.facts = (struct facts){
        .services = &world->node.set,
        .grants = (const struct grants *)(const void *)world,
        .machine = {.gpus = &world->node.gpu, .n_gpus = strchr(wrong, 'n') ? 0 : 1},
        .machine_known = !strchr(wrong, '?'),
        .offer = offers ? world->offer : NULL,
    };
    if (strchr(wrong, 'd'))
        snprintf(world->node.facts.driver_problem, sizeof(world->node.facts.driver_problem),
                 "it is gone");
    if (strchr(wrong, 'x'))
        snprintf(world->node.facts.unserved, sizeof(world->node.facts.unserved),
                 "they are passed through");
    snprintf(world->offer->plan->waits_for_mps, RESOURCE_NAME_SIZE, "%s",
             strchr(wrong, 'p') ? "nvidia.com/gpu.x" : "");
    if (strchr(wrong, 's'))
        snprintf(world->node.facts.shortfall, sizeof(world->node.facts.shortfall), "offers 60000");
    if (strchr(wrong, 'r'))
        snprintf(world->node.facts.refusal, sizeof(world->node.facts.refusal),
                 "a.yaml:1:1: no such key");
}

/* --- the cases --- */

static const struct {
    const char *wrong;
    enum verdict_state state;
    const char *reason, *message, *ready_page;
} rows[] = {
    {"", VERDICT_READY, "AllResourcesRegistered", "2 resources are registered with the kubelet",
     "ok\n"},
    {"u", VERDICT_SETTLING, "ResourcesNotRegistered",
     "not registered with the kubelet: nvidia.com/gpu, nvidia.com/gpu-half",
     "nvidia.com/gpu is not registered with the kubelet\n"
     "nvidia.com/gpu-half is not registered with the kubelet\n"},
    {"?", VERDICT_STARTING, "Starting", "the driver has not responded yet",
     "the driver has not responded yet\n"},
    {"?r", VERDICT_STARTING, "Starting", "the driver has not responded yet",
     "the driver has not responded yet\n"},
    {"?d", VERDICT_NOT_READY, "DriverNotAvailable", "it is gone", "it is gone\n"},
    {"d", VERDICT_NOT_READY, "DriverNotAvailable", "it is gone", "it is gone\n"},
    {"dr", VERDICT_NOT_READY, "DriverNotAvailable", "it is gone", "it is gone\n"},
    {"n", VERDICT_NO_GPU, "NoGPU", "this node has no NVIDIA GPU", "ok\n"},
    {"nd", VERDICT_NO_GPU, "NoGPU", "this node has no NVIDIA GPU", "ok\n"},
    {"nr", VERDICT_NO_GPU, "NoGPU", "this node has no NVIDIA GPU", "ok\n"},
    {"xn", VERDICT_NOT_OURS, "NoGPUsToServe", "they are passed through", "ok\n"},
    {"xnr", VERDICT_NOT_OURS, "NoGPUsToServe", "they are passed through", "ok\n"},
    {"g", VERDICT_NOT_READY, "GrantsNotWritable", "the disk is full", "the disk is full\n"},
    {"f", VERDICT_NOT_READY, "ForeignDevicePlugin", "another plugin serves it",
     "another plugin serves it\n"},
    {"df", VERDICT_NOT_READY, "DriverNotAvailable", "it is gone",
     "it is gone\nanother plugin serves it\n"},
    {"ps", VERDICT_NOT_READY, "MPSDaemonNotAnswering",
     "nvidia.com/gpu.x is not offered: this release starts no MPS control daemon, and none answers "
     "at "
     "/nvidia.com/gpu.x/pipe/control; use sharing.timeSlicing, or run NVIDIA's daemon",
     "nvidia.com/gpu.x is not offered: this release starts no MPS control daemon, and none answers "
     "at "
     "/nvidia.com/gpu.x/pipe/control; use sharing.timeSlicing, or run NVIDIA's daemon\n"},
    {"pr", VERDICT_NOT_READY, "ConfigurationRefused", "a.yaml:1:1: no such key",
     "a.yaml:1:1: no such key\n"},
    {"s", VERDICT_READY, "OfferIncomplete", "offers 60000", "ok\n"},
    {"sr", VERDICT_NOT_READY, "ConfigurationRefused", "a.yaml:1:1: no such key",
     "a.yaml:1:1: no such key\n"},
    {"r", VERDICT_NOT_READY, "ConfigurationRefused", "a.yaml:1:1: no such key",
     "a.yaml:1:1: no such key\n"},
    {"ro", VERDICT_NOT_READY, "ConfigurationRefused", "a.yaml:1:1: no such key",
     "a.yaml:1:1: no such key\n"},
    {"o", VERDICT_STARTING, "Starting", "there is no configuration yet for this node",
     "there is no configuration yet for this node\n"},
    {"om", VERDICT_NOT_READY, "ConfigurationMissing", "there is no configuration yet for this node",
     "there is no configuration yet for this node\n"},
};

static void the_most_severe_reason_counts(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct verdict verdict;

        play(*state, rows[i].wrong);
        verdict_make(&((struct world *)*state)->node.facts, &verdict);
        if (verdict.state != rows[i].state)
            fail_msg("'%s': state %d, reason %s", rows[i].wrong, verdict.state, verdict.reason);
        assert_string_equal(verdict.reason, rows[i].reason);
        assert_string_equal(verdict.message, rows[i].message);
    }
}

static void assert_metric(const struct facts *facts, const char *reason, bool ready)
{
    const struct status status = {.facts = facts};
    struct text body = TEXT_INIT;
    char line[80];

    snprintf(line, sizeof(line), "\ngpuslice_ready{reason=\"%s\"} %d\n", reason, ready);
    assert_int_equal(status_answer(HTTPLINK_METRICS, &body, (void *)(uintptr_t)&status), 200);
    if (!strstr(text_string(&body), line))
        fail_msg("no %s in:\n%s", line, text_string(&body));
    text_deinit(&body);
}

static void assert_condition(const struct facts *facts, size_t row, bool ready)
{
    struct sync_state said;
    const int r = nodestate_make(facts, &said);

    assert_true(r >= 0);
    assert_int_equal(r == NODESTATE_UNKNOWN, rows[row].state == VERDICT_STARTING);
    if (r == NODESTATE_UNKNOWN)
        return;
    assert_int_equal(said.has_condition, rows[row].state != VERDICT_NO_GPU);
    if (said.has_condition) {
        assert_int_equal(said.ready, ready);
        assert_string_equal(said.reason, rows[row].reason);
        assert_string_equal(said.message, rows[row].message);
        assert_int_equal(said.keeps_labels, !facts->offer && !*facts->unserved);
    }
    sync_state_deinit(&said);
}

/* The condition, /readyz (which is the exec probe as well) and the metric. */
static void everything_published_agrees(void **state)
{
    struct world *world = *state;
    const struct status status = {.facts = &world->node.facts};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const bool ready = str_equal(rows[i].ready_page, "ok\n");
        struct text body = TEXT_INIT;
        unsigned code;

        play(world, rows[i].wrong);
        code = status_answer(HTTPLINK_READY, &body, (void *)(uintptr_t)&status);
        assert_string_equal(text_string(&body), rows[i].ready_page);
        assert_int_equal(code, ready ? 200 : 503);
        text_deinit(&body);
        assert_condition(&world->node.facts, i, ready);
        assert_metric(&world->node.facts, rows[i].reason, ready);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_most_severe_reason_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_published_agrees, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("node/verdict", tests, NULL, NULL);
}
