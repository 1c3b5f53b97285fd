// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>

#include "base/array.h"
#include "cli/capability.h"
#include "cli/clustercheck.h"
#include "cli/emit.h"
#include "cli/findings.h"
#include "cli/inputs.h"
#include "cli/source.h"
#include "cli/target.h"
#include "config/miglint.h"
#include "gpu/mpsdaemon.h"
#include "karpenter/configmaps.h"
#include "slice/lint.h"
#include "slice/planner.h"

DEFINE_CLEANUP(struct plan *, plan_free)

/* The whole run over several files. */
struct check {
    const struct request *request;
    struct target
        target; /* observed once; this node for each configuration, which has a driver root */
    struct error target_err;
    bool is_observed, has_target;
    bool is_list; /* several files, or a folder: their findings are a list */
    json_t *files;
    size_t counts[PROBLEM_ERROR + 1];
    size_t n_configs; /* configurations that were found in all files */
    enum exit_status status;
};

static void raise_status(struct check *check, enum exit_status status)
{
    if (status > check->status)
        check->status = status;
}

static bool observe(struct check *check, const struct config *config)
{
    if (!target_given(check->request) || (check->is_observed && !check->request->node))
        return check->has_target;
    target_deinit(&check->target);
    check->is_observed = true;
    check->has_target =
        target_observe(check->request, config, &check->target, &check->target_err) == 0;
    return check->has_target;
}

/* What does not fit the machine. Several configurations of one file need their names where a
 * finding has no place in it. */
static int plan_one(struct check *check, const struct config_item *item, bool is_one_of_many,
                    struct problems *problems, struct error *err)
{
    cleanup_problems struct problems found = PROBLEMS_INIT;
    cleanup(plan_free_p) struct plan *plan = NULL;
    const struct policy *policy = &item->config->policy;
    const struct problem *problem = NULL;
    int r;

    target_name_machine(&check->target, item->config, &found);
    if (check->request->node)
        policy_refresh_mps(&item->config->policy, item->config->mps_root, mpsdaemon_answers);
    r = policy->mig_layout ? target_know_boards(&check->target.inventory, err) : 0;
    if (r < 0)
        return r;
    lint_models(policy, &check->target.inventory, &found);
    r = plan_make(&check->target.inventory, policy, &found, &plan);
    if (r < 0)
        return error_set_errno(err, r, "cannot compute the plan");
    lint_names(policy, plan, &found);
    while ((problem = problems_next(&found, problem))) {
        bool needs_name = is_one_of_many && !problem->at.line && !*problem->path;

        problem_add(problems, problem->severity, problem->at,
                    needs_name ? item->name : problem->path, "%s", problem->text);
    }
    return 0;
}

/* A file of mig-parted. */
static void check_layouts(struct check *check, const struct migconfig *config,
                          struct problems *problems)
{
    if (!observe(check, NULL))
        return;
    check->has_target = target_know_boards(&check->target.inventory, &check->target_err) == 0;
    if (check->has_target)
        miglint_machine(config, &check->target.inventory, problems);
}

/*
 * A file with errors has something left to look at: what the agent's parser, which is less strict,
 * takes of it. It repeats the problems of the first with lower severity, so these are dropped.
 */
static int look_at_configs(struct check *check, const struct source *source,
                           const struct config_request *request, struct problems *problems,
                           struct config_list *list, struct error *err)
{
    cleanup_problems struct problems repeated = PROBLEMS_INIT;
    cleanup_config_list struct config_list lenient = CONFIG_LIST_INIT;
    struct config_request agent = *request;
    int r = 0;

    agent.strictness = CONFIG_AGENT;
    if (problems_count(problems, PROBLEM_ERROR)) {
        r = config_parse_every(source->data, source->size, &agent, &repeated, &lenient, err);
        list = &lenient;
    }
    for (size_t i = 0; i < list->n_items && r == 0; i++) {
        if (list->items[i].mig) {
            check_layouts(check, list->items[i].mig, problems);
            continue;
        }
        if (observe(check, list->items[i].config))
            r = plan_one(check, &list->items[i], list->n_items > 1, problems, err);
        else if (!target_given(check->request) && !problems_count(&repeated, PROBLEM_ERROR))
            lint_policy(&list->items[i].config->policy, problems);
    }
    return r;
}

static int find_problems(struct check *check, const struct source *source, bool is_found,
                         struct problems *problems, struct error *err)
{
    cleanup_config_list struct config_list list = CONFIG_LIST_INIT;
    const struct config_request request = {.source = source->name,
                                           .key = source->key,
                                           .strictness = CONFIG_CHECK,
                                           .may_have_none = is_found};
    int r = config_parse_every(source->data, source->size, &request, problems, &list, err);

    if (r < 0)
        return r;
    check->n_configs += list.n_items;
    r = configmaps_check(source->data, source->size, source->key, problems);
    if (r < 0)
        return error_set_errno(err, r, "cannot check %s", source->name);
    return look_at_configs(check, source, &request, problems, &list, err);
}

