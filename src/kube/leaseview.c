// SPDX-License-Identifier: Apache-2.0
#include "kube/leaseview.h"

#include "base/cleanup.h"
#include "kube/field.h"

enum { DURATION_MAX_S = 86400 /* a day is no lease any more */ };

void leaseview_deinit(struct leaseview *view)
{
    json_decref(TAKE_PTR(view->spec));
}

void leaseview_see(struct leaseview *view, const json_t *lease, uint64_t now_ms)
{
    json_t *spec = json_object_get(lease, "spec");

    if (view->spec && json_equal(view->spec, spec))
        return;
    leaseview_deinit(view);
    view->spec = spec ? json_incref(spec) : json_object();
    view->since_ms = now_ms;
}

const char *leaseview_holder(const struct leaseview *view)
{
    return kube_text(view->spec, "holderIdentity");
}

bool leaseview_is_abandoned(const struct leaseview *view, unsigned default_s, uint64_t now_ms)
{
    json_int_t seconds = json_integer_value(json_object_get(view->spec, "leaseDurationSeconds"));

    if (seconds <= 0)
        seconds = default_s;
    if (seconds > DURATION_MAX_S)
        seconds = DURATION_MAX_S;
    return view->spec && now_ms - view->since_ms >= (uint64_t)seconds * 1000;
}
