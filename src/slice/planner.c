// SPDX-License-Identifier: Apache-2.0
#include "slice/planner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/assign.h"
#include "slice/label.h"
#include "slice/lint.h"
#include "slice/listsize.h"
#include "slice/name.h"
#include "slice/select.h"
#include "slice/share.h"
#include "slice/unknown.h"

DEFINE_CLEANUP(struct plan *, plan_free)

struct maker {
    const struct policy *policy;
    struct problems *problems;
    struct plan *plan;
    const struct sharing_entry **assigned; /* per device of the plan; NULL = no entry selected it */
    /* How many slices of a device each sharing entry, then each of gpuslice.slices, may offer. */
    unsigned *most;
};

/* ---- The node's GPUs and devices ---- */

static int compare_gpus(const void *a_p, const void *b_p)
{
    const struct gpu *a = a_p, *b = b_p;

    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return strcmp(a->uuid, b->uuid);
}

/* Copies the GPUs in order. ret_places[i]: the new position of the inventory's GPU i. */
static int list_gpus(struct plan *plan, const struct inventory *inventory, size_t *ret_places)
{
    struct ordered {
        struct gpu gpu;
        size_t place;
    };
    cleanup_free struct ordered *ordered = calloc(inventory->n_gpus + 1, sizeof(*ordered));

    plan->gpus = calloc(inventory->n_gpus + 1, sizeof(*plan->gpus));
    if (!plan->gpus || !ordered)
        return -ENOMEM;
    plan->n_gpus = inventory->n_gpus;
    for (size_t i = 0; i < plan->n_gpus; i++)
        ordered[i] = (struct ordered){inventory->gpus[i], i};
    qsort(ordered, plan->n_gpus, sizeof(*ordered), compare_gpus); /* the GPU comes first in it */
    for (size_t i = 0; i < plan->n_gpus; i++) {
        plan->gpus[i] = ordered[i].gpu;
        ret_places[ordered[i].place] = i;
    }
    return 0;
}

static int compare_devices(const void *a, const void *b)
{
    return device_compare(&((const struct plan_device *)a)->device,
                          &((const struct plan_device *)b)->device);
}

/* The MIG devices of partitioned GPUs, unless the strategy offers these whole, and whole GPUs. */
static int list_devices(const struct maker *m, const struct inventory *inventory,
                        const size_t *places)
{
    bool mig = m->policy->mig_strategy != MIG_STRATEGY_NONE;
    struct plan *plan = m->plan;

    plan->devices =
        calloc(inventory->n_gpus + inventory->n_mig_devices + 1, sizeof(*plan->devices));
    if (!plan->devices)
        return -ENOMEM;
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (!mig || !inventory_is_partitioned(inventory, i))
            plan->devices[plan->n_devices++].device = inventory_whole(inventory, i);
    for (size_t i = 0; mig && i < inventory->n_mig_devices; i++)
        plan->devices[plan->n_devices++].device = inventory->mig_devices[i];
    for (size_t i = 0; i < plan->n_devices; i++)
        plan->devices[i].device.gpu = places[plan->devices[i].device.gpu];
    qsort(plan->devices, plan->n_devices, sizeof(*plan->devices), compare_devices);
    return 0;
}

/* Why a device is in no resource, and the option responsible, if any. */
struct verdict {
    enum problem_severity severity;
    const char *reason; /* the end of a sentence; NULL: it can be offered */
    struct position at;
    const char *path;
};

static struct verdict because(enum problem_severity severity, const char *reason)
{
    return (struct verdict){severity, reason, {0, 0}, ""};
}

static struct verdict because_of_strategy(const struct maker *m, const char *reason)
{
    return (struct verdict){PROBLEM_WARNING, reason, m->policy->mig_strategy_at,
                            "flags.migStrategy"};
}

/* Under any configuration. */
static struct verdict judge_hardware(const struct maker *m, size_t i)
{
    const struct device *device = &m->plan->devices[i].device;
    const struct gpu *gpu = plan_gpu(m->plan, &m->plan->devices[i]);

