// SPDX-License-Identifier: Apache-2.0
#include "cli/miglines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "cli/migpreview.h"
#include "cli/verb.h"
#include "slice/migkind.h"
#include "slice/migstep.h"

void miglines_deinit(struct miglines *lines)
{
    for (size_t i = 0; i < lines->n_items; i++)
        free(lines->items[i].text);
    free(lines->items);
    *lines = (struct miglines)MIGLINES_INIT;
}

static int add_line(struct miglines *lines, struct text *text)
{
    struct line *line =
        array_push(&lines->items, &lines->n_items, &lines->capacity, sizeof(*lines->items));

    if (!line)
        return -ENOMEM;
    line->text = text_take(text);
    return line->text ? 0 : -ENOMEM;
}

/* --- for a machine --- */

static void add_instance(const struct mig_board *board, const struct mig_instance *instance,
                         struct text *text)
{
    const struct mig_profile *profile = &board->profiles[instance->profile];
    const bool is_full =
        instance->n_computes == 1 && instance->computes[0].profile == migkind_full_compute(profile);

    text_addf(text, " %s", profile->name);
    if (profile->starts)
        text_addf(text, ":%u", instance->start);
    for (uint32_t i = 0; !is_full && i < instance->n_computes; i++) {
        char name[DEVICE_PROFILE_SIZE];

        migkind_format(board, (struct mig_kind){instance->profile, instance->computes[i].profile},
                       name);
        text_addf(text, "%s%s", i ? "," : "=", name);
    }
}

/* What follows the GPUs in its line. 0, -ENOENT with the end of a sentence about the GPU, -ENOMEM.
 */
static int add_gpu(const struct gpu *gpu, const struct mig_board *board,
                   const struct mig_want *want, struct text *text, struct error *err)
{
    struct migpreview_gpu steps = {.n_steps = 0};
    struct mig_layout layout = {.enabled = false};
    int r = board ? migpreview_walk(gpu, board, want, &steps, &layout, err) : 0;

    migpreview_gpu_deinit(&steps);
    text_addf(text, "||%s|", want->enabled ? "on" : "off");
    for (uint32_t i = 0; i < layout.n_instances; i++)
        add_instance(board, &layout.instances[i], text);
    return r;
}

static int group(const struct text *texts, size_t n, struct miglines *lines)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        cleanup_text struct text line = TEXT_INIT;
        size_t n_same = 0;
        bool is_first = true;

        for (size_t j = 0; j < n; j++) {
            const bool is_same = str_equal(text_string(&texts[j]), text_string(&texts[i]));

            is_first &= j >= i || !is_same;
            n_same += is_same;
            if (is_same && texts[j].length)
                text_addf(&line, "%s%zu", line.length ? " " : "", j);
        }
        if (!is_first || !texts[i].length)
            continue;
        if (n_same == n)
            text_clear(&line);
        text_addf(&line, "%s%s", n_same == n ? "all" : "", text_string(&texts[i]));
        r = add_line(lines, &line);
    }
    return r;
}

static int describe(const struct migchoice *choice, const struct inventory *machine,
                    struct text *texts, struct error *err)
{
    size_t n_skipped = 0, n_unable = 0, n = machine->n_gpus;

    for (size_t i = 0; i < n; i++) {
        const struct gpu *gpu = &machine->gpus[i];
        struct error why = ERROR_INIT;
        struct mig_want want;
        int r = migchoice_want(choice, machine, gpu, &want, &why);

        n_skipped += r == MIGLABEL_SKIPPED;
        if (r == 0)
            r = add_gpu(gpu, inventory_board(machine, gpu), &want, &texts[i], &why);
        if (r == -ENOMEM)
            return r;
        n_unable += r < 0;
        if (r < 0)
            complain("GPU %u (%s) %s", gpu->index, gpu->model, error_text(&why));
    }
    if (n_unable)
        return error_set(err, -ENOENT, "%zu of %zu GPUs cannot have this layout", n_unable, n);
    if (n_skipped == n)
        return error_set(err, -ENOENT,
                         "no GPU of this machine can be partitioned by MIG; sharing.timeSlicing "
                         "shares them");
    return 0;
}

