// SPDX-License-Identifier: Apache-2.0
#include "node/reload.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "config/load.h"
#include "plugin/test-bed.h"

/* --- which file is meant, played --- */

static char meant[BED_PATH_SIZE], trouble[80];
static char fallbacks[NODECONFIG_FALLBACKS][BED_PATH_SIZE];
static bool is_waiting;
static unsigned n_remembered;
static char stood_in[BED_PATH_SIZE];

const char *nodeconfig_path(const struct nodeconfig *config)
{
    (void)config;
    return meant;
}

const char *nodeconfig_problem(const struct nodeconfig *config)
{
    (void)config;
    return trouble;
}

const char *nodeconfig_fallback(struct nodeconfig *config, unsigned which)
{
    (void)config;
    return *fallbacks[which] ? fallbacks[which] : NULL;
}

bool nodeconfig_is_profile(const struct nodeconfig *config)
{
    (void)config;
    return false;
}

bool nodeconfig_is_waiting(const struct nodeconfig *config)
{
    (void)config;
    return is_waiting;
}

void nodeconfig_applied(struct nodeconfig *config)
{
    (void)config;
    n_remembered++;
    *stood_in = '\0';
}

void nodeconfig_fell_back(struct nodeconfig *config, const char *path)
{
    (void)config;
    snprintf(stood_in, sizeof(stood_in), "%s", path);
}

/* --- the agent, played: it knows its machine and plans at once --- */

static void apply(struct config *config, void *userdata)
{
    struct facts *facts = userdata;

    if (facts->next_config != config)
        config_free(facts->next_config);
    facts->next_config = config;
}

static struct text said;

static void event(bool warning, const char *reason, const char *message, void *userdata)
{
    (void)message, (void)userdata;
    text_addf(&said, "%s%s ", warning ? "!" : "", reason);
}

/* --- the world --- */

struct world {
    struct bed bed;
    struct agent_flags flags;
    struct facts facts;
    struct reload reload;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    *meant = *trouble = *stood_in = '\0';
    memset(fallbacks, 0, sizeof(fallbacks));
    is_waiting = false;
    n_remembered = 0;
    world->facts.flags = &world->flags;
    world->facts.machine_known = true;
    world->reload = (struct reload){
        .facts = &world->facts, .apply = apply, .event = event, .userdata = &world->facts};
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    config_free(world->facts.next_config);
    bed_deinit(&world->bed);
    text_deinit(&said);
    free(world);
    return 0;
}

/* Writes a file, and returns its path in `path`. */
static void put(const struct world *world, const char *name, const char *content,
                char path[BED_PATH_SIZE])
{
    bed_path(&world->bed, name, path);
    assert_int_equal(file_write_atomic(path, content, strlen(content), 0644, NULL), 0);
}

/* In how many slices each GPU is shared by what is in force. */
static unsigned replicas(const struct world *world)
{
    const struct config *config = world->facts.next_config;

    assert_non_null(config);
    return config->policy.n_sharing ? config->policy.sharing[0].replicas : 1;
}

static void assert_sent(const char *expected)
{
    assert_string_equal(text_string(&said), expected);
    text_deinit(&said);
}

#define SHARED_BY(n) \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: " n "}]}}\n"

/* --- the first start --- */

static void starts_with_what_is_meant(void **state)
{
    struct world *world = *state;

    put(world, "a.yaml", SHARED_BY("4"), meant);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 4);
    assert_string_equal(world->facts.config_path, meant);
    assert_true(world->facts.config_taken_at > 0);
    assert_int_equal(n_remembered, 1);
    assert_sent(""); /* a start is no news */
}

static void no_file_is_an_empty_configuration(void **state)
{
    struct world *world = *state;

    reload_now(&world->reload);
    assert_int_equal(replicas(world), 1);
    assert_string_equal(world->facts.config_path, "");
}

