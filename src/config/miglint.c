// SPDX-License-Identifier: Apache-2.0
#include "config/miglint.h"

#include <errno.h>

#include "base/text.h"
#include "config/miglabel.h"
#include "slice/migstep.h"

enum fit {
    FIT_OFF,   /* every GPU is as without MIG, or not concerned */
    FIT_GOOD,  /* some have MIG on, and what is wanted of them */
    FIT_OTHER, /* a GPU does not have such a profile, or no MIG */
    FIT_TIGHT, /* a GPU has no room for so many */
};

/* The end of a sentence about the GPU goes to `why`, unless it fits. */
static enum fit fit_gpu(const struct migconfig_label *label, const struct inventory *machine,
                        const struct gpu *gpu, struct error *why)
{
    const struct mig_board *board = inventory_board(machine, gpu);
    const struct mig_layout empty = {.enabled = true, .pending = true};
    struct mig_next next;
    struct mig_want want;
    int r = miglabel_want(label, gpu, board, &want, why);

    if (r == MIGLABEL_SKIPPED)
        error_set(why, -ENOENT, MIGWANT_NO_MIG);
    if (r == MIGLABEL_SKIPPED || r < 0)
        return FIT_OTHER;
    if (r == MIGLABEL_NO_ENTRY || !want.enabled || !board)
        return FIT_OFF;
    migstep_next(board, &empty, &want, NULL, 0, &next);
    if (next.step.kind != MIG_STEP_IMPOSSIBLE)
        return FIT_GOOD;
    error_set(why, -ENOENT, "%s", next.reason);
    return FIT_TIGHT;
}

/* The worst of its GPUs; the first of these is named. */
static enum fit fit_label(const struct migconfig_label *label, const struct inventory *machine,
                          const struct gpu **ret_gpu, struct error *ret_why)
{
    enum fit worst = FIT_OFF;

    for (size_t i = 0; i < machine->n_gpus; i++) {
        struct error why = ERROR_INIT;
        enum fit fit = fit_gpu(label, machine, &machine->gpus[i], &why);

        if (fit <= worst)
            continue;
        worst = fit;
        *ret_gpu = &machine->gpus[i];
        *ret_why = why;
    }
    return worst;
}

static void check_indices(const struct migconfig_label *label, const struct inventory *machine,
                          const char *path, struct problems *problems)
{
    for (size_t i = 0; i < label->n_entries; i++)
        for (size_t j = 0; j < label->entries[i].n_gpus; j++) {
            bool is_there = false;

            for (size_t k = 0; k < machine->n_gpus && !is_there; k++)
                is_there = machine->gpus[k].index == label->entries[i].gpus[j];
            if (!is_there)
                problem_add(problems, PROBLEM_WARNING, label->entries[i].at, path,
                            "there is no GPU %u here; the machine has %zu, counted from 0",
                            label->entries[i].gpus[j], machine->n_gpus);
        }
}

static enum fit check_label(const struct migconfig_label *label, const struct inventory *machine,
                            struct problems *problems)
{
    const struct gpu *gpu = NULL;
    struct error why = ERROR_INIT;
    enum fit fit = fit_label(label, machine, &gpu, &why);
    char path[160];

    snprintf(path, sizeof(path), "mig-configs.%s", label->name);
    check_indices(label, machine, path, problems);
    if (fit >= FIT_OTHER)
        problem_add(problems, fit == FIT_TIGHT ? PROBLEM_WARNING : PROBLEM_NOTE, label->at, path,
                    "not for this machine: GPU %u (%s) %s", gpu->index,
                    *gpu->model ? gpu->model : "unknown model", error_text(&why));
    return fit;
}

void miglint_machine(const struct migconfig *config, const struct inventory *machine,
                     struct problems *problems)
{
    size_t counts[FIT_TIGHT + 1] = {0};

    for (size_t i = 0; i < config->n_labels; i++)
        counts[check_label(&config->labels[i], machine, problems)]++;
    if (!counts[FIT_GOOD] && counts[FIT_OTHER])
        problem_add(problems, PROBLEM_WARNING, config->labels[0].at, "mig-configs",
                    "none of the labels that turn MIG on is for this machine");
}
