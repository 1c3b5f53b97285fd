// SPDX-License-Identifier: Apache-2.0
#include "plugin/formerholds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "plugin/test-bed.h"

#define GPU_A "GPU-aaaaaaaa-aaaa-5bbb-8ccc-000000000000" /* partitioned */
#define GPU_B "GPU-bbbbbbbb-aaaa-5bbb-8ccc-111111111111"
#define MIG_A "MIG-aaaaaaaa-2222-5333-8444-000000000001"
#define MIG_B "MIG-aaaaaaaa-2222-5333-8444-000000000002"

#define WHOLE  "nvidia.com/gpu"
#define SHARED "nvidia.com/gpu.shared"
#define MIG    "nvidia.com/mig-3g.20gb"
#define SHARE(n)                                                                         \
    "sharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, " \
    "replicas: " n "}, {name: nvidia.com/mig-3g.20gb, replicas: " n "}]}}\n"
#define SHARE_SAME(n) \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: " n "}]}}\n"

/* GPU A is partitioned into two alike, GPU B is not. */
struct machine {
    struct gpu gpus[2];
    struct device mig_devices[2];
    struct inventory inventory;
};

static void make_machine(struct machine *machine)
{
    *machine = (struct machine){.inventory = {.n_gpus = 2, .n_mig_devices = 2}};
    for (size_t i = 0; i < 2; i++) {
        struct gpu *gpu = &machine->gpus[i];
        struct device *mig = &machine->mig_devices[i];

        *gpu = (struct gpu){.index = (unsigned)i, .minor = (int)i, .numa_node = -1};
        strcpy(gpu->uuid, i ? GPU_B : GPU_A);
        strcpy(gpu->model, "NVIDIA A100-SXM4-40GB");
        gpu->mem_total_bytes = UINT64_C(40) << 30;
        gpu->mig_enabled = i == 0;
        *mig = (struct device){.kind = DEVICE_MIG, .mig_index = (unsigned)i, .numa_node = -1};
        mig->instance = (struct device_instance){(uint32_t)i + 1, 0};
        strcpy(mig->uuid, i ? MIG_B : MIG_A);
        strcpy(mig->profile, "3g.20gb");
        mig->mem_total_bytes = UINT64_C(20) << 30;
    }
    machine->inventory.gpus = machine->gpus;
    machine->inventory.mig_devices = machine->mig_devices;
}

/* "resource id share;": one grant each; a share of 0 is one that was adopted. */
static void hold(struct ledger *ledger, const char *held)
{
    char resource[64], id[96];
    unsigned share, number = 0;
    int length;

    while (sscanf(held, " %63s %95s %u;%n", resource, id, &share, &length) == 3) {
        struct grant grant = {.resource = strdup(resource), .is_adopted = !share};

        snprintf(grant.id, sizeof(grant.id), "%016x", ++number);
        assert_int_equal(grant_add_id(&grant, id), 0);
        if (strstr(id, "::"))
            *strstr(id, "::") = '\0';
        if (share)
            assert_int_equal(grant_add_device(&grant, id, share, 0), 0);
        assert_int_equal(ledger_add(ledger, &grant, 0), 0);
        grant_deinit(&grant);
        held += length;
    }
    assert_string_equal(held, "");
}

static void list_held(const struct offer *offer, const struct ledger *ledger, char *out,
                      size_t size)
{
    const char *as[64] = {NULL};

    assert_true(offer_count_slices(offer) <= ARRAY_SIZE(as));
    assert_int_equal(formerholds_find(offer, ledger, as), 0);
    *out = '\0';
    for (size_t r = 0; r < offer->plan->n_resources; r++)
        for (size_t i = 0; i < offer->plan->resources[r].n_slices; i++) {
            const struct plan_resource *resource = &offer->plan->resources[r];
            const struct slice *slice = &resource->slices[i];
            const char *one, *found = as[offer_slice_place(offer, resource, slice)];

            assert_int_equal(formerholds_of_slice(offer, ledger, slice, &one), 0);
            assert_ptr_equal(one, found);
            if (found)
                snprintf(out + strlen(out), size - strlen(out), "%s %s as %s;", resource->name,
                         slice->id, found);
        }
}