int miglines_for(const struct migchoice *choice, const struct inventory *machine,
                 struct miglines *ret_lines, struct error *err)
{
    cleanup_miglines struct miglines lines = MIGLINES_INIT;
    struct text *texts = calloc(machine->n_gpus + 1, sizeof(*texts));
    int r = texts ? describe(choice, machine, texts, err) : -ENOMEM;

    if (r == 0)
        r = group(texts, machine->n_gpus, &lines);
    for (size_t i = 0; texts && i < machine->n_gpus; i++)
        text_deinit(&texts[i]);
    free(texts);
    if (r < 0)
        return r;
    *ret_lines = lines;
    lines = (struct miglines)MIGLINES_INIT;
    return 0;
}

/* --- for any --- */

/* Larger ones first: the driver finds places for them most easily. */
static int compare_counts(const void *a, const void *b)
{
    const struct migconfig_count *first = a, *second = b;
    struct mig_name left, right;

    if (migname_parse(first->profile, &left, NULL) < 0 ||
        migname_parse(second->profile, &right, NULL) < 0 || left.gpu_slices == right.gpu_slices)
        return first->at.line > second->at.line ? 1 : -1;
    return left.gpu_slices < right.gpu_slices ? 1 : -1;
}

static int add_counts(const struct migconfig_entry *entry, struct text *line, struct error *err)
{
    struct migconfig_count *counts = calloc(entry->n_counts + 1, sizeof(*counts));

    if (!counts)
        return -ENOMEM;
    if (entry->n_counts)
        memcpy(counts, entry->counts, entry->n_counts * sizeof(*counts));
    qsort(counts, entry->n_counts, sizeof(*counts), compare_counts);
    for (size_t i = 0; i < entry->n_counts; i++) {
        struct mig_name name;

        if (migname_parse(counts[i].profile, &name, NULL) == 0 &&
            name.compute_slices != name.gpu_slices) {
            error_set(err, -EINVAL,
                      "%s shares its GPU instance; give --machine, so that the instances can be "
                      "planned",
                      counts[i].profile);
            free(counts);
            return -EINVAL;
        }
        for (uint32_t j = 0; j < counts[i].count; j++)
            text_addf(line, " %s", counts[i].profile);
    }
    free(counts);
    return 0;
}

static int add_entry(const struct migconfig_entry *entry, struct miglines *lines, struct error *err)
{
    cleanup_text struct text line = TEXT_INIT;
    int r;

    if (entry->is_filtered && !entry->n_filters)
        return 0; /* it matches no GPU */
    if (entry->is_for_all)
        text_add(&line, "all");
    for (size_t i = 0; !entry->is_for_all && i < entry->n_gpus; i++)
        text_addf(&line, "%s%u", i ? " " : "", entry->gpus[i]);
    text_add(&line, "|");
    for (size_t i = 0; i < entry->n_filters; i++) {
        text_addf(&line, "%s0x%08X", i ? " " : "", entry->filters[i].device_id);
        if (entry->filters[i].has_subsystem)
            text_addf(&line, ":0x%08X", entry->filters[i].subsystem_id);
    }
    text_addf(&line, "|%s|", entry->enabled ? "on" : "off");
    r = add_counts(entry, &line, err);
    return r < 0 ? r : add_line(lines, &line);
}

static int add_builtin(const struct migchoice *choice, struct miglines *lines, struct error *err)
{
    cleanup_text struct text line = TEXT_INIT;

    if (str_equal(choice->name, "all-disabled"))
        text_add(&line, "all||off|");
    else if (str_equal(choice->name, "all-enabled"))
        text_add(&line, "all||on|");
    else
        return error_set(err, -EINVAL,
                         "what %s is depends on the GPU; give --machine, or a file with counts by "
                         "-f FILE",
                         choice->name);
    return add_line(lines, &line);
}

int miglines_any(const struct migchoice *choice, struct miglines *ret_lines, struct error *err)
{
    cleanup_miglines struct miglines lines = MIGLINES_INIT;
    int r = choice->label ? 0 : add_builtin(choice, &lines, err);

    for (size_t i = 0; choice->label && i < choice->label->n_entries && r == 0; i++)
        r = add_entry(&choice->label->entries[i], &lines, err);
    if (r < 0)
        return r;
    *ret_lines = lines;
    lines = (struct miglines)MIGLINES_INIT;
    return 0;
}
