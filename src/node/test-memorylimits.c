// SPDX-License-Identifier: Apache-2.0
#include "node/memorylimits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "grant/grantdir.h"
#include "plugin/test-bed.h"
#include "proc/connector.h"
#include "proc/listener.h"
#include "proc/peer.h"

/* A node: limits, and an arbiter that a test plays. */
struct world {
    struct bed bed;
    struct memorylimits *limits;
    struct listener *arbiter;  /* NULL = there is none */
    struct channel *connected; /* NULL = the agent is not */
    struct arbiter_wish wish;
    unsigned n_wishes, n_changes;
    char event[64]; /* the pod of the last one */
};

/* --- the arbiter --- */

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    struct world *world = userdata;

    assert_string_equal(name, ARBITER_AGENT);
    world->connected = channel;
}

static void on_wish(struct channel *channel, uint16_t kind, const char *body, size_t size,
                    void *userdata)
{
    struct world *world = userdata;

    (void)channel;
    assert_int_equal(kind, ARBITER_WISH);
    assert_int_equal(arbiter_wish_read(body, size, &world->wish, NULL), 0);
    world->n_wishes++;
}

static void on_down(struct channel *channel, void *userdata)
{
    struct world *world = userdata;

    (void)channel;
    world->connected = NULL;
}

static void start_arbiter(struct world *world, const char *service)
{
    char path[BED_PATH_SIZE];
    const struct listener_options options = {
        .path = path,
        .mode = 0600,
        .users = {getuid()},
        .n_users = 1,
        .channel = {.name = ARBITER_NAME, .max_body_bytes = ARBITER_MESSAGE_MAX},
    };

    bed_path(&world->bed, ARBITER_SOCKET, path);
    assert_int_equal(listener_new(&world->bed.loop, &options, &world->arbiter, NULL), 0);
    assert_int_equal(listener_serve(world->arbiter, &(struct listener_service){.name = service,
                                                                               .max_peers = 1,
                                                                               .on_up = on_up,
                                                                               .on_notice = on_wish,
                                                                               .on_down = on_down,
                                                                               .userdata = world}),
                     0);
    /* The back-off of who tried in vain. */
    for (unsigned i = 0; i < 60 && !world->connected; i++)
        bed_advance(&world->bed, CONNECTOR_FIRST_MS);
}

static void stop_arbiter(struct world *world)
{
    listener_free(TAKE_PTR(world->arbiter));
    world->connected = NULL;
    bed_settle(&world->bed);
}

static void say(struct world *world, uint16_t kind, const struct text *text)
{
    assert_non_null(world->connected);
    assert_int_equal(
        channel_notify(world->connected, kind, CHANNEL_KEEP_ALL, text_string(text), text->length),
        0);
    bed_settle(&world->bed);
}

static void say_state(struct world *world, const struct arbiter_state *state)
{
    cleanup_text struct text text = TEXT_INIT;

    assert_int_equal(arbiter_state_write(state, &text), 0);
    say(world, ARBITER_STATE, &text);
}

static void install(const struct world *world)
{
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, "lib/1.0", path);
    assert_int_equal(file_make_directory(path, NULL), 0);
    bed_path(&world->bed, "lib/1.0/libgpuslice.so", path);
    assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
    bed_path(&world->bed, "lib/1.0/ld.so.preload", path);
    assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
    bed_path(&world->bed, "lib/current", path);
    assert_int_equal(symlink("1.0", path), 0);
}

static const struct arbiter_state usable = {.version = "1.0", .library = "lib/1.0"};

/* --- the agent --- */

static void on_changed(void *userdata)
{
    struct world *world = userdata;

    world->n_changes++;
}

static void on_event(const struct arbiter_event *event, void *userdata)
{
    struct world *world = userdata;

    snprintf(world->event, sizeof(world->event), "%s/%s", event->namespace_, event->pod);
}

static void start(struct world *world)
{
    const struct memorylimits_setup setup = {.loop = &world->bed.loop,
                                             .arbiter_dir = world->bed.folder,
                                             .folder = world->bed.folder,
                                             .deadline_ms = 10000,
                                             .on_changed = on_changed,
                                             .on_event = on_event,
                                             .userdata = world};

    assert_int_equal(memorylimits_new(&setup, &world->limits, NULL), 0);
    bed_settle(&world->bed);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    log_setup(LOG_ERROR + 1, LOG_LOGFMT);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    memorylimits_free(world->limits);
    listener_free(world->arbiter);
    bed_deinit(&world->bed);
    free(world);
    return 0;
}

static bool withholds(const struct world *world)
{
    const bool withholds = memorylimits_mounts(world->limits)->withholds;

    assert_true(withholds == (memorylimits_problem(world->limits) != NULL));
    return withholds;
}

/* All of it was verified, unless a test says otherwise. */
static struct inventory machine = {.driver_version = "580.159.04"};

static void assert_described(const struct world *world, const char *part)
{
    cleanup_text struct text text = TEXT_INIT;

    memorylimits_describe(world->limits, &machine, &text);
    if (!strstr(text_string(&text), part))
        fail_msg("\"%s\" is not in \"%s\"", part, text_string(&text));
}

