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
#include "config/machinetype.h"
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
    tree = view_tree(plan, config);
    if (request_wants(request, "json")) {
        emit_json(stdout, tree);
        return;
    }
    emit_yaml(&yaml, tree);
    fputs(text_string(&yaml), stdout);
}

static enum exit_status read_config(const struct request *request, struct problems *problems,
                                    struct config **ret_config)
{
    cleanup_source struct source source = SOURCE_INIT;
    struct error err = ERROR_INIT;
    int r = source_read(request, &source, &err);

    if (r == 0)
        r = source_parse(&source, CONFIG_AGENT, problems, ret_config, &err);
    if (r == 0)
        return EXIT_CLEAN;
    findings_print(problems, false, stderr);
    if (r == -EBADMSG) {
        complain("%s has errors, so there is no plan; the agent would reject it too", source.name);
        return EXIT_ERRORS;
    }
    complain("%s", error_text(&err));
    return EXIT_UNREADABLE;
}

/* As the agent names it. */
static void name_machine(const struct config *config, struct inventory *inventory,
                         struct problems *problems)
{
    char machine[LABEL_VALUE_SIZE];

    if (machinetype_read(config, inventory->machine, machine) == MACHINETYPE_UNREADABLE)
        problem_add(problems, PROBLEM_WARNING, (struct position){0, 0}, "flags.gfd.machineTypeFile",
                    "%s cannot be read here; on a node that has it, the label "
                    "nvidia.com/gpu.machine is what it says",
                    config->gfd.machine_type_file);
    snprintf(inventory->machine, sizeof(inventory->machine), "%s", machine);
}

enum exit_status verb_plan(const struct request *request)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_target struct target target = TARGET_INIT;
    cleanup(config_free_p) struct config *config = NULL;
    cleanup(plan_free_p) struct plan *plan = NULL;
    struct error err = ERROR_INIT;
    enum exit_status status;

    if (!target_given(request)) {
        explain_missing_machine();
        return EXIT_USAGE;
    }
    status = read_config(request, &problems, &config);
    if (status != EXIT_CLEAN)
        return status;
    if (target_observe(request, config, &target, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    name_machine(config, &target.inventory, &problems);
    if (plan_make(&target.inventory, &config->policy, &problems, &plan) < 0) {
        complain("out of memory for the plan");
        return EXIT_UNREADABLE;
    }
    lint_models(&config->policy, &target.inventory, &problems);
    findings_print(&problems, false, stderr);
    print_plan(plan, config, &target, request);
    return EXIT_CLEAN;
}
