// SPDX-License-Identifier: Apache-2.0
#include "cli/runreport.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "gpu/gpu.h"
#include "limits/mode.h"

#define MIB (UINT64_C(1) << 20)

/* Takes the tree over. One write: the command may write, too. */
static void print_line(json_t *tree)
{
    char *text = tree ? json_dumps(tree, JSON_COMPACT) : NULL;

    if (text)
        fprintf(stderr, "%s\n", text);
    json_decref(tree);
    free(text);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static const char *known(const char *word)
{
    return *word ? word : NULL;
}

/* --- the start --- */

static json_t *limits_tree(const struct localgrant *grant)
{
    json_t *limits = json_array();

    for (size_t i = 0; i < grant->n_limits; i++)
        json_array_append_new(limits, json_pack("{s:s, s:o}", "uuid", grant->limits[i].uuid,
                                                "limit_bytes", number(grant->limits[i].bytes)));
    return limits;
}

static json_t *start_tree(const struct runreport_start *start)
{
    const struct localgrant *grant = start->grant;

    return json_pack("{s:s, s:i, s:s, s:s?, s:s, s:s, s:s?, s:s?, s:s, s:o}", "event", "started",
                     "pid", (int)start->pid, "arbiter", start->is_of_node ? "node" : "own",
                     "no_node_arbiter", known(start->no_node), "mode",
                     limits_mode_name(start->mode), "identity", *grant->cgroup ? "cgroup" : "tree",
                     "cgroup", known(grant->cgroup), "no_cgroup", known(start->no_cgroup), "grant",
                     start->folder, "limits", limits_tree(grant));
}

void runreport_start(const struct runreport_start *start, bool is_json)
{
    if (is_json) {
        print_line(start_tree(start));
        return;
    }
    if (*start->no_cgroup)
        complain("the command has no cgroup of its own (%s), so its processes are known by their "
                 "parents, which is weaker; 'systemd-run --user --scope gpuslice run ...' gives it "
                 "one",
                 start->no_cgroup);
    if (*start->no_node)
        complain("%s; this command has an arbiter of its own, and is not counted with the pods of "
                 "this node",
                 start->no_node);
    if (start->mode != LIMITS_ENFORCED)
        complain("memory limits are not enforced on this node (the mode is %s): the command is "
                 "only counted",
                 limits_mode_name(start->mode));
}

/* --- the end --- */

struct use {
    char uuid[GPU_UUID_SIZE];
    uint64_t limit, peak, denied;
};

/* Takes the first line off *rest; false if there is none. */
static bool take_use(char **rest, struct use *use)
{
    for (char *line = strsep(rest, "\n"); line; line = strsep(rest, "\n"))
        if (sscanf(line, "%95s %" SCNu64 " %" SCNu64 " %" SCNu64, use->uuid, &use->limit,
                   &use->peak, &use->denied) == 4)
            return true;
    return false;
}

static void print_end(char *rest, int status, bool has_killed)
{
    json_t *uses = json_array();
    struct use use;

    while (take_use(&rest, &use))
        json_array_append_new(uses, json_pack("{s:s, s:o, s:o, s:o}", "uuid", use.uuid,
                                              "limit_bytes", number(use.limit), "peak_bytes",
                                              number(use.peak), "denials", number(use.denied)));
    print_line(json_pack("{s:s, s:i, s:b, s:o}", "event", "ended", "status", status,
                         "has_killed_rest", has_killed, "uses", uses));
}

void runreport_end(struct text *counts, int status, bool has_killed, bool is_json)
{
    char *rest = text_failed(counts) ? NULL : counts->data;
    struct use use;

    if (is_json) {
        print_end(rest, status, has_killed);
        return;
    }
    if (has_killed)
        complain("processes that the command left behind were killed: their limit ends with it");
    while (take_use(&rest, &use))
        if (use.peak || use.denied)
            complain("%s: peak %" PRIu64 " of %" PRIu64 " MiB, %" PRIu64 " allocation%s denied",
                     use.uuid, use.peak / MIB, use.limit / MIB, use.denied,
                     use.denied == 1 ? "" : "s");
}
