// SPDX-License-Identifier: Apache-2.0
#include "cli/migpreview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/miggroup.h"
#include "cli/migholders.h"
#include "slice/miglayout.h"
#include "slice/migstep.h"
#include "slice/migwant.h"

enum { MAX_STEPS = 256 };

void migpreview_gpu_deinit(struct migpreview_gpu *on)
{
    for (size_t i = 0; i < on->n_steps; i++)
        free(on->steps[i]);
    free(on->steps);
    free(on->devices);
    free(on->waits);
}

void migpreview_deinit(struct migpreview *preview)
{
    for (size_t i = 0; i < preview->n_gpus; i++)
        migpreview_gpu_deinit(&preview->gpus[i]);
    free(preview->gpus);
    *preview = (struct migpreview)MIGPREVIEW_INIT;
}

static int add_step(struct migpreview_gpu *on, const struct mig_board *board,
                    const struct mig_layout *layout, const struct mig_step *step)
{
    cleanup_text struct text text = TEXT_INIT;
    char **sentence;

    migstep_add_text(board, layout, step, &text);
    sentence = array_push(&on->steps, &on->n_steps, &on->capacity, sizeof(*on->steps));
    if (!sentence)
        return -ENOMEM;
    *sentence = text_take(&text);
    return *sentence ? 0 : -ENOMEM;
}

/* An A100 or A30 changes its mode by a reset, later GPUs at once. */
static bool needs_reset(const struct gpu *gpu)
{
    return gpu->cc_major < 9;
}

/* Ids of instances that only the plan has: bit i. A driver's ids are small. */
static uint64_t note_ids(const struct mig_step *step, const struct mig_layout *layout,
                         uint64_t ahead)
{
    const uint64_t bit = step->instance < 64 ? 1ULL << step->instance : 0;

    if (step->kind == MIG_STEP_RESET)
        return 0;
    if (step->kind == MIG_STEP_DESTROY_GPU)
        return ahead & ~bit;
    for (uint32_t i = 0; step->kind == MIG_STEP_CREATE_GPU && i < layout->n_instances; i++)
        if (layout->instances[i].n_computes == 0 && layout->instances[i].id < 64 &&
            (step->start == MIG_START_ANY || step->start == layout->instances[i].start))
            return ahead | 1ULL << layout->instances[i].id;
    return ahead;
}

/* What is in use is not known here. */
int migpreview_walk(const struct gpu *gpu, const struct mig_board *board,
                    const struct mig_want *want, struct migpreview_gpu *on,
                    struct mig_layout *layout, struct error *err)
{
    uint64_t ahead = 0;

    for (int n = 0; n < MAX_STEPS; n++) {
        struct mig_next next;
        int r;

        migstep_next(board, layout, want, NULL, 0, &next);
        if (next.step.kind == MIG_STEP_DONE)
            return 0;
        if (next.step.kind == MIG_STEP_IMPOSSIBLE)
            return error_set(err, -ENOENT, "%s", next.reason);
        next.step.is_ahead = next.step.instance < 64 && (ahead >> next.step.instance & 1);
        r = add_step(on, board, layout, &next.step);
        if (r < 0)
            return r;
        migstep_apply(board, &next.step, needs_reset(gpu), layout);
        ahead = note_ids(&next.step, layout, ahead);
    }
    return error_set(err, -ENOENT, "takes more than %d steps", MAX_STEPS);
}

bool migpreview_may_wait(const struct gpu *gpu, const struct migpreview_gpu *on)
{
    return gpu->layout.n_instances > 0 && on->n_steps > 0;
}

/* NULL: nobody, as far as it is known. */
static char *find_waits(const struct inventory *inventory, size_t gpu,
                        const struct mig_board *board, const struct mig_want *want,
                        const struct podrecords *pods)
{
    cleanup_migholders struct migholders holders = {.n = 0};
    cleanup_text struct text text = TEXT_INIT;

    if (pods)
        migholders_add_pods(&holders, pods, inventory, gpu);
    migholders_add_wait(&holders, board, &inventory->gpus[gpu].layout, want, &text);
    return text.length ? text_take(&text) : NULL;
}

static int assume(struct target *target, size_t gpu, const struct mig_board *board,
                  const struct mig_want *want, const struct podrecords *pods,
                  struct migpreview *preview, struct error *err)
{
    const struct gpu *on = &target->inventory.gpus[gpu];
    struct migpreview_gpu *of =
        array_push(&preview->gpus, &preview->n_gpus, &preview->capacity, sizeof(*preview->gpus));
    cleanup_text struct text devices = TEXT_INIT;
    struct mig_layout layout = on->layout;
    int r;

    if (!of)
        return -ENOMEM;
    of->gpu = gpu;
    migwant_add_text(board, want, &devices);
    of->devices = text_take(&devices);
    of->waits = find_waits(&target->inventory, gpu, board, want, pods);
    r = of->devices ? migpreview_walk(on, board, want, of, &layout, err) : -ENOMEM;
    preview->may_wait |= r == 0 && migpreview_may_wait(on, of);
    if (r == 0)
        return miglayout_assume(&target->inventory, gpu, board, &layout);
    migpreview_gpu_deinit(&preview->gpus[--preview->n_gpus]);
    return r;
}

