// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/migchoice.h"
#include "cli/miggroup.h"
#include "cli/migholders.h"
#include "cli/migpreview.h"
#include "cli/migprint.h"
#include "cli/target.h"
#include "config/migexport.h"
#include "config/miggenerate.h"

DEFINE_CLEANUP(struct migconfig *, migconfig_free)

/* This node, unless the command line names a simulated machine. 0, or -1 after telling why not. */
static int observe(const struct request *request, struct target *target)
{
    struct request on = *request;
    struct error err = ERROR_INIT;

    on.node = !on.machine;
    if (target_observe(&on, NULL, target, &err) == 0 &&
        target_know_boards(&target->inventory, &err) == 0)
        return 0;
    complain("%s", error_text(&err));
    return -1;
}

/* --- assert --- */

static void add_difference(const struct gpu *gpu, const struct mig_board *board,
                           const struct mig_want *want, struct text *text)
{
    struct mig_want has;

    migwant_of_layout(board, &gpu->layout, &has);
    has.mode_only = want->mode_only;
    text_add(text, "now: ");
    migwant_add_text(board, &has, text);
    text_add(text, "; wanted: ");
    migwant_add_text(board, want, text);
}

/* Why a GPU is not as the label wants it, if it is not. mig-parted demands an entry for each GPU,
 * but for its mode. */
static void compare_gpu(const struct request *request, const struct migchoice *choice,
                        const struct inventory *machine, const struct gpu *gpu, struct text *text)
{
    const struct mig_board *board = inventory_board(machine, gpu);
    struct mig_want want;
    struct error err = ERROR_INIT;
    int r = migchoice_want(choice, machine, gpu, &want, &err);

    if (r == MIGLABEL_NO_ENTRY && !request->mode_only)
        text_add(text, "no entry of the label is for it");
    else if (r == MIGLABEL_SKIPPED)
        text_add(text, MIGWANT_NO_MIG);
    else if (r < 0)
        text_add(text, error_text(&err));
    if (r != 0)
        return;
    want.mode_only = request->mode_only;
    if (board && !migwant_is_met(board, &want, &gpu->layout))
        add_difference(gpu, board, &want, text);
}

static void print_difference(const char *gpus, const char *text, void *userdata)
{
    complain("%s: %s", gpus, text);
}

static enum exit_status compare(const struct request *request, const struct migchoice *choice)
{
    cleanup_target struct target target = TARGET_INIT;
    cleanup_miggroup struct miggroup group = MIGGROUP_INIT;
    bool differs = false;

    if (observe(request, &target) < 0 || miggroup_init(&group, &target.inventory) < 0)
        return EXIT_MIG_FAILED;
    for (size_t i = 0; i < target.inventory.n_gpus; i++) {
        compare_gpu(request, choice, &target.inventory, &target.inventory.gpus[i], &group.texts[i]);
        differs |= group.texts[i].length > 0;
    }
    if (differs) {
        miggroup_print(&group, &target.inventory, print_difference, NULL);
        complain("Assertion failure: selected configuration not currently applied");
        return EXIT_MIG_FAILED;
    }
    puts(request->mode_only ? "Selected MIG mode settings from configuration currently applied"
                            : "Selected MIG configuration currently applied");
    return EXIT_CLEAN;
}

enum exit_status verb_mig_assert(const struct request *request)
{
    cleanup_migchoice struct migchoice choice = MIGCHOICE_INIT;

    if (migchoice_read(request, &choice) < 0)
        return EXIT_MIG_FAILED;
    if (!request->valid_config)
        return compare(request, &choice);
    puts("Selected MIG configuration is valid");
    return EXIT_CLEAN;
}

/* --- plan --- */

/* The machine, and what is known of who uses it. */
struct planning {
    const struct request *request;
    const struct migchoice *choice;
    struct target target;
    struct podrecords pods;
    bool knows_pods;
    struct error why_not; /* it does not */
    bool may_wait;        /* see migpreview_may_wait */
};

static void add_steps(const struct planning *planning, const struct gpu *gpu,
                      const struct migpreview_gpu *steps, const struct mig_board *board,
                      const struct mig_want *want, struct text *text)
{
    const struct inventory *machine = &planning->target.inventory;
    cleanup_migholders struct migholders holders = {.n = 0};
    cleanup_text struct text waits = TEXT_INIT;

    if (planning->knows_pods)
        migholders_add_pods(&holders, &planning->pods, machine, (size_t)(gpu - machine->gpus));
    migholders_add_wait(&holders, board, &gpu->layout, want, &waits);
    migwant_add_text(board, want, text);
    if (waits.length)
        text_addf(text, "; %s", text_string(&waits));
    if (!steps->n_steps)
        text_add(text, ", as it is");
    for (size_t i = 0; i < steps->n_steps; i++)
        text_addf(text, "\n  %s", steps->steps[i]);
}

static void planning_deinit(struct planning *planning)
{
    target_deinit(&planning->target);
    podrecords_deinit(&planning->pods);
}

