// SPDX-License-Identifier: Apache-2.0
#include "node/publisher.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "node/facts.h"
#include "node/nodestate.h"
#include "plugin/test-bed.h"

/* --- the simulated cluster: messages to it, in order --- */

static struct text said;
static char *node_name;
static synclink_gone_fn *on_left;

static char link_place;

int synclink_new(uv_loop_t *loop, const struct synclink_options *options, synclink_news_fn *on_news,
                 void *userdata, struct synclink **ret_link, struct error *err)
{
    (void)loop, (void)on_news, (void)userdata, (void)err;
    node_name = strdup(options->setup->node);
    *ret_link = (struct synclink *)&link_place;
    return 0;
}

void synclink_free(struct synclink *link)
{
    (void)link;
    free(TAKE_PTR(node_name));
}

void synclink_state(struct synclink *link, const struct sync_state *state)
{
    if (link)
        text_addf(&said, "%s; ", state->message ? state->message : "nothing");
}

void synclink_event(struct synclink *link, const struct sync_event *event)
{
    if (!link)
        return;
    text_addf(&said, "%s%s", event->warning ? "!" : "", event->message);
    for (size_t i = 0; i < event->n_pods; i++)
        text_addf(&said, " %s/%s", event->pods[i].namespace_, event->pods[i].name);
    text_add(&said, "; ");
}

bool synclink_is_connected(const struct synclink *link)
{
    return link;
}

uint64_t synclink_lost_events(const struct synclink *link)
{
    return link ? 3 : 0;
}

bool synclink_leave(struct synclink *link, synclink_gone_fn *on_gone, void *userdata)
{
    (void)link, (void)userdata;
    on_left = on_gone;
    return true;
}

/* --- the agent's state, played --- */

static int outcome;
static bool keeps_labels;
static char state_message[40];

int nodestate_make(const struct facts *facts, struct sync_state *ret_state)
{
    (void)facts;
    *ret_state = (struct sync_state){.has_condition = true, .keeps_labels = keeps_labels};
    if (outcome < 0 || outcome == NODESTATE_UNKNOWN)
        return outcome;
    ret_state->message = strdup(state_message);
    if (keeps_labels)
        return outcome;
    ret_state->labels = calloc(1, sizeof(*ret_state->labels));
    ret_state->labels[0] = (struct sync_label){strdup("nvidia.com/gpu.count"), strdup("2")};
    ret_state->n_labels = ret_state->labels_capacity = 1;
    return outcome;
}

static const char *label_file;

const char *nodestate_label_file(const struct facts *facts)
{
    (void)facts;
    return label_file;
}

int nodestate_add_timestamp(const struct facts *facts, struct sync_state *state)
{
    (void)facts, (void)state;
    return 0;
}

/* --- the pods that hold devices, played: the answer comes when the test says so --- */

static podresources_done_fn *asked;
static void *asked_userdata;
static struct text asked_ids;
static int ask_result;

int podresources_ask(struct podresources *podresources, const char *const *ids, size_t n_ids,
                     podresources_done_fn *on_done, void *userdata)
{
    (void)podresources;
    if (ask_result < 0)
        return ask_result;
    for (size_t i = 0; i < n_ids; i++)
        text_addf(&asked_ids, "%s ", ids[i]);
    asked = on_done;
    asked_userdata = userdata;
    return 0;
}

/* --- the world --- */

struct world {
    struct bed bed;
    struct agent_flags flags;
    struct facts facts;
    struct gpu gpu;
    struct publisher *publisher;
};

static void on_news(const struct sync_news *news, void *userdata)
{
    (void)news, (void)userdata;
    fail_msg("there is nobody to tell news");
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    outcome = ask_result = 0;
    keeps_labels = false;
    asked = NULL;
    label_file = NULL;
    snprintf(state_message, sizeof(state_message), "all is well");
    world->flags.node_name = "gpu-1";
    world->facts.flags = &world->flags;
    world->facts.machine = (struct inventory){.gpus = &world->gpu, .n_gpus = 1};
    world->facts.machine_known = true;
    world->facts.offer = bed_offer(BED_SHARED_BY_4);
    *state = world;
    return 0;
}

static void start(struct world *world)
{
    assert_int_equal(
        publisher_new(&world->bed.loop,
                      &(struct publisher_options){.facts = &world->facts, .on_news = on_news},
                      &world->publisher, NULL),
        0);
}

static int tear_down(void **state)
{
    struct world *world = *state;

    publisher_free(world->publisher);
    bed_deinit(&world->bed);
    bed_offer_free(world->facts.offer);
    text_deinit(&said);
    text_deinit(&asked_ids);
    free(world);
    return 0;
}

static void assert_sent(const char *expected)
{
    assert_string_equal(text_string(&said), expected);
    text_deinit(&said);
}

