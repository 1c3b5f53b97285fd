// SPDX-License-Identifier: Apache-2.0

/*
 * What an agent before this one had begun to partition, as its file tells: refused as a whole, or
 * written back as it was read; and what it says of a GPU is followed only as far as that GPU can
 * come from there.
 */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/migbegun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mig_board board = {
    .n_slots = 8,
    .n_profiles = 2,
    .profiles = {{.name = "1g.5gb",
                  .max_count = 7,
                  .slots = 1,
                  .starts = 0x7f,
                  .shape = {.gi_slices = 1, .ci_slices = 1},
                  .n_computes = 1,
                  .computes = {{.slices = 1, .max_count = 1, .starts = 1}}},
                 {.name = "3g.20gb",
                  .max_count = 2,
                  .slots = 4,
                  .starts = 0x11,
                  .shape = {.gi_slices = 3, .ci_slices = 3},
                  .n_computes = 1,
                  .computes = {{.slices = 3, .max_count = 1, .starts = 1}}}},
};

/* MIG off; nothing; a device; an instance that nobody can use. */
static const struct mig_layout layouts[] = {
    {.enabled = false},
    {.enabled = true, .pending = true},
    {.enabled = true,
     .pending = true,
     .n_instances = 1,
     .instances = {{.id = 7, .profile = 0, .n_computes = 1, .computes = {{.slices = 1}}}}},
    {.enabled = true, .pending = true, .n_instances = 1, .instances = {{.id = 1, .profile = 1}}},
};

static void follow(struct migbegun *begun, size_t place)
{
    struct gpu gpu = {.index = 0};

    memcpy(gpu.uuid, begun->gpus[place].uuid, sizeof(gpu.uuid));
    for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++) {
        struct mig_want goal;

        gpu.layout = layouts[i];
        if (!migbegun_is_amid(begun, &gpu, &board, &goal))
            continue;
        assert(gpu.layout.enabled);
        assert(i == 3 || !migwant_is_met(&board, &goal, &gpu.layout));
    }
}

/* Another layout is wanted of it, and is there in the end. */
static void replace(struct migbegun *begun, size_t place)
{
    const struct mig_want goal = {.enabled = true, .counts = {{7}}};
    const size_t n = begun->n;
    struct gpu gpu = {.layout = layouts[2]};

    memcpy(gpu.uuid, begun->gpus[place].uuid, sizeof(gpu.uuid));
    migbegun_note(begun, &gpu, &board, &goal, "all-1g.5gb");
    assert(begun->n == n && migbegun_find(begun, gpu.uuid));
    migbegun_drop(begun, gpu.uuid);
    assert(begun->n == n - 1 && !migbegun_find(begun, gpu.uuid));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_text struct text first = TEXT_INIT, second = TEXT_INIT;
    struct migbegun begun = {.path = ""}, again = {.path = ""};
    cleanup_free char *text = calloc(size + 1, 1);

    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    if (migbegun_parse(&begun, text, size) == 0) {
        migbegun_format(&begun, &first);
        assert(migbegun_parse(&again, first.data, first.length) == 0 && again.n == begun.n);
        migbegun_format(&again, &second);
        for (size_t i = 0; i < begun.n; i++)
            follow(&begun, i);
        while (begun.n)
            replace(&begun, begun.n / 2);
    }
    assert(begun.n == 0);
    migbegun_deinit(&begun);
    migbegun_deinit(&again);
    return 0;
}