/* False if the GPU cannot become what is wanted of it. */
static bool plan_steps(struct planning *planning, const struct gpu *gpu, struct text *text)
{
    const struct inventory *machine = &planning->target.inventory;
    const struct mig_board *board = inventory_board(machine, gpu);
    struct migpreview_gpu steps = {.n_steps = 0};
    struct mig_layout layout = gpu->layout;
    struct mig_want want;
    struct error err = ERROR_INIT;
    int r = migchoice_want(planning->choice, machine, gpu, &want, &err);

    want.mode_only = planning->request->mode_only;
    if (r == 0 && board)
        r = migpreview_walk(gpu, board, &want, &steps, &layout, &err);
    planning->may_wait |= r == 0 && migpreview_may_wait(gpu, &steps);
    if (r == MIGLABEL_NO_ENTRY)
        text_add(text, "stays as it is: no entry of the label is for it");
    else if (r == MIGLABEL_SKIPPED)
        text_add(text, "stays as it is: it " MIGWANT_NO_MIG);
    else if (r < 0)
        text_add(text, error_text(&err));
    else if (board)
        add_steps(planning, gpu, &steps, board, &want, text);
    else
        text_add(text, "stays as it is");
    migpreview_gpu_deinit(&steps);
    return r >= 0;
}

static void print_steps(const char *gpus, const char *text, void *userdata)
{
    printf("%s: %s\n", gpus, text);
}

enum exit_status verb_mig_plan(const struct request *request)
{
    cleanup_migchoice struct migchoice choice = MIGCHOICE_INIT;
    cleanup(planning_deinit) struct planning planning = {
        .request = request, .choice = &choice, .target = TARGET_INIT, .pods = PODRECORDS_INIT};
    const struct inventory *machine = &planning.target.inventory;
    cleanup_miggroup struct miggroup group = MIGGROUP_INIT;
    bool can = true;

    if (migchoice_read(request, &choice) < 0 || observe(request, &planning.target) < 0 ||
        miggroup_init(&group, machine) < 0)
        return EXIT_MIG_FAILED;
    planning.knows_pods = migpods_look(request->machine, &planning.pods, &planning.why_not) == 0;
    for (size_t i = 0; i < machine->n_gpus; i++)
        can &= plan_steps(&planning, &machine->gpus[i], &group.texts[i]);
    miggroup_print(&group, machine, print_steps, NULL);
    if (planning.may_wait && !planning.knows_pods)
        complain(MIGPODS_UNKNOWN "%s", error_text(&planning.why_not));
    return can ? EXIT_CLEAN : EXIT_MIG_FAILED;
}

/* --- export --- */

enum exit_status verb_mig_export(const struct request *request)
{
    cleanup(migconfig_free_p) struct migconfig *config = NULL;
    cleanup_target struct target target = TARGET_INIT;
    size_t n_skipped;

    if (observe(request, &target) < 0)
        return EXIT_MIG_FAILED;
    if (migexport_make(&target.inventory, request->label ? request->label : "current", &config,
                       &n_skipped) < 0) {
        complain("out of memory");
        return EXIT_MIG_FAILED;
    }
    for (size_t i = 0; n_skipped && i < target.inventory.n_gpus; i++)
        if (*target.inventory.gpus[i].unusable)
            complain("GPU %u is left out: it %s", target.inventory.gpus[i].index,
                     target.inventory.gpus[i].unusable);
    migprint(config, request_wants(request, "json"), stdout);
    return EXIT_CLEAN;
}

/* --- generate-config --- */

/* Into the file of --config-file, where it replaces another; else to standard output. */
static int write_config(const struct request *request, const struct migconfig *config)
{
    FILE *out = request->config ? fopen(request->config, "we") : stdout;
    bool failed;

    if (out)
        migprint(config, request_wants(request, "json"), out);
    failed = !out || ferror(out) || fflush(out) != 0;
    if (out && out != stdout)
        failed |= fclose(out) != 0;
    if (failed)
        complain("cannot write %s: %s", request->config ? request->config : "the output",
                 strerror(errno));
    return failed ? -EIO : 0;
}

enum exit_status verb_mig_generate(const struct request *request)
{
    cleanup(migconfig_free_p) struct migconfig *config = NULL;
    cleanup_target struct target target = TARGET_INIT;
    int r;

    if (observe(request, &target) < 0)
        return EXIT_MIG_FAILED;
    r = miggenerate_make(&target.inventory, &config);
    if (r == MIGGENERATE_NO_MIG)
        complain("no GPU of %s can be partitioned by MIG", target.title);
    else if (r < 0)
        complain("out of memory");
    return r == 0 && write_config(request, config) == 0 ? EXIT_CLEAN : EXIT_MIG_FAILED;
}

/* --- no verb --- */

enum exit_status verb_mig(const struct request *request)
{
    return verb_group("mig", request->operand);
}