/* What the label file says; "" = there is none. */
static void assert_file(const char *path, const char *expected)
{
    cleanup_free char *data = NULL;
    size_t size;

    if (file_read(path, 4096, &data, &size, NULL) < 0)
        data = strdup("");
    assert_string_equal(data, expected);
}

/* --- the state --- */

static void many_changes_are_sent_once(void **state)
{
    struct world *world = *state;

    start(world);
    assert_string_equal(node_name, "gpu-1");
    for (int i = 0; i < 100; i++)
        publisher_touch(world->publisher);
    assert_sent("");
    bed_advance(&world->bed, 20);
    assert_sent("all is well; ");
    bed_advance(&world->bed, 60000);
    assert_sent("");
}

/* A later state removes what the previous agent wrote. */
static void nothing_is_sent_while_nothing_is_known(void **state)
{
    struct world *world = *state;

    start(world);
    outcome = NODESTATE_UNKNOWN;
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 60000);
    assert_sent("");
    outcome = -ENOMEM;
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 60000);
    assert_sent("");
}

/* A restart is no news to the cluster, unless it goes wrong. */
static void resources_on_their_way_have_five_seconds(void **state)
{
    struct world *world = *state;

    start(world);
    outcome = NODESTATE_SETTLING;
    snprintf(state_message, sizeof(state_message), "not registered");
    publisher_touch(world->publisher);
    for (int ms = 0; ms < 4900; ms += 100) { /* touches do not put it off */
        bed_advance(&world->bed, 100);
        publisher_touch(world->publisher);
    }
    assert_sent("");
    bed_advance(&world->bed, 200);
    assert_sent("not registered; ");
}

static void resources_that_arrive_are_sent_at_once(void **state)
{
    struct world *world = *state;

    start(world);
    for (int round = 0; round < 3; round++) { /* each new configuration gets its full time */
        outcome = NODESTATE_SETTLING;
        publisher_touch(world->publisher);
        bed_advance(&world->bed, 3000);
        assert_sent("");
        outcome = 0;
        publisher_touch(world->publisher);
        bed_advance(&world->bed, 20);
        assert_sent("all is well; ");
    }
}

/* --- the labels' file --- */

static void without_a_node_name_the_file_is_written_all_the_same(void **state)
{
    struct world *world = *state;
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, "labels", path);
    world->flags.node_name = NULL;
    start(world);
    assert_false(publisher_has_cluster(world->publisher));
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_file(path, ""); /* the configuration names none */
    label_file = path;
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_file(path, "nvidia.com/gpu.count=2\n");
    label_file = NULL; /* the next configuration does not either */
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_file(path, "");
    assert_sent("");
}

static void the_file_goes_with_an_agent_that_ends(void **state)
{
    struct world *world = *state;
    struct gfd_flags *gfd = &world->facts.offer->config->gfd;
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, "labels", path);
    label_file = path;
    start(world);
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_true(publisher_leave(world->publisher, on_left));
    assert_file(path, "");
    /* As in gpu-feature-discovery: what it wrote once stays. */
    gfd->oneshot = true;
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_true(publisher_leave(world->publisher, on_left));
    assert_file(path, "nvidia.com/gpu.count=2\n");
}

/* As on the Node: the GPUs are away for a while, and the labels are those of before. */
static void the_file_stays_while_labels_are_kept(void **state)
{
    struct world *world = *state;
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, "labels", path);
    label_file = path;
    start(world);
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    keeps_labels = true;
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_file(path, "nvidia.com/gpu.count=2\n");
    label_file = NULL; /* nor does a configuration that is not planned yet take it away */
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_file(path, "nvidia.com/gpu.count=2\n");
    keeps_labels = false;
    publisher_touch(world->publisher);
    bed_advance(&world->bed, 20);
    assert_file(path, "");
}

/* --- events --- */

static void an_event_of_a_gpu_names_its_pods(void **state)
{
    static const struct podresources_pod pods[] = {{"default", "train"}, {"", ""}, {"ml", "serve"}};
    struct world *world = *state;

    start(world);
    publisher_device_event(world->publisher, BED_UUID_1, true, "GPUUnhealthy",
                           "GPU 1 is Unhealthy");
    assert_sent(""); /* the pods are asked for first */
    assert_string_equal(text_string(&asked_ids),
                        BED_UUID_1 "::0 " BED_UUID_1 "::1 " BED_UUID_1 "::2 " BED_UUID_1 "::3 ");
    asked(pods, 3, asked_userdata);
    assert_sent("!GPU 1 is Unhealthy default/train ml/serve; ");
}

