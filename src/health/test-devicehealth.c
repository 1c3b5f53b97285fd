// SPDX-License-Identifier: Apache-2.0
#include "health/devicehealth.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

/*
 * What people switch off and on, for one GPU. A row is a story in words, under two switches, and
 * after `restart` (of the agent) under two others:
 *
 *     NUMBER             an XID
 *     ask                a probe is requested
 *     ok                 it answers, and its driver reports no recovery action; none, reset,
 *                        reboot: it reports that one; more, less: no action, and an energy counter
 *                        that went on or restarted
 *     lost, silent       it does not answer
 *     session            a new one with the driver
 */
struct row {
    const char *disable, *enable, *story;
    const char *again_disable, *again_enable;
    enum devicehealth_state state;
    const char *reason; /* is contained; "" = there is none */
};

static const struct row rows[] = {
    /* A person enables what is no fault by itself: it lasts, until a reset was seen. */
    {NULL, "13", "13", .state = HEALTH_NEEDS_RESET, .reason = "XID 13: graphics engine exception"},
    {NULL, "13", "13 ask ok ask ok", .state = HEALTH_NEEDS_RESET, .reason = "XID 13"},
    {NULL, "13", "13 ask none ask none", .state = HEALTH_NEEDS_RESET, .reason = "XID 13"},
    {NULL, "all", "13 ask none", .state = HEALTH_NEEDS_RESET, .reason = "XID 13"},
    {NULL, "all", "63 ask none", .state = HEALTH_NEEDS_RESET, .reason = "XID 63"},
    {NULL, "all", "154 ask none", .state = HEALTH_NEEDS_RESET, .reason = "XID 154"},
    {NULL, "74", "74 ask none", .state = HEALTH_NEEDS_RESET, .reason = "XID 74"},
    {NULL, "999", "999 ask none", .state = HEALTH_NEEDS_RESET, .reason = "XID 999"},
    {NULL, "31", "13 ask none", .state = HEALTH_HEALTHY, .reason = ""},
    {NULL, "13", "13 ask more ask less", .state = HEALTH_HEALTHY, .reason = ""},
    {NULL, "13", "13 ask reset ask none", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", "79", "79 ask lost", .state = HEALTH_NEEDS_REBOOT, .reason = "XID 79"},

    /* A fault that may pass, with a driver that does not report whether it did. */
    {NULL, NULL, "74 ask ok", .state = HEALTH_NEEDS_RESET, .reason = "does not report"},
    {NULL, NULL, "74 ok", .state = HEALTH_SUSPECT, .reason = "XID 74"},
    {NULL, NULL, "8 ask ok ask ok", .state = HEALTH_NEEDS_RESET, .reason = "XID 8"},
    {NULL, NULL, "154 ask ok", .state = HEALTH_NEEDS_RESET, .reason = "XID 154"},
    {NULL, NULL, "999 ask ok", .state = HEALTH_NEEDS_RESET, .reason = "XID 999: unknown XID"},
    {NULL, NULL, "999 ask none", .state = HEALTH_HEALTHY, .reason = ""},
    {NULL, NULL, "74 ask more ask less", .state = HEALTH_HEALTHY, .reason = ""},
    {NULL, NULL, "74 ask more ask more", .state = HEALTH_NEEDS_RESET, .reason = "XID 74"},
    {NULL, NULL, "74 ask lost session ask ok", .state = HEALTH_HEALTHY, .reason = ""},
    {NULL, NULL, "lost 74 ask ok", .state = HEALTH_NEEDS_RESET, .reason = "XID 74"},
    {NULL, NULL, "lost session ok 74 session ask ok", .state = HEALTH_NEEDS_RESET, .reason = "74"},
    {NULL, NULL, "74 ask ok restart session ask ok", .state = HEALTH_NEEDS_RESET, .reason = "74"},
    {NULL, NULL, "74 restart session ask ok", .state = HEALTH_NEEDS_RESET, .reason = "XID 74"},
    {NULL, NULL, "74 ask reset", .state = HEALTH_NEEDS_RESET,
     .reason = "XID 74: NVLink error; the"},

    /* Every check is off: none of them counts. */
    {"all", NULL, "79", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", NULL, "lost", .state = HEALTH_HEALTHY, .reason = ""},
    {"xids", NULL, "silent", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", NULL, "reset", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", NULL, "48 ask reboot", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", "79", "lost", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", "79", "48 ask reset", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", "79", "79 ask reboot ask none", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", "79", "79 ask lost session ask ok", .state = HEALTH_HEALTHY, .reason = ""},
    {"all", "all", "lost", .state = HEALTH_LOST, .reason = "lost"},

    /* One XID is off, and so is what the driver requires because of it, until that is over. */
    {"48", NULL, "48", .state = HEALTH_HEALTHY, .reason = ""},
    {"48", NULL, "48 ask reset", .state = HEALTH_HEALTHY, .reason = ""},
    {"48", NULL, "48 reset", .state = HEALTH_HEALTHY, .reason = ""},
    {"48", NULL, "48 none reset", .state = HEALTH_HEALTHY,
     .reason = ""}, /* "none" was on its way */
    {"48", NULL, "48 ask reset none reset", .state = HEALTH_NEEDS_RESET, .reason = "the driver"},
    {"48", NULL, "48 ask reset 95", .state = HEALTH_NEEDS_RESET, .reason = "XID 95"},
    {"48", NULL, "95 48 ask reset", .state = HEALTH_NEEDS_RESET, .reason = "XID 95"},
    {"48", NULL, "48 lost", .state = HEALTH_LOST, .reason = "lost"},
    {"63", NULL, "63 ask reset", .state = HEALTH_NEEDS_RESET, .reason = "the driver"},
    {"48", NULL, "reset", .state = HEALTH_NEEDS_RESET, .reason = "the driver"},

    /* What an earlier agent saw counts as it would today. */
    {NULL, NULL, "48 restart", .state = HEALTH_NEEDS_RESET, .reason = "XID 48"},
    {NULL, NULL, "48 restart", "all", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 restart", "XIDs", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 restart", "48", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 restart", "13,48", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 restart", "13", NULL, HEALTH_NEEDS_RESET, "XID 48"},
    {NULL, NULL, "48 restart", "48", "48", HEALTH_NEEDS_RESET, "XID 48"},
    {NULL, NULL, "48 restart", "all", "79", HEALTH_HEALTHY, ""},
    {NULL, NULL, "79 restart", "all", "79", HEALTH_NEEDS_REBOOT, "XID 79"},
    {NULL, NULL, "79 ask lost restart", "79", NULL, HEALTH_LOST, "lost"},
    {NULL, NULL, "79 ask lost restart", "all", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "lost restart", "all", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "74 ask ok restart ask ok", "74", NULL, HEALTH_HEALTHY, ""},

    /* One that is overruled does not take another with it. */
    {NULL, NULL, "48 95", .state = HEALTH_NEEDS_RESET, .reason = "reset the GPU (also XID 95)"},
    {NULL, NULL, "48 95 79 48", .state = HEALTH_NEEDS_REBOOT, .reason = "(also XID 95, 48)"},
    {NULL, NULL, "48 95 restart", "48", NULL, HEALTH_NEEDS_RESET, "XID 95: uncontained"},
    {NULL, NULL, "48 95 restart", "48,95", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 95 restart", "all", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 95 restart", "all", "95", HEALTH_NEEDS_RESET, "XID 95: uncontained"},
    {NULL, NULL, "48 79 restart", "79", NULL, HEALTH_NEEDS_RESET, "XID 48: double"},
    {NULL, NULL, "74 79 119 restart", "79", NULL, HEALTH_NEEDS_RESET, "XID 119"},
    {NULL, NULL, "74 79 119 restart", "79,119", NULL, HEALTH_SUSPECT, "XID 74"},
    {NULL, NULL, "reset 95 restart", "all", "95", HEALTH_NEEDS_RESET, "XID 95"},
    {NULL, NULL, "48 95 ask more ask less 119", .state = HEALTH_NEEDS_RESET, .reason = "the GPU"},
    {NULL, NULL, "74 ask reset restart ask reset", "74", NULL, HEALTH_HEALTHY, ""},
    {NULL, "13", "13 restart", NULL, NULL, HEALTH_HEALTHY, ""},
    {NULL, "13", "13 restart", NULL, "13", HEALTH_NEEDS_RESET, "XID 13"},
    {NULL, NULL, "reset restart", "48", NULL, HEALTH_NEEDS_RESET, "the driver requests"},
    {NULL, NULL, "reset restart reset", "all", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 ask reset restart ask reset", "48", NULL, HEALTH_HEALTHY, ""},
    {NULL, NULL, "48 ask reset restart restart ask reset", "48", NULL, HEALTH_HEALTHY, ""},
    {"48", NULL, "48 ask reset restart ask reset", "48", NULL, HEALTH_HEALTHY, ""},
    {"48", NULL, "48 ask reset restart ask reset", NULL, NULL, HEALTH_NEEDS_RESET, "the driver"},
};

struct world {
    struct devicehealth device;
    struct xid_filter filter;
    uint64_t session, now_ms;
};

static void set_switches(struct world *world, const char *disable, const char *enable)
{
    xid_filter_deinit(&world->filter);
    assert_int_equal(xid_filter_parse(disable, enable, NULL, &world->filter), 0);
}

static void restart(struct world *world)
{
    cleanup_text struct text text = TEXT_INIT;
    char reason[HEALTH_REASON_SIZE];

    devicehealth_save(&world->device, &text);
    assert_false(text_failed(&text));
    text.data[text.length - 1] = '\0';
    assert_int_equal(
        devicehealth_restore(text.data, xid_filter_only_enabled(&world->filter), &world->device),
        0);
    devicehealth_overrule(&world->device, &world->filter, world->now_ms, reason);
    world->session = 0;
}

static void answer(struct world *world, const char *word)
{
    static const struct {
        const char *word;
        int outcome;
        enum gpu_recovery recovery;
        bool counts, fell;
    } answers[] = {
        {.word = "ok"},
        {.word = "none", .recovery = GPU_RECOVERY_NONE},
        {.word = "reset", .recovery = GPU_RECOVERY_RESET},
        {.word = "reboot", .recovery = GPU_RECOVERY_REBOOT},
        {.word = "more", .counts = true},
        {.word = "less", .counts = true, .fell = true},
        {.word = "lost", .outcome = GPU_LOST},
        {.word = "silent", .outcome = -EIO},
    };

    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct gpu_probe probe = GPU_PROBE_INIT;

        if (strcmp(word, answers[i].word) != 0)
            continue;
        probe.recovery = answers[i].recovery;
        if (answers[i].counts)
            probe.energy_millijoule = answers[i].fell ? 1 : world->now_ms;
        devicehealth_take_probe(&world->device, world->session, answers[i].outcome, &probe, "test",
                                world->now_ms);
        return;
    }
    fail_msg("no such word: %s", word);
}

static void take(struct world *world, const struct row *row, const char *word)
{
    const uint64_t xid = strtoull(word, NULL, 10);

    world->now_ms += 10;
    if (xid) {
        devicehealth_mark(&world->device, xid, xid_filter_class(&world->filter, xid),
                          world->now_ms);
    } else if (strcmp(word, "ask") == 0) {
        devicehealth_ask(&world->device, world->now_ms);
    } else if (strcmp(word, "session") == 0) {
        world->session++;
    } else if (strcmp(word, "restart") == 0) {
        set_switches(world, row->again_disable, row->again_enable);
        restart(world);
    } else {
        answer(world, word);
    }
}

static void check_row(const struct row *row)
{
    struct world world = {.session = 1, .now_ms = 5000};
    char story[128], *save = NULL;
    const char *reason;

    set_switches(&world, row->disable, row->enable);
    devicehealth_init(&world.device, "GPU-a", xid_filter_only_enabled(&world.filter), 5000);
    assert_int_equal(str_copy(story, sizeof(story), row->story), 0);
    for (char *word = strtok_r(story, " ", &save); word; word = strtok_r(NULL, " ", &save))
        take(&world, row, word);
    reason = devicehealth_reason(&world.device);
    if (devicehealth_state(&world.device) != row->state ||
        (row->reason[0] ? !strstr(reason, row->reason) : reason[0] != '\0'))
        fail_msg("row %td, %s: %u (%s)", row - rows, row->story, devicehealth_state(&world.device),
                 reason);
    assert_int_equal(world.device.healthy, row->state == HEALTH_HEALTHY);
    if (!world.device.healthy)
        assert_true(world.device.next_probe_ms != UINT64_MAX);
    xid_filter_deinit(&world.filter);
}

static void stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i]);
}

