// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>
#include <stdlib.h>

#include "arbiter/podcgroup.h"
#include "arbiter/podlog.h"
#include "arbiter/procfs.h"
#include "base/text.h"
#include "cli/emit.h"
#include "cli/table.h"

/* The kernel's PID_MAX_LIMIT. */
enum { PID_LIMIT = 4 * 1024 * 1024 };

struct finding {
    long pid;
    struct podcgroup cgroup;
    struct podlog log;
    enum exit_status status;
    struct error why; /* set unless the status is clean */
};

static bool read_pid(const char *word, long *ret_pid)
{
    char *end;

    if (*word < '1' || *word > '9')
        return false;
    *ret_pid = strtol(word, &end, 10);
    return !*end && *ret_pid <= PID_LIMIT;
}

/* `why` explains whatever is not clean about this process. */
static void name_pod(const char *root, struct finding *finding)
{
    struct error *why = &finding->why;
    int r = podlog_find(root, &finding->cgroup, &finding->log, why);

    finding->status = r == 0 ? EXIT_CLEAN : EXIT_WARNINGS;
    if (r == 0)
        str_copy(finding->cgroup.pod_uid, sizeof(finding->cgroup.pod_uid), finding->log.pod_uid);
    else if (r < 0)
        error_wrap(why, r, "cannot determine the pod of process %ld by name", finding->pid);
    else if (*finding->cgroup.pod_uid)
        error_set(why, -ENOENT,
                  "the pod of process %ld has no directory in %s/var/log/pods, where its name "
                  "would be found; set --root to the root of the node's files",
                  finding->pid, root);
    else
        error_set(why, -ENOENT,
                  "process %ld is in a container of the same pod as gpuslice, whose name is hidden "
                  "by a cgroup namespace",
                  finding->pid);
}

static void inspect(const char *root, struct finding *finding)
{
    const int r = procfs_read_cgroup(root, finding->pid, &finding->cgroup, &finding->why);

    if (r == -EBADMSG)
        finding->status = EXIT_ERRORS;
    else if (r < 0)
        finding->status = EXIT_UNREADABLE;
    else if (r == PODCGROUP_NO_POD)
        finding->status = EXIT_WARNINGS;
    else
        name_pod(root, finding);
}

static const char *word(const char *text)
{
    return text && *text ? text : NULL;
}

static json_t *finding_tree(const struct finding *finding)
{
    const struct podcgroup *cgroup = &finding->cgroup;
    const struct podlog *log = &finding->log;

    return json_pack("{s:I, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?}", "pid",
                     (json_int_t)finding->pid, "namespace", word(log->namespace_), "pod",
                     word(log->pod), "container", word(log->container), "pod_uid",
                     word(cgroup->pod_uid), "container_id", word(cgroup->container_id), "runtime",
                     word(cgroup->runtime), "qos", podcgroup_qos_name(cgroup->qos), "problem",
                     finding->status ? error_text(&finding->why) : NULL);
}

/* crictl accepts the first 13 digits of an id, and shows as many. */
static void add_row(struct table *table, const struct finding *finding)
{
    const struct podcgroup *cgroup = &finding->cgroup;

    if (!*cgroup->pod_uid)
        return;
    table_add(table, "%ld", finding->pid);
    if (*finding->log.pod)
        table_add(table, "%s/%s", finding->log.namespace_, finding->log.pod);
    else
        table_add(table, "-");
    table_add(table, "%s", *finding->log.container ? finding->log.container : "-");
    table_add(table, "%s", cgroup->pod_uid);
    table_add(table, "%.13s", *cgroup->container_id ? cgroup->container_id : "-");
}

static bool check_words(const struct request *request)
{
    long pid;

    if (!request->n_operands)
        complain("name a process: gpuslice who PID, with a PID that nvidia-smi shows");
    for (size_t i = 0; i < request->n_operands; i++)
        if (!read_pid(request->operands[i], &pid)) {
            complain("'%s' is not a PID; use the number that nvidia-smi shows",
                     request->operands[i]);
            return false;
        }
    return request->n_operands > 0;
}

enum exit_status verb_who(const struct request *request)
{
    cleanup_table struct table table = {
        .headings = {"PID", "POD", "CONTAINER", "POD UID", "CONTAINER ID"}, .right = {true}};
    cleanup(json_decrefp) json_t *tree = json_pack("{s:[]}", "processes");
    const char *root = request->root ? request->root : "";
    enum exit_status status = EXIT_CLEAN;
    bool as_json = request_wants(request, "json");

    if (!check_words(request))
        return EXIT_USAGE;
    if (!procfs_is_node(root)) {
        complain("%s/proc shows the processes of a container, but nvidia-smi shows PIDs of the "
                 "node; run this on the node, or in a pod with hostPID",
                 root);
        status = EXIT_WARNINGS;
    }
    for (size_t i = 0; i < request->n_operands; i++) {
        struct finding finding = {.pid = 0};

        read_pid(request->operands[i], &finding.pid);
        inspect(root, &finding);
        if (finding.status > status)
            status = finding.status;
        if (finding.status && !as_json)
            complain("%s", error_text(&finding.why));
        add_row(&table, &finding);
        json_array_append_new(json_object_get(tree, "processes"), finding_tree(&finding));
    }
    if (as_json)
        emit_json(stdout, tree);
    else if (table.n_cells)
        table_print(&table, stdout);
    return status;
}
