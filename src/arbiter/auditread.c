// SPDX-License-Identifier: Apache-2.0
#include "arbiter/auditread.h"

#include <stdio.h>

#include "arbiter/podlog.h"
#include "arbiter/procfs.h"
#include "base/text.h"
#include "gpu/holders.h"

static void name_pod(const char *root, struct audit_owner *owner, const struct podcgroup *cgroup)
{
    struct podlog log;

    if (podlog_find(root, cgroup, &log, NULL) != 0)
        return;
    snprintf(owner->namespace_, sizeof(owner->namespace_), "%s", log.namespace_);
    snprintf(owner->pod, sizeof(owner->pod), "%s", log.pod);
    snprintf(owner->container, sizeof(owner->container), "%s", log.container);
    snprintf(owner->pod_uid, sizeof(owner->pod_uid), "%s", log.pod_uid);
}

static void find_command(const struct localgrants *commands, uint32_t pid,
                         struct audit_owner *owner)
{
    const struct localgrant *grant = localgrants_find(commands, (pid_t)pid);

    if (!grant)
        return;
    owner->outcome = 0;
    localgrant_format_uid(grant->id, owner->pod_uid);
    snprintf(owner->namespace_, sizeof(owner->namespace_), LOCALGRANT_NAMESPACE);
    snprintf(owner->pod, sizeof(owner->pod), "%d", (int)grant->owner);
    snprintf(owner->container, sizeof(owner->container), LOCALGRANT_CONTAINER);
}

static void find_owner(const char *root, const struct localgrants *commands, uint32_t pid,
                       struct audit_owner *owner)
{
    struct podcgroup cgroup = {.pod_uid = ""};

    *owner = (struct audit_owner){.outcome = PODCGROUP_NO_POD};
    if (root)
        owner->outcome = procfs_read_pod(root, pid, &cgroup, NULL);
    holders_name(pid, owner->process, sizeof(owner->process));
    if (owner->outcome == PODCGROUP_NO_POD || owner->outcome < 0) {
        find_command(commands, pid, owner);
        return;
    }
    snprintf(owner->pod_uid, sizeof(owner->pod_uid), "%s", cgroup.pod_uid);
    name_pod(root, owner, &cgroup);
    if (*owner->pod_uid)
        owner->outcome = 0; /* also of a hidden one, when its log names it */
}

static int add_processes(struct audit *audit, const char *root, const struct localgrants *commands,
                         const struct usage *usage)
{
    int r = 0;

    for (size_t gpu = 0; gpu < usage->n; gpu++) {
        const struct gpu_processes *list = &usage->of_gpus[gpu].list;

        for (size_t i = 0; i < list->n_items && r == 0; i++) {
            struct audit_owner owner;

            find_owner(root, commands, list->items[i].pid, &owner);
            r = audit_add_process(audit, gpu, &list->items[i], &owner);
        }
        audit_note_free(audit, gpu, list->mem_free_bytes);
        if (*usage->of_gpus[gpu].unread)
            audit_note_unread(audit, gpu);
    }
    return r;
}

struct holders {
    const struct podrecords *records;
    const struct audit *audit; /* with all processes */
};

/* A pod that still has processes has not, whatever the kubelet's folders tell: those of a kubelet
 * with another --root-dir lie elsewhere. */
static bool has_ended(const char *pod_uid, void *userdata)
{
    const struct holders *holders = userdata;

    for (size_t i = 0; i < holders->audit->n_uses; i++)
        if (holders->audit->uses[i].n_processes &&
            str_equal(holders->audit->uses[i].owner.pod_uid, pod_uid))
            return false;
    return podrecords_has_ended(holders->records, pod_uid);
}

/* Who holds slices and uses nothing is known by the pod's uid alone so far. */
static void name_holders(struct audit *audit, const char *root)
{
    for (size_t i = 0; i < audit->n_uses; i++) {
        struct audit_owner *owner = &audit->uses[i].owner;
        struct podcgroup cgroup = {.pod_uid = ""};
        struct podlog log;

        if (*owner->pod || !*owner->pod_uid ||
            str_copy(cgroup.pod_uid, sizeof(cgroup.pod_uid), owner->pod_uid) < 0 ||
            podlog_find(root, &cgroup, &log, NULL) != 0)
            continue;
        snprintf(owner->namespace_, sizeof(owner->namespace_), "%s", log.namespace_);
        snprintf(owner->pod, sizeof(owner->pod), "%s", log.pod);
    }
}

int auditread(const char *root, const struct localgrants *commands, const struct inventory *machine,
              const struct usage *usage, const struct podrecords *records, struct audit *audit)
{
    struct holders holders = {records, audit};
    int r = audit_begin(audit, machine);

    if (r == 0)
        r = add_processes(audit, root, commands, usage);
    if (r == 0)
        r = audit_add_holders(audit, &records->checkpoint, &records->ledger, has_ended, &holders);
    if (r < 0)
        return r;
    if (root)
        name_holders(audit, root);
    audit_end(audit);
    return 0;
}