/* So that a log can name what no longer counts, and say what was remembered. */
static void a_restored_need_is_known_as_one(void **state)
{
    struct world world = {.session = 1};
    char reason[HEALTH_REASON_SIZE];

    (void)state;
    devicehealth_init(&world.device, "GPU-a", false, 0);
    devicehealth_mark(&world.device, 48, XID_RESET, 10);
    assert_false(world.device.restored);
    restart(&world);
    assert_true(world.device.restored);
    assert_int_equal(world.device.xid, 48);
    assert_int_equal(devicehealth_overrule(&world.device, &world.filter, 20, reason), 0);
    set_switches(&world, "48", NULL);
    assert_int_equal(devicehealth_overrule(&world.device, &world.filter, 20, reason),
                     HEALTH_CHANGED);
    assert_string_equal(reason, "XID 48: double bit ECC error; reset the GPU");
    assert_false(world.device.restored);
    assert_int_equal(devicehealth_overrule(&world.device, &world.filter, 20, reason), 0);
    xid_filter_deinit(&world.filter);
}

/* The advice works: what it names, done, drops the fault. */
static void the_advice_for_a_remembered_fault_is_true(void **state)
{
    static const struct {
        const char *disable, *enable, *advice;
        const char *then_disable, *then_enable;
    } cases[] = {
        {NULL, NULL, "DP_DISABLE_HEALTHCHECKS=48,79 overrules it)", "48,79", NULL},
        {NULL, "13", "DP_DISABLE_HEALTHCHECKS=48,79 overrules it)", "48,79", "13"},
        {"13", "48", "remove 48 from DP_ENABLE_HEALTHCHECKS and set DP_DISABLE_HEALTHCHECKS=48,79)",
         "48,79", NULL},
        {"all", "79,13,48",
         "remove 48,79 from DP_ENABLE_HEALTHCHECKS and set DP_DISABLE_HEALTHCHECKS=48,79)", "48,79",
         "13"},
        {NULL, "all",
         "remove all from DP_ENABLE_HEALTHCHECKS and set DP_DISABLE_HEALTHCHECKS=48,79)", "48,79",
         NULL},
        {NULL, "all,79",
         "remove all,79 from DP_ENABLE_HEALTHCHECKS and set DP_DISABLE_HEALTHCHECKS=48,79)",
         "48,79", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world world = {.session = 1};
        char reason[HEALTH_REASON_SIZE], text[HEALTH_DESCRIPTION_SIZE];

        devicehealth_init(&world.device, "GPU-a", false, 0);
        devicehealth_mark(&world.device, 48, XID_RESET, 10);
        devicehealth_mark(&world.device, 79, XID_RESET, 10);
        restart(&world);
        set_switches(&world, cases[i].disable, cases[i].enable);
        assert_int_equal(devicehealth_overrule(&world.device, &world.filter, 20, reason), 0);
        devicehealth_describe(&world.device, text);
        if (!str_ends_with(text, cases[i].advice))
            fail_msg("case %zu: %s", i, text);
        if (!cases[i].enable)
            assert_null(strstr(text, "DP_ENABLE"));
        set_switches(&world, cases[i].then_disable, cases[i].then_enable);
        assert_int_equal(devicehealth_overrule(&world.device, &world.filter, 20, reason),
                         HEALTH_CHANGED);
        assert_true(world.device.healthy);
        xid_filter_deinit(&world.filter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories),
        cmocka_unit_test(a_restored_need_is_known_as_one),
        cmocka_unit_test(the_advice_for_a_remembered_fault_is_true),
    };

    return cmocka_run_group_tests_name("health/devicehealth", tests, NULL, NULL);
}
