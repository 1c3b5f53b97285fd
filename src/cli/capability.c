// SPDX-License-Identifier: Apache-2.0
#include "cli/capability.h"

#include "cli/emit.h"
#include "slice/migability.h"

void capability_print(const struct target *target, FILE *out)
{
    const struct inventory *inventory = &target->inventory;

    fprintf(out, "%s: %zu GPU%s\n", target->title, inventory->n_gpus,
            inventory->n_gpus == 1 ? "" : "s");
    for (size_t i = 0, next; i < inventory->n_gpus; i = next) {
        cleanup_text struct text line = TEXT_INIT;

        next = migability_name_group(inventory, i, &line);
        text_addf(&line, " ");
        migability_describe(inventory, &inventory->gpus[i], &line);
        fprintf(out, "%s\n", text_string(&line));
    }
}

static json_t *list_profiles(const struct mig_board *board)
{
    json_t *list = json_array();

    for (uint32_t i = 0; board && i < board->n_profiles; i++)
        json_array_append_new(list, json_pack("{s:s, s:I}", "name", board->profiles[i].name, "max",
                                              (json_int_t)board->profiles[i].max_count));
    return list;
}

void capability_emit(const struct target *target, FILE *out)
{
    static const char *const words[] = {
        [MIGABILITY_CAN] = "yes", [MIGABILITY_CANNOT] = "no", [MIGABILITY_UNKNOWN] = "unknown"};
    const struct inventory *inventory = &target->inventory;
    json_t *gpus = json_array();
    cleanup(json_decrefp) json_t *tree = NULL;

    for (size_t i = 0; i < inventory->n_gpus; i++) {
        const struct gpu *gpu = &inventory->gpus[i];
        cleanup_text struct text sentence = TEXT_INIT;

        migability_describe(inventory, gpu, &sentence);
        json_array_append_new(
            gpus, json_pack("{s:I, s:s, s:s, s:b, s:b, s:o, s:s}", "index", (json_int_t)gpu->index,
                            "model", gpu->model, "mig", words[migability_of(gpu)], "enabled",
                            gpu->layout.enabled, "pending", gpu->layout.pending, "profiles",
                            list_profiles(inventory_board(inventory, gpu)), "sentence",
                            text_string(&sentence)));
    }
    tree = json_pack("{s:s, s:o}", "machine", target->title, "gpus", gpus);
    emit_json(out, tree);
}
