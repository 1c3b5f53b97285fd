// SPDX-License-Identifier: Apache-2.0
#include "health/health.h"

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
 * GPU A has the MIG devices x (GPU instance 9, compute instance 0), y (10, 0) and z (10, 1); GPU B
 * is whole. A row is a story in words:
 *
 *     list        an inventory in which all is well; list-x: without x; list-A: without GPU A;
 *                 list!A: GPU A cannot be used (so its MIG devices are not listed); list?A: nor can
 *                 it tell its UUID; list!x: x cannot be used
 *     NUMBER      an XID of GPU A that names no instance; NUMBER@9/0, NUMBER@10: that names one;
 *                 NUMBER@x: whose device is x itself; NUMBER@all: that names no device
 *     ask         time passes until a probe is due, and it is asked for
 *     ok          GPU A answers; ok:none, ok:reset: and its driver names the recovery action
 *     lost, silent, hang, unavailable
 *     forget-x    x was destroyed by us
 *     restart     of the agent
 *
 * What comes of it are the states of A, x, y, z and B: '.' Healthy, 's' suspect, 'r' needs a reset,
 * 'b' a reboot, 'l' lost, 'n' not answering, ' ' unknown.
 */
static const struct {
    const char *story, *states;
    const char *reason; /* of x, is contained; "" = there is none */
} rows[] = {
    {"list", ".....", ""},

    /* An event that names an instance is of those that have a part in it. A whole GPU has all. */
    {"list 74@9/0", "ss...", "XID 74: NVLink error; waiting"},
    {"list 74@10/0", "s.s..", ""},
    {"list 74@10", "s.ss.", ""},
    {"list 95@11/0", "rrrr.", "XID 95: uncontained memory error"},
    {"list 48@11/0", "r....", ""},
    {"list 48@9/0", "rr...", "XID 48: double bit ECC error; reset the GPU"},
    {"list 74@x", "ss...", "XID 74"},
    {"list 31@9/0", ".....", ""},

    /* One that names none, or that is the whole GPU's, is of all on it. */
    {"list 74", "ssss.", "XID 74"},
    {"list 48", "rrrr.", "XID 48"},
    {"list 79@10/0", "bbbb.", "XID 79: GPU has fallen off the bus"},
    {"list 119@10/0", "rrrr.", "XID 119"},
    {"list 79@x", "bbbb.", "XID 79"},
    {"list 74@all", "sssss", "XID 74"},

    /* A probe is the GPU's, and answers for all on it. */
    {"list 74@9/0 ask ok:none", ".....", ""},
    {"list 74@9/0 ask ok", "rr...", "XID 74: NVLink error; the driver does not report"},
    {"list 74@9/0 ok", "ss...", "XID 74"},
    {"list 74@9/0 ask 74@10/0 ok:none", "s.s..", ""},
    {"list 74@9/0 ask ok:reset", "rrrr.", "the driver requests a reset"},
    {"list 48@9/0 ask ok:reset ask ok:none", ".....", ""},
    {"list 48@9/0 ask ok", "rr...", "XID 48"},
    {"list lost", "llll.", "the GPU is lost"},
    {"list lost list ask ok", ".....", ""},
    {"list silent", "nnnn.", "does not respond"},
    {"list hang", "nnnn.", "did not return"},
    {"list unavailable", "nnnnn", "the driver is unusable"},
    {"list unavailable list ask ok", "....n", ""},
    {"list 48@9/0 ask lost list ask ok", ".....", ""},

    /* A MIG device that vanishes is lost, however well its GPU answers. */
    {"list list-x", ".l...", "the driver no longer lists the MIG device; recreate it"},
    {"list list-x 74 ask ok:none", ".l...", "no longer lists the MIG device"},
    {"list 48@9/0 list-x ask ok ask ok", "rl...", "XID 48"}, /* a probe of it was due */
    {"list list-x unavailable list-x ask ok", ".l..n", "no longer lists the MIG device"},
    {"list list-x list", ".l...", "no longer lists the MIG device"}, /* not yet probed */
    {"list list-x list ask ok", ".....", ""},
    {"list 48@9/0 list-x list ask ok", "r....", ""}, /* it is another device by now */
    {"list list!x", ".l...", "the MIG device is unusable: test; recreate it"},
    {"list list-A", "llll.", "the driver no longer lists the GPU"},
    {"list list!A", "llll.", "the GPU is unusable: off the bus"},
    {"list list?A", "llll.", "the GPU is unusable: off the bus"},
    {"list list-A list ask ok", ".....", ""},

    /* One that we destroyed is none of our concern, and comes back as a new one. */
    {"list 48@9/0 list-x forget-x", "r ...", NULL},
    {"list 48@9/0 list-x forget-x list", "r....", ""},
    {"list 79 list-x forget-x", "b bb.", NULL},

    /* A restart of the agent remembers by device. */
    {"list 48@9/0 restart", "rr   ", "XID 48: double bit ECC error; reset the GPU"},
    {"list 48@9/0 restart list ask ok", "rr...", "XID 48"},
    {"list 48@9/0 restart list 74@10/0", "rrs..", "XID 48"},
    {"list 48@9/0 restart list ask ok:reset ask ok:none", ".....", ""},
    {"list list-x restart list ask ok", ".....", ""},
    {"list list-x restart list-x forget-x", ". ...", NULL},
};

