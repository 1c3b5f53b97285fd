// SPDX-License-Identifier: Apache-2.0
#include "cli/migspace.h"

#include <errno.h>

#include "base/text.h"
#include "cli/style.h"
#include "slice/migroom.h"

/* The board and the kind of a partitioned GPU; NULL: it is not, or has no such profile. */
static const struct mig_board *find_kind(const struct inventory *inventory, size_t gpu,
                                         const char *profile, struct mig_kind *ret_kind)
{
    const struct mig_board *board = inventory_board(inventory, &inventory->gpus[gpu]);
    struct mig_name name;

    if (!inventory->gpus[gpu].layout.enabled || !board || migname_parse(profile, &name, NULL) < 0 ||
        migkind_find(board, &name, ret_kind))
        return NULL;
    return board;
}

int migspace_check(const struct target *target, const char *profile, struct error *err)
{
    cleanup_text struct text profiles = TEXT_INIT;
    struct mig_name name;
    int r = migname_parse(profile, &name, err);

    for (size_t i = 0; i < target->inventory.n_gpus && r == 0; i++) {
        const struct gpu *gpu = &target->inventory.gpus[i];
        const struct mig_board *board = inventory_board(&target->inventory, gpu);
        struct mig_kind kind;

        if (find_kind(&target->inventory, i, profile, &kind))
            return 0;
        if (gpu->layout.enabled && board && !profiles.length)
            migkind_add_profiles(board, &profiles);
    }
    if (r < 0)
        return r;
    return profiles.length
               ? error_set(err, -ENOENT, "no GPU of %s has the MIG profile %s; they have %s",
                           target->title, profile, text_string(&profiles))
               : error_set(err, -ENOENT, "no GPU of %s has MIG enabled; --mig gives it a layout",
                           target->title);
}

/* Everything is taken for held. */
static int make_room(const struct inventory *inventory, size_t gpu, const struct mig_board *board,
                     struct mig_kind kind, struct mig_room *ret_room)
{
    static const struct device_instance all = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};

    return migroom_make(board, &inventory->gpus[gpu].layout, kind, &all, 1, ret_room);
}

static const char *name_of(const struct mig_board *board, const struct gpu *gpu, uint32_t instance)
{
    for (uint32_t i = 0; i < gpu->layout.n_instances; i++)
        if (gpu->layout.instances[i].id == instance)
            return gpu->layout.instances[i].profile < board->n_profiles
                       ? board->profiles[gpu->layout.instances[i].profile].name
                       : "unknown profile";
    return "";
}

static json_t *moves_tree(const struct mig_board *board, const struct gpu *gpu,
                          const struct mig_room *room)
{
    json_t *tree = json_array();

    for (uint32_t i = 0; i < room->n_moves; i++) {
        const struct mig_move *move = &room->moves[i];

        json_array_append_new(
            tree, json_pack("{s:i, s:s, s:i, s:o}", "gpu_instance", (int)move->instance, "profile",
                            name_of(board, gpu, move->instance), "from", (int)move->from, "to",
                            move->to == MIG_START_ANY ? json_null() : json_integer(move->to)));
    }
    return tree;
}

json_t *migspace_tree(const struct target *target, const char *profile)
{
    const struct inventory *inventory = &target->inventory;
    json_t *gpus = json_array();

    for (size_t i = 0; i < inventory->n_gpus; i++) {
        struct mig_room room = {0};
        struct mig_kind kind;
        const struct mig_board *board = find_kind(inventory, i, profile, &kind);
        bool possible = board && make_room(inventory, i, board, kind, &room) == 0;

        if (board)
            json_array_append_new(gpus, json_pack("{s:i, s:b, s:o}", "index",
                                                  (int)inventory->gpus[i].index, "possible",
                                                  possible, "moves",
                                                  moves_tree(board, &inventory->gpus[i], &room)));
    }
    return json_pack("{s:s, s:o}", "profile", profile, "gpus", gpus);
}

static void print_move(const struct mig_move *move, const char *profile, FILE *out)
{
    fprintf(out, "    GPU instance %u (%s) ", move->instance, profile);
    if (move->to == MIG_START_ANY)
        fprintf(out, "at memory slice %u is destroyed: it offers no device\n", move->from);
    else
        fprintf(out, "moves from memory slice %u to %u\n", move->from, move->to);
}

static void print_gpu(const struct mig_board *board, const struct gpu *gpu, bool possible,
                      const struct mig_room *room, FILE *out)
{
    fprintf(out, "GPU %u: ", gpu->index);
    if (!possible)
        fputs("no room, wherever its instances lie\n", out);
    else if (!room->n_moves)
        fputs("there is room\n", out);
    else
        fputs("after this:\n", out);
    for (uint32_t i = 0; i < room->n_moves; i++)
        print_move(&room->moves[i], name_of(board, gpu, room->moves[i].instance), out);
}

void migspace_print(const struct target *target, const char *profile, FILE *out)
{
    const struct inventory *inventory = &target->inventory;

    fputc('\n', out);
    style_begin(out, STYLE_BOLD);
    fprintf(out, "ROOM FOR ONE MORE %s", profile);
    style_end(out);
    fputc('\n', out);
    for (size_t i = 0; i < inventory->n_gpus; i++) {
        struct mig_room room = {0};
        struct mig_kind kind;
        const struct mig_board *board = find_kind(inventory, i, profile, &kind);

        if (board)
            print_gpu(board, &inventory->gpus[i], make_room(inventory, i, board, kind, &room) == 0,
                      &room, out);
    }
}
