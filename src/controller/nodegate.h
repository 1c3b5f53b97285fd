// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is to become of a Node of a slice profile: the rules, of which nothing else decides.
 *
 *  - It is open when the kubelet advertises, of each resource, as many as were promised for it.
 *    That follows from these numbers alone: no condition, label or annotation opens a node.
 *  - A number that differs is reported with the reason that the facts give. Some reasons say that
 * the right number cannot come by itself (no driver, another configuration, another plugin): those
 *    are reported as soon as they have stood for NODEGATE_HOLD_S. Others are how every node begins
 * (no agent yet): those are reported when the node has had its time.
 *  - A node that never opened, in its time, is overdue: a replacement of it may help.
 *
 * Pure: no clock, no cluster.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/nodekind.h"
#include "controller/nodeview.h"

enum {
    NODEGATE_LIMIT_S = 300, /* the default of the time that a node has */
    NODEGATE_HOLD_S = 2, /* so long a reason has stood before it is reported: states in between */
    NODEGATE_LAG_S = 15, /* the kubelet writes its Node's status every 10 s */
    NODEGATE_MESSAGE = 900,
};

enum nodegate_state { NODEGATE_WAITING, NODEGATE_OPEN, NODEGATE_SHORT, NODEGATE_STATES };

/* "waiting", "open", "short". */
extern const char *const nodegate_state_names[NODEGATE_STATES];

/* What is known at a moment. Borrowed. */
struct nodegate_facts {
    const struct nodeview *node;
    const struct nodekind *kind;
    bool has_dra; /* a DRA driver offers GPUs of this node, too */
    int64_t age_s;
    int64_t short_s; /* for how long we have seen it with other numbers than promised */
    int64_t limit_s;
};

struct nodegate {
    bool is_met;          /* the numbers are as promised */
    bool is_overdue;      /* it never opened, in its time */
    const char *reason;   /* CamelCase, static; NULL = there is nothing to tell */
    int64_t tell_after_s; /* the reason has to have stood for so long; INT64_MAX = not yet */
    char message[NODEGATE_MESSAGE]; /* "" without a reason */
};

void nodegate_judge(const struct nodegate_facts *facts, struct nodegate *ret_gate);

/* is_told: the reason has stood for long enough. */
enum nodegate_state nodegate_state(const struct nodegate_facts *facts, const struct nodegate *gate,
                                   bool is_told);
