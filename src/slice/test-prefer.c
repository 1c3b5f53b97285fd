// SPDX-License-Identifier: Apache-2.0
#include "slice/prefer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/name.h"
#include "slice/planner.h"
#include "slice/test-machine.h"

enum { N_IDS = 64 };

/* A request and its answer in short form: "0 3" are GPUs, "0:1 3:0" are slices, "x" is unknown. */
struct ids {
    char text[N_IDS][SLICE_ID_SIZE];
    const char *list[N_IDS];
    size_t n;
};

static void expand(const char *words, struct ids *ids)
{
    char copy[256], *save = NULL;

    ids->n = 0;
    assert_int_equal(str_copy(copy, sizeof(copy), words), 0);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *colon = strchr(word, ':'), *id = ids->text[ids->n];

        if (*word == 'x')
            snprintf(id, SLICE_ID_SIZE, "GPU-unknown");
        else if (colon)
            snprintf(id, SLICE_ID_SIZE, "%s::%s", machine_uuid((size_t)(*word - '0')), colon + 1);
        else
            snprintf(id, SLICE_ID_SIZE, "%s", machine_uuid((size_t)(*word - '0')));
        ids->list[ids->n++] = id;
    }
}

static void shorten(const char *id, struct text *text)
{
    size_t uuid = strlen(machine_uuid(0));

    if (strlen(id) < uuid)
        text_add(text, " x");
    else
        text_addf(text, " %c%s", id[uuid - 1], strlen(id) > uuid ? strstr(id, "::") + 1 : "");
}

static void assert_prefers(const struct plan *plan, const struct inventory *machine,
                           enum allocation_policy policy, const char *available,
                           const char *required, size_t size, const char *expected)
{
    static struct ids a, r;
    const char *answer[N_IDS];
    struct text text = TEXT_INIT;

    expand(available, &a);
    expand(required, &r);
    assert_int_equal(prefer(&(struct preference){.plan = plan,
                                                 .resource = &plan->resources[0],
                                                 .inventory = machine,
                                                 .policy = policy,
                                                 .available = a.list,
                                                 .n_available = a.n,
                                                 .required = r.list,
                                                 .n_required = r.n,
                                                 .size = size},
                            answer),
                     0);
    for (size_t i = 0; i < size; i++)
        shorten(answer[i], &text);
    assert_string_equal(size ? text_string(&text) + 1 : "", expected);
    text_deinit(&text);
}

static struct plan *plan_of(const struct inventory *machine, unsigned replicas)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, replicas);
    struct policy policy = {.sharing = &entry, .n_sharing = replicas > 1 ? 1 : 0};
    struct plan *plan = NULL;

    assert_int_equal(plan_make(machine, &policy, NULL, &plan), 0);
    return plan;
}

#define ALL_8 "0 1 2 3 4 5 6 7"

