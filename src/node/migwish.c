// SPDX-License-Identifier: Apache-2.0
#include "node/migwish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/load.h"
#include "config/miglabel.h"
#include "node/partitioner.h"
#include "slice/migability.h"
#include "slice/migstep.h"
#include "slice/select.h"

enum { REMEMBERED_MAX = 4096, FILE_MAX = 1 << 20 };

/* --- what the Node asks for, across restarts --- */

static void memory_path(const struct migwish *wish, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/mig-config", wish->facts->flags->state_dir);
}

/* Two lines: the label's value, the annotation's. */
static void recall(struct migwish *wish)
{
    cleanup_free char *data = NULL;
    char path[PATH_MAX], *rest, *line;
    size_t size;

    memory_path(wish, path);
    if (file_read(path, REMEMBERED_MAX, &data, &size, NULL) < 0)
        return;
    rest = data;
    line = strsep(&rest, "\n");
    snprintf(wish->label, sizeof(wish->label), "%s", line ? line : "");
    line = strsep(&rest, "\n");
    snprintf(wish->annotation, sizeof(wish->annotation), "%s", line ? line : "");
    wish->is_known = true;
}

static void remember(const struct migwish *wish)
{
    char path[PATH_MAX], text[2 * MIGWISH_NAME_SIZE + 4];
    struct error err = ERROR_INIT;
    int r = file_make_directory(wish->facts->flags->state_dir, &err);

    memory_path(wish, path);
    snprintf(text, sizeof(text), "%s\n%s\n", wish->label, wish->annotation);
    if (r == 0)
        r = file_write_atomic(path, text, strlen(text), 0600, &err);
    if (r < 0)
        log_warning(error_text(&err), "hint",
                    "after a restart the agent will wait for the labels of its node");
}

bool migwish_node(struct migwish *wish, const char *label, const char *annotation)
{
    const bool was_known = wish->is_known && wish->is_told;

    wish->is_told = true;
    label = label ? label : "";
    annotation = annotation ? annotation : "";
    if (was_known && str_equal(label, wish->label) && str_equal(annotation, wish->annotation))
        return false;
    snprintf(wish->label, sizeof(wish->label), "%s", label);
    snprintf(wish->annotation, sizeof(wish->annotation), "%s", annotation);
    wish->is_known = true;
    remember(wish);
    return true;
}

bool migwish_give_up(struct migwish *wish)
{
    if (wish->is_told)
        return false;
    log_warning(wish->is_known
                    ? "the cluster has not reported this node's labels; the last known ones count"
                    : "the cluster has not reported this node's labels; no MIG layout is wanted",
                "label", MIGWISH_LABEL);
    wish->is_known = true;
    wish->is_given_up = true;
    return true;
}

/* --- names --- */

static const struct config *current_config(const struct migwish *wish)
{
    const struct offer *offer = wish->facts->offer;

    return offer ? offer->config : wish->facts->next_config;
}

static const char *configured(const struct migwish *wish)
{
    const struct config *config = current_config(wish);

    return config && config->policy.mig_layout ? config->policy.mig_layout : "";
}

/* "" = none is. */
static const char *chosen_name(const struct migwish *wish)
{
    if (*wish->label)
        return wish->label;
    return *wish->annotation ? wish->annotation : configured(wish);
}

bool migwish_is_chosen(const struct migwish *wish)
{
    return *chosen_name(wish);
}

bool migwish_may_change(const struct migwish *wish)
{
    return (wish->is_told || wish->is_given_up) &&
           (wish->facts->offer || *wish->label || *wish->annotation);
}

const char *migwish_text(struct migwish *wish)
{
    const bool is_order = wish->order && !migwish_is_chosen(wish);
    const char *source = *wish->label        ? "label " MIGWISH_LABEL
                         : *wish->annotation ? "annotation " MIGWISH_ANNOTATION
                         : is_order          ? "gpuslice mig apply"
                                             : "gpuslice.mig.layout";

    snprintf(wish->text, sizeof(wish->text), "%s (%s)",
             is_order ? wish->order->name : chosen_name(wish), source);
    return wish->text;
}

/* --- the file --- */

static int read_file(struct migwish *wish, const char *path, struct problems *problems,
                     struct error *err)
{
    const struct config_request request = {.source = path, .strictness = CONFIG_AGENT};
    cleanup_free char *data = NULL;
    size_t size;
    int r = file_read(path, FILE_MAX, &data, &size, err);

    problems_set_source(problems, path);
    return r < 0 ? r : config_parse_mig(data, size, &request, problems, &wish->file, err);
}

