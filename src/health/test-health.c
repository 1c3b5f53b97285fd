// SPDX-License-Identifier: Apache-2.0
#include "health/health.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define UUID_A "GPU-aaaaaaaa-0000-0000-0000-000000000000"
#define UUID_B "GPU-bbbbbbbb-0000-0000-0000-000000000000"

/* Inputs for GPU A of two; GPU B only gets what concerns all. */
enum step {
    END,
    SESSION,          /* an inventory in which all is well */
    SESSION_UNUSABLE, /* A cannot be used */
    SESSION_NAMELESS, /* A cannot even tell its UUID */
    SESSION_WITHOUT,  /* A is not listed */
    ASK,              /* time passes until the next probe is due, and it is asked for */
    ANSWER,           /* a probe is answered; the driver is too old to name what is needed */
    ANSWER_NONE,
    ANSWER_RESET,
    ANSWER_REBOOT,
    ANSWER_DRAIN,
    ANSWER_MORE_ENERGY, /* an old driver's answer, whose energy counter went on ... */
    ANSWER_LESS_ENERGY, /* ... or restarted */
    LOST,
    SILENT,
    HANG,
    HANG_ALL,
    UNAVAILABLE,
    RESTART,      /* the agent, in the same boot */
    REBOOT,       /* the node */
    XID = 1000,   /* + number: an event of A */
    ALL = 100000, /* + XID + number: an event without a device */
};

#define NO_RESET "reset the GPU"

