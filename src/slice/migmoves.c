// SPDX-License-Identifier: Apache-2.0
#include "slice/migmoves.h"

#include "slice/migroom.h"

/* Who holds something of that GPU instance; NULL = nobody. */
static const char *holder_of(const struct migmoves_held *held, uint32_t instance)
{
    for (size_t i = 0; i < held->n; i++)
        if (held->instances[i].gpu == instance)
            return held->names[i];
    return NULL;
}

/* What is free goes, so it is in nobody's way. False: somebody holds the whole GPU. */
static bool keep_held(const struct mig_layout *layout, const struct migmoves_held *held,
                      struct mig_layout *ret_kept)
{
    *ret_kept = *layout;
    ret_kept->n_instances = 0;
    if (holder_of(held, DEVICE_NO_INSTANCE))
        return false;
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (holder_of(held, layout->instances[i].id))
            ret_kept->instances[ret_kept->n_instances++] = layout->instances[i];
    return true;
}

/* The layout has a device for each that is held. */
static bool has_all(const struct mig_board *board, const struct mig_want *want,
                    const struct mig_layout *kept)
{
    struct mig_want has;

    migwant_of_layout(board, kept, &has);
    for (uint32_t i = 0; i < board->n_profiles; i++)
        for (uint32_t k = 0; k < board->profiles[i].n_computes; k++)
            if (has.counts[i][k] > want->counts[i][k])
                return false;
    return true;
}

static void add_moves(const struct mig_room *room, const struct migmoves_held *held,
                      struct text *text)
{
    uint32_t n = 0, n_more = 0;

    for (uint32_t i = 0; i < room->n_moves; i++) {
        const struct mig_move *move = &room->moves[i];
        const char *name = holder_of(held, move->instance);

        if (!name || move->to == MIG_START_ANY)
            continue;
        if (n == MIGMOVES_NAMED) {
            n_more++;
            continue;
        }
        text_addf(text, "%s%s moves from memory slice %u to %u",
                  n++ ? ", " : "; there is room for all when ", name, move->from, move->to);
    }
    if (n_more)
        text_addf(text, " and %u more move", n_more);
}

void migmoves_add(const struct mig_board *board, const struct mig_layout *layout,
                  const struct mig_want *want, const struct migmoves_held *held, struct text *text)
{
    struct mig_layout kept;
    struct mig_room room;

    if (!want->enabled || want->mode_only || !layout->enabled || !keep_held(layout, held, &kept) ||
        !has_all(board, want, &kept))
        return;
    if (migroom_for_layout(board, &kept, want, held->instances, held->n, &room) == 0)
        add_moves(&room, held, text);
}