/* Pods may still hold a device of what was offered before. */
static void devices_of_the_offer_before_count(void **state)
{
    struct world *world = *state;

    world->facts.earlier = bed_offer("flags: {}\n");
    start(world);
    publisher_device_event(world->publisher, BED_UUID_0, false, "GPUHealthy", "fit again");
    assert_non_null(strstr(text_string(&asked_ids), BED_UUID_0 "::3 " BED_UUID_0 " "));
    asked(NULL, 0, asked_userdata);
    assert_sent("fit again; ");
    bed_offer_free(world->facts.earlier);
}

/* Two devices on one GPU: the pods of the other one are not concerned. */
static void a_mig_device_has_pods_of_its_own(void **state)
{
    struct world *world = *state;
    struct plan_device *devices = world->facts.offer->plan->devices;

    devices[0].device.kind = devices[1].device.kind = DEVICE_MIG;
    devices[1].device.gpu = 0;
    devices[1].device.mig_index = 1;
    start(world);
    publisher_device_event(world->publisher, BED_UUID_1, true, "GPUUnhealthy", "one is Unhealthy");
    assert_string_equal(text_string(&asked_ids),
                        BED_UUID_1 "::0 " BED_UUID_1 "::1 " BED_UUID_1 "::2 " BED_UUID_1 "::3 ");
    asked(NULL, 0, asked_userdata);
}

static void an_event_without_pods_is_sent_at_once(void **state)
{
    struct world *world = *state;

    start(world);
    publisher_device_event(world->publisher, "GPU-none", true, "GPUUnhealthy", "not sliced");
    assert_sent("!not sliced; "); /* nobody can hold a device of it */
    ask_result = -EAGAIN;
    publisher_device_event(world->publisher, BED_UUID_0, true, "GPUUnhealthy", "too many");
    assert_sent("!too many; ");
    publisher_event(world->publisher, false, "ConfigurationTaken", "taken", NULL, 0);
    assert_sent("taken; ");
}

static void a_node_without_a_gpu_is_silent(void **state)
{
    struct world *world = *state;

    start(world);
    world->facts.machine.n_gpus = 0;
    publisher_event(world->publisher, false, "ConfigurationTaken", "taken", NULL, 0);
    assert_sent("");
    world->facts.machine_known = false; /* it may have one yet */
    publisher_event(world->publisher, false, "ConfigurationTaken", "taken", NULL, 0);
    assert_sent("taken; ");
}

/* Its question to the kubelet is open; freed, as LSan knows. */
static void an_event_may_be_open_at_the_end(void **state)
{
    struct world *world = *state;

    start(world);
    publisher_device_event(world->publisher, BED_UUID_0, true, "GPUUnhealthy", "one");
    publisher_device_event(world->publisher, BED_UUID_1, true, "GPUUnhealthy", "two");
    publisher_free(TAKE_PTR(world->publisher));
    assert_sent("");
}

/* --- without --- */

static void no_publisher_is_fine(void **state)
{
    (void)state;
    publisher_touch(NULL);
    publisher_event(NULL, true, "GPUUnhealthy", "one", NULL, 0);
    publisher_device_event(NULL, BED_UUID_0, true, "GPUUnhealthy", "one");
    assert_false(publisher_is_connected(NULL));
    assert_int_equal(publisher_lost_events(NULL), 0);
    assert_false(publisher_leave(NULL, NULL));
    publisher_free(NULL);
    assert_sent("");
}

static void without_a_node_name_nobody_has_to_be_told_of_the_end(void **state)
{
    struct world *world = *state;

    world->flags.node_name = NULL;
    start(world);
    assert_false(publisher_leave(world->publisher, NULL));
    assert_false(publisher_is_connected(world->publisher));
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(many_changes_are_sent_once),
        IN_A_WORLD(nothing_is_sent_while_nothing_is_known),
        IN_A_WORLD(resources_on_their_way_have_five_seconds),
        IN_A_WORLD(resources_that_arrive_are_sent_at_once),
        IN_A_WORLD(without_a_node_name_the_file_is_written_all_the_same),
        IN_A_WORLD(the_file_goes_with_an_agent_that_ends),
        IN_A_WORLD(the_file_stays_while_labels_are_kept),
        IN_A_WORLD(an_event_of_a_gpu_names_its_pods),
        IN_A_WORLD(devices_of_the_offer_before_count),
        IN_A_WORLD(a_mig_device_has_pods_of_its_own),
        IN_A_WORLD(an_event_without_pods_is_sent_at_once),
        IN_A_WORLD(a_node_without_a_gpu_is_silent),
        IN_A_WORLD(an_event_may_be_open_at_the_end),
        cmocka_unit_test(no_publisher_is_fine),
        IN_A_WORLD(without_a_node_name_nobody_has_to_be_told_of_the_end),
    };

    return cmocka_run_group_tests_name("node/publisher", tests, NULL, NULL);
}
