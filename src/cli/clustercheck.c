// SPDX-License-Identifier: Apache-2.0
#include "cli/clustercheck.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/clusterfacts.h"
#include "cli/clusterjudge.h"
#include "cli/clusterprint.h"
#include "cli/emit.h"
#include "cli/findings.h"
#include "cli/target.h"
#include "kube/kubeconfig.h"
#include "kube/login.h"
#include "kube/reader.h"

#define MANAGER "gpuslice-check"

/* As kubectl: the option, the variable, ~/.kube/config; without any we may be in a pod. *ret_path
 * is NULL then. */
static int find_kubeconfig(const struct request *request, char **ret_path, struct error *err)
{
    const char *variable = getenv("KUBECONFIG"), *home = getenv("HOME");
    struct stat there;
    char *path = NULL;

    if (request->kubeconfig)
        variable = request->kubeconfig;
    if (variable && *variable) {
        if (!request->kubeconfig && strchr(variable, ':'))
            return error_set(err, -EINVAL,
                             "KUBECONFIG names several files; give one, such as the output of "
                             "kubectl config view --raw --flatten, with --kubeconfig");
        path = strdup(variable);
    } else if (home && asprintf(&path, "%s/.kube/config", home) < 0) {
        path = NULL;
    }
    if (path && !(variable && *variable) && stat(path, &there) < 0) {
        free(path);
        path = NULL;
    }
    *ret_path = path;
    return 0;
}

static int open_cluster(const struct request *request, struct kube_access *access,
                        struct kube_reader **ret_reader, struct error *err)
{
    cleanup_free char *path = NULL;
    int r = find_kubeconfig(request, &path, err);

    if (r == 0)
        r = kube_access_load_user(path, access, err);
    if (r == -ENOENT && !path)
        return error_set(err, r,
                         "no kubeconfig was found; name one with --kubeconfig FILE or KUBECONFIG");
    if (r == 0)
        r = kube_login(access, err);
    return r < 0 ? r : kube_reader_new(access, MANAGER, ret_reader, err);
}

static void print(const struct request *request, const char *server, json_t *facts,
                  struct problems *problems)
{
    cleanup(json_decrefp) json_t *findings = NULL;

    if (!request_wants(request, "json")) {
        clusterprint(facts, stdout);
        fputc('\n', stdout);
        findings_print(problems, NULL, true, stdout);
        return;
    }
    findings = findings_tree(problems);
    json_object_set_new(findings, "file", json_string(server));
    json_object_set(findings, "cluster", facts);
    emit_json(stdout, findings);
}

enum exit_status clustercheck(const struct request *request)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    cleanup(kube_reader_free_p) struct kube_reader *reader = NULL;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup(json_decrefp) json_t *facts = NULL;
    struct error err = ERROR_INIT;
    sighandler_t before = signal(SIGPIPE, SIG_IGN); /* libcurl leaves this to its user */

    if (target_load_catalog(&catalog, &err) < 0 ||
        open_cluster(request, &access, &reader, &err) < 0 ||
        clusterfacts_read(reader, &catalog, &facts, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    signal(SIGPIPE, before);
    clusterjudge(facts, &problems);
    print(request, access.server, facts, &problems);
    return findings_status(&problems);
}