static const struct row {
    const char *name;
    enum step steps[14];
    enum devicehealth_state state;
    const char *reason; /* is contained; "" = there is none */
    enum devicehealth_state other;
} rows[] = {
    {"well", {SESSION}, HEALTH_HEALTHY, "", 0},
    {"an application's fault", {SESSION, XID + 31}, HEALTH_HEALTHY, "", 0},
    {"an application's fault that the driver takes seriously",
     {SESSION, XID + 109, ASK, ANSWER_RESET},
     HEALTH_NEEDS_RESET,
     "the driver requests a reset",
     0},
    {"information", {SESSION, XID + 63}, HEALTH_HEALTHY, "", 0},

    {"suspect", {SESSION, XID + 74}, HEALTH_SUSPECT, "XID 74: NVLink error; waiting", 0},
    {"suspect, answered, and nothing tells that it recovered",
     {SESSION, XID + 74, ASK, ANSWER},
     HEALTH_NEEDS_RESET,
     "XID 74: NVLink error; the driver does not report",
     0},
    {"suspect, answered by a newer driver",
     {SESSION, XID + 74, ASK, ANSWER_NONE},
     HEALTH_HEALTHY,
     "",
     0},
    {"suspect, an answer that was under way already",
     {SESSION, XID + 74, ANSWER},
     HEALTH_SUSPECT,
     "XID 74",
     0},
    {"suspect again before the answer",
     {SESSION, XID + 74, ASK, XID + 74, ANSWER},
     HEALTH_SUSPECT,
     "XID 74",
     0},
    {"suspect, the driver asks for a reset",
     {SESSION, XID + 154, ASK, ANSWER_RESET},
     HEALTH_NEEDS_RESET,
     "the driver requests a reset",
     0},
    {"suspect, lost", {SESSION, XID + 74, ASK, LOST}, HEALTH_LOST, "the GPU is lost: test", 0},
    {"unknown number", {SESSION, XID + 999}, HEALTH_SUSPECT, "XID 999: unknown XID", 0},

    {"needs a reset",
     {SESSION, XID + 95},
     HEALTH_NEEDS_RESET,
     "XID 95: uncontained memory error; reset the GPU",
     0},
    {"needs a reset, answers",
     {SESSION, XID + 95, ASK, ANSWER, ASK, ANSWER},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"needs a reset, answers in a new session without an interruption",
     {SESSION, XID + 95, SESSION, ASK, ANSWER},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"an old driver's reset seen in the energy counter",
     {SESSION, XID + 95, ASK, ANSWER_MORE_ENERGY, ASK, ANSWER_LESS_ENERGY},
     HEALTH_HEALTHY,
     "",
     0},
    {"an energy counter that goes on is no reset",
     {SESSION, XID + 95, ASK, ANSWER_MORE_ENERGY, ASK, ANSWER_MORE_ENERGY},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"an energy counter that is not known is no reset",
     {SESSION, XID + 95, ASK, ANSWER, ASK, ANSWER_LESS_ENERGY},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"a reset while the agent was away",
     {SESSION, XID + 95, ASK, ANSWER_MORE_ENERGY, RESTART, SESSION, ASK, ANSWER_LESS_ENERGY},
     HEALTH_HEALTHY,
     "",
     0},
    {"the driver still asks, whatever the counter does",
     {SESSION, XID + 95, ASK, ANSWER_MORE_ENERGY, ASK, ANSWER_RESET},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"needs a reset, the driver never asked for it",
     {SESSION, XID + 95, ASK, ANSWER_NONE},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"reset seen in the driver's word",
     {SESSION, XID + 95, ASK, ANSWER_RESET, ASK, ANSWER_NONE},
     HEALTH_HEALTHY,
     "",
     0},
    {"the driver asked, and now cannot tell",
     {SESSION, XID + 95, ASK, ANSWER_RESET, ASK, ANSWER},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"reset seen by an interruption",
     {SESSION, XID + 95, ASK, LOST, SESSION, ASK, ANSWER},
     HEALTH_HEALTHY,
     "",
     0},
    {"lost and back in the same session",
     {SESSION, XID + 95, ASK, LOST, ASK, ANSWER},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"a new fault after the reset",
     {SESSION, XID + 95, ASK, LOST, SESSION, ASK, ANSWER, XID + 95, ASK, ANSWER},
     HEALTH_NEEDS_RESET,
     "XID 95",
     0},
    {"a drain is asked for", {SESSION, ASK, ANSWER_DRAIN}, HEALTH_NEEDS_RESET, "drain", 0},
    {"the first of the worst is reported",
     {SESSION, XID + 74, XID + 119, XID + 95},
     HEALTH_NEEDS_RESET,
     "XID 119",
     0},
    {"the worst counts", {SESSION, XID + 119, XID + 79}, HEALTH_NEEDS_REBOOT, "XID 79", 0},
    {"a lesser one changes nothing",
     {SESSION, XID + 79, XID + 74, ASK, ANSWER},
     HEALTH_NEEDS_REBOOT,
     "XID 79",
     0},

    {"off the bus",
     {SESSION, XID + 79},
     HEALTH_NEEDS_REBOOT,
     "XID 79: GPU has fallen off the bus; reset the GPU or reboot the node",
     0},
    {"off the bus and lost",
     {SESSION, XID + 79, ASK, LOST, SESSION_UNUSABLE},
     HEALTH_LOST,
     "XID 79",
     0},
    {"off the bus and back",
     {SESSION, XID + 79, ASK, LOST, SESSION_WITHOUT, SESSION, ASK, ANSWER},
     HEALTH_HEALTHY,
     "",
     0},
    {"the driver asks for a reboot",
     {SESSION, XID + 154, ASK, ANSWER_REBOOT},
     HEALTH_NEEDS_REBOOT,
     "reboot of the node",
     0},
    {"the driver asks for more than the XID told",
     {SESSION, XID + 95, ASK, ANSWER_REBOOT},
     HEALTH_NEEDS_REBOOT,
     "XID 95",
     0},

    {"lost", {SESSION, LOST}, HEALTH_LOST, "the GPU is lost: test; reset the GPU or reboot", 0},
    {"lost and back", {SESSION, LOST, SESSION, ANSWER}, HEALTH_HEALTHY, "", 0},
    {"not listed", {SESSION, SESSION_WITHOUT}, HEALTH_LOST, "no longer lists", 0},
    {"listed again, not yet probed", {SESSION, SESSION_WITHOUT, SESSION}, HEALTH_LOST, "lists", 0},
    {"listed again and well", {SESSION, SESSION_WITHOUT, SESSION, ANSWER}, HEALTH_HEALTHY, "", 0},
    {"unusable", {SESSION, SESSION_UNUSABLE}, HEALTH_LOST, "is unusable: off the bus", 0},
    {"unusable from the start", {SESSION_UNUSABLE}, HEALTH_LOST, "off the bus", 0},
    {"too far gone to name itself", {SESSION, SESSION_NAMELESS}, HEALTH_LOST, "off the bus", 0},
    {"silent", {SESSION, SILENT}, HEALTH_NOT_ANSWERING, "does not respond: test", 0},
    {"silent for a moment", {SESSION, SILENT, ASK, ANSWER}, HEALTH_HEALTHY, "", 0},
    {"silent because it is lost",
     {SESSION, SESSION_UNUSABLE, ASK, SILENT},
     HEALTH_LOST,
     "is unusable: off the bus",
     0},
    {"a call hangs",
     {SESSION, HANG},
     HEALTH_NOT_ANSWERING,
     "the driver call nvmlDeviceGetMemoryInfo did not return",
     0},
    {"a call hung", {SESSION, HANG, SESSION, ASK, ANSWER}, HEALTH_HEALTHY, "", 0},
    {"a call for no device hangs",
     {SESSION, HANG_ALL},
     HEALTH_NOT_ANSWERING,
     "did not return",
     HEALTH_NOT_ANSWERING},
    {"no driver",
     {SESSION, UNAVAILABLE},
     HEALTH_NOT_ANSWERING,
     "the driver is unusable: test",
     HEALTH_NOT_ANSWERING},
    {"no driver for a while",
     {SESSION, UNAVAILABLE, SESSION, ANSWER},
     HEALTH_HEALTHY,
     "",
     HEALTH_NOT_ANSWERING},

    {"an event without a device",
     {SESSION, ALL + XID + 95},
     HEALTH_NEEDS_RESET,
     "XID 95",
     HEALTH_NEEDS_RESET},
    {"a restart forgets nothing",
     {SESSION, XID + 95, RESTART, SESSION, ASK, ANSWER},
     HEALTH_NEEDS_RESET,
     "XID 95: uncontained memory error; reset the GPU",
     0},
    {"a restart remembers what the driver asked for",
     {SESSION, XID + 95, ASK, ANSWER_RESET, RESTART, SESSION, ASK, ANSWER_NONE},
     HEALTH_HEALTHY,
     "",
     0},
    {"lost before the restart, back behind it",
     {SESSION, XID + 79, ASK, LOST, RESTART, SESSION, ASK, ANSWER},
     HEALTH_HEALTHY,
     "",
     0},
    {"a restart with a lost GPU",
     {SESSION, LOST, RESTART},
     HEALTH_LOST,
     "the GPU is lost: test",
     0},
    {"a reboot is a reset",
     {SESSION, XID + 79, ASK, LOST, REBOOT, SESSION, ANSWER},
     HEALTH_HEALTHY,
     "",
     0},
    {"a reboot that did not help",
     {SESSION, XID + 79, REBOOT, SESSION, ANSWER_RESET},
     HEALTH_NEEDS_RESET,
     "the driver requests",
     0},
};

