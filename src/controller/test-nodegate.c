// SPDX-License-Identifier: Apache-2.0
#include "controller/nodegate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define SHARED "nvidia.com/gpu.shared"
#define GPU    "nvidia.com/gpu"

enum { UNKNOWN = -1, LIMIT = 300 };

/* A node that was promised 16 slices and no whole GPU, as a few words say it. */
struct row {
    const char *title;
    bool is_open;                                   /* it has no startup taint */
    bool is_away;                                   /* the kubelet */
    bool is_going, has_dra, is_unpromised, is_left; /* its profile has gone */
    int gpus, shared;                               /* advertised */
    int configured, believed;                       /* UNKNOWN */
    enum nodeview_agent agent;
    const char *said; /* the reason of the agent's condition; NULL = "AllResourcesRegistered" */
    int age_s, short_s;
    /* What follows: */
    const char *reason;
    int64_t after_s;
    bool is_met, is_overdue;
    enum nodegate_state state;
};

static const int64_t never = INT64_MAX;

static void set_up_node(const struct row *row, struct nodeview *node)
{
    static char none[] = "", name[] = "p", agent[] = "AllResourcesRegistered";

    for (size_t i = 0; i < NODEVIEW_TEXTS; i++)
        node->texts[i] = none;
    node->texts[NODEVIEW_PROFILE] = name;
    if (row->agent != NODEVIEW_SILENT)
        node->texts[NODEVIEW_REASON] = row->said ? (char *)(uintptr_t)row->said : agent;
    node->is_ready = !row->is_away;
    node->is_going = row->is_going;
    node->is_closed = !row->is_open;
    node->agent = row->agent;
    node->is_configured_known = row->configured != UNKNOWN;
    assert_int_equal(amounts_set(&node->allocatable, GPU, row->gpus), 0);
    assert_int_equal(amounts_set(&node->allocatable, SHARED, row->shared), 0);
    if (node->is_configured_known)
        assert_int_equal(amounts_set(&node->configured, SHARED, row->configured), 0);
}

static void set_up_kind(const struct row *row, struct nodekind *kind)
{
    kind->is_promised = !row->is_unpromised;
    kind->has_profile = !row->is_left;
    assert_int_equal(amounts_set(&kind->promised, GPU, 0), 0);
    assert_int_equal(amounts_set(&kind->promised, SHARED, 16), 0);
    kind->is_believed = row->believed != UNKNOWN;
    if (kind->is_believed)
        assert_int_equal(amounts_set(&kind->believed, SHARED, row->believed), 0);
}

static void judge(const struct row *row, struct nodegate *gate, enum nodegate_state *state)
{
    struct nodeview node = {.taints = NULL};
    struct nodekind kind = {.labels = NULL};
    const struct nodegate_facts facts = {.node = &node,
                                         .kind = &kind,
                                         .has_dra = row->has_dra,
                                         .age_s = row->age_s,
                                         .short_s = row->short_s,
                                         .limit_s = LIMIT};

    set_up_node(row, &node);
    set_up_kind(row, &kind);
    nodegate_judge(&facts, gate);
    *state = nodegate_state(&facts, gate, gate->reason && gate->tell_after_s != never);
    amounts_deinit(&node.allocatable);
    amounts_deinit(&node.configured);
    amounts_deinit(&kind.promised);
    amounts_deinit(&kind.believed);
}

