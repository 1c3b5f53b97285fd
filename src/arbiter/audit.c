// SPDX-License-Identifier: Apache-2.0
#include "arbiter/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/share.h"

#define MIB (UINT64_C(1) << 20)

/* --- devices --- */

void audit_deinit(struct audit *audit)
{
    free(audit->devices);
    free(audit->uses);
    free(audit->processes);
    *audit = (struct audit)AUDIT_INIT;
}

int audit_begin(struct audit *audit, const struct inventory *machine)
{
    audit->devices = calloc(machine->n_gpus + machine->n_mig_devices + 1, sizeof(*audit->devices));
    if (!audit->devices)
        return -ENOMEM;
    for (size_t gpu = 0; gpu < machine->n_gpus; gpu++) {
        audit->devices[audit->n_devices++] = (struct audit_device){
            .device = inventory_whole(machine, gpu), .gpu_index = machine->gpus[gpu].index};
        for (size_t i = 0; i < machine->n_mig_devices; i++)
            if (machine->mig_devices[i].gpu == gpu)
                audit->devices[audit->n_devices++] = (struct audit_device){
                    .device = machine->mig_devices[i], .gpu_index = machine->gpus[gpu].index};
    }
    return 0;
}

static size_t uuid_length(const char *id)
{
    const char *end = strstr(id, "::");

    return end ? (size_t)(end - id) : strlen(id);
}

/* The device of an id, "<uuid>" or "<uuid>::<n>"; n_devices: of none. */
static size_t find_device(const struct audit *audit, const char *id)
{
    const size_t length = uuid_length(id);
    size_t i = 0;

    while (i < audit->n_devices &&
           (!length || strncasecmp(audit->devices[i].device.uuid, id, length) != 0 ||
            audit->devices[i].device.uuid[length]))
        i++;
    return i;
}

size_t audit_find_device(const struct audit *audit, size_t gpu, struct device_instance instance)
{
    size_t found = audit->n_devices;

    for (size_t i = 0; i < audit->n_devices; i++) {
        const struct device *device = &audit->devices[i].device;

        if (device->gpu != gpu)
            continue;
        if (device->kind == DEVICE_WHOLE)
            found = i;
        else if (device->instance.gpu == instance.gpu &&
                 device->instance.compute == instance.compute)
            return i;
    }
    return found;
}

const struct audit_device *audit_find_uuid(const struct audit *audit, const char *uuid)
{
    for (size_t i = 0; i < audit->n_devices; i++)
        if (strcasecmp(audit->devices[i].device.uuid, uuid) == 0)
            return &audit->devices[i];
    return NULL;
}

/* --- uses --- */

static struct audit_use *add_use(struct audit *audit, size_t device,
                                 const struct audit_owner *owner)
{
    struct audit_use *use =
        array_push(&audit->uses, &audit->n_uses, &audit->capacity, sizeof(*use));

    if (use) {
        use->device = device;
        use->owner = *owner;
    }
    return use;
}

static struct audit_use *find_use(const struct audit *audit, size_t device, const char *pod_uid,
                                  const char *container)
{
    for (size_t i = 0; i < audit->n_uses; i++) {
        struct audit_use *use = &audit->uses[i];

        if (use->device == device && *pod_uid && str_equal(use->owner.pod_uid, pod_uid) &&
            str_equal(use->owner.container, container))
            return use;
    }
    return NULL;
}

static int note_process(struct audit *audit, size_t device, const struct gpu_process *process,
                        const struct audit_owner *owner)
{
    struct audit_process *noted = array_push(&audit->processes, &audit->n_processes,
                                             &audit->processes_capacity, sizeof(*noted));

    if (!noted)
        return -ENOMEM;
    noted->device = device;
    noted->pid = process->pid;
    noted->mem_bytes = process->mem_bytes;
    if (owner->outcome == 0)
        memcpy(noted->pod_uid, owner->pod_uid, sizeof(noted->pod_uid));
    memcpy(noted->container, owner->container, sizeof(noted->container));
    return 0;
}

int audit_add_process(struct audit *audit, size_t gpu, const struct gpu_process *process,
                      const struct audit_owner *owner)
{
    const size_t device = audit_find_device(audit, gpu, process->instance);
    struct audit_use *use;

    if (device == audit->n_devices)
        return 0;
    use = find_use(audit, device, owner->pod_uid, owner->container);
    if (!use)
        use = add_use(audit, device, owner);
    if (!use || note_process(audit, device, process, owner) < 0)
        return -ENOMEM;
    if (!use->n_processes || process->pid < use->pid)
        use->pid = process->pid;
    use->owner = *owner; /* it has names that who holds slices does not tell */
    use->n_processes++;
    if (process->mem_bytes == GPU_MEMORY_UNKNOWN)
        use->is_used_partly = true;
    else
        use->used_bytes += process->mem_bytes;
    return 0;
}