static void wish(const struct world *world, enum limits_mode mode, bool overcommits)
{
    memorylimits_wish(world->limits,
                      &(struct arbiter_wish){.mode = mode, .overcommits = overcommits});
}

/* --- tests --- */

static void slices_of_a_fresh_node_wait_for_arbiter_and_library(void **state)
{
    const struct arbiter_state without = {.version = "1.0", .trouble = "the disk is full"};
    struct world *world = *state;

    start(world);
    assert_false(withholds(world)); /* nothing is known to be wanted */
    wish(world, LIMITS_ENFORCED, false);
    assert_true(withholds(world));
    start_arbiter(world, ARBITER_AGENT);
    assert_int_equal(world->n_wishes, 1);
    assert_int_equal(world->wish.mode, LIMITS_ENFORCED);
    assert_true(withholds(world)); /* it has said nothing */
    say_state(world, &without);
    assert_true(withholds(world));
    assert_non_null(strstr(memorylimits_problem(world->limits), "the disk is full"));
    say_state(world, &usable);
    assert_true(withholds(world)); /* it says so, and there is none */
    install(world);
    say_state(world, &usable);
    assert_false(withholds(world));
    assert_described(world, "memory limits are enforced");
    machine.gpus = &(struct gpu){.cc_major = 7};
    machine.n_gpus = 1;
    assert_described(world, "enforced; never verified on volta with driver 580 (gpuslice verify)");
    machine.n_gpus = 0;
}

static void an_arbiter_may_be_away_for_half_a_minute(void **state)
{
    struct world *world = *state;

    install(world);
    start(world);
    wish(world, LIMITS_ENFORCED, false);
    start_arbiter(world, ARBITER_AGENT);
    say_state(world, &usable);
    stop_arbiter(world);
    bed_advance(&world->bed, MEMORYLIMITS_PATIENCE_MS - 1000);
    assert_false(withholds(world));
    start_arbiter(world, ARBITER_AGENT);
    say_state(world, &usable);
    bed_advance(&world->bed, MEMORYLIMITS_PATIENCE_MS);
    assert_false(withholds(world));
    assert_int_equal(world->n_wishes, 2); /* each arbiter gets it */
    stop_arbiter(world);
    bed_advance(&world->bed, MEMORYLIMITS_PATIENCE_MS - 1);
    assert_false(withholds(world));
    bed_advance(&world->bed, 1);
    assert_true(withholds(world));
    assert_described(world, "memory limits are not enforced now for new containers: "
                            "gpuslice-arbiter is not connected");
    start_arbiter(world, ARBITER_AGENT);
    say_state(world, &usable);
    assert_false(withholds(world));
}

/* After a reboot of the node, too: both start at about the same time. */
static void an_agent_that_starts_on_a_node_with_a_library_waits(void **state)
{
    struct world *world = *state;

    install(world);
    start(world);
    wish(world, LIMITS_ENFORCED, false);
    assert_false(withholds(world));
    bed_advance(&world->bed, MEMORYLIMITS_PATIENCE_MS);
    assert_true(withholds(world));
}

static void only_what_is_to_be_enforced_is_withheld(void **state)
{
    struct world *world = *state;

    start(world);
    wish(world, LIMITS_OBSERVE, true);
    assert_false(withholds(world));
    assert_described(world, "memory limits are not observed now for new containers");
    assert_described(world, "gpuslice.overcommit");
    wish(world, LIMITS_ENFORCED, false);
    assert_true(withholds(world));
    wish(world, LIMITS_NONE, false);
    assert_false(withholds(world));
    assert_described(world, "memory limits are not enforced (gpuslice.memory: none)");
}

static void the_mode_is_live(void **state)
{
    struct world *world = *state;

    install(world);
    start(world);
    start_arbiter(world, ARBITER_AGENT);
    assert_int_equal(world->n_wishes, 0);
    wish(world, LIMITS_OBSERVE, false);
    bed_settle(&world->bed);
    assert_int_equal(world->wish.mode, LIMITS_OBSERVE);
    wish(world, LIMITS_ENFORCED, true);
    wish(world, LIMITS_ENFORCED, true);
    bed_settle(&world->bed);
    assert_int_equal(world->n_wishes, 2);
    assert_int_equal(world->wish.mode, LIMITS_ENFORCED);
    assert_true(world->wish.overcommits);
}

