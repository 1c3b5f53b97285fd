// SPDX-License-Identifier: Apache-2.0
#include "controller/nodetally.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/exposition.h"

void nodetally_deinit(struct nodetally *tally)
{
    free(tally->rows);
    *tally = (struct nodetally){.rows = NULL};
}

static struct nodetally_row *row_of(struct nodetally *tally, const struct nodeview *view)
{
    const char *profile = view->texts[NODEVIEW_PROFILE], *pool = view->texts[NODEVIEW_POOL];
    struct nodetally_row *row;

    for (size_t i = 0; i < tally->n_rows; i++)
        if (str_equal(tally->rows[i].profile, profile) && str_equal(tally->rows[i].pool, pool))
            return &tally->rows[i];
    row = array_push(&tally->rows, &tally->n_rows, &tally->capacity, sizeof(*row));
    if (row)
        *row = (struct nodetally_row){.profile = profile, .pool = pool};
    return row;
}

void nodetally_add(struct nodetally *tally, const struct nodeview *view, enum nodegate_state state)
{
    struct nodetally_row *row = row_of(tally, view);

    if (row)
        row->n[state]++;
}

void nodetally_write(const struct nodetally *tally, const char *metric, struct text *out)
{
    for (size_t i = 0; i < tally->n_rows; i++)
        for (size_t k = 0; k < NODEGATE_STATES; k++)
            exposition_sample(out, metric, tally->rows[i].n[k], "profile", tally->rows[i].profile,
                              "nodepool", tally->rows[i].pool, "state", nodegate_state_names[k],
                              NULL);
}