    if (*gpu->unusable || *device->unusable)
        return because(PROBLEM_WARNING, *gpu->unusable ? gpu->unusable : device->unusable);
    if (!*device->uuid)
        return because(PROBLEM_WARNING, "the driver gives no UUID for it");
    for (size_t j = 0; j < i; j++)
        if (strcasecmp(m->plan->devices[j].device.uuid, device->uuid) == 0)
            return because(PROBLEM_WARNING, device->kind == DEVICE_MIG
                                                ? "the driver gives it the UUID of another device"
                                                : "the driver gives it the UUID of another GPU");
    if (gpu_is_display(gpu))
        return because(PROBLEM_NOTE,
                       "it is the display card of a DGX Station, not meant for computing");
    return because(PROBLEM_NOTE, NULL);
}

static struct verdict judge(const struct maker *m, size_t i)
{
    const struct plan_device *on = &m->plan->devices[i];
    const struct device *device = &on->device;
    const struct gpu *gpu = plan_gpu(m->plan, on);

    if (on->excluded)
        return (struct verdict){PROBLEM_NOTE, "gpuslice.excludeDevices excludes it",
                                m->policy->excluded_at, "gpuslice.excludeDevices"};
    if (!on->works)
        return judge_hardware(m, i);
    if (device->is_withheld && device->kind == DEVICE_WHOLE && !gpu->is_held)
        return because(PROBLEM_NOTE, gpu->withheld);
    if (!*on->base)
        return because(PROBLEM_WARNING, "its MIG profile makes no valid resource name");
    if (m->policy->needs_nodes && !device_has_nodes(device))
        return (struct verdict){PROBLEM_WARNING,
                                "its device node is unknown, so no CDI specification can hold it; "
                                "deviceListStrategy: envvar offers it",
                                {0, 0},
                                "flags.plugin.deviceListStrategy"};
    if (device->kind == DEVICE_WHOLE && gpu->mig_enabled &&
        m->policy->mig_strategy != MIG_STRATEGY_NONE)
        return because_of_strategy(m,
                                   "MIG is enabled, and there is no MIG device: create some (with "
                                   "mig.partition by the Node's label nvidia.com/mig.config), turn "
                                   "MIG off, or set migStrategy: none to offer whole GPUs");
    return because(PROBLEM_NOTE, NULL);
}

static void leave_out(const struct maker *m, struct plan_device *on, struct verdict verdict)
{
    const char *model = plan_gpu(m->plan, on)->model;
    char name[DEVICE_NAME_SIZE];

    snprintf(on->left_out, sizeof(on->left_out), "%s", verdict.reason);
    problem_add(m->problems, verdict.severity, verdict.at, verdict.path, "%s (%s) is left out: %s",
                plan_device_name(m->plan, on, name), *model ? model : "unknown model",
                verdict.reason);
}

/* Its resource before sharing and renaming; "" if the profile gives no valid name. */
static void name_base(const struct maker *m, struct plan_device *on)
{
    if (on->device.kind == DEVICE_WHOLE)
        snprintf(on->base, sizeof(on->base), "%s",
                 name_of_model(m->policy, plan_gpu(m->plan, on)->model));
    else if (name_of_profile(m->policy, on->device.profile, on->base, NULL) < 0)
        on->base[0] = '\0';
}

/* What is withheld is listed for the pods that have it, and given to nobody. */
static bool is_given_out(const struct plan_device *on)
{
    return !*on->left_out && !on->device.is_withheld;
}

static bool is_same_kind(const struct plan_device *a, const struct plan_device *b)
{
    return a->device.kind == b->device.kind && str_equal(a->device.profile, b->device.profile);
}

/*
 * The GPUs that have devices of this kind alone; of equals whole GPUs, which are what a node offers
 * while others partition one GPU after the other; then the number of devices.
 */