/* An arbiter of a release that knows no turns gives none, and the description says so. */
static void how_gpus_are_shared_is_live(void **state)
{
    struct arbiter_wish turns = {.mode = LIMITS_ENFORCED, .compute = LIMITS_COMPUTE_ELASTIC};
    struct arbiter_state given = usable;
    struct world *world = *state;

    install(world);
    start(world);
    start_arbiter(world, ARBITER_AGENT);
    memorylimits_wish(world->limits, &turns);
    bed_settle(&world->bed);
    assert_int_equal(world->wish.compute, LIMITS_COMPUTE_ELASTIC);
    say_state(world, &usable);
    assert_described(world, "GPUs are not shared as gpuslice.compute says: elastic wished, none in "
                            "effect");
    given.compute = LIMITS_COMPUTE_ELASTIC;
    say_state(world, &given);
    assert_described(world, "memory limits are enforced; GPUs are shared in turns "
                            "(gpuslice.compute: elastic)");
    turns.compute = LIMITS_COMPUTE_STRICT;
    memorylimits_wish(world->limits, &turns);
    bed_settle(&world->bed);
    assert_int_equal(world->wish.compute, LIMITS_COMPUTE_STRICT);
    assert_int_equal(world->n_wishes, 2);
    turns.compute = given.compute = LIMITS_COMPUTE_OBSERVE;
    memorylimits_wish(world->limits, &turns);
    bed_settle(&world->bed);
    say_state(world, &given);
    assert_described(world, "memory limits are enforced; GPU time is observed, not shared in turns "
                            "(gpuslice.compute: observe)");
}

static void who_has_no_limit_is_named(void **state)
{
    struct arbiter_container containers[6] = {
        {.is_over = true, .namespace_ = "b", .pod = "greedy", .container = "main"}};
    const struct arbiter_state told = {
        .library = "lib/1.0", .containers = containers, .n_containers = 6};
    const struct arbiter_state off = {.library = "lib/1.0", .is_off = true};
    struct world *world = *state;

    for (int i = 1; i < 6; i++) {
        containers[i] = (struct arbiter_container){.is_unenforced = true, .container = "c"};
        snprintf(containers[i].namespace_, sizeof(containers[i].namespace_), "a");
        snprintf(containers[i].pod, sizeof(containers[i].pod), "old-%d", i);
    }
    install(world);
    start(world);
    wish(world, LIMITS_ENFORCED, false);
    start_arbiter(world, ARBITER_AGENT);
    say_state(world, &told);
    assert_described(world, "memory limits are enforced; without a limit, from before there was "
                            "one: a/old-1/c, a/old-2/c, a/old-3/c, a/old-4/c and 1 more; beyond "
                            "their limits: b/greedy/main");
    say_state(world, &off);
    assert_false(withholds(world)); /* somebody wants it so */
    assert_described(world, "switched off on this node (gpuslice enforcement off)");
}

static void what_happens_to_pods_is_passed_on(void **state)
{
    const struct arbiter_event event = {
        .reason = "MemoryLimitReached", .namespace_ = "team", .pod = "train-0"};
    cleanup_text struct text text = TEXT_INIT, nonsense = TEXT_INIT;
    struct world *world = *state;

    start(world);
    start_arbiter(world, ARBITER_AGENT);
    text_add(&nonsense, "reason\n");
    say(world, ARBITER_EVENT, &nonsense);
    assert_string_equal(world->event, "");
    assert_int_equal(arbiter_event_write(&event, &text), 0);
    say(world, ARBITER_EVENT, &text);
    assert_string_equal(world->event, "team/train-0");
    say(world, 99, &nonsense); /* of a newer release */
    assert_non_null(world->connected);
}

/* One of an earlier release only audits. */
static void an_arbiter_that_serves_no_agent_is_none(void **state)
{
    struct world *world = *state;

    start(world);
    wish(world, LIMITS_ENFORCED, false);
    start_arbiter(world, "another");
    assert_null(world->connected);
    assert_true(withholds(world));
}

static void an_uninstall_releases_running_pods(void **state)
{
    const struct grantdir dir = {"0000000000000001", (char[]){"mode enforced\nGPU-a 5\n"}};
    cleanup_free char *data = NULL;
    struct world *world = *state;
    char path[BED_PATH_SIZE];
    size_t size;

    assert_int_equal(grantdir_make(world->bed.folder, &dir, NULL), 0);
    start(world);
    wish(world, LIMITS_ENFORCED, false);
    start_arbiter(world, ARBITER_AGENT);
    memorylimits_release(world->limits);
    memorylimits_free(TAKE_PTR(world->limits));
    bed_settle(&world->bed);
    assert_int_equal(world->wish.mode, LIMITS_NONE);
    assert_null(world->connected);
    bed_path(&world->bed, "grants/0000000000000001/limits", path);
    assert_int_equal(file_read(path, 100, &data, &size, NULL), 0);
    assert_string_equal(data, "mode none\nGPU-a 5\n");
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(slices_of_a_fresh_node_wait_for_arbiter_and_library),
        T(an_arbiter_may_be_away_for_half_a_minute),
        T(an_agent_that_starts_on_a_node_with_a_library_waits),
        T(only_what_is_to_be_enforced_is_withheld),
        T(the_mode_is_live),
        T(how_gpus_are_shared_is_live),
        T(who_has_no_limit_is_named),
        T(what_happens_to_pods_is_passed_on),
        T(an_arbiter_that_serves_no_agent_is_none),
        T(an_uninstall_releases_running_pods),
    };

    return cmocka_run_group_tests_name("memorylimits", tests, NULL, NULL);
}