struct world {
    struct health health;
    uint64_t now_ms;
};

static void session(struct world *world, enum step step)
{
    struct gpu gpus[2] = {{.index = 0, .uuid = UUID_A}, {.index = 1, .uuid = UUID_B}};
    struct inventory inventory = {.gpus = gpus, .n_gpus = 2};

    if (step == SESSION_UNUSABLE || step == SESSION_NAMELESS)
        assert_int_equal(str_copy(gpus[0].unusable, sizeof(gpus[0].unusable), "off the bus"), 0);
    if (step == SESSION_NAMELESS)
        gpus[0].uuid[0] = '\0';
    if (step == SESSION_WITHOUT) {
        inventory.gpus++;
        inventory.n_gpus--;
    }
    assert_true(health_inventory(&world->health, &inventory, world->now_ms) >= 0);
}

static void answer(struct world *world, int outcome, enum gpu_recovery recovery, uint64_t energy_mj)
{
    struct gpu_probe probe = GPU_PROBE_INIT;

    probe.recovery = recovery;
    probe.energy_millijoule = energy_mj;
    assert_true(health_probe(&world->health, UUID_A, outcome, &probe, "test", world->now_ms) >= 0);
}

static void ask(struct world *world)
{
    const struct devicehealth *device = health_find(&world->health, UUID_A);
    const char *uuid;
    bool asked = false;

    if (device->next_probe_ms == UINT64_MAX)
        return;
    if (world->now_ms < device->next_probe_ms)
        world->now_ms = device->next_probe_ms;
    while ((uuid = health_take_due(&world->health, world->now_ms)))
        asked |= strcmp(uuid, UUID_A) == 0;
    assert_true(asked);
}