static size_t rank_kind(const struct plan *plan, const struct plan_device *kind)
{
    size_t n_gpus = 0, n_devices = 0;

    for (size_t i = 0; i < plan->n_gpus; i++) {
        bool has = false, has_other = false;

        for (size_t k = 0; k < plan->n_devices; k++) {
            const struct plan_device *on = &plan->devices[k];

            if (on->device.gpu != i || !is_given_out(on))
                continue;
            n_devices += is_same_kind(on, kind);
            has |= is_same_kind(on, kind);
            has_other |= !is_same_kind(on, kind);
        }
        n_gpus += has && !has_other;
    }
    return (n_gpus * 2 + (kind->device.kind == DEVICE_WHOLE)) * (plan->n_devices + 1) + n_devices;
}

static const struct plan_device *choose_kind(const struct plan *plan)
{
    const struct plan_device *best = NULL;
    size_t best_rank = 0;

    for (size_t i = 0; i < plan->n_devices; i++) {
        size_t rank = is_given_out(&plan->devices[i]) ? rank_kind(plan, &plan->devices[i]) : 0;

        if (rank > best_rank) {
            best = &plan->devices[i];
            best_rank = rank;
        }
    }
    return best;
}

static void explain_kind(const struct plan_device *kind, char *reason, size_t size)
{
    bool is_whole = kind->device.kind == DEVICE_WHOLE;

    snprintf(
        reason, size,
        "migStrategy single offers devices of one kind, on this node %s: no kind has more GPUs "
        "to itself%s; partition all GPUs alike, or set migStrategy: mixed",
        is_whole ? "whole GPUs" : kind->device.profile,
        is_whole ? ", and in a tie whole GPUs win" : "");
}

/*
 * Under `single` MIG devices are offered as GPUs, and a pod gets any of them: so those of one kind
 * alone (rank_kind). What differs is left out, with one problem for all.
 */
static int keep_one_kind(const struct maker *m)
{
    struct plan *plan = m->plan;
    cleanup_free bool *others = calloc(plan->n_devices + 1, sizeof(*others));
    const struct plan_device *kind = choose_kind(plan);
    char reason[sizeof(plan->devices->left_out)], list[128];
    const struct verdict verdict = because_of_strategy(m, reason);
    size_t n = 0;

    if (!others)
        return -ENOMEM;
    if (m->policy->mig_strategy != MIG_STRATEGY_SINGLE || !kind)
        return 0;
    explain_kind(kind, reason, sizeof(reason));
    for (size_t i = 0; i < plan->n_devices; i++) {
        struct plan_device *on = &plan->devices[i];

        others[i] = is_given_out(on) && !is_same_kind(on, kind);
        if (others[i])
            snprintf(on->left_out, sizeof(on->left_out), "%s", verdict.reason);
        n += others[i];
    }
    if (!n)
        return 0;
    select_format(plan, others, list, sizeof(list));
    problem_add(m->problems, verdict.severity, verdict.at, verdict.path, "%s %s left out: %s", list,
                n == 1 ? "is" : "are", reason);
    return 0;
}

static int list(const struct maker *m, const struct inventory *inventory)
{
    cleanup_free size_t *places = calloc(inventory->n_gpus + 1, sizeof(*places));
    int r = places ? list_gpus(m->plan, inventory, places) : -ENOMEM;

    if (r == 0)
        r = list_devices(m, inventory, places);
    for (size_t i = 0; i < m->plan->n_devices && r == 0; i++) {
        struct verdict verdict;

        name_base(m, &m->plan->devices[i]);
        m->plan->devices[i].works = !judge_hardware(m, i).reason;
        m->plan->devices[i].excluded = select_excludes(m->policy, m->plan, &m->plan->devices[i]);
        verdict = judge(m, i);
        if (verdict.reason)
            leave_out(m, &m->plan->devices[i], verdict);
    }
    return r == 0 ? keep_one_kind(m) : r;
}

/* ---- The names of a device ---- */

/* What a device that an entry (or none, NULL) takes is called instead of `base`, one of its names.
 * `.shared` is appended to both, and a name of its own is for the one that the entry has. */
