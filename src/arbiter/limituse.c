// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limituse.h"

#include "base/text.h"

#define ALL_PPM 1000000

/* That have a context on the device, take no part, and took none at the arbiter before this one. */
static size_t count_without_turns(const struct account *account, size_t device,
                                  const struct formerprocesses *former)
{
    size_t n = account_count_contexts(account, device).n_without_turns;

    for (const struct account_process *one = account->processes; one && n; one = one->next)
        n -= one->uses[device].is_shown && !one->is_registered && !one->takes_turns &&
             formerprocesses_takes_turns(former, one->pid);
    return n;
}

/* Who has all of a device shares it with nobody, and runs without the library. A container that has
 * claims, and no part in turns, was refused one: its gate is open. */
static size_t count_unenforced_compute(const struct tenant *tenant, size_t device,
                                       const struct limituse *use,
                                       const struct formerprocesses *former)
{
    if (use->compute == LIMITS_COMPUTE_NONE || use->share_ppm >= ALL_PPM)
        return 0;
    return tenant->claims && !use->has_turns
               ? account_count_contexts(tenant->account, device).n_processes
               : count_without_turns(tenant->account, device, former);
}

/* They are connected, or were to the arbiter before this one and have wanted nothing since. */
static size_t count_with_library(const struct account *account,
                                 const struct formerprocesses *former)
{
    size_t n = account->n_registered;

    for (const struct account_process *one = account->processes; one; one = one->next)
        n += !one->is_registered && formerprocesses_has(former, one->pid);
    return n;
}

void limituse_read(struct limituse *ret_use, const struct tenant *tenant, size_t device,
                   enum limits_mode mode, const struct devicegates *gates,
                   const struct formerprocesses *former)
{
    const struct account_device *of = &tenant->account->devices[device];

    *ret_use = (struct limituse){
        .namespace_ = tenant->namespace_,
        .pod = tenant->pod,
        .pod_uid = tenant->pod_uid,
        .container = tenant->container,
        .uuid = tenant->uuids[device],
        .limit_bytes = of->limit_bytes,
        .charged_bytes = of->charged_bytes,
        .overhead_bytes = of->overhead_bytes,
        .peak_bytes = of->peak_bytes,
        .gap_bytes = of->gap_bytes,
        .has_gap = of->has_gap,
        .n_denied = of->n_denied,
        .n_processes = tenant->account->n_processes,
        .n_registered = count_with_library(tenant->account, former),
        .is_starved = account_is_starved(tenant->account, mode),
        .share_ppm = tenant->shares_ppm[device],
        .compute = devicegates_get_mode(gates),
    };
    ret_use->has_turns = devicegates_view(gates, tenant, device, &ret_use->turns);
    ret_use->n_unenforced_compute = count_unenforced_compute(tenant, device, ret_use, former);
}

size_t limituse_find(const struct limituse *uses, size_t n, const struct audit_use *of,
                     const char *uuid)
{
    size_t i = 0;

    while (i < n &&
           (!str_equal(uses[i].pod_uid, of->owner.pod_uid) ||
            !str_equal(uses[i].container, of->owner.container) || !str_equal(uses[i].uuid, uuid)))
        i++;
    return i;
}

size_t limituse_count_unenforced(const struct limituse *use)
{
    return use->limit_bytes && use->n_processes > use->n_registered
               ? use->n_processes - use->n_registered
               : 0;
}
