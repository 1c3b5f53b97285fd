// SPDX-License-Identifier: Apache-2.0
#include "node/machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

/* Inventories as words: "A B C" are three GPUs, "-" one that the driver counts and cannot describe.
 */
struct seen {
    struct gpu gpus[8];
    struct inventory inventory;
};

static void see(struct seen *seen, const char *words)
{
    memset(seen, 0, sizeof(*seen));
    for (; *words; words++) {
        struct gpu *gpu = &seen->gpus[seen->inventory.n_gpus];

        if (*words == ' ')
            continue;
        gpu->index = (unsigned)seen->inventory.n_gpus++;
        if (*words == '-')
            strcpy(gpu->unusable, "GPU is lost");
        else
            snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%c", *words);
    }
    seen->inventory.gpus = seen->gpus;
}

static void describe(const struct inventory *known, struct text *out)
{
    for (size_t i = 0; i < known->n_gpus; i++)
        text_addf(out, "%s%s@%u", i ? " " : "",
                  *known->gpus[i].uuid ? known->gpus[i].uuid + 4 : "-", known->gpus[i].index);
}

static const struct {
    const char *name, *before, *now, *expected;
    bool changed;
} rows[] = {
    {"first look", "", "A B", "A@0 B@1", true},
    {"nothing new", "A B", "A B", "A@0 B@1", false},
    {"one is lost and still counted", "A B C", "A - C", "A@0 B@1 C@2", false},
    {"one is gone and the others are renumbered", "A B C", "A C", "A@0 B@1 C@2", false},
    {"all are gone", "A B", "", "A@0 B@1", false},
    {"one more", "A B", "A B C", "A@0 B@1 C@2", true},
    {"lost from the start", "", "A -", "A@0 -@1", true},
    {"lost from the start and back", "A -", "A B", "A@0 B@1", true},
    {"all there in another order", "A B", "B A", "B@0 A@1", true},
    {"exchanged", "A B", "A C", "A@0 B@1 C@1", true},
};

static void updates(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct inventory known = INVENTORY_INIT;
        cleanup_text struct text text = TEXT_INIT;
        struct seen before, now;
        bool changed;

        see(&before, rows[i].before);
        see(&now, rows[i].now);
        assert_int_equal(machine_update(&known, &before.inventory, &changed), 0);
        assert_int_equal(machine_update(&known, &now.inventory, &changed), 0);
        describe(&known, &text);
        if (!str_equal(text_string(&text), rows[i].expected) || changed != rows[i].changed)
            fail_msg("%s: got %s (%s)", rows[i].name, text_string(&text),
                     changed ? "changed" : "unchanged");
        inventory_deinit(&known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(updates)};

    return cmocka_run_group_tests_name("node/machine", tests, NULL, NULL);
}
