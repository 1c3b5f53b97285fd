// SPDX-License-Identifier: Apache-2.0
#include "cli/migpods.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/paths.h"
#include "cli/podlog.h"
#include "config/schema.h"
#include "grant/journal.h"

/* The kubelet records an answer at once; an older grant that it does not know has ended. */
enum { UNRECORDED_S = 60, WHO_SIZE = 512 };

/* --- reading --- */

static int replay(const char *data, size_t first, size_t end, struct ledger *ledger)
{
    const void *payload;
    size_t size;
    int r = 0;

    while (r == 0 && journal_next(data, end, &first, &payload, &size)) {
        struct grant_record record = GRANT_RECORD_INIT;

        r = grant_record_parse(payload, size, &record);
        if (r == 0)
            r = ledger_replay(ledger, &record, 0);
        grant_record_deinit(&record);
    }
    return r;
}

/* A log of another machine, as on a disk image, tells nothing of this one's pods: its grants are of
 * devices that are not here. */
static int read_grants(const char *folder, struct ledger *ledger, bool *ret_found,
                       struct error *err)
{
    cleanup_free char *data = NULL;
    struct journal_header header;
    size_t size, first, end;
    char path[PATH_MAX];
    int r;

    snprintf(path, sizeof(path), "%s/grants-v%d.log", folder, JOURNAL_VERSION);
    r = file_read(path, JOURNAL_SIZE_MAX, &data, &size, err);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (journal_scan(data, size, &header, &first, &end) != 0)
        return 0;
    r = replay(data, first, end, ledger);
    *ret_found = true;
    return r < 0 ? error_set_errno(err, r, "cannot read %s", path) : 0;
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
           access(path, F_OK) == 0;
}

int migpods_read(const struct places *places, struct migpods *ret_pods, struct error *err)
{
    struct migpods pods = MIGPODS_INIT;
    int r;

    pods.places = *places;
    pods.now_s = time(NULL);
    /* The log first: a grant that goes from there into the checkpoint is then in one of them. */
    r = read_grants(places->grant_dir, &pods.ledger, &pods.has_log, err);
    if (r == 0)
        r = kubeletcheckpoint_load(places->plugin_dir, &pods.checkpoint, err);
    pods.has_checkpoint = is_there(places->plugin_dir, KUBELETCHECKPOINT_NAME);
    if (r < 0) {
        migpods_deinit(&pods);
        return error_wrap(err, r, "it is unknown which pods have GPUs");
    }
    *ret_pods = pods;
    return 0;
}

int migpods_look(const char *machine, struct migpods *ret_pods, struct error *err)
{
    cleanup_migpods struct migpods pods = MIGPODS_INIT;
    struct places places;
    int r;

    if (machine)
        return error_set(err, -ENODATA, "%s is simulated, without a kubelet", machine);
    places_find(paths_state_dir(), &places);
    r = migpods_read(&places, &pods, err);
    if (r < 0)
        return r;
    if (!pods.has_checkpoint && !pods.has_log)
        return error_set(err, -ENOENT, "there is no checkpoint of a kubelet in %s",
                         places.plugin_dir);
    *ret_pods = pods;
    pods = (struct migpods)MIGPODS_INIT;
    return 0;
}

void migpods_deinit(struct migpods *pods)
{
    kubeletcheckpoint_deinit(&pods->checkpoint);
    ledger_deinit(&pods->ledger);
    *pods = (struct migpods)MIGPODS_INIT;
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

static bool has_ended(const struct places *places, const char *pod_uid)
{
    char folder[PATH_MAX];

    return !strchr(pod_uid, '/') &&
           snprintf(folder, sizeof(folder), "%s/../pods", places->plugin_dir) < PATH_MAX &&
           is_there(folder, ".") && !is_there(folder, pod_uid);
}

bool migpods_has_ended(const struct migpods *pods, const char *pod_uid)
{
    return has_ended(&pods->places, pod_uid);
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
    const struct places *places;
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
        if (!*who && has_ended(search->places, entry->pod_uid))
            return;
        if (!*who)
            name_pod(entry, who);
        report(search, &device, who);
        last = device;
    }
}

static bool is_settled(const struct migpods *pods, const struct grant *grant)
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

void migpods_find(const struct migpods *pods, const struct inventory *machine, size_t gpu,
                  migpods_found_fn *found, void *userdata)
{
    const struct search search = {&pods->places, machine, gpu, found, userdata};

    for (size_t i = 0; i < pods->checkpoint.n_entries; i++)
        search_entry(&search, &pods->checkpoint.entries[i]);
    for (size_t i = 0; i < pods->ledger.n_grants; i++)
        if (!is_settled(pods, &pods->ledger.grants[i]->grant))
            search_grant(&search, &pods->ledger.grants[i]->grant);
}
