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

/*
 * Inventories as words: "A B C" are three GPUs, "-" one that the driver counts and cannot describe,
 * "Bxy" one with the MIG devices x and y.
 */
struct seen {
    struct gpu gpus[8];
    struct device mig_devices[8];
    struct inventory inventory;
};

static void see_mig(struct seen *seen, char name, unsigned mig_index)
{
    struct device *device = &seen->mig_devices[seen->inventory.n_mig_devices++];

    device->kind = DEVICE_MIG;
    device->gpu = seen->inventory.n_gpus - 1;
    device->mig_index = mig_index;
    snprintf(device->uuid, sizeof(device->uuid), "MIG-%c", name);
}

static void see(struct seen *seen, const char *words)
{
    unsigned mig_index = 0;

    memset(seen, 0, sizeof(*seen));
    for (; *words; words++) {
        struct gpu *gpu = &seen->gpus[seen->inventory.n_gpus];

        if (*words == ' ')
            continue;
        if (*words >= 'a' && *words <= 'z') {
            see_mig(seen, *words, mig_index++);
            continue;
        }
        mig_index = 0;
        gpu->index = (unsigned)seen->inventory.n_gpus++;
        if (*words == '-')
            strcpy(gpu->unusable, "GPU is lost");
        else
            snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%c", *words);
    }
    seen->inventory.gpus = seen->gpus;
    seen->inventory.mig_devices = seen->mig_devices;
}

static void describe(const struct inventory *known, struct text *out)
{
    for (size_t i = 0; i < known->n_gpus; i++) {
        text_addf(out, "%s%s@%u", i ? " " : "",
                  *known->gpus[i].uuid ? known->gpus[i].uuid + 4 : "-", known->gpus[i].index);
        for (size_t k = 0; k < known->n_mig_devices; k++)
            if (known->mig_devices[k].gpu == i)
                text_addf(out, ",%s:%u", known->mig_devices[k].uuid + 4,
                          known->mig_devices[k].mig_index);
    }
}

static void update(struct inventory *known, const char *words, const char *destroyed,
                   bool *ret_changed)
{
    char uuids[4][8];
    const char *list[4];
    size_t n = strlen(destroyed);
    struct seen seen;

    for (size_t i = 0; i < n; i++) {
        snprintf(uuids[i], sizeof(uuids[i]), "mig-%c", destroyed[i]);
        list[i] = uuids[i];
    }
    see(&seen, words);
    assert_int_equal(machine_update(known, &seen.inventory, list, n, ret_changed), 0);
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

/* After `before`, `now` and once more `now`: then nothing may change any more. */
static const struct {
    const char *name, *before, *now;
    const char *destroyed; /* by us, in between */
    const char *expected;
    bool changed;
} mig_rows[] = {
    {"nothing new", "A Bxy", "A Bxy", "", "A@0 B@1,x:0,y:1", false},
    {"one more", "A Bx", "A Bxy", "", "A@0 B@1,x:0,y:1", true},
    {"a GPU is partitioned", "A B", "A Bx", "", "A@0 B@1,x:0", true},
    {"one vanished", "A Bxyz", "A Bxz", "", "A@0 B@1,x:0,y:1,z:2", false},
    {"all vanished, as after a reset of the GPU", "A Bxy", "A B", "", "A@0 B@1,x:0,y:1", false},
    {"one was destroyed", "A Bxyz", "A Bxz", "y", "A@0 B@1,x:0,z:1", true},
    {"all were destroyed", "A Bxy", "A B", "xy", "A@0 B@1", true},
    {"one was destroyed, another vanished", "A Bxyz", "A Bz", "x", "A@0 B@1,y:1,z:2", true},
    {"destroyed, and the driver still lists it", "A Bxy", "A Bxy", "y", "A@0 B@1,x:0,y:1", false},
    {"its GPU is lost and still counted", "A Bxy C", "A - C", "", "A@0 B@1,x:0,y:1 C@2", false},
    {"its GPU is gone, and the driver renumbers", "Ax By", "By", "", "A@0,x:0 B@1,y:0", false},
    {"destroyed on a GPU that is lost", "A Bxy", "A -", "x", "A@0 B@1,y:1", true},
    {"exchanged for another", "Axy", "Axz", "y", "A@0,x:0,z:1", true},
    {"a GPU more", "Ax", "Ax By", "", "A@0,x:0 B@1,y:0", true},
    {"vanished beside a new GPU", "Ax", "A By", "", "A@0,x:0 B@1,y:0", true},
};

static void updates_mig_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(mig_rows); i++) {
        struct inventory known = INVENTORY_INIT;
        cleanup_text struct text text = TEXT_INIT;
        bool changed, again;

        update(&known, mig_rows[i].before, "", &changed);
        update(&known, mig_rows[i].now, mig_rows[i].destroyed, &changed);
        describe(&known, &text);
        if (!str_equal(text_string(&text), mig_rows[i].expected) || changed != mig_rows[i].changed)
            fail_msg("%s: got %s (%s)", mig_rows[i].name, text_string(&text),
                     changed ? "changed" : "unchanged");
        update(&known, mig_rows[i].now, "", &again);
        if (again)
            fail_msg("%s: the same inventory changes something", mig_rows[i].name);
        inventory_deinit(&known);
    }
}

