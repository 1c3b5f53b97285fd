// SPDX-License-Identifier: Apache-2.0
#include "node/reconciler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/load.h"
#include "gpu/mpsdaemon.h"
#include "node/test-played.h"
#include "plugin/cdi.h"
#include "plugin/test-bed.h"

#define HALVES \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, rename: half, replicas: 2}]}}\n"
#define BY_MPS    "sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n"
#define WITHOUT_0 "gpuslice: {excludeDevices: [0]}\n"
#define WITH_CDI  "flags: {plugin: {deviceListStrategy: [cdi-cri]}}\n"
#define FULL_DISK "the disk is full"
#define NVIDIAS   "nvidia-gpu.sock"

/* --- what else is asked, played --- */

static bool mps_answers;

bool mpsdaemon_answers(const char *root, const char *resource)
{
    (void)root, (void)resource;
    return mps_answers;
}

void mpswatch_follow(struct mpswatch *watch, struct config *config)
{
    (void)watch, (void)config;
}

bool cdi_is_wanted(const struct config *config)
{
    return config->plugin.device_list_strategies & LIST_STRATEGY_CDI_CRI;
}

int cdi_write(const char *folder, const struct offer *offer, struct error *err)
{
    (void)folder, (void)offer, (void)err;
    text_addf(&played.done, "cdi ");
    return 0;
}

void cdi_remove(const char *folder)
{
    (void)folder;
    text_addf(&played.done, "no-cdi ");
}

/* --- a node with two GPUs --- */

struct world {
    struct agent_flags flags;
    struct facts facts;
    struct health health;
    struct serviceset services;
    struct reconciler reconciler;
    struct offer *machine; /* whose inventory the machine borrows */
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    played_reset();
    mps_answers = false;
    world->machine = bed_offer("");
    world->facts = (struct facts){.flags = &world->flags,
                                  .services = &world->services,
                                  .machine = world->machine->inventory,
                                  .health = &world->health,
                                  .machine_known = true};
    health_inventory(&world->health, &world->facts.machine, 1);
    world->reconciler = (struct reconciler){.facts = &world->facts, .services = &world->services};
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    serviceset_deinit(&world->services);
    reconciler_deinit(&world->reconciler);
    facts_drop(&world->facts, TAKE_PTR(world->facts.earlier));
    facts_drop(&world->facts, TAKE_PTR(world->facts.offer));
    config_free(world->facts.next_config);
    bed_offer_free(world->machine);
    health_deinit(&world->health);
    played_reset();
    free(world);
    return 0;
}

static void take(struct world *world, const char *yaml)
{
    struct config *config;

    assert_int_equal(
        config_parse(yaml, strlen(yaml),
                     &(struct config_request){.source = "test.yaml", .strictness = CONFIG_AGENT},
                     NULL, &config, NULL),
        0);
    reconciler_take_config(&world->reconciler, config);
}

static void record_grants(struct world *world)
{
    world->reconciler.grants = (struct grants *)(void *)world; /* only passed on */
}

static void register_all(struct world *world)
{
    for (size_t i = 0; i < world->services.n; i++)
        world->services.items[i]->ready = true;
    reconciler_services_changed(&world->reconciler);
}

/* --- the cases --- */

static void a_configuration_becomes_services(void **state)
{
    struct world *world = *state;

    take(world, BED_SHARED_BY_4);
    played_assert_done("+nvidia.com/gpu no-cdi ");
    take(world, HALVES);
    played_assert_done("-nvidia.com/gpu +nvidia.com/half no-cdi ");
    assert_string_equal(world->facts.offer->plan->resources[0].name, "nvidia.com/half");
    assert_string_equal(world->facts.earlier->plan->resources[0].name, "nvidia.com/gpu");
    played_assert_events("");
}

/* The newest one, of those that came before the driver answered. */
static void a_configuration_waits_for_the_machine(void **state)
{
    struct world *world = *state;

    world->facts.machine_known = false;
    take(world, HALVES);
    take(world, BED_SHARED_BY_4);
    played_assert_done("");
    assert_null(world->facts.offer);
    world->facts.machine_known = true;
    reconciler_machine_changed(&world->reconciler);
    played_assert_done("+nvidia.com/gpu no-cdi ");
    assert_null(world->facts.next_config);
}

static void a_machine_without_a_configuration_offers_nothing(void **state)
{
    struct world *world = *state;

    reconciler_machine_changed(&world->reconciler);
    assert_null(world->facts.offer);
    played_assert_done("");
}

/* An inventory that changed nothing that the kubelet sees is announced to nobody. */
static void the_same_again_changes_nothing(void **state)
{
    struct world *world = *state;

    take(world, BED_SHARED_BY_4);
    played_assert_done("+nvidia.com/gpu no-cdi ");
    for (int i = 0; i < 3; i++)
        reconciler_machine_changed(&world->reconciler);
    played_assert_done("no-cdi no-cdi no-cdi ");
    assert_null(world->facts.earlier);
    played_assert_events("");
}

static void nothing_is_registered_before_the_grants_are_read(void **state)
{
    struct world *world = *state;

    record_grants(world);
    played.grants_wait = true;
    take(world, BED_SHARED_BY_4 WITH_CDI);
    played_assert_done("");
    played.grants_wait = false;
    reconciler_grants_changed(&world->reconciler);
    played_assert_done("+nvidia.com/gpu cdi ");
}

