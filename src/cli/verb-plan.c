// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>

#include "base/text.h"
#include "cli/emit.h"
#include "cli/findings.h"
#include "cli/migchoice.h"
#include "cli/migpreview.h"
#include "cli/migspace.h"
#include "cli/plancost.h"
#include "cli/planworkload.h"
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
                       const struct target *target, const struct migpreview *preview,
                       const struct request *request)
{
    cleanup_text struct text yaml = TEXT_INIT;
    cleanup(json_decrefp) json_t *tree = NULL;

    if (!request->output || request_wants(request, "table")) {
        view_tables(plan, target, request->labels ? config : NULL, preview, stdout);
        if (request->room)
            migspace_print(target, request->room, stdout);
        return;
    }
    tree = view_tree(plan, target, config, preview);
    if (request->room)
        json_object_set_new(tree, "room", migspace_tree(target, request->room));
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

static bool is_any_enabled(const struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (inventory->gpus[i].mig_enabled)
            return true;
    return false;
}

/* A layout is asked for, so that its devices are to be seen: a strategy that nobody chose does not
 * hide them. */
static void choose_strategy(const struct inventory *inventory, struct config *config,
                            struct problems *problems)
{
    if (config->policy.mig_strategy_at.line || config->policy.mig_strategy != MIG_STRATEGY_NONE ||
        !is_any_enabled(inventory))
        return;
    config->policy.mig_strategy = MIG_STRATEGY_MIXED;
    problem_add(problems, PROBLEM_NOTE, (struct position){0, 0}, "flags.migStrategy",
                "it is not set, and the default, none, would offer the GPUs whole; shown as with "
                "mixed");
}

/* A label of a file, or without one a built-in layout, whose name the machine judges. */
static int choose_layout(const struct request *request, struct migchoice *ret_choice)
{
    const struct request of_file = {.config = request->mig_file, .label = request->mig};

    if (request->mig_file)
        return migchoice_read(&of_file, ret_choice);
    *ret_choice = (struct migchoice){.name = request->mig};
    return 0;
}

static int preview_layout(const struct request *request, const struct migchoice *choice,
                          struct target *target, struct problems *problems,
                          struct migpreview *preview, struct error *err)
{
    cleanup_podrecords struct podrecords pods = PODRECORDS_INIT;
    struct error why = ERROR_INIT;
    const bool is_known = migpods_look(request->machine, &pods, &why) == 0;
    int r = migpreview_make(target, choice, is_known ? &pods : NULL, problems, preview, err);

    if (r == 0 && preview->may_wait && !is_known)
        problem_add(problems, PROBLEM_NOTE, (struct position){0, 0}, "--mig", MIGPODS_UNKNOWN "%s",
                    error_text(&why));
    return r;
}

static int assume_layout(const struct request *request, const struct migchoice *choice,
                         struct target *target, struct config *config, struct problems *problems,
                         struct migpreview *preview, struct error *err)
{
    const bool is_wanted = choice->name || request->room || config->policy.mig_layout;
    int r = is_wanted ? target_know_boards(&target->inventory, err) : 0;

    if (r == 0 && choice->name)
        r = preview_layout(request, choice, target, problems, preview, err);
    if (r == 0 && choice->name)
        choose_strategy(&target->inventory, config, problems);
    return r == 0 && request->room ? migspace_check(target, request->room, err) : r;
}

static enum exit_status make_plan(const struct request *request, const struct source *source)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_target struct target target = TARGET_INIT;
    cleanup_migchoice struct migchoice choice = MIGCHOICE_INIT;
    cleanup_migpreview struct migpreview preview = MIGPREVIEW_INIT;
    cleanup(config_free_p) struct config *config = NULL;
    cleanup(plan_free_p) struct plan *plan = NULL;
    struct error err = ERROR_INIT;
    int r = read_config(source, &problems, &config, &err);

    if (r < 0)
        return refuse(source, &problems, r, &err);
    if (choose_layout(request, &choice) < 0)
        return EXIT_UNREADABLE;
    if (target_observe(request, config, &target, &err) < 0 ||
        assume_layout(request, &choice, &target, config, &problems, &preview, &err) < 0) {
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
    lint_names(&config->policy, plan, &problems);
    findings_print(&problems, source, false, stderr);
    print_plan(plan, config, &target, &preview, request);
    return findings_status(&problems);
}

enum exit_status verb_plan(const struct request *request)
{
    cleanup_source struct source source = SOURCE_INIT;
    struct error err = ERROR_INIT;

    if (request->workload)
        return planworkload_print(request);
    if (request->names) {
        complain("--names goes with --workload");
        return EXIT_USAGE;
    }
    if (request->cost)
        return plancost_print(request);
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