#define UUID_A "GPU-aaaaaaaa-0000-0000-0000-000000000000"
#define UUID_B "GPU-bbbbbbbb-0000-0000-0000-000000000000"
#define MIG(c) "MIG-" c "0000000-0000-0000-0000-000000000000"

static const char *const uuids[] = {UUID_A, MIG("x"), MIG("y"), MIG("z"), UUID_B};
static const char names[] = "AxyzB";

struct world {
    struct health health;
    struct inventory inventory;
    struct gpu gpus[2];
    struct device mig_devices[3];
    uint64_t now_ms;
};

static void make_inventory(struct world *world)
{
    static const struct device_instance instances[] = {{9, 0}, {10, 0}, {10, 1}};

    world->gpus[0] = (struct gpu){.index = 0, .uuid = UUID_A};
    world->gpus[1] = (struct gpu){.index = 1, .uuid = UUID_B};
    for (unsigned i = 0; i < 3; i++) {
        world->mig_devices[i] =
            (struct device){.kind = DEVICE_MIG, .mig_index = i, .instance = instances[i]};
        snprintf(world->mig_devices[i].uuid, GPU_UUID_SIZE, "%s", uuids[1 + i]);
    }
    world->inventory = (struct inventory){
        .gpus = world->gpus, .n_gpus = 2, .mig_devices = world->mig_devices, .n_mig_devices = 3};
}

/* The inventory without x, or without GPU A and all on it. */
static void remove_one(struct world *world, char name)
{
    if (name == 'x') {
        world->inventory.mig_devices++;
        world->inventory.n_mig_devices--;
        return;
    }
    world->inventory.n_mig_devices = 0;
    world->inventory.gpus++;
    world->inventory.n_gpus--;
}

static void spoil_one(struct world *world, char how, char name)
{
    if (name == 'x') {
        snprintf(world->mig_devices[0].unusable, DEVICE_UNUSABLE_SIZE, "test");
        return;
    }
    world->inventory.n_mig_devices = 0;
    snprintf(world->gpus[0].unusable, DEVICE_UNUSABLE_SIZE, "off the bus");
    if (how == '?')
        world->gpus[0].uuid[0] = '\0';
}

static void list(struct world *world, const char *how)
{
    make_inventory(world);
    if (*how == '-')
        remove_one(world, how[1]);
    else if (*how)
        spoil_one(world, *how, how[1]);
    assert_true(health_inventory(&world->health, &world->inventory, world->now_ms) >= 0);
}

