// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>

#include "base/text.h"
#include "cli/emit.h"
#include "cli/findings.h"
#include "cli/source.h"
#include "cli/target.h"
#include "cli/view.h"
#include "gpu/mpsdaemon.h"
#include "slice/lint.h"
#include "slice/planner.h"

DEFINE_CLEANUP(struct config *, config_free)
DEFINE_CLEANUP(struct plan *, plan_free)

static void explain_missing_machine(void)
{
    complain(
        "a plan needs GPUs: give --node for this machine's, or --machine for simulated ones: an "
        "instance type (p3.8xlarge), a count of a model (4xA10G), or a machine file");
}

static void print_plan(const struct plan *plan, const struct config *config,
                       const struct target *target, const struct request *request)
{
    cleanup_text struct text yaml = TEXT_INIT;
    cleanup(json_decrefp) json_t *tree = NULL;

    if (!request->output || request_wants(request, "table")) {
        view_tables(plan, target, request->labels ? config : NULL, stdout);
        return;
    }
    tree = view_tree(plan, target, config);
    if (request_wants(request, "json")) {
        emit_json(stdout, tree);
        return;
    }
    emit_yaml(&yaml, tree);
    fputs(text_string(&yaml), stdout);
}

/*
 * The problems are those of `gpuslice check`, so that both name the same and end alike; the
 * configuration is what the agent would take, which is more.
 */
static int read_config(const struct source *source, struct problems *problems,
                       struct config **ret_config, struct error *err)
{
    cleanup_problems struct problems repeated = PROBLEMS_INIT;
    int r = source_parse(source, CONFIG_CHECK, problems, ret_config, err);

    return r == -EBADMSG ? source_parse(source, CONFIG_AGENT, &repeated, ret_config, err) : r;
}

static enum exit_status refuse(const struct source *source, struct problems *problems, int r,
                               const struct error *err)
{
    findings_print(problems, source, false, stderr);
    if (r == -EBADMSG)
        complain("%s has errors, so there is no plan; the agent would reject it too", source->name);
    else
        complain("%s", error_text(err));
    return r == -EBADMSG ? EXIT_ERRORS : EXIT_UNREADABLE;
}

static enum exit_status make_plan(const struct request *request, const struct source *source)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_target struct target target = TARGET_INIT;
    cleanup(config_free_p) struct config *config = NULL;
    cleanup(plan_free_p) struct plan *plan = NULL;
    struct error err = ERROR_INIT;
    int r = read_config(source, &problems, &config, &err);

    if (r < 0)
        return refuse(source, &problems, r, &err);
    if (target_observe(request, config, &target, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    target_name_machine(&target, config, &problems);
    lint_models(&config->policy, &target.inventory, &problems);
    if (request->node)
        policy_refresh_mps(&config->policy, config->mps_root, mpsdaemon_answers);
    if (plan_make(&target.inventory, &config->policy, &problems, &plan) < 0) {
        complain("out of memory for the plan");
        return EXIT_UNREADABLE;
    }
    findings_print(&problems, source, false, stderr);
    print_plan(plan, config, &target, request);
    return findings_status(&problems);
}

enum exit_status verb_plan(const struct request *request)
{
    cleanup_source struct source source = SOURCE_INIT;
    struct error err = ERROR_INIT;

    if (!target_given(request)) {
        explain_missing_machine();
        return EXIT_USAGE;
    }
    if (source_read(request, request->config, &source, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    return make_plan(request, &source);
}