/* Each fact of a MIG device that a plan or an answer is made of. */
static void changes_of_a_mig_device(void **state)
{
    (void)state;
    for (int change = 0; change < 5; change++) {
        struct inventory known = INVENTORY_INIT;
        struct seen seen;
        bool changed;

        see(&seen, "A Bxy");
        assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
        if (change == 1)
            seen.mig_devices[1].mem_total_bytes = 1;
        if (change == 2)
            seen.mig_devices[1].gi_minor = 30;
        if (change == 3)
            seen.mig_devices[1].profile[0] = '1';
        if (change == 4)
            seen.mig_devices[1].gpu = 0;
        assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
        assert_int_equal(changed, change != 0);
        inventory_deinit(&known);
    }
}

static void updates(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct inventory known = INVENTORY_INIT;
        cleanup_text struct text text = TEXT_INIT;
        bool changed;

        update(&known, rows[i].before, "", &changed);
        update(&known, rows[i].now, "", &changed);
        describe(&known, &text);
        if (!str_equal(text_string(&text), rows[i].expected) || changed != rows[i].changed)
            fail_msg("%s: got %s (%s)", rows[i].name, text_string(&text),
                     changed ? "changed" : "unchanged");
        inventory_deinit(&known);
    }
}

/* A query that fails later takes nothing away; one that is no longer supported does. */
static void keeps_what_a_failing_query_does_not_tell(void **state)
{
    static const struct {
        enum fact_gap gap;
        int minor;
        uint64_t mem_total_bytes;
        bool changed;
    } table[] = {
        {FACT_FAILED, 7, 1 << 30, false},
        {FACT_ABSURD, 7, 1 << 30, false},
        {FACT_UNSUPPORTED, -1, 0, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct inventory known = INVENTORY_INIT;
        struct seen seen;
        bool changed;

        see(&seen, "A B");
        seen.inventory.gpus[0].minor = 7;
        seen.inventory.gpus[0].mem_total_bytes = 1 << 30;
        assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
        seen.inventory.gpus[0].minor = -1;
        seen.inventory.gpus[0].mem_total_bytes = 0;
        seen.inventory.gpus[0].gaps[FACT_MINOR] = (uint8_t)table[i].gap;
        seen.inventory.gpus[0].gaps[FACT_MEMORY] = (uint8_t)table[i].gap;
        assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
        assert_int_equal(changed, table[i].changed);
        assert_int_equal(known.gpus[0].minor, table[i].minor);
        assert_int_equal(known.gpus[0].mem_total_bytes, table[i].mem_total_bytes);
        inventory_deinit(&known);
    }
}

static void know_all(struct seen *seen)
{
    struct gpu *gpu = &seen->gpus[0];

    see(seen, "A");
    strcpy(seen->inventory.driver_version, "550.163.01");
    seen->inventory.cuda_version = 12040;
    strcpy(gpu->model, "NVIDIA H100 80GB HBM3");
    strcpy(gpu->pci_address, "0000:0f:00.0");
    gpu->minor = 7;
    gpu->pci_class = PCI_CLASS_3D;
    gpu->numa_node = 1;
    gpu->mem_total_bytes = 80ull << 30;
    gpu->mem_reserved_bytes = 1 << 30;
    gpu->cc_major = 9;
    gpu->mig_capable = gpu->mig_enabled = gpu->is_vgpu = gpu->fabric_completed = true;
    strcpy(gpu->fabric_cluster, "7b968a6d-c8aa-45e1-9e07-e1e51be99c31");
    gpu->fabric_clique = 5;
}

/* Nothing is known of the machine and its GPU but that they are there. */
static void know_nothing(struct seen *seen, enum fact_gap gap)
{
    see(seen, "A");
    seen->gpus[0].minor = seen->gpus[0].numa_node = -1;
    memset(seen->inventory.gaps, (int)gap, FACT_MODEL);
    memset(seen->gpus[0].gaps + FACT_MODEL, (int)gap, FACT_PATHS - FACT_MODEL);
}

/* Labels and slices are made of them: when every query fails at once, all stay. */
static void keeps_every_fact(void **state)
{
    struct inventory known = INVENTORY_INIT;
    struct seen seen;
    bool changed;

    (void)state;
    know_nothing(&seen, FACT_FAILED);
    assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
    assert_int_equal(known.gaps[FACT_CUDA_VERSION], FACT_FAILED); /* there is nothing to keep */
    assert_int_equal(known.gaps[FACT_DRIVER_VERSION], FACT_FAILED);
    assert_int_equal(known.gpus[0].gaps[FACT_MIG], FACT_FAILED);
    know_all(&seen);
    assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
    for (enum fact_gap gap = FACT_FAILED; gap <= FACT_ABSURD; gap++) {
        know_nothing(&seen, gap);
        assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
        assert_false(changed);
        assert_true(known.gpus[0].mig_capable && known.gpus[0].mig_enabled);
        assert_int_equal(known.gpus[0].fabric_clique, 5);
        assert_string_equal(known.driver_version, "550.163.01");
        assert_int_equal(known.cuda_version, 12040);
    }
    know_nothing(&seen, FACT_UNSUPPORTED);
    assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
    assert_false(known.gpus[0].mig_enabled);
    assert_int_equal(known.cuda_version, 0);
    inventory_deinit(&known);
}

static void keeps_no_cuda_version_of_another_driver(void **state)
{
    struct inventory known = INVENTORY_INIT;
    struct seen seen;
    bool changed;

    (void)state;
    know_all(&seen);
    assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
    strcpy(seen.inventory.driver_version, "580.159.04");
    seen.inventory.cuda_version = 0;
    seen.inventory.gaps[FACT_CUDA_VERSION] = FACT_FAILED;
    assert_int_equal(machine_update(&known, &seen.inventory, NULL, 0, &changed), 0);
    assert_int_equal(known.cuda_version, 0);
    assert_int_equal(known.gaps[FACT_CUDA_VERSION], FACT_FAILED);
    inventory_deinit(&known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates),
        cmocka_unit_test(updates_mig_devices),
        cmocka_unit_test(changes_of_a_mig_device),
        cmocka_unit_test(keeps_what_a_failing_query_does_not_tell),
        cmocka_unit_test(keeps_every_fact),
        cmocka_unit_test(keeps_no_cuda_version_of_another_driver),
    };

    return cmocka_run_group_tests_name("node/machine", tests, NULL, NULL);
}