static void waits_for_what_may_come(void **state)
{
    struct world *world = *state;

    is_waiting = true;
    reload_now(&world->reload);
    assert_null(world->facts.next_config);
    is_waiting = false;
    put(world, "a.yaml", SHARED_BY("4"), meant);
    reload_now(&world->reload); /* it came: that is the first start, only late */
    assert_int_equal(replicas(world), 4);
    assert_int_equal(world->facts.counters.reloads, 0);
}

static void better_another_one_than_no_slices(void **state)
{
    struct world *world = *state;

    put(world, "bad.yaml", "sharing: 7\n", meant);
    put(world, "before.yaml", "flags: [", fallbacks[0]); /* no good either */
    put(world, "default.yaml", SHARED_BY("2"), fallbacks[1]);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 2);
    assert_string_equal(world->facts.config_path, fallbacks[1]);
    assert_true(str_starts_with(world->facts.refusal, meant));
    assert_string_equal(stood_in, fallbacks[1]);
    assert_int_equal(n_remembered, 0); /* the next start tries what is meant again */
    assert_sent("!ConfigurationRefused ");
}

static void a_choice_that_names_nothing_is_stood_in_for(void **state)
{
    struct world *world = *state;

    snprintf(trouble, sizeof(trouble), "there is no configuration 'x'");
    put(world, "before.yaml", SHARED_BY("3"), fallbacks[0]);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 3);
    assert_string_equal(world->facts.refusal, trouble);
}

/* A fallback is in force until the selected one is good: so are its changes. */
static void a_fallback_that_changes_is_taken_again(void **state)
{
    struct world *world = *state;

    put(world, "bad.yaml", "sharing: 7\n", meant);
    put(world, "default.yaml", SHARED_BY("2"), fallbacks[1]);
    reload_now(&world->reload);
    put(world, "default.yaml", SHARED_BY("3"), fallbacks[1]);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 3);
    assert_true(str_starts_with(world->facts.refusal, meant));
    assert_int_equal(world->facts.counters.reloads, 1);
    assert_int_equal(world->facts.counters.failed_reloads, 0);
    assert_sent("!ConfigurationRefused ");

    put(world, "bad.yaml", "flags: [\n", meant); /* as bad, otherwise */
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 3);
    assert_int_equal(world->facts.counters.failed_reloads, 1);
    assert_sent("!ConfigurationRefused ");

    put(world, "default.yaml", "sharing: 7\n", fallbacks[1]); /* now both are bad */
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 3);
    assert_int_equal(world->facts.counters.failed_reloads, 2);
    assert_sent("!ConfigurationRefused ");

    put(world, "default.yaml", SHARED_BY("5"), fallbacks[1]);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 5);
    put(world, "bad.yaml", SHARED_BY("6"), meant);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 6);
    assert_string_equal(world->facts.refusal, "");
    assert_string_equal(stood_in, "");
    text_deinit(&said);

    put(world, "bad.yaml", "sharing: 7\n", meant); /* a later one is no first one */
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 6);
}

