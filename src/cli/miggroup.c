// SPDX-License-Identifier: Apache-2.0
#include "cli/miggroup.h"

#include <errno.h>

int miggroup_init(struct miggroup *group, const struct inventory *machine)
{
    group->n = 0;
    group->texts = calloc(machine->n_gpus + 1, sizeof(*group->texts));
    if (!group->texts)
        return -ENOMEM;
    group->n = machine->n_gpus;
    return 0;
}

void miggroup_deinit(struct miggroup *group)
{
    for (size_t i = 0; i < group->n; i++)
        text_deinit(&group->texts[i]);
    free(group->texts);
    *group = (struct miggroup)MIGGROUP_INIT;
}

static bool is_same(const struct miggroup *group, const struct inventory *machine, size_t a,
                    size_t b)
{
    return str_equal(machine->gpus[a].model, machine->gpus[b].model) &&
           str_equal(text_string(&group->texts[a]), text_string(&group->texts[b]));
}

void miggroup_print(const struct miggroup *group, const struct inventory *machine,
                    void (*print)(const char *gpus, const char *text, void *userdata),
                    void *userdata)
{
    for (size_t i = 0, end; i < group->n; i = end) {
        const struct gpu *gpu = &machine->gpus[i];
        char gpus[160];
        int n = 0;

        for (end = i + 1; end < group->n && is_same(group, machine, i, end);)
            end++;
        if (!group->texts[i].length)
            continue;
        n = snprintf(gpus, sizeof(gpus), "GPU%s %u", end > i + 1 ? "s" : "", gpu->index);
        if (end > i + 1)
            n += snprintf(gpus + n, sizeof(gpus) - (size_t)n, "-%u", machine->gpus[end - 1].index);
        snprintf(gpus + n, sizeof(gpus) - (size_t)n, " (%.100s)",
                 *gpu->model ? gpu->model : "unknown model");
        print(gpus, text_string(&group->texts[i]), userdata);
    }
}
