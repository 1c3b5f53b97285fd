// SPDX-License-Identifier: Apache-2.0

/* Two containers on a device: who has a part in its turns, what is read of them, and when the
 * device is looked at again. What becomes of their gates is test-devicegates.c's. */

#include "arbiter/gateddevice.h"
#include "arbiter/gatepage.h"
#include "arbiter/test-gatetenant.h"

enum { N_TENANTS = 2, MS = 1000000, NOW_NS = 1000 * MS };

static const char *const uuid = "GPU-00112233-4455-6677-8899-aabbccddeeff";
static struct gatetenant tenants[N_TENANTS];
static struct gateddevice *device;

static int set_up(void **state)
{
    device = gateddevice_new(uuid, LIMITS_COMPUTE_ELASTIC);
    for (size_t i = 0; i < N_TENANTS; i++)
        gatetenant_init(&tenants[i], "pod", 1, &uuid);
    return device ? 0 : -1;
}

static int tear_down(void **state)
{
    gateddevice_remove(device, NULL);
    gateddevice_free(device);
    for (size_t i = 0; i < N_TENANTS; i++)
        gatetenant_deinit(&tenants[i]);
    return 0;
}

static void add(size_t tenant)
{
    assert_int_equal(gateddevice_add(device, &tenants[tenant].tenant, 0), 0);
}

static struct gatemember *find(size_t tenant)
{
    return gateddevice_find(device, &tenants[tenant].tenant);
}

static void run(uint64_t due_ns)
{
    gateddevice_read(device, NOW_NS);
    (void)turns_run(device->turns, NOW_NS);
    gateddevice_show(device, due_ns, NOW_NS);
}

static void test_who_is_added_has_a_part_until_it_is_removed(void **state)
{
    struct turns_state of;

    assert_null(find(0));
    add(0);
    add(1);
    assert_ptr_equal(find(1)->tenant, &tenants[1].tenant);
    turns_state(device->turns, &of);
    assert_int_equal(of.n_units, 2);
    gateddevice_remove(device, &tenants[0].tenant);
    assert_null(find(0));
    assert_non_null(find(1));
    turns_state(device->turns, &of);
    assert_int_equal(of.n_units, 1);
}

/* Its grants tell its share; of a release that did not write one, it has all. */
static void test_who_has_no_share_has_all(void **state)
{
    tenants[1].tenant.shares_ppm[0] = 0;
    add(0);
    add(1);
    assert_int_equal(find(0)->party.share_ppm, GATETENANT_SHARE_PPM);
    assert_int_equal(find(1)->party.share_ppm, 1000000);
}

static void test_who_is_removed_finds_its_gate_open(void **state)
{
    static const struct turns_gate closed = {.gate = LIMITS_GATE_CLOSED};
    const struct limits_device *shown = &tenants[0].tenant.page.page->devices[0];

    add(0);
    assert_true(gatepage_show(&tenants[0].tenant, 0, &closed, false, NOW_NS));
    assert_int_equal(shown->gate, LIMITS_GATE_CLOSED);
    gateddevice_remove(device, &tenants[0].tenant);
    assert_int_equal(shown->gate, LIMITS_GATE_OPEN);
}

static void test_what_processes_claim_adds_up(void **state)
{
    struct claimspage page = CLAIMSPAGE_INIT;
    struct claims *claims;

    gatetenant_join(&tenants[0]);
    add(0);
    tenants[0].claims->devices[0].n_launched = 5;
    tenants[0].claims->devices[0].n_waiting = 1;
    run(NOW_NS + MS);
    assert_int_equal(find(0)->claims.n_launched, 5);
    assert_int_equal(find(0)->claims.n_waiting, 1);
    claims = gatetenant_claim(&tenants[0], &page);
    claims->devices[0].n_launched = 2;
    tenants[0].claims->devices[0].n_waiting = 0;
    run(NOW_NS + MS);
    assert_int_equal(find(0)->claims.n_launched, 7);
    assert_int_equal(find(0)->claims.n_waiting, 0);
    munmap(claims, CLAIMS_SIZE);
    tenant_drop_claims(&tenants[0].tenant, &page);
    run(NOW_NS + MS); /* what it did stays */
    assert_int_equal(find(0)->claims.n_launched, 7);
}

/* Nothing wakes a node on which nobody claims anything. */
static void test_a_device_without_claims_is_never_due(void **state)
{
    add(0);
    run(NOW_NS + MS);
    device->has_news = false; /* gategroups.h has looked */
    gateddevice_show(device, NOW_NS + MS, NOW_NS);
    assert_true(device->due_ns == GATEDDEVICE_NEVER);
    assert_false(device->is_soon);
    gatetenant_join(&tenants[0]);
    gateddevice_note(device);
    assert_int_equal(device->due_ns, 0);
}

/* Whatever is claimed: there is time for others in between. */
static void test_when_a_device_is_due(void **state)
{
    static const struct {
        uint64_t wanted_ns, due_ns;
        bool is_soon;
    } rows[] = {
        {0, NOW_NS + 10000, true},
        {NOW_NS + 50000, NOW_NS + 50000, true},
        {NOW_NS + 5 * MS, NOW_NS + 5 * MS, false},
    };

    gatetenant_join(&tenants[0]);
    add(0);
    device->has_news = false;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        gateddevice_show(device, rows[i].wanted_ns, NOW_NS);
        assert_int_equal(device->due_ns, rows[i].due_ns);
        assert_int_equal(device->is_soon, rows[i].is_soon);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_who_is_added_has_a_part_until_it_is_removed),
        TEST(test_who_has_no_share_has_all),
        TEST(test_who_is_removed_finds_its_gate_open),
        TEST(test_what_processes_claim_adds_up),
        TEST(test_a_device_without_claims_is_never_due),
        TEST(test_when_a_device_is_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