void audit_note_unread(struct audit *audit, size_t gpu)
{
    for (size_t i = 0; i < audit->n_devices; i++)
        if (audit->devices[i].device.gpu == gpu)
            audit->devices[i].is_used_partly = audit->devices[i].is_unread = true;
}

void audit_note_free(struct audit *audit, size_t gpu, uint64_t free_bytes)
{
    for (size_t i = 0; i < audit->n_devices; i++)
        if (audit->devices[i].device.gpu == gpu && audit->devices[i].device.kind == DEVICE_WHOLE)
            audit->devices[i].free_bytes = free_bytes;
}

/* --- what containers hold --- */

/* The n of an id; SIZE_MAX: it stands for the whole device. */
static size_t parse_n(const char *id)
{
    const char *digits = strstr(id, "::");

    return digits ? strtoul(digits + 2, NULL, 10) : SIZE_MAX;
}

/* In how many slices a device is offered: as many as are registered, and as pods hold, since
 * Unhealthy ones are not registered. */
static size_t count_parts(const struct kubeletcheckpoint *checkpoint,
                          const struct kubeletcheckpoint_entry *entry, const char *id)
{
    const size_t length = uuid_length(id);
    size_t n_parts = 0;

    for (size_t i = 0; i < checkpoint->n_shared; i++)
        if (str_equal(checkpoint->shared[i].resource, entry->resource) &&
            strncmp(checkpoint->shared[i].uuid, id, length) == 0 &&
            !checkpoint->shared[i].uuid[length])
            n_parts = checkpoint->shared[i].n_ids;
    if (n_parts && parse_n(id) < UINT32_MAX && n_parts <= parse_n(id))
        n_parts = parse_n(id) + 1;
    return n_parts;
}

/* Of one id without a grant; 0: unknown. */
static uint64_t find_part(const struct audit *audit, size_t device,
                          const struct kubeletcheckpoint *checkpoint,
                          const struct kubeletcheckpoint_entry *entry, const char *id)
{
    const struct device *of = &audit->devices[device].device;
    const size_t n_parts = count_parts(checkpoint, entry, id);

    if (parse_n(id) == SIZE_MAX)
        return of->mem_total_bytes;
    if (!n_parts || n_parts > UINT32_MAX)
        return 0;
    return share_equal(share_memory_mib(of), (unsigned)n_parts, (unsigned)parse_n(id)) * MIB;
}

static uint64_t find_granted(const struct ledger *ledger,
                             const struct kubeletcheckpoint_entry *entry, const char *uuid)
{
    const struct ledger_grant *found = *entry->grant ? ledger_find(ledger, entry->grant) : NULL;

    for (size_t i = 0; found && i < found->grant.n_devices; i++)
        if (strcasecmp(found->grant.devices[i].uuid, uuid) == 0)
            return found->grant.devices[i].mem_bytes;
    return 0;
}

/* What is known when an entry's ids on one device are added up. */
struct holding {
    size_t n_ids;
    uint64_t limit_bytes;
    bool is_unknown; /* the part of one of them */
};

/* One with several NUMA nodes is in the kubelet's file once for each. */
static bool is_repeated(const struct kubeletcheckpoint_entry *entry, size_t place)
{
    for (size_t i = 0; i < place; i++)
        if (str_equal(entry->ids[i], entry->ids[place]))
            return true;
    return false;
}

static struct holding add_up(const struct audit *audit, size_t device,
                             const struct kubeletcheckpoint *checkpoint,
                             const struct ledger *ledger,
                             const struct kubeletcheckpoint_entry *entry)
{
    struct holding holding = {.n_ids = 0};
    uint64_t granted_bytes;

    for (size_t i = 0; i < entry->n_ids; i++) {
        uint64_t part;

        if (find_device(audit, entry->ids[i]) != device || is_repeated(entry, i))
            continue;
        part = find_part(audit, device, checkpoint, entry, entry->ids[i]);
        holding.n_ids++;
        holding.limit_bytes += part;
        holding.is_unknown |= part == 0;
    }
    granted_bytes = find_granted(ledger, entry, audit->devices[device].device.uuid);
    if (granted_bytes) {
        holding.limit_bytes = granted_bytes;
        holding.is_unknown = false;
    }
    return holding;
}

