// SPDX-License-Identifier: Apache-2.0

/* Any bytes: rows or problems, never both; each row wants a part of a GPU, or whole ones. */

#include <stdint.h>
#include <stdlib.h>

#include "cli/podlist.h"
#include "problemcheck.h"
#include "slice/share.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(const struct podlist *podlist, const struct podlist_row *row)
{
    if (row->kind >= podlist->kinds.n_items || !row->n_gpus || row->n_pods > PODLIST_MAX_PODS ||
        row->share_permille > SHARE_WHOLE || (!row->share_permille && !row->mem_bytes) ||
        (row->n_gpus > 1 && row->share_permille != SHARE_WHOLE))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podlist struct podlist podlist = PODLIST_INIT;
    int r = podlist_parse((const char *)data, size, &problems, &podlist);

    if ((r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    if (podlist.kinds.n_items > PODLIST_MAX_KINDS || (r < 0 && podlist.rows))
        abort();
    for (size_t i = 0; i < podlist.n_rows; i++)
        check_row(&podlist, &podlist.rows[i]);
    problemcheck(&problems, size);
    return 0;
}