void migwish_read_file(struct migwish *wish)
{
    const char *path = wish->facts->flags->mig_config_file;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;

    if (!path)
        return;
    migconfig_free(TAKE_PTR(wish->file));
    wish->file_problem[0] = '\0';
    if (read_file(wish, path, &problems, &err) < 0) {
        problems_describe(&problems, wish->file_problem, sizeof(wish->file_problem));
        if (!*wish->file_problem)
            snprintf(wish->file_problem, sizeof(wish->file_problem), "%s", error_text(&err));
    }
    problems_log(&problems);
}

/* --- what it means for a GPU --- */

static bool is_capable(const struct mig_board *board)
{
    return board && board->n_slots;
}

/* Drivers before 535 report the profiles of a GPU only while MIG is on. */
static bool is_unread(const struct gpu *gpu, const struct mig_board *board)
{
    return gpu->mig_capable && !gpu->layout.enabled && !is_capable(board);
}

static bool any_capable(const struct inventory *machine)
{
    for (size_t i = 0; i < machine->n_gpus; i++)
        if (is_capable(inventory_board(machine, &machine->gpus[i])) ||
            is_unread(&machine->gpus[i], inventory_board(machine, &machine->gpus[i])))
            return true;
    return false;
}

/* The wanted instances follow when their profiles can be read. */
static void want_mode(struct mig_want *ret_want)
{
    *ret_want = (struct mig_want){.enabled = true, .mode_only = true};
}

/* The end of a sentence about the GPU becomes a whole one. A model without MIG is named: guides in
 * circulation name it, too. */
static int complete(const struct gpu *gpu, struct error *err, int r)
{
    const struct error none = ERROR_INIT, end = err ? *err : none;

    if (migability_of(gpu) == MIGABILITY_CANNOT)
        return error_set(err, r, "MIG cannot partition %s%s; sharing.timeSlicing shares it",
                         gpu->model, migability_claim(gpu->model));
    return error_set(err, r, "it %s", error_text(&end));
}

static int want_of_file(const struct gpu *gpu, const struct mig_board *board,
                        const struct migconfig_label *label, struct mig_want *ret_want,
                        struct error *err)
{
    struct mig_want want;
    int r = miglabel_want(label, gpu, board, &want, err);

    if (is_unread(gpu, board) && (r == MIGLABEL_SKIPPED || r == -ENOENT)) {
        want_mode(ret_want);
        return 0;
    }
    /* As in mig-parted, which partitions those that can be. */
    if (r == MIGLABEL_NO_ENTRY || r == MIGLABEL_SKIPPED || (r == 0 && !is_capable(board)))
        return PARTITIONER_PASSED;
    if (r == 0)
        *ret_want = want;
    return r < 0 ? complete(gpu, err, r) : r;
}

/* A built-in layout is for the GPUs that can be partitioned, if there are any. */
static bool is_passed_over(const struct migwish *wish, const struct gpu *gpu,
                           const struct mig_board *board)
{
    return !is_capable(board) && !is_unread(gpu, board) && any_capable(&wish->facts->machine);
}

/* As migwant_builtin. */
static int want_builtin(const struct gpu *gpu, const struct mig_board *board, const char *name,
                        struct mig_want *ret_want, struct error *err)
{
    int r = migwant_builtin(board, name, ret_want, err);

    if (r == -ENOENT && is_unread(gpu, board)) {
        want_mode(ret_want);
        return 0;
    }
    return r < 0 ? complete(gpu, err, r) : r;
}

static int no_such_name(const struct migwish *wish, const char *name, const struct error *in_file,
                        struct error *err)
{
    if (*wish->file_problem)
        return error_set(
            err, -ENOENT,
            "%.128s is no built-in layout, and the file of layouts is unusable: %.300s", name,
            wish->file_problem);
    if (wish->file)
        return error_set(err, -ENOENT, "%s", error_text(in_file));
    return error_set(
        err, -ENOENT,
        "%.128s is no built-in layout (all-disabled, all-enabled, all-balanced, "
        "all-PROFILE, 2 x PROFILE), and no file of layouts is given (--mig-config-file)",
        name);
}