static int add_holding(struct audit *audit, size_t device,
                       const struct kubeletcheckpoint_entry *entry, const struct holding *holding)
{
    struct audit_owner owner = {.outcome = 0};
    struct audit_use *use;
    bool is_unknown;

    if (str_copy(owner.pod_uid, sizeof(owner.pod_uid), entry->pod_uid) < 0)
        return 0; /* no pod's uid: no process can be of it */
    snprintf(owner.container, sizeof(owner.container), "%s", entry->container);
    use = find_use(audit, device, owner.pod_uid, owner.container);
    if (!use)
        use = add_use(audit, device, &owner);
    if (!use)
        return -ENOMEM;
    is_unknown = holding->is_unknown || (use->n_slices && !use->limit_bytes);
    if (!*use->resource)
        snprintf(use->resource, sizeof(use->resource), "%s", entry->resource);
    use->n_slices += holding->n_ids;
    use->limit_bytes = is_unknown ? 0 : use->limit_bytes + holding->limit_bytes;
    return 0;
}

int audit_add_holders(struct audit *audit, const struct kubeletcheckpoint *checkpoint,
                      const struct ledger *ledger,
                      bool (*has_ended)(const char *pod_uid, void *userdata), void *userdata)
{
    for (size_t i = 0; i < checkpoint->n_entries; i++) {
        const struct kubeletcheckpoint_entry *entry = &checkpoint->entries[i];

        if (has_ended && has_ended(entry->pod_uid, userdata))
            continue;
        for (size_t device = 0; device < audit->n_devices; device++) {
            const struct holding holding = add_up(audit, device, checkpoint, ledger, entry);
            const int r = holding.n_ids ? add_holding(audit, device, entry, &holding) : 0;

            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* --- verdicts --- */

/* Whether the same pod has slices, of whatever device; container: that one of it, NULL = any. */
static bool has_slices(const struct audit *audit, const struct audit_use *use,
                       const char *container)
{
    for (size_t i = 0; i < audit->n_uses; i++) {
        const struct audit_use *other = &audit->uses[i];

        if (other->n_slices && str_equal(other->owner.pod_uid, use->owner.pod_uid) &&
            (!container || str_equal(other->owner.container, container)))
            return true;
    }
    return false;
}

/* A process whose container is not known uses what its pod has there. */
static void take_pod_slices(const struct audit *audit, struct audit_use *use)
{
    for (size_t i = 0; i < audit->n_uses; i++) {
        const struct audit_use *other = &audit->uses[i];

        if (other == use || other->device != use->device || !other->n_slices ||
            !str_equal(other->owner.pod_uid, use->owner.pod_uid))
            continue;
        if (!*use->resource)
            memcpy(use->resource, other->resource, sizeof(use->resource));
        use->limit_bytes = use->n_slices && !use->limit_bytes ? 0
                           : other->limit_bytes ? use->limit_bytes + other->limit_bytes
                                                : 0;
        use->n_slices += other->n_slices;
    }
}

static enum audit_verdict judge(const struct audit *audit, const struct audit_use *use)
{
    if (use->owner.outcome == PODCGROUP_NO_POD)
        return AUDIT_HOST;
    if (use->owner.outcome != 0 || !*use->owner.pod_uid)
        return AUDIT_UNKNOWN;
    if (!use->n_slices)
        return has_slices(audit, use, NULL) ? AUDIT_OTHER_DEVICE : AUDIT_ASKED_NOTHING;
    if (!use->limit_bytes)
        return AUDIT_NO_LIMIT;
    return use->used_bytes > use->limit_bytes ? AUDIT_OVER : AUDIT_WITHIN;
}

static int compare_uses(const void *a, const void *b)
{
    const struct audit_use *one = a, *other = b;
    int r;

    if (one->device != other->device)
        return one->device < other->device ? -1 : 1;
    if (one->used_bytes != other->used_bytes)
        return one->used_bytes > other->used_bytes ? -1 : 1;
    r = strcmp(one->owner.pod_uid, other->owner.pod_uid);
    if (r == 0)
        r = strcmp(one->owner.container, other->owner.container);
    return r ? r : one->pid < other->pid ? -1 : one->pid > other->pid;
}

/* Whether no earlier use is of the same pod; `over`: of those that are over a limit. */
static bool is_first_of_pod(const struct audit *audit, size_t place, bool over)
{
    const struct audit_use *use = &audit->uses[place];

    if (!*use->owner.pod_uid || (over && use->verdict != AUDIT_OVER))
        return false;
    for (size_t i = 0; i < place; i++)
        if (str_equal(audit->uses[i].owner.pod_uid, use->owner.pod_uid) &&
            (!over || audit->uses[i].verdict == AUDIT_OVER))
            return false;
    return true;
}

void audit_end(struct audit *audit)
{
    for (size_t i = 0; i < audit->n_uses; i++)
        if (*audit->uses[i].owner.pod_uid && !*audit->uses[i].owner.container)
            take_pod_slices(audit, &audit->uses[i]);
    for (size_t i = 0; i < audit->n_uses; i++) {
        struct audit_use *use = &audit->uses[i];
        struct audit_device *device = &audit->devices[use->device];

        use->verdict = judge(audit, use);
        device->used_bytes += use->used_bytes;
        device->is_used_partly |= use->is_used_partly;
    }
    if (audit->n_uses)
        qsort(audit->uses, audit->n_uses, sizeof(*audit->uses), compare_uses);
    for (size_t i = 0; i < audit->n_uses; i++) {
        audit->n_pods += is_first_of_pod(audit, i, false);
        audit->n_pods_over += is_first_of_pod(audit, i, true);
    }
}

bool audit_verdict_is_wrong(enum audit_verdict verdict)
{
    return verdict != AUDIT_WITHIN && verdict != AUDIT_HOST;
}

/* Slices without a limit that nobody uses are no finding. */
bool audit_is_wrong(const struct audit_use *use)
{
    return audit_verdict_is_wrong(use->verdict) && use->n_processes;
}

/* --- words --- */

const char *audit_verdict_name(enum audit_verdict verdict)
{
    static const char *const names[N_AUDIT_VERDICTS] = {
        [AUDIT_WITHIN] = "within",
        [AUDIT_NO_LIMIT] = "no-limit",
        [AUDIT_HOST] = "host",
        [AUDIT_UNKNOWN] = "unknown",
        [AUDIT_OTHER_DEVICE] = "other-device",
        [AUDIT_ASKED_NOTHING] = "asked-nothing",
        [AUDIT_OVER] = "over",
    };

    return names[verdict];
}

void audit_add_slices(const struct audit_use *use, struct text *text)
{
    if (use->n_slices)
        text_addf(text, "%zu of %s", use->n_slices, use->resource);
}

static void add_pod(const struct audit_use *use, struct text *text)
{
    if (*use->owner.pod)
        text_addf(text, "pod %s/%s", use->owner.namespace_, use->owner.pod);
    else
        text_addf(text, "the pod with the uid %s", use->owner.pod_uid);
    if (*use->owner.container)
        text_addf(text, " (container %s)", use->owner.container);
}

static void add_process(const struct audit_use *use, struct text *text)
{
    text_addf(text, "process %" PRIu32, use->pid);
    if (*use->owner.process)
        text_addf(text, " (%s)", use->owner.process);
}

static void add_used(const struct audit *audit, const struct audit_use *use, struct text *text)
{
    const struct audit_device *device = &audit->devices[use->device];
    char name[DEVICE_NAME_SIZE];

    device_format_name(&device->device, device->gpu_index, name, sizeof(name));
    if (use->used_bytes)
        text_addf(text, " uses %" PRIu64 " MiB of %s", use->used_bytes / MIB, name);
    else
        text_addf(text, " uses %s", name);
}

/* Of a container without a slice of the device, in a pod that has slices. */
static void add_what_it_has(const struct audit *audit, const struct audit_use *use,
                            struct text *text)
{
    const char *container = use->owner.container;

    text_add(text, !*container || has_slices(audit, use, container)
                       ? ", of which it holds no slice: it has slices of another device"
                       : " and requested no GPU, as another container of the pod did; have it "
                         "request a slice of its own");
}

void audit_add_finding(const struct audit *audit, const struct audit_use *use, struct text *text)
{
    if (!audit_is_wrong(use))
        return;
    switch (use->verdict) {
    case AUDIT_WITHIN:
    case AUDIT_HOST:
    case N_AUDIT_VERDICTS:
        return;
    case AUDIT_NO_LIMIT:
        add_pod(use, text);
        add_used(audit, use, text);
        text_addf(text, ", and nothing says how much its %zu of %s give", use->n_slices,
                  use->resource);
        return;
    case AUDIT_UNKNOWN:
        add_process(use, text);
        add_used(audit, use, text);
        text_add(text, ", and whose it is could not be found out");
        return;
    case AUDIT_OTHER_DEVICE:
        add_pod(use, text);
        add_used(audit, use, text);
        add_what_it_has(audit, use, text);
        return;
    case AUDIT_ASKED_NOTHING:
        add_pod(use, text);
        add_used(audit, use, text);
        text_add(text, " and requested no GPU: it sees every GPU because its image sets "
                       "NVIDIA_VISIBLE_DEVICES=all, or it is privileged; have it request a slice");
        return;
    case AUDIT_OVER:
        add_pod(use, text);
        add_used(audit, use, text);
        text_addf(text, ", %" PRIu64 " MiB more than its %zu of %s give%s",
                  (use->used_bytes - use->limit_bytes + MIB - 1) / MIB, use->n_slices,
                  use->resource, use->n_slices == 1 ? "s" : "");
        return;
    }
}