/* The kubelet gets a list in which only held devices are Healthy. */
static void a_full_disk_suspends_the_offer(void **state)
{
    struct world *world = *state;

    record_grants(world);
    take(world, BED_SHARED_BY_4);
    assert_null(world->facts.offer->suspended_by);
    played_assert_done("+nvidia.com/gpu no-cdi ");
    played.grants_problem = FULL_DISK;
    reconciler_grants_changed(&world->reconciler);
    assert_ptr_equal(world->facts.offer->suspended_by, world);
    played_assert_done("!nvidia.com/gpu no-cdi ");
    played_assert_events("!GrantsNotWritable: " FULL_DISK "\n");
    take(world, HALVES); /* a new offer is no way around it */
    assert_ptr_equal(world->facts.offer->suspended_by, world);
    played.grants_problem = "";
    reconciler_grants_changed(&world->reconciler);
    assert_null(world->facts.offer->suspended_by);
}

/* Somebody wants an exclusion; a GPU that cannot be used is reported. */
static void a_gpu_that_is_left_out_has_an_event(void **state)
{
    struct world *world = *state;
    struct gpu *gpu = &world->facts.machine.gpus[0];

    take(world, WITHOUT_0);
    played_assert_events("");
    snprintf(gpu->unusable, sizeof(gpu->unusable), "GPU is lost");
    take(world, BED_SHARED_BY_4);
    assert_non_null(strstr(text_string(&played.events), "!GPULeftOut: GPU 0 (" BED_UUID_0 ")"));
    assert_null(strstr(text_string(&played.events), BED_UUID_1));
    text_clear(&played.events);
    reconciler_machine_changed(&world->reconciler); /* all is planned again */
    played_assert_events("");
    snprintf(gpu->unusable, sizeof(gpu->unusable), "its memory is broken");
    reconciler_machine_changed(&world->reconciler);
    assert_non_null(strstr(text_string(&played.events), "its memory is broken"));
    text_clear(&played.events);
    gpu->unusable[0] = '\0';
    reconciler_machine_changed(&world->reconciler);
    snprintf(gpu->unusable, sizeof(gpu->unusable), "its memory is broken");
    reconciler_machine_changed(&world->reconciler); /* again */
    assert_non_null(strstr(text_string(&played.events), "its memory is broken"));

    /* One that follows for the same reason has an event of its own, which names both. */
    text_clear(&played.events);
    snprintf(gpu[1].unusable, sizeof(gpu[1].unusable), "its memory is broken");
    reconciler_machine_changed(&world->reconciler);
    assert_non_null(strstr(text_string(&played.events), "GPUs 0, 1 are not offered: its memory"));
}

static void an_mps_daemon_comes_and_goes(void **state)
{
    struct world *world = *state;

    take(world, BY_MPS);
    assert_non_null(strstr(text_string(&played.events), "!MPSDaemonNotAnswering: nvidia.com/gpu"));
    assert_null(strstr(text_string(&played.events), "GPULeftOut")); /* once is enough */
    text_clear(&played.events);
    played_assert_done("no-cdi ");
    mps_answers = true;
    reconciler_mps_changed(&world->reconciler);
    played_assert_done("+nvidia.com/gpu no-cdi ");
    played_assert_events("MPSDaemonAnswers: the MPS control daemon of nvidia.com/gpu answers, its "
                         "slices are offered\n");
    mps_answers = false;
    reconciler_mps_changed(&world->reconciler);
    text_clear(&played.events);
    take(world, BED_SHARED_BY_4); /* not waited for any more: no daemon came */
    played_assert_events("");
}

static void a_fault_is_announced_where_the_device_has_slices(void **state)
{
    struct world *world = *state;
    struct gpu_event event = {.uuid = BED_UUID_1,
                              .xid = 48,
                              .gpu_instance = DEVICE_NO_INSTANCE,
                              .compute_instance = DEVICE_NO_INSTANCE};

    reconciler_health_changed(&world->reconciler); /* before there is an offer */
    take(world, BED_SHARED_BY_4);
    played_assert_done("+nvidia.com/gpu no-cdi ");
    reconciler_health_changed(&world->reconciler);
    played_assert_done("");
    health_event(&world->health, &event, xid_find(48)->class, 5);
    reconciler_health_changed(&world->reconciler);
    played_assert_done("!nvidia.com/gpu ");
    assert_false(world->facts.offer->device_healthy[1]);
    assert_non_null(strstr(text_string(&played.events), "!GPUUnhealthy: GPU 1 (" BED_UUID_1 ")"));
}

/* The specs of an agent that serves in our place are its own, until it is gone. */
static void cdi_specs_are_of_the_one_that_serves(void **state)
{
    struct world *world = *state;

    record_grants(world);
    take(world, BED_SHARED_BY_4 WITH_CDI);
    played_assert_done("+nvidia.com/gpu cdi ");
    world->services.items[0]->foreign = NVIDIAS;
    reconciler_machine_changed(&world->reconciler);
    played_assert_done("nvidia.com/gpu:" NVIDIAS " ");
    world->services.items[0]->foreign = NULL;
    register_all(world);
    played_assert_done("cdi list ");
    register_all(world); /* it served already */
    played_assert_done("list ");
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(a_configuration_becomes_services),
        IN_A_WORLD(a_configuration_waits_for_the_machine),
        IN_A_WORLD(a_machine_without_a_configuration_offers_nothing),
        IN_A_WORLD(the_same_again_changes_nothing),
        IN_A_WORLD(nothing_is_registered_before_the_grants_are_read),
        IN_A_WORLD(a_full_disk_suspends_the_offer),
        IN_A_WORLD(a_gpu_that_is_left_out_has_an_event),
        IN_A_WORLD(an_mps_daemon_comes_and_goes),
        IN_A_WORLD(a_fault_is_announced_where_the_device_has_slices),
        IN_A_WORLD(cdi_specs_are_of_the_one_that_serves),
    };

    return cmocka_run_group_tests_name("node/reconciler", tests, NULL, NULL);
}