static void forget(struct world *world, const char *how)
{
    make_inventory(world);
    remove_one(world, how[1]);
    health_forget(&world->health, &world->inventory);
}

static void event(struct world *world, const char *word)
{
    struct gpu_event event = {UUID_A, 0, UINT32_MAX, UINT32_MAX};
    char *at;

    event.xid = strtoull(word, &at, 10);
    if (strcmp(at, "@all") == 0)
        event.uuid[0] = '\0';
    else if (strcmp(at, "@x") == 0)
        snprintf(event.uuid, sizeof(event.uuid), "%s", uuids[1]);
    else if (*at)
        sscanf(at, "@%u/%u", &event.gpu_instance, &event.compute_instance);
    health_event(&world->health, &event, xid_find(event.xid)->class, world->now_ms);
}

static void ask(struct world *world)
{
    const uint64_t next_ms = health_next_probe_ms(&world->health);
    const char *uuid;
    unsigned n_asked = 0;

    if (next_ms == UINT64_MAX)
        return;
    if (next_ms > world->now_ms)
        world->now_ms = next_ms;
    while ((uuid = health_take_due(&world->health, world->now_ms)))
        n_asked += strcmp(uuid, UUID_A) == 0;
    assert_int_equal(n_asked, 1); /* one for all on the GPU */
}

static void answer(struct world *world, int outcome, enum gpu_recovery recovery)
{
    struct gpu_probe probe = GPU_PROBE_INIT;

    probe.recovery = recovery;
    assert_true(health_probe(&world->health, UUID_A, outcome, &probe, "test", world->now_ms) >= 0);
}

static void restart(struct world *world)
{
    cleanup_text struct text text = TEXT_INIT;

    health_save(&world->health, "boot", &text);
    health_deinit(&world->health);
    assert_int_equal(health_restore(&world->health, "boot", text_string(&text), text.length), 0);
}

static void take(struct world *world, const char *word)
{
    static const struct {
        const char *word;
        int outcome;
        enum gpu_recovery recovery;
    } answers[] = {
        {"ok", 0, GPU_RECOVERY_UNKNOWN},        {"ok:none", 0, GPU_RECOVERY_NONE},
        {"ok:reset", 0, GPU_RECOVERY_RESET},    {"lost", GPU_LOST, GPU_RECOVERY_UNKNOWN},
        {"silent", -EIO, GPU_RECOVERY_UNKNOWN},
    };

    world->now_ms += 10;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        if (strcmp(word, answers[i].word) == 0)
            answer(world, answers[i].outcome, answers[i].recovery);
    if (str_starts_with(word, "list"))
        list(world, word + strlen("list"));
    else if (str_starts_with(word, "forget"))
        forget(world, word + strlen("forget"));
    else if (*word >= '0' && *word <= '9')
        event(world, word);
    else if (strcmp(word, "ask") == 0)
        ask(world);
    else if (strcmp(word, "hang") == 0)
        health_hang(&world->health, "nvmlDeviceGetMemoryInfo", UUID_A, world->now_ms);
    else if (strcmp(word, "unavailable") == 0)
        health_unavailable(&world->health, "test", world->now_ms);
    else if (strcmp(word, "restart") == 0)
        restart(world);
}

static void describe(const struct health *health, char *states)
{
    static const char letters[] = ".srbln";

    for (size_t i = 0; i < ARRAY_SIZE(uuids); i++) {
        const struct devicehealth *device = health_find(health, uuids[i]);

        states[i] = device ? letters[devicehealth_state(device)] : ' ';
    }
}

