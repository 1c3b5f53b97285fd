// SPDX-License-Identifier: Apache-2.0
#include "cli/migpods.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "arbiter/podlog.h"
#include "base/text.h"
#include "cli/paths.h"
#include "config/schema.h"

/* The kubelet records an answer at once; an older grant that it does not know has ended. */
enum { UNRECORDED_S = 60, WHO_SIZE = 512 };

int migpods_look(const char *machine, struct podrecords *ret_pods, struct error *err)
{
    cleanup_podrecords struct podrecords pods = PODRECORDS_INIT;
    struct places places;
    int r;

    if (machine)
        return error_set(err, -ENODATA, "%s is simulated, without a kubelet", machine);
    places_find(paths_state_dir(), &places);
    r = podrecords_read(&places, &pods, err);
    if (r < 0)
        return r;
    if (!pods.has_checkpoint && !pods.has_log)
        return error_set(err, -ENOENT, "there is no checkpoint of a kubelet in %s",
                         places.plugin_dir);
    *ret_pods = pods;
    pods = (struct podrecords)PODRECORDS_INIT;
    return 0;
}

/* --- devices --- */

/* An id is a UUID, or one with "::" and a number. */
static bool is_of(const char *id, const char *uuid)
{
    const size_t length = strlen(uuid);

    return length && strncasecmp(id, uuid, length) == 0 &&
           (!id[length] || strncmp(id + length, "::", 2) == 0);
}

/* False: none of this GPU. */
static bool find_device(const struct inventory *machine, size_t gpu, const char *id,
                        struct device *ret_device)
{
    *ret_device = inventory_whole(machine, gpu);
    if (is_of(id, machine->gpus[gpu].uuid))
        return true;
    for (size_t i = 0; i < machine->n_mig_devices; i++) {
        *ret_device = machine->mig_devices[i];
        if (ret_device->gpu == gpu && is_of(id, ret_device->uuid))
            return true;
    }
    return false;
}

static void name_pod(const struct kubeletcheckpoint_entry *entry, char who[WHO_SIZE])
{
    struct podcgroup cgroup = {.pod_uid = ""};
    struct error ignored = ERROR_INIT;
    struct podlog log;

    if (str_copy(cgroup.pod_uid, sizeof(cgroup.pod_uid), entry->pod_uid) == 0 &&
        podlog_find("", &cgroup, &log, &ignored) == 0)
        snprintf(who, WHO_SIZE, "pod %s/%s", log.namespace_, log.pod);
    else
        snprintf(who, WHO_SIZE, "container %s of pod %s", show(entry->container).text,
                 show(entry->pod_uid).text);
}

/* What is found on one GPU. */
struct search {
    const struct podrecords *pods;
    const struct inventory *machine;
    size_t gpu;
    migpods_found_fn *found;
    void *userdata;
};

static void report(const struct search *search, const struct device *device, const char *who)
{
    char name[DEVICE_NAME_SIZE];

    device_format_name(device, search->machine->gpus[search->gpu].index, name, sizeof(name));
    search->found(device->instance, who, name, search->userdata);
}

/* Slices of one device in one container are one use of it. */
static void search_entry(const struct search *search, const struct kubeletcheckpoint_entry *entry)
{
    struct device device, last = {.uuid = ""};
    char who[WHO_SIZE] = "";

    for (size_t i = 0; i < entry->n_ids; i++) {
        if (!find_device(search->machine, search->gpu, entry->ids[i], &device) ||
            str_equal(device.uuid, last.uuid))
            continue;
        if (!*who && podrecords_has_ended(search->pods, entry->pod_uid))
            return;
        if (!*who)
            name_pod(entry, who);
        report(search, &device, who);
        last = device;
    }
}

static bool is_settled(const struct podrecords *pods, const struct grant *grant)
{
    for (size_t i = 0; i < pods->checkpoint.n_entries; i++)
        if (str_equal(pods->checkpoint.entries[i].grant, grant->id))
            return true;
    return pods->has_checkpoint && (grant->granted_at_s < pods->now_s - UNRECORDED_S ||
                                    grant->granted_at_s > pods->now_s + UNRECORDED_S);
}

static void search_grant(const struct search *search, const struct grant *grant)
{
    struct device device;

    for (size_t i = 0; i < grant->n_devices; i++)
        if (find_device(search->machine, search->gpu, grant->devices[i].uuid, &device))
            report(search, &device, "a pod that begins or has just ended");
}

void migpods_find(const struct podrecords *pods, const struct inventory *machine, size_t gpu,
                  migpods_found_fn *found, void *userdata)
{
    const struct search search = {pods, machine, gpu, found, userdata};

    for (size_t i = 0; i < pods->checkpoint.n_entries; i++)
        search_entry(&search, &pods->checkpoint.entries[i]);
    for (size_t i = 0; i < pods->ledger.n_grants; i++)
        if (!is_settled(pods, &pods->ledger.grants[i]->grant))
            search_grant(&search, &pods->ledger.grants[i]->grant);
}