static void name_shown(const struct sharing_entry *entry, const char *base,
                       char ret_name[RESOURCE_NAME_SIZE])
{
    char shared[RESOURCE_NAME_SIZE];

    snprintf(ret_name, RESOURCE_NAME_SIZE, "%s", base);
    if (entry && str_equal(entry->name, base))
        snprintf(ret_name, RESOURCE_NAME_SIZE, "%s", policy_resource(entry));
    else if (entry && name_shared(entry->name, shared, NULL) == 0 &&
             str_equal(entry->rename, shared) && name_shared(base, shared, NULL) == 0)
        memcpy(ret_name, shared, sizeof(shared));
}

static void name_device(const struct maker *m, size_t i, bool is_second,
                        char ret_name[RESOURCE_NAME_SIZE])
{
    const struct plan_device *on = &m->plan->devices[i];

    name_shown(m->assigned[i], is_second ? on->second : on->base, ret_name);
}

/* Before the entries: they may use either name. */
static void find_seconds(const struct maker *m)
{
    for (size_t i = 0; i < m->plan->n_devices; i++) {
        struct plan_device *on = &m->plan->devices[i];

        if (!*on->left_out && on->device.kind == DEVICE_MIG)
            name_second(m->policy, on->device.profile, on->second);
    }
}

/* A rename may make one name of two. */
static void drop_equal_seconds(const struct maker *m)
{
    char first[RESOURCE_NAME_SIZE], second[RESOURCE_NAME_SIZE];

    for (size_t i = 0; i < m->plan->n_devices; i++) {
        if (!*m->plan->devices[i].second)
            continue;
        name_device(m, i, false, first);
        name_device(m, i, true, second);
        if (str_equal(first, second))
            m->plan->devices[i].second[0] = '\0';
    }
}

static bool has_name(const struct maker *m, size_t i, const char *resource)
{
    char name[RESOURCE_NAME_SIZE];

    name_device(m, i, false, name);
    if (str_equal(name, resource) || !*m->plan->devices[i].second)
        return str_equal(name, resource);
    name_device(m, i, true, name);
    return str_equal(name, resource);
}

/* ---- Slices into resources ---- */

/* The plan's resource of that name; a missing one is created as a copy of `like`. */
static struct plan_resource *resource_like(struct plan *plan, const struct plan_resource *like)
{
    struct plan_resource *resource;

    for (size_t i = 0; i < plan->n_resources; i++) {
        resource = &plan->resources[i];
        if (!str_equal(resource->name, like->name))
            continue;
        if (like->sharing > resource->sharing)
            resource->sharing = like->sharing;
        resource->fail_multi |= like->fail_multi;
        return resource;
    }
    resource = array_push(&plan->resources, &plan->n_resources, &plan->capacity, sizeof(*resource));
    if (resource)
        *resource = *like;
    return resource;
}

static int add_under(struct plan *plan, const struct plan_resource *like, const struct slice *slice)
{
    struct plan_resource *resource = resource_like(plan, like);
    struct slice *added = NULL;

    if (resource)
        added =
            array_push(&resource->slices, &resource->n_slices, &resource->capacity, sizeof(*added));
    if (!added)
        return -ENOMEM;
    *added = *slice;
    return 0;
}

static int add_under_second(const struct maker *m, const struct plan_resource *first,
                            struct slice slice)
{
    const struct plan_device *on = &m->plan->devices[slice.device];
    struct plan_resource like = *first;

    memcpy(like.base, on->second, sizeof(like.base));
    name_device(m, slice.device, true, like.name);
    like.renamed = !str_equal(like.name, like.base);
    slice.is_second = true;
    return add_under(m->plan, &like, &slice);
}

/* Adds the next slice of the device at position i. */
static int add_slice(const struct maker *m, size_t i, const struct plan_resource *like,
                     uint64_t share_permille, uint64_t mem_bytes)
{
    struct plan_device *on = &m->plan->devices[i];
    struct slice slice = {.device = i,
                          .n = (unsigned)on->n_slices,
                          .share_permille = (unsigned)share_permille,
                          .mem_bytes = mem_bytes};
    int r;

    if (like->sharing == SHARING_NONE)
        snprintf(slice.id, sizeof(slice.id), "%s", on->device.uuid);
    else
        snprintf(slice.id, sizeof(slice.id), "%s::%u", on->device.uuid, slice.n);
    r = add_under(m->plan, like, &slice);
    if (r == 0 && *on->second)
        r = add_under_second(m, like, slice);
    if (r < 0)
        return r;
    on->n_slices++;
    on->sharing = like->sharing;
    return 0;
}

