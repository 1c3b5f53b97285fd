// SPDX-License-Identifier: Apache-2.0
#include "plugin/absent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "plugin/grants.h"
#include "plugin/test-bed.h"

/* What pods hold, in the ledger's order. */
static const struct {
    const char *resource, *id, *profile; /* as granted; "" = unknown */
    bool is_absent;
} rows[] = {
    {"nvidia.com/gpu", "GPU-9", "", false},        /* a GPU's is the machine's to remember */
    {"nvidia.com/gpu", "MIG-1", "2g.10gb", false}, /* under another name, and there */
    {"nvidia.com/mig-1g.5gb", "MIG-0", "1g.5gb", false},
    {"nvidia.com/mig-1g.5gb", "MIG-7", "1g.5gb", true},
    {"nvidia.com/mig-2g.10gb", "MIG-0", "2g.10gb", true}, /* another one in its place */
    {"nvidia.com/mig-3g.20gb.shared", "mig-8::2", "", true},
};

static struct grant grants[ARRAY_SIZE(rows)];

bool grants_next_held(const struct grants *unused, size_t *position, struct ledger_held *ret_held)
{
    (void)unused;
    if (*position == ARRAY_SIZE(rows))
        return false;
    *ret_held =
        (struct ledger_held){rows[*position].resource, rows[*position].id, &grants[*position]};
    ++*position;
    return true;
}

bool grants_holds(const struct grants *unused, const char *resource, const char *device_id)
{
    (void)unused, (void)resource, (void)device_id;
    return true;
}

static struct offer *make_offer(size_t n_mig_devices)
{
    struct gpu gpu = {.uuid = "GPU-0", .model = "NVIDIA A100-SXM4-40GB", .mig_enabled = true};
    struct device devices[] = {
        {.kind = DEVICE_MIG, .uuid = "MIG-0", .profile = "1g.5gb"},
        {.kind = DEVICE_MIG, .uuid = "MIG-1", .profile = "2g.10gb", .mig_index = 1}};
    const struct inventory inventory = {
        .gpus = &gpu, .n_gpus = 1, .mig_devices = devices, .n_mig_devices = n_mig_devices};
    struct offer *offer = bed_offer_of(&inventory, "flags: {migStrategy: mixed}\n");

    offer->grants = (const struct grants *)(const void *)rows;
    return offer;
}

static int make_grants(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        grants[i].resource = strdup(rows[i].resource);
        assert_int_equal(grant_add_id(&grants[i], rows[i].id), 0);
        assert_int_equal(grant_add_device(&grants[i], rows[i].id, 1000, 0), 0);
        assert_int_equal(grant_set_profile(&grants[i], rows[i].id, rows[i].profile), 0);
    }
    return 0;
}

static int drop_grants(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        grant_deinit(&grants[i]);
    return 0;
}

static bool finds(const struct offer *offer, const char *among, const char *resource,
                  const char *id)
{
    struct absent absent;
    size_t position = 0;

    while (absent_next(offer, among, &position, &absent))
        if (str_equal(absent.resource, resource) && str_equal(absent.id, id))
            return true;
    return false;
}

static void ids_of_mig_devices_that_are_gone(void **state)
{
    struct offer *offer = make_offer(2);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (finds(offer, NULL, rows[i].resource, rows[i].id) != rows[i].is_absent)
            fail_msg("row %zu", i);
        assert_int_equal(finds(offer, rows[i].resource, rows[i].resource, rows[i].id),
                         rows[i].is_absent);
        assert_false(finds(offer, "nvidia.com/other", rows[i].resource, rows[i].id));
    }
    offer->grants = NULL; /* nobody knows what pods hold */
    assert_false(finds(offer, NULL, "nvidia.com/mig-1g.5gb", "MIG-7"));
    bed_offer_free(offer);
}

static void two_offers_are_compared(void **state)
{
    struct offer *both = make_offer(2), *one = make_offer(1);

    (void)state;
    assert_false(absent_differ(both, both, "nvidia.com/gpu"));
    assert_true(absent_differ(both, one, "nvidia.com/gpu")); /* MIG-1 */
    assert_false(absent_differ(both, one, "nvidia.com/mig-1g.5gb"));
    bed_offer_free(both);
    bed_offer_free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_mig_devices_that_are_gone),
        cmocka_unit_test(two_offers_are_compared),
    };

    return cmocka_run_group_tests_name("plugin/absent", tests, make_grants, drop_grants);
}