static int want_chosen(const struct migwish *wish, const struct gpu *gpu,
                       const struct mig_board *board, struct mig_want *ret_want, struct error *err)
{
    const char *name = chosen_name(wish);
    const struct migconfig_label *label = NULL;
    struct error in_file = ERROR_INIT;
    int r;

    if (wish->file && miglabel_select(wish->file, name, &label, &in_file) == 0)
        return want_of_file(gpu, board, label, ret_want, err);
    if (is_passed_over(wish, gpu, board))
        return PARTITIONER_PASSED;
    r = want_builtin(gpu, board, name, ret_want, err);
    return r == MIGWANT_OTHER ? no_such_name(wish, name, &in_file, err) : r;
}

static int want_ordered(const struct migwish *wish, const struct migorder *order,
                        const struct gpu *gpu, const struct mig_board *board,
                        struct mig_want *ret_want, struct error *err)
{
    struct mig_want want = {.mode_only = false};
    int r;

    if (!order->label && is_passed_over(wish, gpu, board))
        return PARTITIONER_PASSED;
    r = order->label ? want_of_file(gpu, board, order->label, &want, err)
                     : want_builtin(gpu, board, order->name, &want, err);
    if (r != 0)
        return r;
    want.mode_only |= order->mode_only;
    *ret_want = want;
    return 0;
}

static int want_any(const struct migwish *wish, const struct gpu *gpu,
                    const struct mig_board *board, struct mig_want *ret_want, struct error *err)
{
    if (migwish_is_chosen(wish))
        return want_chosen(wish, gpu, board, ret_want, err);
    return wish->order ? want_ordered(wish, wish->order, gpu, board, ret_want, err)
                       : PARTITIONER_ADOPT;
}

/* Before the mode of a GPU is changed whose driver does not tell its profiles: whether a GPU of
 * this model can have the layout, as far as the catalog knows it. */
static int check_by_catalog(const struct migwish *wish, const struct gpu *gpu,
                            const struct mig_board *board, struct error *err)
{
    const struct mig_board *known =
        is_unread(gpu, board) ? boards_find(wish->boards, gpu->model) : NULL;
    struct mig_want want;
    struct mig_next next;
    int r = known ? want_any(wish, gpu, known, &want, err) : 0;

    if (r != 0 || !known)
        return r < 0 ? r : 0;
    migstep_next(known, &gpu->layout, &want, NULL, 0, &next);
    return next.step.kind == MIG_STEP_IMPOSSIBLE ? error_set(err, -ENOENT, "it %s", next.reason)
                                                 : 0;
}

bool migwish_excludes(const struct migwish *wish, const struct gpu *gpu)
{
    const struct config *config = current_config(wish);

    return config && select_excludes_gpu(&config->policy, gpu);
}

int migwish_want(const struct migwish *wish, const struct gpu *gpu, const struct mig_board *board,
                 struct mig_want *ret_want, struct error *err)
{
    int r;

    if (!wish->is_known || !current_config(wish)) /* which may exclude the GPU */
        return PARTITIONER_UNKNOWN;
    if (migwish_excludes(wish, gpu))
        return PARTITIONER_ADOPT;
    r = check_by_catalog(wish, gpu, board, err);
    return r < 0 ? r : want_any(wish, gpu, board, ret_want, err);
}

static bool agrees_on(const struct migwish *wish, const struct migorder *order,
                      const struct gpu *gpu)
{
    static const struct mig_board none;
    const struct mig_board *board = inventory_board(&wish->facts->machine, gpu);
    struct mig_want chosen = {.enabled = false}, ordered = chosen;
    int r, r_ordered;

    board = board ? board : &none;
    r = want_chosen(wish, gpu, board, &chosen, NULL);
    r_ordered = want_ordered(wish, order, gpu, board, &ordered, NULL);
    if (r != 0 || r_ordered != 0)
        return r == r_ordered && r > 0;
    return chosen.enabled == ordered.enabled &&
           (ordered.mode_only || memcmp(&chosen, &ordered, sizeof(chosen)) == 0);
}

bool migwish_agrees(const struct migwish *wish, const struct migorder *order)
{
    for (size_t i = 0; i < wish->facts->machine.n_gpus; i++)
        if (!agrees_on(wish, order, &wish->facts->machine.gpus[i]))
            return false;
    return true;
}

/* --- life --- */

void migwish_init(struct migwish *wish, const struct facts *facts)
{
    *wish = (struct migwish){.facts = facts,
                             .is_known = !facts->flags->node_name,
                             .is_told = !facts->flags->node_name,
                             .boards = boards_new()};
    if (facts->flags->node_name)
        recall(wish);
    migwish_read_file(wish);
}

void migwish_deinit(struct migwish *wish)
{
    migconfig_free(TAKE_PTR(wish->file));
    boards_free(TAKE_PTR(wish->boards));
}
