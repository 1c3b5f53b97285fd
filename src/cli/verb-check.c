// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>

#include "cli/emit.h"
#include "cli/findings.h"
#include "cli/source.h"
#include "cli/target.h"
#include "slice/lint.h"
#include "slice/planner.h"

DEFINE_CLEANUP(struct config *, config_free)
DEFINE_CLEANUP(struct plan *, plan_free)

/*
 * A file that the strict parser rejects may still be one that the agent accepts; findings about the
 * machine belong in the same list, so that everything is reported at once. The second parse only
 * repeats the problems of the first with lower severity, so these are dropped.
 */
static int read_config(const struct source *source, struct problems *problems,
                       struct config **ret_config, struct error *err)
{
    cleanup_problems struct problems repeated = PROBLEMS_INIT;
    int r = source_parse(source, CONFIG_CHECK, problems, ret_config, err);

    if (r != -EBADMSG)
        return r;
    r = source_parse(source, CONFIG_AGENT, &repeated, ret_config, err);
    return r == -EBADMSG ? 0 : r;
}

static int check_on_machine(const struct request *request, const struct config *config,
                            struct problems *problems, struct error *err)
{
    const struct policy *policy = config ? &config->policy : NULL;
    cleanup_target struct target target = TARGET_INIT;
    cleanup(plan_free_p) struct plan *plan = NULL;
    int r;

    if (!target_given(request)) {
        if (policy)
            lint_policy(policy, problems);
        return 0;
    }
    r = target_observe(request, config, &target, err);
    if (r < 0 || !policy)
        return r;
    lint_models(policy, &target.inventory, problems);
    r = plan_make(&target.inventory, policy, problems, &plan);
    return r < 0 ? error_set_errno(err, r, "cannot compute the plan") : 0;
}

static enum exit_status print_findings(const struct request *request, struct problems *problems)
{
    if (request_wants(request, "json")) {
        cleanup(json_decrefp) json_t *tree = findings_tree(problems);

        emit_json(stdout, tree);
    } else {
        findings_print(problems, true, stdout);
    }
    if (problems_count(problems, PROBLEM_ERROR))
        return EXIT_ERRORS;
    return problems_count(problems, PROBLEM_WARNING) ? EXIT_WARNINGS : EXIT_CLEAN;
}

enum exit_status verb_check(const struct request *request)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_source struct source source = SOURCE_INIT;
    cleanup(config_free_p) struct config *config = NULL;
    struct error err = ERROR_INIT;
    int r;

    if (!request->config) {
        complain("nothing to check: name a file, as in 'gpuslice check any.yaml', or - for "
                 "standard input");
        return EXIT_USAGE;
    }
    r = source_read(request, &source, &err);
    if (r == 0)
        r = read_config(&source, &problems, &config, &err);
    if (r == 0)
        r = check_on_machine(request, config, &problems, &err);
    if (r < 0) {
        if (problems_next(&problems, NULL))
            print_findings(request, &problems);
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    return print_findings(request, &problems);
}
