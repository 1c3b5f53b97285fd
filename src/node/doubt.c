// SPDX-License-Identifier: Apache-2.0
#include "node/doubt.h"

#include "base/clock.h"

/* With no healthy device a Node rightly shows nothing allocatable. */
static bool agrees(const struct doubt_view *view)
{
    return view->capacity > 0 && view->allocatable > 0;
}

static bool is_beyond_doubt(const struct doubt_view *view)
{
    return !view->known || view->registered_ms == 0 || view->healthy == 0;
}

bool doubt_look(struct doubt *doubt, const struct doubt_view *view, uint64_t now_ms)
{
    if (agrees(view) && !is_beyond_doubt(view)) {
        *doubt = (struct doubt)DOUBT_INIT;
        return false;
    }
    if (is_beyond_doubt(view)) {
        doubt->since_ms = UINT64_MAX;
        return false;
    }
    /* Each registration gets its whole time, from whatever it came. */
    if (doubt->since_ms == UINT64_MAX)
        doubt->since_ms = now_ms;
    if (doubt->since_ms < view->registered_ms)
        doubt->since_ms = view->registered_ms;
    if (now_ms < doubt_due_ms(doubt))
        return false;
    doubt->since_ms = now_ms;
    doubt->wait_ms = clock_twice_ms(doubt->wait_ms, DOUBT_LAST_MS);
    return true;
}

uint64_t doubt_due_ms(const struct doubt *doubt)
{
    return doubt->since_ms == UINT64_MAX ? UINT64_MAX : doubt->since_ms + doubt->wait_ms;
}