static void restart(struct world *world, const char *boot, int expected)
{
    cleanup_text struct text text = TEXT_INIT;

    health_save(&world->health, "boot-1", &text);
    assert_false(text_failed(&text));
    health_deinit(&world->health);
    assert_int_equal(health_restore(&world->health, boot, text.data, text.length), expected);
}

static void event(struct world *world, enum step step)
{
    struct gpu_event event = {.uuid = UUID_A, .gpu_instance = UINT32_MAX};
    unsigned number = (unsigned)step % ALL - XID;

    if (step >= ALL)
        event.uuid[0] = '\0';
    event.xid = number;
    health_event(&world->health, &event, xid_find(number)->class, world->now_ms);
}

static void take(struct world *world, enum step step)
{
    world->now_ms += 10;
    switch (step) {
    case SESSION:
    case SESSION_UNUSABLE:
    case SESSION_NAMELESS:
    case SESSION_WITHOUT:
        session(world, step);
        break;
    case ASK:
        ask(world);
        break;
    case ANSWER:
    case ANSWER_NONE:
    case ANSWER_RESET:
    case ANSWER_REBOOT:
    case ANSWER_DRAIN:
        answer(world, 0, (enum gpu_recovery)(step - ANSWER), UINT64_MAX);
        break;
    case ANSWER_MORE_ENERGY:
        answer(world, 0, GPU_RECOVERY_UNKNOWN, 5000 + world->now_ms);
        break;
    case ANSWER_LESS_ENERGY:
        answer(world, 0, GPU_RECOVERY_UNKNOWN, 1000);
        break;
    case LOST:
        answer(world, GPU_LOST, GPU_RECOVERY_UNKNOWN, UINT64_MAX);
        break;
    case SILENT:
        answer(world, -EIO, GPU_RECOVERY_UNKNOWN, UINT64_MAX);
        break;
    case HANG:
        health_hang(&world->health, "nvmlDeviceGetMemoryInfo", UUID_A, world->now_ms);
        break;
    case HANG_ALL:
        health_hang(&world->health, "nvmlInit_v2", "", world->now_ms);
        break;
    case UNAVAILABLE:
        health_unavailable(&world->health, "test", world->now_ms);
        break;
    case RESTART:
        restart(world, "boot-1", 0);
        break;
    case REBOOT:
        restart(world, "boot-2", -ESTALE);
        break;
    default:
        event(world, step);
    }
}

static void check_row(const struct row *row)
{
    struct world world = {.health = HEALTH_INIT, .now_ms = 5000};
    const struct devicehealth *device, *other;

    for (size_t i = 0; i < ARRAY_SIZE(row->steps) && row->steps[i] != END; i++)
        take(&world, row->steps[i]);
    device = health_find(&world.health, UUID_A);
    if (devicehealth_state(device) != row->state ||
        device->healthy != (row->state == HEALTH_HEALTHY))
        fail_msg("%s: %u (%s)", row->name, devicehealth_state(device), devicehealth_reason(device));
    if (row->reason[0] ? !strstr(devicehealth_reason(device), row->reason)
                       : devicehealth_reason(device)[0] != '\0')
        fail_msg("%s: the reason is '%s'", row->name, devicehealth_reason(device));
    /* Unhealthy devices are probed again. */
    if (!device->healthy)
        assert_true(device->next_probe_ms != UINT64_MAX);
    other = health_find(&world.health, UUID_B);
    if (other)
        assert_int_equal(devicehealth_state(other), row->other);
    health_deinit(&world.health);
}

static void table(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i]);
}

