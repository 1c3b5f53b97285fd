// SPDX-License-Identifier: Apache-2.0
#include "plugin/regcheck.h"

#include "base/clock.h"

/* Without a healthy device a Node correctly shows nothing allocatable. */
static bool agrees(const struct regcheck_view *view)
{
    return view->capacity > 0 && view->allocatable > 0;
}

static bool is_undisputed(const struct regcheck_view *view)
{
    return !view->known || view->registered_ms == 0 || view->healthy == 0;
}

bool regcheck_update(struct regcheck *regcheck, const struct regcheck_view *view, uint64_t now_ms)
{
    if (agrees(view) && !is_undisputed(view)) {
        *regcheck = (struct regcheck)REGCHECK_INIT;
        return false;
    }
    if (is_undisputed(view)) {
        regcheck->since_ms = UINT64_MAX;
        return false;
    }
    /* Each registration gets its full time, whatever its cause. */
    if (regcheck->since_ms == UINT64_MAX)
        regcheck->since_ms = now_ms;
    if (regcheck->since_ms < view->registered_ms)
        regcheck->since_ms = view->registered_ms;
    if (now_ms < regcheck_due_ms(regcheck))
        return false;
    regcheck->since_ms = now_ms;
    regcheck->wait_ms = clock_twice_ms(regcheck->wait_ms, REGCHECK_LAST_MS);
    return true;
}

uint64_t regcheck_due_ms(const struct regcheck *regcheck)
{
    return regcheck->since_ms == UINT64_MAX ? UINT64_MAX : regcheck->since_ms + regcheck->wait_ms;
}