static const struct row rows[] = {
    {"nothing runs yet", .configured = UNKNOWN, .believed = 16, .age_s = 20,
     .reason = "AgentNotRunning", .after_s = INT64_MAX},
    {"nothing runs, in vain", .configured = UNKNOWN, .believed = 16, .age_s = 300, .short_s = 30,
     .reason = "AgentNotRunning", .is_overdue = true, .state = NODEGATE_SHORT},
    {"the kubelet is away", .is_away = true, .configured = UNKNOWN, .believed = 16, .age_s = 20,
     .reason = "NodeNotReady", .after_s = INT64_MAX},
    {"no driver", .agent = NODEVIEW_NOT_READY, .said = "DriverNotAvailable", .configured = UNKNOWN,
     .believed = 16, .age_s = 20, .reason = "DriverMissing", .after_s = NODEGATE_HOLD_S,
     .state = NODEGATE_SHORT},
    {"no driver, in vain", .agent = NODEVIEW_NOT_READY, .said = "DriverNotAvailable",
     .configured = UNKNOWN, .believed = 16, .age_s = 400, .reason = "DriverMissing",
     .after_s = NODEGATE_HOLD_S, .is_overdue = true, .state = NODEGATE_SHORT},
    {"another plugin, says the agent", .agent = NODEVIEW_NOT_READY, .said = "ForeignDevicePlugin",
     .gpus = 4, .configured = 16, .believed = 16, .reason = "AnotherPlugin",
     .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"another plugin, without an agent", .gpus = 4, .configured = UNKNOWN, .believed = 16,
     .reason = "AnotherPlugin", .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"a layout under way", .agent = NODEVIEW_READY, .said = "MIGLayoutPending", .configured = 8,
     .shared = 8, .believed = 16, .age_s = 20, .reason = "GeometryPending", .after_s = INT64_MAX},
    {"a layout that failed", .agent = NODEVIEW_READY, .said = "MIGLayoutFailed", .configured = 8,
     .shared = 8, .believed = 16, .reason = "GeometryFailed", .after_s = NODEGATE_HOLD_S,
     .state = NODEGATE_SHORT},
    {"whatever else the agent says", .agent = NODEVIEW_NOT_READY, .said = "NewReason",
     .configured = UNKNOWN, .believed = 16, .reason = "AgentNotReady", .after_s = NODEGATE_HOLD_S,
     .state = NODEGATE_SHORT},
    {"another configuration", .agent = NODEVIEW_READY, .configured = 8, .shared = 8, .believed = 16,
     .reason = "ConfiguredOtherwise", .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"another configuration that is not advertised yet", .agent = NODEVIEW_READY, .configured = 8,
     .believed = 16, .reason = "ConfiguredOtherwise", .after_s = NODEGATE_HOLD_S,
     .state = NODEGATE_SHORT},
    {"the kubelet is a moment behind", .agent = NODEVIEW_READY, .configured = 16, .believed = 16,
     .reason = "NotAdvertised", .after_s = NODEGATE_LAG_S, .state = NODEGATE_SHORT},
    {"a GPU is unhealthy", .agent = NODEVIEW_READY, .configured = 16, .shared = 12, .believed = 16,
     .reason = "NotAdvertised", .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"nobody knows why", .agent = NODEVIEW_READY, .configured = UNKNOWN, .shared = 12,
     .believed = 16, .reason = "Unknown", .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"whole GPUs too", .agent = NODEVIEW_READY, .configured = UNKNOWN, .shared = 16, .gpus = 4,
     .believed = 16, .reason = "Unknown", .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"nobody knows what was promised", .is_unpromised = true, .shared = 16, .configured = 16,
     .believed = 16, .agent = NODEVIEW_READY, .reason = "PromiseUnknown",
     .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"it has them: to be opened", .agent = NODEVIEW_READY, .configured = 16, .shared = 16,
     .believed = 16, .after_s = INT64_MAX, .is_met = true},
    {"... whatever the agent says", .agent = NODEVIEW_NOT_READY, .said = "DriverNotAvailable",
     .configured = 4, .shared = 16, .believed = 16, .after_s = INT64_MAX, .is_met = true},
    {"... without an agent, and late", .configured = UNKNOWN, .shared = 16, .believed = UNKNOWN,
     .age_s = 999, .after_s = INT64_MAX, .is_met = true},
    {"open", .is_open = true, .agent = NODEVIEW_READY, .configured = 16, .shared = 16,
     .believed = 16, .age_s = 999, .after_s = INT64_MAX, .is_met = true, .state = NODEGATE_OPEN},
    {"open, and Karpenter believes otherwise", .is_open = true, .agent = NODEVIEW_READY,
     .configured = 16, .shared = 16, .believed = 4, .age_s = 999, .reason = "BelievedOtherwise",
     .after_s = NODEGATE_HOLD_S, .is_met = true, .state = NODEGATE_OPEN},
    {"open, and the profile's overlays went with it", .is_open = true, .is_left = true,
     .agent = NODEVIEW_READY, .configured = 16, .shared = 16, .believed = 4, .age_s = 999,
     .after_s = INT64_MAX, .is_met = true, .state = NODEGATE_OPEN},
    {"open, and fell short", .is_open = true, .agent = NODEVIEW_READY, .configured = 16,
     .shared = 12, .believed = 16, .age_s = 999, .short_s = 9999, .reason = "NotAdvertised",
     .after_s = NODEGATE_HOLD_S, .state = NODEGATE_SHORT},
    {"open, and all went", .is_open = true, .agent = NODEVIEW_READY, .configured = 16,
     .believed = 16, .age_s = 999, .reason = "NotAdvertised", .after_s = NODEGATE_HOLD_S,
     .state = NODEGATE_SHORT},
    {"a pool without the taint, at first", .is_open = true, .configured = UNKNOWN, .believed = 16,
     .age_s = 20, .reason = "AgentNotRunning", .after_s = INT64_MAX},
    {"two drivers", .is_open = true, .has_dra = true, .agent = NODEVIEW_READY, .configured = 16,
     .shared = 16, .believed = 16, .reason = "DoubleManagement", .after_s = NODEGATE_HOLD_S,
     .is_met = true, .state = NODEGATE_OPEN},
    {"a DRA driver alone", .has_dra = true, .configured = UNKNOWN, .believed = 16, .age_s = 20,
     .reason = "AgentNotRunning", .after_s = INT64_MAX},
    {"it goes", .is_going = true, .configured = UNKNOWN, .believed = 16, .age_s = 999,
     .after_s = INT64_MAX},
};

static void every_state_has_its_reason(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        enum nodegate_state is;
        struct nodegate gate;

        judge(row, &gate, &is);
        if (!gate.reason != !row->reason || (gate.reason && strcmp(gate.reason, row->reason) != 0))
            fail_msg("%s: %s", row->title, gate.reason ? gate.reason : "no reason");
        if (gate.is_met != row->is_met || gate.is_overdue != row->is_overdue)
            fail_msg("%s: met %d, overdue %d", row->title, gate.is_met, gate.is_overdue);
        if (gate.tell_after_s != row->after_s)
            fail_msg("%s: told after %lld s", row->title, (long long)gate.tell_after_s);
        if (is != row->state)
            fail_msg("%s: %s", row->title, nodegate_state_names[is]);
    }
}

static void a_sentence_has_all_numbers(void **state)
{
    const struct row row = {"", .agent = NODEVIEW_READY, .configured = 8, .shared = 6,
                            .believed = 4};
    enum nodegate_state is;
    struct nodegate gate;

    judge(&row, &gate, &is);
    assert_non_null(strstr(gate.message, SHARED ": 16 promised, Karpenter believes 4, 8 "
                                                "configured, 6 advertised"));
    assert_null(strstr(gate.message, GPU ":")); /* 0 everywhere */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_its_reason),
        cmocka_unit_test(a_sentence_has_all_numbers),
    };

    return cmocka_run_group_tests_name("controller/nodegate", tests, NULL, NULL);
}