static void tells_what_changed(void **state)
{
    struct world world = {.health = HEALTH_INIT, .now_ms = 100};
    struct gpu_event event = {.uuid = UUID_A, .xid = 95};
    struct gpu_probe probe = GPU_PROBE_INIT;
    const struct devicehealth *device;

    session(&world, SESSION);
    device = health_find(&world.health, "gpu-AAAAAAAA-0000-0000-0000-000000000000");
    assert_non_null(device);
    assert_int_equal(device->since_ms, 100);
    assert_int_equal(health_event(&world.health, &event, XID_RESET, 200), HEALTH_CHANGED);
    assert_int_equal(device->since_ms, 200);
    assert_int_equal(health_event(&world.health, &event, XID_RESET, 300), 0);
    assert_int_equal(device->since_ms, 200);
    assert_int_equal(health_event(&world.health, &event, XID_INFORMATION, 300), 0);
    probe.recovery = GPU_RECOVERY_RESET;
    assert_int_equal(health_probe(&world.health, UUID_A, 0, &probe, "", 400), 0);
    probe.recovery = GPU_RECOVERY_NONE;
    assert_int_equal(health_probe(&world.health, UUID_A, 0, &probe, "", 500), HEALTH_CHANGED);
    assert_int_equal(device->since_ms, 500);
    assert_int_equal(health_probe(&world.health, "GPU-stranger", 0, &probe, "", 500), 0);
    health_deinit(&world.health);
}

/* 1, 2, 4 ... 60 s, and nothing at all on a healthy node. */
static void probes_back_off(void **state)
{
    static const uint64_t waits_ms[] = {1000, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    struct world world = {.health = HEALTH_INIT, .now_ms = 0};
    struct gpu_event event = {.uuid = UUID_A, .xid = 95};

    session(&world, SESSION);
    assert_true(health_next_probe_ms(&world.health) == UINT64_MAX);
    assert_null(health_take_due(&world.health, UINT64_MAX - 1));
    health_event(&world.health, &event, XID_RESET, world.now_ms);
    for (size_t i = 0; i < ARRAY_SIZE(waits_ms); i++) {
        uint64_t next_ms = health_next_probe_ms(&world.health);

        assert_int_equal(next_ms, world.now_ms + waits_ms[i]);
        assert_null(health_take_due(&world.health, next_ms - 1));
        world.now_ms = next_ms;
        assert_string_equal(health_take_due(&world.health, next_ms), UUID_A);
        assert_null(health_take_due(&world.health, next_ms));
        /* A storm of events does not hurry it. */
        health_event(&world.health, &event, XID_RESET, world.now_ms);
    }
    health_deinit(&world.health);
}

static void one_probe_for_an_application(void **state)
{
    struct world world = {.health = HEALTH_INIT, .now_ms = 0};
    struct gpu_event event = {.uuid = UUID_A, .xid = 31};

    session(&world, SESSION);
    for (int i = 0; i < 100; i++)
        assert_int_equal(health_event(&world.health, &event, XID_APPLICATION, (uint64_t)i), 0);
    assert_int_equal(health_next_probe_ms(&world.health), 1000);
    assert_string_equal(health_take_due(&world.health, 1000), UUID_A);
    world.now_ms = 1001;
    answer(&world, 0, GPU_RECOVERY_UNKNOWN, UINT64_MAX);
    assert_true(health_next_probe_ms(&world.health) == UINT64_MAX);
    health_deinit(&world.health);
}

static void refuses_a_bad_state(void **state)
{
    static const char *const texts[] = {
        "",
        "something else\n",
        "gpuslice-health 3 boot-1\n",
        "gpuslice-health 2 boot-1\nGPU-a\n",
        "gpuslice-health 2 boot-1\nGPU-a x a 0 0 5 7 why\t\n",
        "gpuslice-health 2 boot-1\nGPU-a t z 0 0 5 7 why\t\n",
        "gpuslice-health 2 boot-1\nGPU-a t a 2 0 5 7 why\t\n",
        "gpuslice-health 2 boot-1\nGPU-a t a 0 0 5 7 why\n",
        "gpuslice-health 2 boot-1\nGPU-a t a 0 0 5 7 why\t\nGPU-A t a 0 0 5 7 why\t\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct health health = HEALTH_INIT;

        assert_int_equal(health_restore(&health, "boot-1", texts[i], strlen(texts[i])), -EBADMSG);
        assert_int_equal(health.n_devices, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(tells_what_changed),
        cmocka_unit_test(probes_back_off),
        cmocka_unit_test(one_probe_for_an_application),
        cmocka_unit_test(refuses_a_bad_state),
    };

    return cmocka_run_group_tests_name("health/health", tests, NULL, NULL);
}
