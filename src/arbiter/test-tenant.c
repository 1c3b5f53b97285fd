// SPDX-License-Identifier: Apache-2.0

/* Which container has what, by the records of kubelet and agent. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/localgrant.h"
#include "arbiter/tenant.h"
#include "base/array.h"

#define GPU_A "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define GPU_B "GPU-ffffffff-4455-6677-8899-aabbccddeeff"

/* A grant that the kubelet has recorded. */
struct row {
    const char *pod_uid, *container, *grant, *uuid;
    uint64_t bytes;
};

static const struct row rows[] = {
    {"pod-1", "main", "0000000000000001", GPU_A, 100},
    {"pod-1", "main", "0000000000000002", GPU_A, 50},
    {"pod-1", "main", "0000000000000003", GPU_B, 7},
    {"pod-1", "init", "0000000000000004", GPU_A, 150},
    {"pod-2", "main", "0000000000000005", GPU_A, 0}, /* no limit is known */
    {"pod-2", "main", "0000000000000006", GPU_A, 9},
    {"pod-3", "main", "", GPU_A, 9},                /* of another device plugin */
    {"pod-4", "main", "0000000000000007", NULL, 0}, /* not in the log yet */
};

static struct kubeletcheckpoint_entry entries[ARRAY_SIZE(rows)];
static struct podrecords records;

/* Those of pods other than `without`; the log has what it has. */
static void set_entries(const char *without)
{
    records.checkpoint = (struct kubeletcheckpoint){.entries = entries};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct kubeletcheckpoint_entry *entry = &entries[records.checkpoint.n_entries];

        if (without && strcmp(rows[i].pod_uid, without) == 0)
            continue;
        *entry = (struct kubeletcheckpoint_entry){.resource = NULL};
        snprintf(entry->pod_uid, sizeof(entry->pod_uid), "%s", rows[i].pod_uid);
        snprintf(entry->container, sizeof(entry->container), "%s", rows[i].container);
        snprintf(entry->grant, sizeof(entry->grant), "%s", rows[i].grant);
        records.checkpoint.n_entries++;
    }
}

static int fill_ledger(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct grant grant = GRANT_INIT;
        char id[64];

        if (!*rows[i].grant || !rows[i].uuid)
            continue;
        snprintf(grant.id, sizeof(grant.id), "%s", rows[i].grant);
        snprintf(id, sizeof(id), "%s::%zu", rows[i].uuid, i);
        grant.resource = strdup("nvidia.com/gpu");
        assert_int_equal(grant_add_id(&grant, id), 0);
        assert_int_equal(grant_add_device(&grant, rows[i].uuid, 250, rows[i].bytes), 0);
        assert_int_equal(ledger_add(&records.ledger, &grant, 0), 0);
        grant_deinit(&grant);
    }
    return 0;
}

static int empty_ledger(void **state)
{
    ledger_deinit(&records.ledger);
    return 0;
}

static size_t count(const struct tenants *tenants)
{
    size_t n = 0;

    for (const struct tenant *tenant = tenants->first; tenant; tenant = tenant->next)
        n++;
    return n;
}

static void test_grants_of_a_container_add_up_by_device(void **state)
{
    struct tenants tenants = {.first = NULL};
    struct tenant *tenant, *same;

    set_entries(NULL);
    assert_int_equal(tenants_find(&tenants, &records, "0000000000000002", &tenant), 0);
    assert_string_equal(tenant->pod_uid, "pod-1");
    assert_string_equal(tenant->container, "main");
    assert_int_equal(tenant->account->n_devices, 2);
    assert_int_equal(tenant->account->devices[tenant_find_device(tenant, GPU_A)].limit_bytes, 150);
    assert_int_equal(tenant->account->devices[tenant_find_device(tenant, GPU_B)].limit_bytes, 7);
    assert_int_equal(tenant->shares_ppm[tenant_find_device(tenant, GPU_A)], 500000);
    assert_int_equal(tenant->shares_ppm[tenant_find_device(tenant, GPU_B)], 250000);
    assert_int_equal(tenant_find_device(tenant, "GPU-none"), 2);
    assert_int_equal(tenants_find(&tenants, &records, "0000000000000003", &same), 0);
    assert_ptr_equal(same, tenant);
    assert_int_equal(tenants_find(&tenants, &records, "0000000000000006", &tenant), 0);
    assert_int_equal(tenant->account->devices[0].limit_bytes, 0);
    assert_int_equal(tenants_find(&tenants, &records, "0000000000000007", &tenant), TENANT_UNKNOWN);
    assert_int_equal(tenants_find(&tenants, &records, "00000000000000ff", &tenant), TENANT_UNKNOWN);
    tenants_deinit(&tenants);
}

static void test_a_container_that_is_gone_stays_while_it_has_processes(void **state)
{
    struct tenants tenants = {.first = NULL};
    struct account_process *process;
    struct tenant *tenant;

    set_entries(NULL);
    assert_int_equal(tenants_update(&tenants, &records), 0);
    assert_int_equal(count(&tenants), 3);
    tenant = tenants_guess(&tenants, "pod-2", "main");
    assert_non_null(tenant);
    assert_int_equal(account_register(tenant->account, 5, 0, &process), 0);
    set_entries("pod-2");
    assert_int_equal(tenants_update(&tenants, &records), 0);
    assert_ptr_equal(tenants_guess(&tenants, "pod-2", "main"), tenant);
    account_end(tenant->account, process);
    tenant->n_sessions++; /* that watches a process */
    assert_int_equal(tenants_update(&tenants, &records), 0);
    assert_int_equal(count(&tenants), 3);
    tenant->n_sessions--;
    assert_int_equal(tenants_update(&tenants, &records), 0);
    assert_null(tenants_guess(&tenants, "pod-2", "main"));
    assert_int_equal(count(&tenants), 2);
    tenants_deinit(&tenants);
}