static void what_is_held_otherwise_is_nobody_elses(void **state)
{
    static const struct {
        const char *config, *held, *elsewhere;
    } rows[] = {
        /* Nothing is, or just as it is offered. */
        {"flags: {migStrategy: mixed}", "", ""},
        {"flags: {migStrategy: mixed}", MIG " " MIG_A " 1000;" WHOLE " " GPU_B " 1000;", ""},
        {"flags: {migStrategy: mixed}", MIG " " MIG_A " 0;", ""},
        {SHARE("4"), SHARED " " GPU_B "::1 250;" SHARED " " GPU_B "::0 250;", ""},
        {SHARE("3"), SHARED " " GPU_B "::2 333;", ""},
        {SHARE("3"), SHARED " " GPU_B "::2 0;", ""},
        /* Under another name. */
        {"flags: {migStrategy: mixed}", WHOLE " " MIG_A " 1000;", MIG " " MIG_A " as " WHOLE ";"},
        {"flags: {migStrategy: mixed}", WHOLE " " MIG_A " 0;", MIG " " MIG_A " as " WHOLE ";"},
        {"flags: {migStrategy: none}", "example.com/mine " GPU_B " 1000;",
         WHOLE " " GPU_B " as example.com/mine;"},
        {SHARE("2"), "nvidia.com/mine " GPU_B "::1 500;",
         SHARED " " GPU_B "::1 as nvidia.com/mine;"},
        /* Twice: by none that comes. */
        {"flags: {migStrategy: mixed}", WHOLE " " MIG_A " 1000;" MIG " " MIG_A " 1000;",
         MIG " " MIG_A " as " WHOLE ";"},
        /* A GPU and its parts. */
        {"flags: {migStrategy: mixed}", WHOLE " " GPU_A " 1000;",
         MIG " " MIG_A " as " WHOLE ";" MIG " " MIG_B " as " WHOLE ";"},
        {"flags: {migStrategy: mixed}", SHARED " " GPU_A "::3 250;",
         MIG " " MIG_A " as " SHARED ";" MIG " " MIG_B " as " SHARED ";"},
        {"flags: {migStrategy: none}", MIG " " MIG_B " 1000;", WHOLE " " GPU_A " as " MIG ";"},
        {"flags: {migStrategy: none}\n" SHARE("2"), MIG ".shared " MIG_B "::1 500;",
         SHARED " " GPU_A "::0 as " MIG ".shared;" SHARED " " GPU_A "::1 as " MIG ".shared;"},
        /* Whole, then shared; and the other way round. */
        {SHARE_SAME("2"), WHOLE " " GPU_B " 1000;",
         WHOLE " " GPU_B "::0 as " WHOLE ";" WHOLE " " GPU_B "::1 as " WHOLE ";"},
        {"{}", WHOLE " " GPU_B "::1 250;", WHOLE " " GPU_B " as " WHOLE ";"},
        {"{}", SHARED " " GPU_B "::0 0;", WHOLE " " GPU_B " as " SHARED ";"},
        /* Other replicas: together not more than the device. */
        {SHARE_SAME("2"), WHOLE " " GPU_B "::3 250;", WHOLE " " GPU_B "::1 as " WHOLE ";"},
        {SHARE_SAME("2"), WHOLE " " GPU_B "::0 250;", ""},
        {SHARE_SAME("4"), WHOLE " " GPU_B "::0 500;", ""}, /* as it was: the id is there */
        {SHARE_SAME("4"), WHOLE " " GPU_B "::0 500;" WHOLE " " GPU_B "::6 125;",
         WHOLE " " GPU_B "::3 as " WHOLE ";"},
        {SHARE("4"), WHOLE " " GPU_B "::1 500;",
         SHARED " " GPU_B "::1 as " WHOLE ";" SHARED " " GPU_B "::3 as " WHOLE ";"},
        /* Both names of one pool. */
        {"flags: {migStrategy: single}\ngpuslice: {mig: {names: both}, excludeDevices: [1]}",
         MIG " " MIG_A " 1000;", WHOLE " " MIG_A " as " MIG ";"},
        {"flags: {migStrategy: single}\ngpuslice: {mig: {names: both}, excludeDevices: [1]}",
         "nvidia.com/mine " MIG_A " 1000;",
         WHOLE " " MIG_A " as nvidia.com/mine;" MIG " " MIG_A " as nvidia.com/mine;"},
        /* Several resources of one device. */
        {"gpuslice: {slices: [{name: half, share: 50%, count: 1}, {name: small, share: 25%, count: "
         "2}]}",
         WHOLE " " GPU_B "::0 500;", "nvidia.com/gpu-half " GPU_B "::0 as " WHOLE ";"},
        {"gpuslice: {slices: [{name: half, share: 50%, count: 1}, {name: small, share: 25%, count: "
         "2}]}",
         WHOLE " " GPU_B "::3 250;", "nvidia.com/gpu-small " GPU_B "::2 as " WHOLE ";"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct ledger ledger = LEDGER_INIT;
        struct machine machine;
        struct offer *offer;
        char found[1024];

        make_machine(&machine);
        offer = bed_offer_of(&machine.inventory, rows[i].config);
        hold(&ledger, rows[i].held);
        list_held(offer, &ledger, found, sizeof(found));
        if (strcmp(found, rows[i].elsewhere) != 0)
            fail_msg("row %zu: %s and \"%s\" give \"%s\"", i, rows[i].config, rows[i].held, found);
        ledger_deinit(&ledger);
        bed_offer_free(offer);
    }
}

static void an_id_names_a_device_of_the_machine(void **state)
{
    struct machine machine;

    (void)state;
    make_machine(&machine);
    assert_true(formerholds_is_device(&machine.inventory, GPU_A));
    assert_true(formerholds_is_device(&machine.inventory, MIG_B "::12"));
    assert_false(formerholds_is_device(&machine.inventory, "GPU-aaaaaaaa"));
    assert_false(formerholds_is_device(&machine.inventory, ""));
    assert_false(formerholds_is_device(&machine.inventory, "::1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_held_otherwise_is_nobody_elses),
        cmocka_unit_test(an_id_names_a_device_of_the_machine),
    };

    return cmocka_run_group_tests_name("plugin/formerholds", tests, NULL, NULL);
}