/* Every way in which a first configuration can be bad. */
static void a_refused_first_one_offers_nothing_until_it_is_good(void **state)
{
    static const struct {
        const char *content, *trouble, *refusal;
    } rows[] = {
        {"sharing: 7\n", "", "a.yaml:1:10: sharing"},
        {"flags: [\n", "", "a.yaml:"},
        {"version: v9\n", "", "a.yaml:1:10: version"},
        {NULL, "", "a.yaml"}, /* there is no such file */
        {SHARED_BY("4"), "there is no configuration 'x'", "there is no configuration 'x'"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world *world = *state;

        bed_path(&world->bed, "a.yaml", meant);
        if (rows[i].content)
            put(world, "a.yaml", rows[i].content, meant);
        snprintf(trouble, sizeof(trouble), "%s", rows[i].trouble);
        reload_now(&world->reload);
        assert_null(world->facts.next_config);
        if (!strstr(world->facts.refusal, rows[i].refusal))
            fail_msg("row %zu: %s", i, world->facts.refusal);
        assert_int_equal(world->facts.counters.failed_reloads, 1);
        assert_int_equal(n_remembered, 0);
        assert_sent("!ConfigurationRefused ");

        *trouble = '\0';
        put(world, "a.yaml", SHARED_BY("6"), meant);
        reload_now(&world->reload);
        assert_int_equal(replicas(world), 6);
        assert_string_equal(world->facts.refusal, "");
        assert_int_equal(n_remembered, 1);
        assert_sent("ConfigurationTaken ");
        bed_remove(&world->bed, "a.yaml");
        tear_down(state);
        set_up(state);
    }
}

/* A node without a GPU reports nothing, and at first nobody knows whether it has one. */
static void the_event_of_a_refusal_waits_for_the_machine(void **state)
{
    struct world *world = *state;

    world->facts.machine_known = false;
    put(world, "a.yaml", "sharing: 7\n", meant);
    reload_now(&world->reload);
    reload_now(&world->reload); /* it was written again */
    assert_sent("");
    assert_true(str_starts_with(world->facts.refusal, meant));
    world->facts.machine_known = true;
    reload_report_refusal(&world->reload);
    assert_sent("!ConfigurationRefused ");
    reload_report_refusal(&world->reload); /* the machine changed */
    assert_sent("");
}

static void a_refusal_that_is_over_needs_no_event(void **state)
{
    struct world *world = *state;

    world->facts.machine_known = false;
    put(world, "a.yaml", "sharing: 7\n", meant);
    reload_now(&world->reload);
    put(world, "a.yaml", SHARED_BY("4"), meant);
    reload_now(&world->reload);
    world->facts.machine_known = true;
    reload_report_refusal(&world->reload);
    assert_sent("ConfigurationTaken ");
}

/* A driver that is missed belongs to a GPU. */
static void a_missed_driver_is_reason_enough_for_the_event(void **state)
{
    struct world *world = *state;

    world->facts.machine_known = false;
    snprintf(world->facts.driver_problem, sizeof(world->facts.driver_problem), "it is gone");
    put(world, "a.yaml", "sharing: 7\n", meant);
    reload_now(&world->reload);
    assert_sent("!ConfigurationRefused ");
    reload_report_refusal(&world->reload);
    assert_sent("");
}

/* A refused one is no reason to stop looking for a fallback. */
static void a_fallback_that_appears_later_is_taken(void **state)
{
    struct world *world = *state;

    snprintf(trouble, sizeof(trouble), "there is no configuration 'x'");
    reload_now(&world->reload);
    assert_null(world->facts.next_config);
    put(world, "default.yaml", SHARED_BY("2"), fallbacks[1]);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 2);
    assert_string_equal(world->facts.refusal, trouble);
}

/* Reading it would block until somebody writes to it; the test would not end. */
static void a_pipe_at_the_first_start_does_not_block(void **state)
{
    struct world *world = *state;

    bed_path(&world->bed, "a.yaml", meant);
    assert_int_equal(mkfifo(meant, 0600), 0);
    reload_now(&world->reload);
    assert_non_null(strstr(world->facts.refusal, "a.yaml is not a file"));
    bed_remove(&world->bed, "a.yaml");
    snprintf(meant, sizeof(meant), "/dev/null");
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 1);
}

/* --- while the agent runs --- */

static void start(struct world *world)
{
    put(world, "a.yaml", SHARED_BY("4"), meant);
    reload_now(&world->reload);
    n_remembered = 0;
}

static void a_good_one_is_taken(void **state)
{
    struct world *world = *state;

    start(world);
    put(world, "b.yaml", SHARED_BY("8"), meant);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 8);
    assert_string_equal(world->facts.config_path, meant);
    assert_string_equal(world->facts.refusal, "");
    assert_int_equal(world->facts.counters.reloads, 1);
    assert_int_equal(n_remembered, 1);
    assert_sent("ConfigurationTaken ");
}

