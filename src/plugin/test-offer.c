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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gpu_is_fit_at_first),
        cmocka_unit_test(slices_are_as_fit_as_their_gpu),
        cmocka_unit_test(an_offer_keeps_the_machine_it_was_made_of),
    };

    return cmocka_run_group_tests_name("plugin/offer", tests, NULL, NULL);
}