static void report(struct check *check, struct problems *problems, const struct source *source)
{
    for (size_t i = 0; i < ARRAY_SIZE(check->counts); i++)
        check->counts[i] += problems_count(problems, (enum problem_severity)i);
    raise_status(check, findings_status(problems));
    if (!request_wants(check->request, "json"))
        findings_print(problems, source, true, stdout);
    else
        json_array_append_new(check->files, findings_tree(problems));
}

static void check_input(struct check *check, const struct input *input)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_source struct source source = SOURCE_INIT;
    struct error err = ERROR_INIT;
    int r = input->fault ? error_set(&err, -ENOENT, "%s", input->fault)
                         : source_read(check->request, input->path, &source, &err);

    if (r == 0)
        r = find_problems(check, &source, input->is_found, &problems, &err);
    if (r == 0) {
        report(check, &problems, &source);
        return;
    }
    raise_status(check, EXIT_UNREADABLE);
    complain("%s", error_text(&err));
    if (!check->is_list)
        return;
    problems_set_source(&problems, input->path);
    problem_add(&problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", error_text(&err));
    if (request_wants(check->request, "json"))
        report(check, &problems, NULL);
    else
        check->counts[PROBLEM_ERROR]++;
}

static void finish(struct check *check, size_t n_files)
{
    if (!request_wants(check->request, "json")) {
        if (!check->is_list)
            return;
        printf("%zu file%s: ", n_files, n_files == 1 ? "" : "s");
        findings_summarise(check->counts, stdout);
    } else if (check->is_list) {
        cleanup(json_decrefp) json_t *tree =
            json_pack("{s:I, s:I, s:I, s:O}", "errors", (json_int_t)check->counts[PROBLEM_ERROR],
                      "warnings", (json_int_t)check->counts[PROBLEM_WARNING], "notes",
                      (json_int_t)check->counts[PROBLEM_NOTE], "files", check->files);

        emit_json(stdout, tree);
    } else if (json_array_size(check->files)) {
        emit_json(stdout, json_array_get(check->files, 0));
    }
}

/* The files of the command line, --config first. */
static int collect(const struct request *request, struct inputs *inputs, bool *ret_is_list,
                   struct error *err)
{
    size_t n_words = request->n_operands + (request->config ? 1 : 0);
    int r = request->config ? inputs_add(inputs, request->config, err) : 0;

    for (size_t i = 0; i < request->n_operands && r == 0; i++)
        r = inputs_add(inputs, request->operands[i], err);
    *ret_is_list = n_words > 1 || (inputs->n_items && inputs->items[0].is_found);
    return r;
}

static enum exit_status check_all(struct check *check, const struct inputs *inputs)
{
    for (size_t i = 0; i < inputs->n_items; i++)
        check_input(check, &inputs->items[i]);
    finish(check, inputs->n_items);
    if (!check->is_observed)
        observe(check, NULL); /* also beside files without a configuration it has to be one */
    if (target_given(check->request) && !check->has_target) {
        complain("%s", error_text(&check->target_err));
        raise_status(check, EXIT_UNREADABLE);
    }
    if (check->is_list && !check->n_configs && check->status < EXIT_ERRORS) {
        complain("no configuration was found in these files");
        raise_status(check, EXIT_ERRORS);
    }
    return check->status;
}

/* A machine without a configuration: what its GPUs can do. */
static enum exit_status check_machine(struct check *check)
{
    if (!observe(check, NULL)) {
        complain("%s", error_text(&check->target_err));
        return EXIT_UNREADABLE;
    }
    if (request_wants(check->request, "json"))
        capability_emit(&check->target, stdout);
    else
        capability_print(&check->target, stdout);
    return EXIT_CLEAN;
}

static enum exit_status check_cluster(const struct request *request)
{
    if (request->cluster && !request->config && !request->n_operands && !target_given(request))
        return clustercheck(request);
    complain(request->cluster ? "--cluster looks at a cluster alone: give no file and no machine"
                              : "--kubeconfig says how to reach a cluster: give --cluster as well");
    return EXIT_USAGE;
}

enum exit_status verb_check(const struct request *request)
{
    struct check check = {
        .request = request, .target = TARGET_INIT, .target_err = ERROR_INIT, .files = json_array()};
    cleanup_inputs struct inputs inputs = INPUTS_INIT;
    struct error err = ERROR_INIT;
    enum exit_status status = EXIT_UNREADABLE;

    if (request->cluster || request->kubeconfig) {
        status = check_cluster(request);
    } else if (!request->config && !request->n_operands && target_given(request)) {
        status = check_machine(&check);
    } else if (!request->config && !request->n_operands) {
        complain("nothing to check: name a file, as in 'gpuslice check any.yaml', or - for "
                 "standard input");
        status = EXIT_USAGE;
    } else if (collect(request, &inputs, &check.is_list, &err) < 0) {
        complain("%s", error_text(&err));
    } else {
        status = check_all(&check, &inputs);
    }
    target_deinit(&check.target);
    json_decref(check.files);
    return status;
}