static int unknown_layout(const struct target *target, const char *name, struct error *err)
{
    cleanup_text struct text names = TEXT_INIT;
    const struct mig_board *board = NULL;

    for (size_t i = 0; i < target->inventory.n_gpus && !board; i++)
        board = inventory_board(&target->inventory, &target->inventory.gpus[i]);
    if (!board)
        return error_set(err, -ENOENT, "no GPU of %s can be partitioned", target->title);
    if (migchoice_lacks_all(name))
        return error_set(err, -ENOENT, "there is no MIG layout '%s'; did you mean 'all-%s'?", name,
                         name);
    migwant_add_builtins(board, ", ", &names);
    return error_set(err, -ENOENT,
                     "there is no MIG layout '%s'; %s has %s, and a label of a mig-parted file "
                     "needs --mig-config FILE",
                     name, target->title, text_string(&names));
}

static void add_note(const char *gpus, const char *text, void *userdata)
{
    problem_add(userdata, PROBLEM_NOTE, (struct position){0, 0}, "--mig", "%s: %s", gpus, text);
}

static void add_warning(const char *gpus, const char *text, void *userdata)
{
    problem_add(userdata, PROBLEM_WARNING, (struct position){0, 0}, "--mig", "%s: %s", gpus, text);
}

/* What is to be said of GPUs that do not get the layout. */
struct exceptions {
    struct miggroup passed; /* it is not for them */
    struct miggroup unable; /* they cannot have it */
    size_t n_passed, n_unable;
};

static void exceptions_deinit(struct exceptions *exceptions)
{
    miggroup_deinit(&exceptions->passed);
    miggroup_deinit(&exceptions->unable);
}
#define cleanup_exceptions cleanup(exceptions_deinit)

/* One GPU. 0: it has the layout, or is an exception; MIGWANT_OTHER; -ENOMEM. */
static int preview_gpu(struct target *target, size_t gpu, const struct migchoice *choice,
                       const struct podrecords *pods, struct exceptions *exceptions,
                       struct migpreview *preview)
{
    const struct gpu *on = &target->inventory.gpus[gpu];
    const struct mig_board *board = inventory_board(&target->inventory, on);
    struct error why = ERROR_INIT;
    struct mig_want want;
    int r = migchoice_want(choice, &target->inventory, on, &want, &why);

    if (r > 0 && !choice->label)
        return MIGWANT_OTHER;
    if (r > 0) {
        text_add(&exceptions->passed.texts[gpu],
                 r == MIGLABEL_SKIPPED ? MIGWANT_NO_MIG
                                       : "stays as it is: no entry of the label is for it");
        exceptions->n_passed++;
        return 0;
    }
    if (r == 0 && board)
        r = assume(target, gpu, board, &want, pods, preview, &why);
    if (r == 0 || r == -ENOMEM)
        return r;
    text_add(&exceptions->unable.texts[gpu], error_text(&why));
    exceptions->n_unable++;
    return 0;
}

/* No GPU gets it. The first one that cannot have it tells most. */
static int refuse_all(const struct target *target, const struct migchoice *choice,
                      const struct exceptions *exceptions, struct error *err)
{
    const struct gpu *gpu;
    size_t i = 0;

    while (exceptions->n_unable && !exceptions->unable.texts[i].length)
        i++;
    gpu = &target->inventory.gpus[i];
    return error_set(err, -ENOENT, "no GPU of %s would have %s: GPU %u (%s) %s", target->title,
                     choice->name, gpu->index, *gpu->model ? gpu->model : "unknown model",
                     text_string(exceptions->n_unable ? &exceptions->unable.texts[i]
                                                      : &exceptions->passed.texts[i]));
}

int migpreview_make(struct target *target, const struct migchoice *choice,
                    const struct podrecords *pods, struct problems *problems,
                    struct migpreview *ret_preview, struct error *err)
{
    cleanup_migpreview struct migpreview preview = {.layout = choice->name};
    cleanup_exceptions struct exceptions exceptions = {.n_passed = 0};
    const size_t n = target->inventory.n_gpus;
    int r = miggroup_init(&exceptions.passed, &target->inventory);

    if (r == 0)
        r = miggroup_init(&exceptions.unable, &target->inventory);
    for (size_t i = 0; i < n && r == 0; i++)
        r = preview_gpu(target, i, choice, pods, &exceptions, &preview);
    if (r == MIGWANT_OTHER)
        return unknown_layout(target, choice->name, err);
    if (r < 0)
        return r;
    if (n && exceptions.n_unable + exceptions.n_passed == n)
        return refuse_all(target, choice, &exceptions, err);
    miggroup_print(&exceptions.passed, &target->inventory, add_note, problems);
    miggroup_print(&exceptions.unable, &target->inventory, add_warning, problems);
    *ret_preview = preview;
    preview = (struct migpreview)MIGPREVIEW_INIT;
    return 0;
}

bool migpreview_equal(const struct migpreview_gpu *a, const struct migpreview_gpu *b)
{
    if (a->n_steps != b->n_steps || !str_equal(a->devices, b->devices) ||
        !str_equal(a->waits ? a->waits : "", b->waits ? b->waits : ""))
        return false;
    for (size_t i = 0; i < a->n_steps; i++)
        if (!str_equal(a->steps[i], b->steps[i]))
            return false;
    return true;
}
