// SPDX-License-Identifier: Apache-2.0
#include "arbiter/violationpolicy.h"

#include <stddef.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

static const char *const action_names[] = {
    [VIOLATION_REPORT] = "report",
    [VIOLATION_STARVE] = "starve",
    [VIOLATION_KILL] = "kill",
};

bool violation_action_parse(const char *word, enum violation_action *ret_action)
{
    for (size_t i = 0; i < ARRAY_SIZE(action_names); i++)
        if (str_equal(word, action_names[i])) {
            *ret_action = (enum violation_action)i;
            return true;
        }
    return false;
}

const char *violation_action_name(enum violation_action action)
{
    return action_names[action];
}

/* Whether the list, "a,b", names the word. */
static bool names(const char *list, const char *word)
{
    const size_t length = strlen(word);

    while (*list) {
        const size_t item = strcspn(list, ",");

        if (item == length && memcmp(list, word, length) == 0)
            return true;
        list += item + (list[item] == ',');
    }
    return false;
}

static bool is_certain(enum audit_verdict verdict, bool knows_holders)
{
    return verdict == AUDIT_OVER ||
           (knows_holders && (verdict == AUDIT_ASKED_NOTHING || verdict == AUDIT_OTHER_DEVICE));
}

bool violationpolicy_is_due(const struct violationpolicy *policy, const struct violation *violation,
                            bool knows_holders, uint64_t now_ms)
{
    const struct audit_owner *owner = &violation->owner;

    return policy->action != VIOLATION_REPORT && violation->has_begun && !violation->n_absent &&
           is_certain(violation->verdict, knows_holders) && *owner->pod_uid && *owner->namespace_ &&
           !names(policy->spared, owner->namespace_) &&
           now_ms >= violation->since_ms + policy->grace_ms;
}
