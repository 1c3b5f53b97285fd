// SPDX-License-Identifier: Apache-2.0
#include "plugin/offer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "plugin/test-bed.h"

static const struct plan_resource *gpus(const struct offer *offer)
{
    const struct plan_resource *resource = plan_find_resource(offer->plan, "nvidia.com/gpu");

    assert_non_null(resource);
    return resource;
}

static void every_gpu_is_fit_at_first(void **state)
{
    struct offer *offer = bed_offer(BED_SHARED_BY_4);

    (void)state;
    assert_int_equal(gpus(offer)->n_slices, 8);
    assert_int_equal(offer_count_healthy(offer, gpus(offer)), 8);
    bed_offer_free(offer);
}

/* A GPU that goes bad takes all its slices with it, and no other's. */
static void slices_are_as_fit_as_their_gpu(void **state)
{
    struct offer *offer = bed_offer(BED_SHARED_BY_4);

    (void)state;
    offer->device_healthy[1] = false;
    for (size_t i = 0; i < gpus(offer)->n_slices; i++) {
        const struct slice *slice = &gpus(offer)->slices[i];

        assert_int_equal(offer_slice_is_healthy(offer, gpus(offer), slice),
                         str_starts_with(slice->id, BED_UUID_0));
    }
    assert_int_equal(offer_count_healthy(offer, gpus(offer)), 4);
    offer->device_healthy[0] = false;
    assert_int_equal(offer_count_healthy(offer, gpus(offer)), 0);
    bed_offer_free(offer);
}

/* The machine is read again while an offer of before is still answered from. */
static void an_offer_keeps_the_machine_it_was_made_of(void **state)
{
    struct gpu gpu = {.uuid = BED_UUID_0, .model = "Tesla V100-SXM2-16GB", .numa_node = -1};
    const struct inventory inventory = {.gpus = &gpu, .n_gpus = 1};
    struct offer *one = bed_offer("flags: {}\n"), *other;

    (void)state;
    assert_int_equal(offer_new(one->config, &inventory, NULL, &other), 0);
    memset(&gpu, 0, sizeof(gpu));
    assert_string_equal(other->inventory.gpus[0].uuid, BED_UUID_0);
    assert_string_equal(gpus(other)->slices[0].id, BED_UUID_0);
    offer_free(other); /* the configuration is the other's still */
    assert_int_equal(gpus(one)->n_slices, 2);
    bed_offer_free(one);
    offer_free(NULL);
}

/* A partitioned GPU 0 with two MIG devices, and a whole GPU 1. */
static struct offer *partitioned_offer(struct config *config, const char *withheld, bool is_held)
{
    struct gpu gpus[2] = {{.index = 0, .uuid = BED_UUID_0, .numa_node = -1, .mig_enabled = true},
                          {.index = 1, .uuid = BED_UUID_1, .numa_node = -1}};
    struct device devices[2] = {
        {.kind = DEVICE_MIG, .uuid = "MIG-a", .profile = "1g.5gb", .instance = {1, 0}},
        {.kind = DEVICE_MIG, .uuid = "MIG-b", .profile = "1g.5gb", .instance = {2, 0}}};
    const struct inventory machine = {
        .gpus = gpus, .n_gpus = 2, .mig_devices = devices, .n_mig_devices = 2};
    struct offer *offer;

    config->policy.mig_strategy = MIG_STRATEGY_MIXED;
    for (size_t i = 0; i < 2; i++)
        snprintf(gpus[i].withheld, sizeof(gpus[i].withheld), "%s",
                 i == 0 || is_held ? withheld : "");
    gpus[1].is_held = is_held;
    devices[1].is_withheld = *withheld;
    assert_int_equal(offer_new(config, &machine, NULL, &offer), 0);
    return offer;
}

/* Of a GPU that is being partitioned: what a pod has stays listed, and nobody else gets it. */
static void what_is_withheld_is_given_to_nobody(void **state)
{
    struct offer *bed = bed_offer("flags: {}\n");
    struct offer *offer = partitioned_offer(bed->config, "it is being partitioned", true);
    const struct plan_resource *mig = plan_find_resource(offer->plan, "nvidia.com/mig-1g.5gb");
    struct device gone = {.kind = DEVICE_MIG, .uuid = "MIG-c"};

    (void)state;
    assert_int_equal(mig->n_slices, 2);
    assert_int_equal(offer_count_healthy(offer, mig), 1);
    assert_true(offer_slice_is_healthy(offer, mig, plan_find(mig, "MIG-a")));
    assert_null(offer_withholds(offer, &offer->inventory.mig_devices[0]));
    assert_string_equal(offer_withholds(offer, &offer->inventory.mig_devices[1]),
                        "it is being partitioned");
    assert_string_equal(offer_withholds(offer, &gone), "it does not exist any more");
    assert_int_equal(gpus(offer)->n_slices, 1); /* whole, and Unhealthy */
    assert_int_equal(offer_count_healthy(offer, gpus(offer)), 0);
    /* What the offer before had whole is partitioned now. */
    assert_string_equal(offer_withholds(offer, &bed->plan->devices[0].device),
                        "it is being partitioned");
    offer_free(offer);
    offer = partitioned_offer(bed->config, "", false);
    assert_string_equal(offer_withholds(offer, &bed->plan->devices[0].device),
                        "it is partitioned now");
    assert_null(offer_withholds(offer, &bed->plan->devices[1].device));
    offer_free(offer);
    bed_offer_free(bed);
}

/* And what nobody has is not listed at all. */
static void a_whole_gpu_that_is_withheld_is_left_out(void **state)
{
    struct gpu gpu = {.uuid = BED_UUID_0, .numa_node = -1, .withheld = "it is being partitioned"};
    const struct inventory machine = {.gpus = &gpu, .n_gpus = 1};
    struct offer *bed = bed_offer("flags: {}\n"), *offer;

    (void)state;
    assert_int_equal(offer_new(bed->config, &machine, NULL, &offer), 0);
    assert_string_equal(offer->plan->devices[0].left_out, "it is being partitioned");
    assert_null(plan_find_resource(offer->plan, "nvidia.com/gpu"));
    offer_free(offer);
    bed_offer_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gpu_is_fit_at_first),
        cmocka_unit_test(slices_are_as_fit_as_their_gpu),
        cmocka_unit_test(an_offer_keeps_the_machine_it_was_made_of),
        cmocka_unit_test(what_is_withheld_is_given_to_nobody),
        cmocka_unit_test(a_whole_gpu_that_is_withheld_is_left_out),
    };

    return cmocka_run_group_tests_name("plugin/offer", tests, NULL, NULL);
}