static void stories(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world world = {.health = HEALTH_INIT, .now_ms = 5000};
        const struct devicehealth *x;
        char story[128], states[] = "     ", *save = NULL;

        assert_int_equal(str_copy(story, sizeof(story), rows[i].story), 0);
        for (char *word = strtok_r(story, " ", &save); word; word = strtok_r(NULL, " ", &save))
            take(&world, word);
        describe(&world.health, states);
        if (strcmp(states, rows[i].states) != 0)
            fail_msg("%s: %s is '%s', not '%s'", rows[i].story, names, states, rows[i].states);
        x = health_find(&world.health, uuids[1]);
        assert_int_equal(x != NULL, rows[i].reason != NULL);
        if (x && (*rows[i].reason ? !strstr(devicehealth_reason(x), rows[i].reason)
                                  : *devicehealth_reason(x)))
            fail_msg("%s: the reason is '%s'", rows[i].story, devicehealth_reason(x));
        health_deinit(&world.health);
    }
}

/* A vanished MIG device waits for an inventory: probes of its GPU cannot bring it back. */
static void a_vanished_device_is_not_probed(void **state)
{
    struct world world = {.health = HEALTH_INIT};

    list(&world, "");
    list(&world, "-x");
    assert_true(health_next_probe_ms(&world.health) == UINT64_MAX);
    assert_null(health_take_due(&world.health, UINT64_MAX - 1));
    event(&world, "74@all");
    while (health_take_due(&world.health, world.now_ms + 1000))
        ;
    answer(&world, 0, GPU_RECOVERY_UNKNOWN);
    assert_true(health_find(&world.health, uuids[1])->next_probe_ms == UINT64_MAX);
    health_deinit(&world.health);
}

static void only_a_changed_device_is_news(void **state)
{
    struct world world = {.health = HEALTH_INIT, .now_ms = 5};
    const struct gpu_event first = {UUID_A, 48, 9, 0}, second = {UUID_A, 48, 10, 1};
    const struct gpu_event nowhere = {UUID_A, 48, 3, 0};

    list(&world, "");
    assert_true(health_is_well(&world.health, UUID_A));
    assert_int_equal(health_event(&world.health, &first, XID_RESET, 10), HEALTH_CHANGED);
    assert_int_equal(health_event(&world.health, &first, XID_RESET, 11), 0);
    assert_int_equal(health_event(&world.health, &nowhere, XID_RESET, 11), 0);
    assert_int_equal(health_event(&world.health, &second, XID_RESET, 12), HEALTH_CHANGED);
    assert_int_equal(health_find(&world.health, uuids[1])->since_ms, 10);
    assert_int_equal(health_find(&world.health, uuids[3])->since_ms, 12);
    assert_int_equal(health_find(&world.health, uuids[2])->since_ms, 5);
    assert_false(health_is_well(&world.health, UUID_A));
    assert_true(health_is_well(&world.health, UUID_B));
    health_deinit(&world.health);
}

/* Else a restart would give what the file says of it to the device that is made in its place. */
static void forgetting_an_unhealthy_device_is_saved(void **state)
{
    struct world world = {.health = HEALTH_INIT};
    cleanup_text struct text text = TEXT_INIT;
    const struct gpu_event event = {UUID_A, 48, 9, 0};

    list(&world, "");
    make_inventory(&world);
    assert_int_equal(health_forget(&world.health, &world.inventory), 0);
    health_event(&world.health, &event, XID_RESET, 10);
    assert_int_equal(health_forget(&world.health, &world.inventory), 0);
    remove_one(&world, 'x');
    assert_int_equal(health_forget(&world.health, &world.inventory), HEALTH_CHANGED);
    assert_int_equal(health_forget(&world.health, &world.inventory), 0);
    health_save(&world.health, "boot", &text);
    assert_null(strstr(text_string(&text), uuids[1]));
    health_deinit(&world.health);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories),
        cmocka_unit_test(a_vanished_device_is_not_probed),
        cmocka_unit_test(only_a_changed_device_is_news),
        cmocka_unit_test(forgetting_an_unhealthy_device_is_saved),
    };

    return cmocka_run_group_tests_name("health/health-mig", tests, NULL, NULL);
}
