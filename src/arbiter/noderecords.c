// SPDX-License-Identifier: Apache-2.0
#include "arbiter/noderecords.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "arbiter/procfs.h"

#define COMMANDS "commands" /* beside the socket for agent and command line */

int noderecords_command_folder(const struct arbiteroptions *options, char path[PATH_MAX])
{
    int n;

    if (options->local_grant)
        n = snprintf(path, PATH_MAX, "%s", options->local_grant);
    else if (options->arbiter_dir)
        n = snprintf(path, PATH_MAX, "%s/" COMMANDS, options->arbiter_dir);
    else
        n = snprintf(path, PATH_MAX, "%s/arbiter/" COMMANDS, options->state_dir);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int noderecords_read_commands(const struct arbiteroptions *options, struct localgrants *grants,
                              struct error *err)
{
    char folder[PATH_MAX];
    const int r = noderecords_command_folder(options, folder);

    return r < 0 ? error_set_errno(err, r, "cannot read the grants of commands")
                 : localgrants_read(folder, grants, err);
}

/* There is no kubelet. */
static void begin_alone(const struct arbiteroptions *options, struct podrecords *records)
{
    records->has_checkpoint = records->has_log = records->checkpoint.is_there = true;
    records->now_s = time(NULL);
    snprintf(records->places.plugin_dir, PATH_MAX, "%s", options->local_grant);
    snprintf(records->places.grant_dir, PATH_MAX, "%s", options->local_grant);
}

static int read_pods(const struct arbiteroptions *options, struct podrecords *records,
                     struct error *err)
{
    struct places places;
    const int r = places_find_below(options->root, options->state_dir, &places, err);

    return r < 0 ? r : podrecords_read(&places, records, err);
}

int noderecords_read(const struct arbiteroptions *options, struct podrecords *ret_records,
                     struct error *err)
{
    cleanup_podrecords struct podrecords records = PODRECORDS_INIT;
    cleanup_localgrants struct localgrants commands = LOCALGRANTS_INIT;
    int r = 0;

    if (options->local_grant)
        begin_alone(options, &records);
    else
        r = read_pods(options, &records, err);
    if (r == 0 && options->has_limits)
        r = noderecords_read_commands(options, &commands, err);
    if (r < 0)
        return r;
    r = localgrants_add(&commands, &records);
    if (r < 0)
        return error_set_errno(err, r, "cannot note the grants of commands");
    *ret_records = records;
    records = (struct podrecords)PODRECORDS_INIT;
    return 0;
}

int noderecords_grant_folder(const struct arbiteroptions *options, char path[PATH_MAX])
{
    struct places places;
    const int r = places_find_below(options->root, options->state_dir, &places, NULL);

    if (r < 0)
        return r;
    return snprintf(path, PATH_MAX, "%s/grants", places.grant_dir) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int read_command(const struct arbiteroptions *options, pid_t pid, struct podcgroup *ret_pod,
                        struct error *err)
{
    cleanup_localgrants struct localgrants commands = LOCALGRANTS_INIT;
    const struct localgrant *found;
    const int r = noderecords_read_commands(options, &commands, err);

    if (r < 0)
        return r;
    found = localgrants_find(&commands, pid);
    if (!found) {
        error_set(err, -ENOENT, "process %ld belongs to no command with a limit", (long)pid);
        return PODCGROUP_NO_POD;
    }
    *ret_pod = (struct podcgroup){.pod_uid = ""};
    localgrant_format_uid(found->id, ret_pod->pod_uid);
    return 0;
}

int noderecords_read_pod(const struct arbiteroptions *options, pid_t pid, struct podcgroup *ret_pod,
                         struct error *err)
{
    int r = PODCGROUP_NO_POD;

    if (!options->local_grant)
        r = procfs_read_pod(options->root, pid, ret_pod, err);
    /* One that is not in the /proc of another root may be in ours. */
    if (r == PODCGROUP_NO_POD || (r == -ENOENT && *options->root)) {
        const int outcome = read_command(options, pid, ret_pod, options->local_grant ? err : NULL);

        r = outcome == PODCGROUP_NO_POD ? r : outcome;
    }
    return r;
}
