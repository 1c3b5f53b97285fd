// SPDX-License-Identifier: Apache-2.0
#include "arbiter/localgrants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ONE   "0000000000000001"
#define OTHER "0000000000000002"
#define HALF  "0000000000000003"

static char folder[] = "/tmp/localgrants-XXXXXX";

static void store(const char *id, pid_t tree, const char *uuid)
{
    struct localgrant grant = {.tree = tree, .n_limits = 1};

    strcpy(grant.id, id);
    strcpy(grant.limits[0].uuid, uuid);
    grant.limits[0].bytes = 5;
    assert_int_equal(localgrant_store(folder, &grant, NULL), 0);
}

static int make_folder(void **state)
{
    char path[256];

    (void)state;
    assert_non_null(mkdtemp(folder));
    store(ONE, getpid(), "GPU-0");
    store(OTHER, 0x7ffffff0, "GPU-0");
    snprintf(path, sizeof(path), "%s/grants/" HALF, folder);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/grants/lost+found", folder);
    return mkdir(path, 0755);
}

static int remove_folder(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void a_process_is_found_by_its_command(void **state)
{
    cleanup_localgrants struct localgrants grants = LOCALGRANTS_INIT;
    const struct localgrant *found;

    (void)state;
    assert_int_equal(localgrants_read(folder, &grants, NULL), 0);
    assert_int_equal(grants.n, 2);
    found = localgrants_find(&grants, getpid());
    assert_non_null(found);
    assert_string_equal(found->id, ONE);
    assert_null(localgrants_find(&grants, 1));
}

static void no_folder_has_none(void **state)
{
    cleanup_localgrants struct localgrants grants = LOCALGRANTS_INIT;

    (void)state;
    assert_int_equal(localgrants_read("/nowhere/at/all", &grants, NULL), 0);
    assert_int_equal(grants.n, 0);
    assert_null(localgrants_find(&grants, getpid()));
}

/* Two on one device: neither takes it from the other. */
static void as_records_they_stand_beside_each_other(void **state)
{
    cleanup_localgrants struct localgrants grants = LOCALGRANTS_INIT;
    cleanup_podrecords struct podrecords records = PODRECORDS_INIT;

    (void)state;
    assert_int_equal(localgrants_read(folder, &grants, NULL), 0);
    assert_int_equal(localgrants_add(&grants, &records), 0);
    assert_int_equal(records.checkpoint.n_entries, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct kubeletcheckpoint_entry *entry = &records.checkpoint.entries[i];
        const struct ledger_grant *found = ledger_find(&records.ledger, entry->grant);

        assert_true(localgrant_is_uid(entry->pod_uid));
        assert_string_equal(entry->container, LOCALGRANT_CONTAINER);
        assert_non_null(found);
        assert_int_equal(found->grant.n_ids, 1);
        assert_string_equal(found->grant.devices[0].uuid, "GPU-0");
        assert_int_equal(found->grant.devices[0].mem_bytes, 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_found_by_its_command),
        cmocka_unit_test(no_folder_has_none),
        cmocka_unit_test(as_records_they_stand_beside_each_other),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
