// SPDX-License-Identifier: Apache-2.0

/* How the GPUs of a machine are partitioned at its start. */

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"
#include "nvml/machinefile-reader.h"
#include "nvml/migword.h"

#define refuse yamlmap_refuse

/* One entry of the list, for some GPUs. */
struct entry {
    struct machine_reader *r;
    struct mig_layout *layout;
    const struct mig_board *board;
};

static void read_instance(void *context, const struct yaml *node, const char *path)
{
    struct entry *entry = context;
    struct error err = ERROR_INIT;

    if (!node->text)
        refuse(entry->r->problems, node->at, path, "expected a profile such as 1g.5gb");
    else if (migword_add(entry->board, node->text, entry->layout, &err) < 0)
        refuse(entry->r->problems, node->at, path, "%s", error_text(&err));
}

static void read_gpu(struct machine_reader *r, const struct yaml *node, const char *path,
                     struct machine_gpu *gpu)
{
    const struct yaml *enabled = yaml_get(node, "enabled"),
                      *instances = yaml_get(node, "instances");
    struct entry entry = {.r = r, .layout = &gpu->mig, .board = &gpu->model.mig};
    char where[YAMLMAP_PATH];
    bool is_on = true;

    yamlmap_join(where, path, "enabled");
    if (enabled && !yaml_as_bool(enabled, &is_on))
        refuse(r->problems, enabled->at, where, "expected true or false");
    if (!gpu->model.mig.n_slots) {
        refuse(r->problems, node->at, path, "the model %s cannot be partitioned", gpu->model.name);
        return;
    }
    gpu->mig = (struct mig_layout){.enabled = is_on, .pending = is_on};
    if (!instances)
        return;
    yamlmap_join(where, path, "instances");
    if (is_on)
        yamlmap_read_list(r->problems, instances, where, 64, read_instance, &entry);
    else
        refuse(r->problems, instances->at, where, "without MIG mode there are no instances");
}

static void read_entry(void *context, const struct yaml *node, const char *path)
{
    static const char *const known[] = {"gpu", "enabled", "instances"};
    struct machine_reader *r = context;
    const struct yaml *which = yaml_get(node, "gpu");
    bool is_all = !which || (which->text && str_equal(which->text, "all"));
    uint32_t index = 0;

    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, node, path, known, ARRAY_SIZE(known));
    if (!is_all &&
        (!which->text || !number_parse(which->text, &index) || index >= r->machine->n_gpus)) {
        refuse(r->problems, which->at, path, "expected the index of a GPU, or all");
        return;
    }
    for (uint32_t i = 0; i < r->machine->n_gpus; i++)
        if (is_all || i == index)
            read_gpu(r, node, path, &r->machine->gpus[i]);
}

void machine_read_mig(struct machine_reader *r, const struct yaml *list)
{
    yamlmap_read_list(r->problems, list, "mig", MACHINE_MAX_GPUS, read_entry, r);
}