static void test_whole_gpus(void **state)
{
    static const struct {
        struct inventory (*machine)(void);
        const char *available, *required;
        size_t size;
        const char *expected;
    } table[] = {
        /* Hybrid cube mesh: double links are the ring 0 3 2 1 5 6 7 4. */
        {machine_p3_16xlarge, ALL_8, "", 1, "0"},
        {machine_p3_16xlarge, ALL_8, "", 2, "0 3"},
        {machine_p3_16xlarge, "1 2 4 5 6 7", "", 2, "1 2"},
        {machine_p3_16xlarge, "0 1 4 7", "", 2, "4 7"}, /* leaves 0 1, which are linked */
        {machine_p3_16xlarge, "0 2 5 7", "", 2, "0 2"},
        {machine_p3_16xlarge, ALL_8, "", 4, "0 1 2 3"},
        {machine_p3_16xlarge, "1 2 3 4 5 6 7", "", 4, "4 5 6 7"},
        {machine_p3_16xlarge, ALL_8, "6", 4, "6 4 5 7"},
        {machine_p3_16xlarge, ALL_8, "1", 2, "1 2"},
        {machine_p3_16xlarge, ALL_8, "4 2", 2, "4 2"},
        {machine_p3_16xlarge, ALL_8, "", 8, ALL_8},
        {machine_p3_16xlarge, "7 0 3", "", 2, "0 3"},
        /* One left over from an earlier pair is taken before a pair is broken. */
        {machine_p3_16xlarge, "0 3 5", "", 1, "5"},
        /* NVSwitch: all linked alike, so the nearer PCIe switch decides. */
        {machine_p4d, ALL_8, "", 2, "0 1"},
        {machine_p4d, "1 2 4 5", "", 2, "4 5"},
        {machine_p4d, ALL_8, "3", 2, "3 2"},
        {machine_p4d, ALL_8, "", 4, "0 1 2 3"},
        {machine_p4d, "0 1 2 4 5 6 7", "", 4, "4 5 6 7"},
        /* PCIe only, two CPUs: 0 2 and 1 3. */
        {machine_pcie, "0 1 2 3", "", 2, "0 2"},
        {machine_pcie, "1 2 3", "", 2, "1 3"},
        {machine_pcie, "1 2 3", "", 1, "2"},
        {machine_pcie, "0 1 3", "0", 2, "0 1"},
        {machine_pcie, "0 1 2", "", 0, ""},
        /* Ids the plan does not know. */
        {machine_pcie, "x 1 3", "", 2, "1 3"},
        {machine_pcie, "0 1 2 3", "x", 2, "x 0"},
        {machine_pcie, "0 0 2 2", "0 0", 2, "0 2"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct inventory machine = table[i].machine();
        struct plan *plan = plan_of(&machine, 1);

        assert_prefers(plan, &machine, ALLOCATION_DISTRIBUTED, table[i].available,
                       table[i].required, table[i].size, table[i].expected);
        assert_prefers(plan, &machine, ALLOCATION_PACKED, table[i].available, table[i].required,
                       table[i].size, table[i].expected);
        plan_free(plan);
        inventory_deinit(&machine);
    }
}

static void test_lost_gpu_comes_last(void **state)
{
    struct inventory machine = machine_p3_16xlarge();
    struct plan *plan = plan_of(&machine, 1);

    snprintf(machine.gpus[3].unusable, 8, "lost");
    assert_prefers(plan, &machine, 0, ALL_8, "", 2, "1 2");
    assert_prefers(plan, &machine, 0, "0 3", "", 2, "0 3");
    assert_prefers(plan, &machine, 0, "3 7", "", 1, "7");
    assert_prefers(plan, &machine, 0, ALL_8, "3", 2, "3 0");
    assert_prefers(plan, &machine, 0, ALL_8, "", 8, "0 1 2 4 5 6 7 3");
    machine.n_gpus = 3; /* the driver has forgotten five of them */
    free(machine.links);
    machine.links = NULL;
    assert_prefers(plan, &machine, 0, "2 5 6 7", "", 3, "2 5 6");
    assert_prefers(plan, NULL, 0, ALL_8, "", 2, "0 1");
    plan_free(plan);
    inventory_deinit(&machine);
}

static void test_shared_gpus(void **state)
{
    static const struct {
        enum allocation_policy policy;
        const char *available, *required;
        size_t size;
        const char *expected;
    } table[] = {
        /* 4 GPUs x 2 slices */
        {ALLOCATION_DISTRIBUTED, "0:0 0:1 1:0 1:1 2:0 2:1 3:0 3:1", "", 1, "0:0"},
        {ALLOCATION_DISTRIBUTED, "3:1 3:0 2:1 2:0 1:1 1:0 0:1 0:0", "", 1, "0:0"},
        {ALLOCATION_DISTRIBUTED, "0:0 0:1 1:0 1:1 2:0 2:1 3:0 3:1", "", 5, "0:0 1:0 2:0 3:0 0:1"},
        {ALLOCATION_DISTRIBUTED, "0:1 1:0 1:1 2:0 2:1 3:0", "", 3, "1:0 2:0 0:1"},
        {ALLOCATION_DISTRIBUTED, "0:1 1:0 2:0 2:1 3:0", "", 1, "2:0"},
        {ALLOCATION_DISTRIBUTED, "0:0 0:1 1:0 1:1", "0:1", 2, "0:1 1:0"},
        {ALLOCATION_DISTRIBUTED, "0:0 0:1 1:0 1:1", "1:0 0:1", 2, "1:0 0:1"},
        {ALLOCATION_PACKED, "0:0 0:1 1:0 1:1 2:0 2:1 3:0 3:1", "", 3, "0:0 0:1 1:0"},
        {ALLOCATION_PACKED, "0:0 0:1 1:0 1:1 2:1", "", 3, "2:1 0:0 0:1"},
        {ALLOCATION_PACKED, "0:0 0:1 1:0 1:1 2:0 2:1", "1:1", 2, "1:1 1:0"},
        {ALLOCATION_PACKED, "x 1:1 1:1 x", "x", 2, "x 1:1"},
    };
    struct inventory machine = machine_p3_8xlarge();
    struct plan *plan = plan_of(&machine, 2);

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_prefers(plan, &machine, table[i].policy, table[i].available, table[i].required,
                       table[i].size, table[i].expected);
    plan_free(plan);
    inventory_deinit(&machine);
}

/* "0:1" is a MIG device here, "0:1:0" a slice of one. */
static void expand_mig(const char *words, struct ids *ids)
{
    char copy[256], *save = NULL;

    ids->n = 0;
    assert_int_equal(str_copy(copy, sizeof(copy), words), 0);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *id = ids->text[ids->n];

        snprintf(id, SLICE_ID_SIZE, "%s%s%s",
                 machine_mig_uuid((size_t)(word[0] - '0'), (unsigned)(word[2] - '0')),
                 word[3] ? "::" : "", word[3] ? word + 4 : "");
        ids->list[ids->n++] = id;
    }
}