/* ---- MPS ---- */

/* The resource of MPS slices that the device would be divided into, and who wants it so. */
struct mps_wish {
    const char *resource;
    struct position at;
    const char *path;
};

static bool is_unserved(const struct maker *m, size_t i, struct mps_wish *ret_wish)
{
    const struct policy *policy = m->policy;
    const struct sharing_entry *entry = m->assigned[i];

    if (*m->plan->devices[i].left_out)
        return false;
    if (entry) {
        *ret_wish = (struct mps_wish){policy_resource(entry), entry->at, entry->path};
        return policy_sharing(entry) == SHARING_MPS && !entry->served;
    }
    if (policy->isolation != ISOLATION_COOPERATIVE ||
        m->plan->devices[i].device.kind != DEVICE_WHOLE)
        return false;
    for (size_t k = 0; k < policy->n_slices; k++) {
        *ret_wish =
            (struct mps_wish){policy->slices[k].name, policy->slices[k].at, "gpuslice.slices"};
        if (!policy->slices[k].served)
            return true;
    }
    return false;
}

/*
 * Without a daemon a pod would get the whole GPU, and no limit: nothing is better. One problem for
 * all devices of a resource.
 */
static int leave_out_unserved(const struct maker *m)
{
    struct plan *plan = m->plan;
    cleanup_free bool *now = calloc(plan->n_devices + 1, sizeof(*now));
    struct mps_wish wish, first;

    if (!now)
        return -ENOMEM;
    for (size_t i = 0; i < plan->n_devices; i++) {
        char list[128];

        if (!is_unserved(m, i, &first))
            continue;
        for (size_t j = 0; j < plan->n_devices; j++) {
            now[j] = j >= i && is_unserved(m, j, &wish) && str_equal(wish.resource, first.resource);
            if (!now[j])
                continue;
            plan->devices[j].waits_for_mps = true;
            plan->devices[j].second[0] = '\0';
            snprintf(plan->devices[j].left_out, sizeof(plan->devices[j].left_out),
                     "no MPS control daemon answers for %s, and this release starts none",
                     first.resource);
        }
        if (!*plan->waits_for_mps)
            snprintf(plan->waits_for_mps, sizeof(plan->waits_for_mps), "%s", first.resource);
        select_format(plan, now, list, sizeof(list));
        problem_add(m->problems, PROBLEM_WARNING, first.at, first.path,
                    "%s not offered: no MPS control daemon answers for %s, and this release starts "
                    "none; use sharing.timeSlicing",
                    list, first.resource);
    }
    return 0;
}

/* ---- What the kubelet can read ---- */

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The slices that a device adds to a resource, each size of gpuslice.slices as often as asked. */
static unsigned wanted(const struct maker *m, size_t i, const char *resource)
{
    const struct plan_device *on = &m->plan->devices[i];
    const struct sharing_entry *entry = m->assigned[i];
    unsigned n = 0;

    if (*on->left_out)
        return 0;
    if (entry)
        return has_name(m, i, resource) ? entry->replicas : 0;
    if (m->policy->n_slices == 0 || on->device.kind != DEVICE_WHOLE)
        return has_name(m, i, resource);
    for (size_t k = 0; k < m->policy->n_slices; k++)
        if (str_equal(m->policy->slices[k].name, resource))
            n += m->policy->slices[k].count;
    return n;
}

/* The list of a resource with at most `most` slices of each device. */
struct list {
    size_t n_slices, bytes;
};

static struct list list_of(const struct maker *m, const char *resource, unsigned most)
{
    struct list list = {0};