static void test_a_process_whose_container_is_not_known(void **state)
{
    struct tenants tenants = {.first = NULL};

    set_entries(NULL);
    assert_int_equal(tenants_update(&tenants, &records), 0);
    assert_null(tenants_guess(&tenants, "pod-1", "")); /* of two */
    assert_non_null(tenants_guess(&tenants, "pod-2", ""));
    assert_null(tenants_guess(&tenants, "pod-2", "sidecar"));
    assert_null(tenants_guess(&tenants, "pod-3", "main"));
    tenants_deinit(&tenants);
}

static void test_its_page_has_what_its_account_has(void **state)
{
    static const uint8_t uuid[LIMITS_UUID_SIZE] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    struct tenants tenants = {.first = NULL};
    struct account_process *process;
    const struct limits_page *page;
    struct tenant *tenant;

    set_entries(NULL);
    assert_int_equal(tenants_find(&tenants, &records, "0000000000000001", &tenant), 0);
    assert_int_equal(tenant_open_page(tenant, LIMITS_OBSERVE, NULL), 0);
    page = tenant->page.page;
    assert_int_equal(page->n_devices, 2);
    assert_int_equal(page->mode, LIMITS_OBSERVE);
    assert_int_equal(page->devices[0].limit_bytes, 150);
    assert_memory_equal(page->devices[0].uuid, uuid, sizeof(uuid));
    assert_int_equal(account_register(tenant->account, 5, 0, &process), 0);
    account_charge(tenant->account, process, 0, 40);
    tenant_publish(tenant, LIMITS_ENFORCED);
    assert_int_equal(page->mode, LIMITS_ENFORCED);
    assert_int_equal(page->devices[0].charged_bytes, 40);
    assert_int_equal(page->devices[1].charged_bytes, 0);
    assert_int_equal(page->devices[1].n_processes, 1);
    assert_int_equal(page->devices[0].returned_bytes, 1); /* nothing, and known */
    tenants_deinit(&tenants);
}

/* Pods by their uids, namespaces and names. */
/* All containers of a pod, once an audit knows what it is called. */
static void test_a_pod_is_named(void **state)
{
    struct tenant main = {.pod_uid = "1"}, other = {.next = &main, .pod_uid = "2"},
                  init = {.next = &other, .pod_uid = "1", .namespace_ = "old", .pod = "old"};
    struct tenants tenants = {.first = &init};
    struct audit_use uses[] = {
        {.owner = {.pod_uid = "1", .namespace_ = "default", .pod = "trainer"}},
        {.owner = {.pod_uid = "2"}}, /* not known yet */
    };

    (void)state;
    tenants_name(&tenants, &(struct audit){.uses = uses, .n_uses = ARRAY_SIZE(uses)});
    assert_string_equal(main.namespace_, "default");
    assert_string_equal(main.pod, "trainer");
    assert_string_equal(init.pod, "trainer");
    assert_string_equal(other.pod, "");
    uses[0].owner.pod[0] = '\0'; /* what was known stays */
    tenants_name(&tenants, &(struct audit){.uses = uses, .n_uses = ARRAY_SIZE(uses)});
    assert_string_equal(main.pod, "trainer");
}

static void test_who_has_the_same_owner(void **state)
{
    static const struct {
        struct tenant one, other;
        bool is_same;
    } cases[] = {
        {{.pod_uid = "1", .container = "a"}, {.pod_uid = "1", .container = "b"}, true},
        {{.pod_uid = "1"}, {.pod_uid = "2"}, false},
        {{.pod_uid = "1", .namespace_ = "x"}, {.pod_uid = "2"}, false},
        {{.pod_uid = "1", .namespace_ = "x"}, {.pod_uid = "2", .namespace_ = "x"}, true},
        {{.pod_uid = "1", .namespace_ = "x"}, {.pod_uid = "2", .namespace_ = "y"}, false},
        {{.pod_uid = "1", .namespace_ = LOCALGRANT_NAMESPACE, .pod = "7"},
         {.pod_uid = "2", .namespace_ = LOCALGRANT_NAMESPACE, .pod = "7"},
         true},
        {{.pod_uid = "1", .namespace_ = LOCALGRANT_NAMESPACE, .pod = "7"},
         {.pod_uid = "2", .namespace_ = LOCALGRANT_NAMESPACE, .pod = "8"},
         false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(tenant_has_same_owner(&cases[i].one, &cases[i].other), cases[i].is_same);
        assert_int_equal(tenant_has_same_owner(&cases[i].other, &cases[i].one), cases[i].is_same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grants_of_a_container_add_up_by_device),
        cmocka_unit_test(test_a_container_that_is_gone_stays_while_it_has_processes),
        cmocka_unit_test(test_a_process_whose_container_is_not_known),
        cmocka_unit_test(test_its_page_has_what_its_account_has),
        cmocka_unit_test(test_a_pod_is_named),
        cmocka_unit_test(test_who_has_the_same_owner),
    };

    return cmocka_run_group_tests(tests, fill_ledger, empty_ledger);
}