/* By whatever way it is bad, the one in force stays there. */
static void a_bad_one_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *content, *refusal;
    } rows[] = {
        {"sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: many}]}}\n",
         "a.yaml:1:"},
        {"flags: [\n", "a.yaml:"},
        {"flags: {unknownKey: 1}\nsharing: 7\n", "a.yaml:2:10: sharing"}, /* not its warning */
        {"flags: {migStrategy: x, failOnInitError: x, deviceListStrategy: 7}\n"
         "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: -1}]}}\n",
         " more problems)"},
    };
    struct world *world = *state;

    start(world);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        put(world, "a.yaml", rows[i].content, meant);
        reload_now(&world->reload);
        assert_int_equal(replicas(world), 4);
        if (!strstr(world->facts.refusal, rows[i].refusal))
            fail_msg("row %zu: %s", i, world->facts.refusal);
        assert_int_equal(world->facts.counters.failed_reloads, i + 1);
        assert_sent("!ConfigurationRefused ");
    }
    assert_int_equal(n_remembered, 0);
}

static void a_refusal_ends_with_the_next_good_one(void **state)
{
    struct world *world = *state;

    start(world);
    put(world, "a.yaml", "sharing: 7\n", meant);
    reload_now(&world->reload);
    put(world, "a.yaml", SHARED_BY("6"), meant);
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 6);
    assert_string_equal(world->facts.refusal, "");
    assert_sent("!ConfigurationRefused ConfigurationTaken ");
}

static void a_file_that_is_gone_is_refused(void **state)
{
    struct world *world = *state;

    start(world);
    bed_remove(&world->bed, "a.yaml");
    reload_now(&world->reload);
    assert_int_equal(replicas(world), 4);
    assert_non_null(strstr(world->facts.refusal, "a.yaml"));
}

/* Reading it would block until somebody writes to it; the test would not end. */
static void a_pipe_in_the_files_place_does_not_block(void **state)
{
    struct world *world = *state;
    char expected[BED_PATH_SIZE + 32];

    start(world);
    bed_remove(&world->bed, "a.yaml");
    assert_int_equal(mkfifo(meant, 0600), 0);
    reload_now(&world->reload);
    snprintf(expected, sizeof(expected), "%s is not a file", meant);
    assert_string_equal(world->facts.refusal, expected);
    assert_int_equal(replicas(world), 4);
}

static void a_label_that_names_nothing_is_refused(void **state)
{
    struct world *world = *state;

    start(world);
    snprintf(trouble, sizeof(trouble), "there is no configuration 'x'");
    reload_now(&world->reload);
    assert_string_equal(world->facts.refusal, trouble);
    assert_int_equal(replicas(world), 4);
    assert_int_equal(world->facts.counters.failed_reloads, 1);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(starts_with_what_is_meant),
        IN_A_WORLD(no_file_is_an_empty_configuration),
        IN_A_WORLD(waits_for_what_may_come),
        IN_A_WORLD(better_another_one_than_no_slices),
        IN_A_WORLD(a_choice_that_names_nothing_is_stood_in_for),
        IN_A_WORLD(a_fallback_that_changes_is_taken_again),
        IN_A_WORLD(a_refused_first_one_offers_nothing_until_it_is_good),
        IN_A_WORLD(the_event_of_a_refusal_waits_for_the_machine),
        IN_A_WORLD(a_refusal_that_is_over_needs_no_event),
        IN_A_WORLD(a_missed_driver_is_reason_enough_for_the_event),
        IN_A_WORLD(a_fallback_that_appears_later_is_taken),
        IN_A_WORLD(a_pipe_at_the_first_start_does_not_block),
        IN_A_WORLD(a_good_one_is_taken),
        IN_A_WORLD(a_bad_one_is_refused_with_its_place),
        IN_A_WORLD(a_refusal_ends_with_the_next_good_one),
        IN_A_WORLD(a_file_that_is_gone_is_refused),
        IN_A_WORLD(a_pipe_in_the_files_place_does_not_block),
        IN_A_WORLD(a_label_that_names_nothing_is_refused),
    };

    return cmocka_run_group_tests_name("node/reload", tests, NULL, NULL);
}