    for (size_t i = 0; i < m->plan->n_devices; i++) {
        unsigned n = smaller(wanted(m, i, resource), most);

        list.n_slices += n;
        list.bytes += listsize_of_slices(&m->plan->devices[i].device, n);
    }
    return list;
}

/* The most slices of each device with which the resource's list can be read. */
static unsigned most_readable(const struct maker *m, const char *resource)
{
    unsigned low = 1, high = PLAN_REPLICAS_MAX;

    while (low < high) {
        unsigned middle = low + (high - low + 1) / 2;

        if (list_of(m, resource, middle).bytes <= LISTSIZE_MAX_BYTES)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Every device gives up slices alike, so that all of a resource's replicas stay of one size. */
static unsigned limit_list(const struct maker *m, const char *resource, struct position at,
                           const char *path)
{
    struct list asked = list_of(m, resource, PLAN_REPLICAS_MAX), offered;
    unsigned most;

    if (asked.bytes <= LISTSIZE_MAX_BYTES)
        return PLAN_REPLICAS_MAX;
    most = most_readable(m, resource);
    offered = list_of(m, resource, most);
    problem_add(
        m->problems, PROBLEM_ERROR, at, path,
        "the kubelet reads no device list over %d MiB, and %zu slices of %s make one of %.1f "
        "MiB: this node offers %zu, %u of each GPU; ask for at most %u",
        LISTSIZE_MAX_BYTES >> 20, asked.n_slices, resource, (double)asked.bytes / (1 << 20),
        offered.n_slices, most, most);
    return most;
}

/* Both names of its devices have as many slices. */
static unsigned limit_entry(const struct maker *m, const struct sharing_entry *entry)
{
    unsigned most = limit_list(m, policy_resource(entry), entry->at, entry->path);
    char name[RESOURCE_NAME_SIZE];
    size_t i = 0;

    while (i < m->plan->n_devices && (m->assigned[i] != entry || !*m->plan->devices[i].second))
        i++;
    for (int k = 0; k < 2 && i < m->plan->n_devices; k++) {
        name_device(m, i, k == 1, name);
        if (!str_equal(name, policy_resource(entry)))
            most = smaller(most, limit_list(m, name, entry->at, entry->path));
    }
    return most;
}

static int limit_lists(struct maker *m)
{
    const struct policy *policy = m->policy;

    m->most = calloc(policy->n_sharing + policy->n_slices + 1, sizeof(*m->most));
    if (!m->most)
        return -ENOMEM;
    for (size_t i = 0; i < policy->n_sharing; i++)
        m->most[i] = limit_entry(m, &policy->sharing[i]);
    for (size_t k = 0; k < policy->n_slices; k++)
        m->most[policy->n_sharing + k] =
            limit_list(m, policy->slices[k].name, policy->slices[k].at, "gpuslice.slices");
    return 0;
}

/* ---- The three ways to offer a device: unshared, in equal replicas (one is the whole device), in
 * unequal slices ---- */

static int offer_unshared(const struct maker *m, size_t i)
{
    const struct plan_device *on = &m->plan->devices[i];
    struct plan_resource like = {.sharing = SHARING_NONE};

    memcpy(like.name, on->base, sizeof(like.name));
    memcpy(like.base, on->base, sizeof(like.base));
    return add_slice(m, i, &like, SHARE_WHOLE, share_memory_mib(&on->device) * SHARE_MIB);
}

/* Whole MiB each, unless that leaves some with nothing. */
static uint64_t part_bytes(uint64_t memory_mib, unsigned replicas, unsigned n)
{
    return replicas <= memory_mib ? share_equal(memory_mib, replicas, n) * SHARE_MIB
                                  : share_equal(memory_mib * SHARE_MIB, replicas, n);
}

static int offer_replicas(const struct maker *m, size_t i, const struct sharing_entry *entry)
{
    const struct policy *policy = m->policy;
    struct plan_resource like = {.sharing = policy_sharing(entry), .at = entry->at};
    uint64_t memory_mib = share_memory_mib(&m->plan->devices[i].device);
    unsigned replicas = smaller(entry->replicas, m->most[entry - policy->sharing]);
    int r = 0;

    memcpy(like.base, m->plan->devices[i].base, sizeof(like.base));
    name_device(m, i, false, like.name);
    memcpy(like.path, entry->path, sizeof(like.path));
    like.renamed = !str_equal(like.name, like.base);
    if (like.sharing != SHARING_NONE)
        like.fail_multi =
            like.sharing == SHARING_MPS ? policy->mps_fail_multi : policy->time_slicing_fail_multi;
    for (unsigned n = 0; n < replicas && r == 0; n++)
        r = add_slice(m, i, &like, share_equal(SHARE_WHOLE, replicas, n),
                      part_bytes(memory_mib, replicas, n));
    return r;
}

/* How many more slices of that size fit on the device, after the first n of shares. */
static unsigned room_for(struct share *shares, size_t n, const struct slice_size *size,
                         uint64_t memory_mib, bool overcommits)
{
    uint64_t mem_mib = size->mem_bytes / SHARE_MIB;
    unsigned room = 0;

    if (mem_mib == 0 && size->mem_bytes > 0)
        mem_mib = 1;
    if (size->share_permille == 0 ||
        (memory_mib > 0 && mem_mib == 0 && memory_mib * size->share_permille < SHARE_WHOLE))
        return 0; /* it would have no memory at all */
    while (room < size->count && n + room < SHARE_WHOLE) {
        shares[n + room] = (struct share){size->share_permille, mem_mib};
        if (!share_fits(shares, n + room + 1, memory_mib, overcommits))
            break;
        room++;
    }
    return room;
}

/* Divides one GPU by gpuslice.slices. counts[k] is how many of size k it has. Returns their
 * number. */
static size_t cut_sizes(const struct maker *m, size_t i, struct share shares[SHARE_WHOLE],
                        unsigned *counts)
{
    const struct plan_device *on = &m->plan->devices[i];
    const struct gpu *gpu = plan_gpu(m->plan, on);
    uint64_t memory_mib = share_memory_mib(&on->device);
    size_t n = 0;

    for (size_t k = 0; k < m->policy->n_slices; k++) {
        const struct slice_size *size = &m->policy->slices[k];

        counts[k] = room_for(shares, n, size, memory_mib, m->policy->overcommits);
        if (counts[k] < size->count)
            problem_add(m->problems, PROBLEM_ERROR, size->at, "gpuslice.slices",
                        "GPU %u (%s, %ju MiB) has room for %u of the %u slices %s; lower share, "
                        "memory or count",
                        gpu->index, gpu->model, (uintmax_t)memory_mib, counts[k], size->count,
                        size->name);
        counts[k] = smaller(counts[k], m->most[m->policy->n_sharing + k]);
        n += counts[k];
    }
    share_divide(shares, n, memory_mib);
    return n;
}

static struct plan_resource resource_of_size(const struct policy *policy,
                                             const struct slice_size *size)
{
    struct plan_resource like = {.at = size->at, .path = "gpuslice.slices"};

    /* A container may hold several slices: their shares and memories add up. */
    like.sharing = policy->isolation == ISOLATION_COOPERATIVE ? SHARING_MPS : SHARING_TIME_SLICING;
    memcpy(like.name, size->name, sizeof(like.name));
    memcpy(like.base, size->name, sizeof(like.base));
    return like;
}

static int offer_sizes(const struct maker *m, size_t i)
{
    cleanup_free struct share *shares = calloc(SHARE_WHOLE, sizeof(*shares));
    cleanup_free unsigned *counts = calloc(m->policy->n_slices, sizeof(*counts));
    const struct share *next = shares;
    int r = 0;

    if (!shares || !counts)
        return -ENOMEM;
    if (cut_sizes(m, i, shares, counts) == 0)
        leave_out(m, &m->plan->devices[i],
                  (struct verdict){PROBLEM_ERROR, "none of gpuslice.slices fits on it",
                                   m->policy->slices[0].at, "gpuslice.slices"});
    for (size_t k = 0; k < m->policy->n_slices; k++) {
        struct plan_resource like = resource_of_size(m->policy, &m->policy->slices[k]);

        for (unsigned c = 0; c < counts[k] && r == 0; c++, next++)
            r = add_slice(m, i, &like, next->permille, next->mem_mib * SHARE_MIB);
    }
    return r;
}

/* gpuslice.slices defines parts of a GPU, so it does not cut MIG devices. */
static int offer_device(const struct maker *m, size_t i)
{
    const struct plan_device *on = &m->plan->devices[i];

    if (*on->left_out)
        return 0;
    if (m->assigned[i])
        return offer_replicas(m, i, m->assigned[i]);
    if (m->policy->n_slices > 0 && on->device.kind == DEVICE_WHOLE)
        return offer_sizes(m, i);
    return offer_unshared(m, i);
}

/* ---- Finishing ---- */

static int compare_resources(const void *a, const void *b)
{
    return strcmp(((const struct plan_resource *)a)->name, ((const struct plan_resource *)b)->name);
}

static int compare_ids(const void *a, const void *b, void *slices_p)
{
    const struct slice *slices = slices_p;

    return strcmp(slices[*(const size_t *)a].id, slices[*(const size_t *)b].id);
}

static int index_ids(struct plan_resource *resource)
{
    resource->by_id = reallocarray(NULL, resource->n_slices, sizeof(*resource->by_id));
    if (!resource->by_id)
        return -ENOMEM;
    for (size_t i = 0; i < resource->n_slices; i++)
        resource->by_id[i] = i;
    qsort_r(resource->by_id, resource->n_slices, sizeof(*resource->by_id), compare_ids,
            resource->slices);
    return 0;
}

/* Slices per device if equal on all, else 0; the slices of a device are adjacent. */
static unsigned count_replicas(const struct plan_resource *resource)
{
    unsigned first = 0, run = 0;

    for (size_t i = 0; i < resource->n_slices; i++) {
        bool last = i + 1 == resource->n_slices ||
                    resource->slices[i + 1].device != resource->slices[i].device;

        run++;
        if (!last)
            continue;
        if (first == 0)
            first = run;
        if (run != first)
            return 0;
        run = 0;
    }
    return first;
}

static int finish(const struct maker *m)
{
    struct plan *plan = m->plan;
    int r = 0;

    if (plan->n_resources > 0)
        qsort(plan->resources, plan->n_resources, sizeof(*plan->resources), compare_resources);
    for (size_t i = 0; i < plan->n_resources && r == 0; i++) {
        plan->resources[i].replicas = count_replicas(&plan->resources[i]);
        r = index_ids(&plan->resources[i]);
    }
    return r;
}

static int assign(struct maker *m)
{
    m->assigned = calloc(m->plan->n_devices + 1, sizeof(*m->assigned));
    if (!m->assigned)
        return -ENOMEM;
    return assign_devices(m->policy, m->plan, m->problems, m->assigned);
}

int plan_make(const struct inventory *inventory, const struct policy *policy,
              struct problems *problems, struct plan **ret_plan)
{
    cleanup(plan_free_p) struct plan *plan = calloc(1, sizeof(*plan));
    struct maker m = {policy, problems, plan, NULL, NULL};
    int r = plan ? list(&m, inventory) : -ENOMEM;

    if (r == 0)
        plan->overcommits = policy->overcommits;
    if (r == 0)
        find_seconds(&m);
    if (r == 0)
        r = assign(&m);
    if (r == 0)
        drop_equal_seconds(&m);
    if (r == 0)
        r = leave_out_unserved(&m);
    if (r == 0)
        r = limit_lists(&m);
    for (size_t i = 0; r == 0 && i < plan->n_devices; i++)
        r = offer_device(&m, i);
    free(m.assigned);
    free(m.most);
    if (r == 0)
        r = finish(&m);
    if (r == 0)
        r = label_make(plan, inventory, policy, problems);
    if (r < 0)
        return r;
    unknown_report(inventory, problems);
    select_report_excluded(policy, plan, problems);
    lint_plan(plan, policy, problems);
    *ret_plan = TAKE_PTR(plan);
    return 0;
}