/* Two GPUs with three devices of one profile each. */
static void test_mig_devices(void **state)
{
    static const struct {
        enum allocation_policy policy;
        unsigned replicas;
        const char *available, *required;
        const char *expected;
    } table[] = {
        /* the GPU with the fewest in use, or the most */
        {ALLOCATION_DISTRIBUTED, 1, "0:0 0:1 0:2 1:0 1:1 1:2", "", "0:0 1:0"},
        {ALLOCATION_DISTRIBUTED, 1, "0:1 0:2 1:0 1:1 1:2", "", "1:0 0:1"},
        {ALLOCATION_DISTRIBUTED, 1, "0:1 0:2 1:0 1:1 1:2", "0:1", "0:1 1:0"},
        {ALLOCATION_DISTRIBUTED, 1, "0:0 1:0 1:1", "", "1:0 0:0"},
        {ALLOCATION_PACKED, 1, "0:0 0:1 0:2 1:0 1:1 1:2", "", "0:0 0:1"},
        {ALLOCATION_PACKED, 1, "0:0 0:1 0:2 1:1 1:2", "", "1:1 1:2"},
        {ALLOCATION_PACKED, 1, "0:0 0:1 0:2 1:2", "", "1:2 0:0"},
        /* slices: the device with the fewest in use comes before its GPU */
        {ALLOCATION_DISTRIBUTED, 2, "0:0:1 0:1:0 0:1:1 0:2:0 0:2:1 1:0:1 1:1:1 1:2:1", "",
         "0:1:0 0:2:0"},
        {ALLOCATION_DISTRIBUTED, 2, "0:0:1 0:1:0 0:1:1 1:0:0 1:0:1", "", "0:1:0 1:0:0"},
        {ALLOCATION_PACKED, 2, "0:0:0 0:0:1 0:1:0 0:1:1 1:2:1 1:0:0 1:0:1 1:1:0 1:1:1", "",
         "1:2:1 0:0:0"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry =
            entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-2g.10gb", table[i].replicas);
        struct policy policy = {.mig_strategy = MIG_STRATEGY_MIXED,
                                .sharing = &entry,
                                .n_sharing = table[i].replicas > 1 ? 1 : 0};
        struct inventory machine =
            machine_make(2, "NVIDIA A100-SXM4-40GB", 40960, GPU_PATH_SINGLE_SWITCH);
        static struct ids a, r, e;
        const char *answer[2];
        struct plan *plan = NULL;

        machine_partition(&machine, 0, "2g.10gb 2g.10gb 2g.10gb");
        machine_partition(&machine, 1, "2g.10gb 2g.10gb 2g.10gb");
        assert_int_equal(plan_make(&machine, &policy, NULL, &plan), 0);
        expand_mig(table[i].available, &a);
        expand_mig(table[i].required, &r);
        expand_mig(table[i].expected, &e);
        assert_int_equal(prefer(&(struct preference){.plan = plan,
                                                     .resource = &plan->resources[0],
                                                     .inventory = &machine,
                                                     .policy = table[i].policy,
                                                     .available = a.list,
                                                     .n_available = a.n,
                                                     .required = r.list,
                                                     .n_required = r.n,
                                                     .size = 2},
                                answer),
                         0);
        assert_string_equal(answer[0], e.list[0]);
        assert_string_equal(answer[1], e.list[1]);
        plan_free(plan);
        inventory_deinit(&machine);
    }
}

static void test_too_few(void **state)
{
    static const struct {
        unsigned replicas;
        const char *available, *required;
        size_t size;
    } table[] = {
        {1, "", "", 1}, {1, "0 1", "", 3},     {1, "x 0", "", 2}, {1, "0 1", "1", 3},
        {2, "", "", 1}, {2, "0:0 0:0", "", 2}, {2, "0 1", "", 1}, {2, "0:0", "0:0", 2},
    };
    struct inventory machine = machine_p3_8xlarge();

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        static struct ids a, r;
        const char *answer[N_IDS];
        struct plan *plan = plan_of(&machine, table[i].replicas);

        expand(table[i].available, &a);
        expand(table[i].required, &r);
        assert_int_equal(prefer(&(struct preference){.plan = plan,
                                                     .resource = &plan->resources[0],
                                                     .inventory = &machine,
                                                     .policy = ALLOCATION_PACKED,
                                                     .available = a.list,
                                                     .n_available = a.n,
                                                     .required = r.list,
                                                     .n_required = r.n,
                                                     .size = table[i].size},
                                answer),
                         PREFER_TOO_FEW);
        plan_free(plan);
    }
    inventory_deinit(&machine);
}

/* gpuslice.unique: a device of this container comes last, however little it is used. */
static void test_unique(void **state)
{
    static const struct {
        enum allocation_policy policy;
        const char *available, *required;
        size_t size;
        const char *expected;
    } table[] = {
        {ALLOCATION_DISTRIBUTED, "0:0 0:1 1:1", "", 2, "0:0 1:1"},
        {ALLOCATION_PACKED, "0:0 0:1 1:0 1:1", "", 2, "0:0 1:0"},
        {ALLOCATION_PACKED, "1:0 1:1 2:0 2:1", "1:0", 2, "1:0 2:0"},
        {ALLOCATION_DISTRIBUTED, "0:0 0:1", "", 2, "0:0 0:1"}, /* Allocate refuses it */
    };
    struct inventory machine = machine_pcie();
    struct plan *plan = plan_of(&machine, 2);

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const char *answer[N_IDS];
        struct text text = TEXT_INIT;
        static struct ids a, r;

        expand(table[i].available, &a);
        expand(table[i].required, &r);
        assert_int_equal(prefer(&(struct preference){.plan = plan,
                                                     .resource = &plan->resources[0],
                                                     .policy = table[i].policy,
                                                     .unique = true,
                                                     .available = a.list,
                                                     .n_available = a.n,
                                                     .required = r.list,
                                                     .n_required = r.n,
                                                     .size = table[i].size},
                                answer),
                         0);
        for (size_t k = 0; k < table[i].size; k++)
            shorten(answer[k], &text);
        assert_string_equal(text_string(&text) + 1, table[i].expected);
        text_deinit(&text);
    }
    plan_free(plan);
    inventory_deinit(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unique),
        cmocka_unit_test(test_whole_gpus),
        cmocka_unit_test(test_lost_gpu_comes_last),
        cmocka_unit_test(test_shared_gpus),
        cmocka_unit_test(test_mig_devices),
        cmocka_unit_test(test_too_few),
    };

    return cmocka_run_group_tests_name("slice/prefer", tests, NULL, NULL);
}
