// SPDX-License-Identifier: Apache-2.0
#include "gpu/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static void is_loaded_as_it_was(void **state)
{
    struct gpu_event event = {.xid = 79};
    struct record record;

    assert_int_equal(str_copy(event.uuid, sizeof(event.uuid), "GPU-1"), 0);
    assert_int_equal(record_load(RECORD_EVENT, &event, sizeof(event), &record), 0);
    assert_int_equal(record.type, RECORD_EVENT);
    assert_string_equal(record.event.uuid, "GPU-1");
    assert_int_equal(record.event.xid, 79);
}

static void refuses_strangers(void **state)
{
    static const struct {
        uint32_t type;
        size_t cut; /* bytes less than the type has */
        int expected;
    } rows[] = {
        {RECORD_INVENTORY, 0, 0},         {RECORD_ASK, 0, 0},
        {RECORD_INVENTORY, 1, -EBADMSG},  {0, 0, -EBADMSG},
        {RECORD_LISTED + 1, 0, -EBADMSG}, {UINT32_MAX, 0, -EBADMSG},
    };
    static const char zeroes[sizeof(struct record)];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct record record;

        assert_int_equal(
            record_load(rows[i].type, zeroes, record_size(rows[i].type) - rows[i].cut, &record),
            rows[i].expected);
    }
}

/* Bytes as a broken library might have left them. */
static void tames_wild_bytes(void **state)
{
    struct record wild, record;

    memset(&wild, 0xff, sizeof(wild));
    wild.gpu.position = 3;
    assert_int_equal(record_load(RECORD_GPU, &wild.gpu, sizeof(wild.gpu), &record), -EBADMSG);
    wild.gpu.gpu.layout.n_instances = 1;
    wild.gpu.gpu.layout.instances[0] = (struct mig_instance){.n_computes = 1};
    assert_int_equal(record_load(RECORD_GPU, &wild.gpu, sizeof(wild.gpu), &record), 0);
    wild.gpu.gpu.layout.instances[0].computes[0].profile = MIG_CI_PROFILES_MAX;
    assert_int_equal(record_load(RECORD_GPU, &wild.gpu, sizeof(wild.gpu), &record), -EBADMSG);
    wild.gpu.gpu.layout.n_instances = 0;
    assert_int_equal(record_load(RECORD_GPU, &wild.gpu, sizeof(wild.gpu), &record), 0);
    assert_int_equal(strlen(record.gpu.gpu.uuid), sizeof(record.gpu.gpu.uuid) - 1);
    assert_true(record.gpu.gpu.mig_capable == 1);
    wild.gpu.position = RECORD_GPUS_MAX;
    assert_int_equal(record_load(RECORD_GPU, &wild.gpu, sizeof(wild.gpu), &record), -EBADMSG);

    memset(&wild, 0xff, sizeof(wild));
    assert_int_equal(
        record_load(RECORD_INVENTORY, &wild.inventory, sizeof(wild.inventory), &record), -EBADMSG);
    assert_int_equal(record_load(RECORD_PROBE, &wild.probe, sizeof(wild.probe), &record), -EBADMSG);
    assert_int_equal(record_load(RECORD_MIG, &wild.mig, sizeof(wild.mig), &record), -EBADMSG);
    wild.mig.position = 0;
    wild.mig.device.gpu = 0;
    assert_int_equal(record_load(RECORD_MIG, &wild.mig, sizeof(wild.mig), &record), -EBADMSG);
    wild.mig.device.kind = DEVICE_MIG;
    assert_int_equal(record_load(RECORD_MIG, &wild.mig, sizeof(wild.mig), &record), 0);
    assert_int_equal(strlen(record.mig.device.uuid), GPU_UUID_SIZE - 1);
    assert_int_equal(strlen(record.mig.device.profile), DEVICE_PROFILE_SIZE - 1);
    assert_int_equal(strlen(record.mig.device.unusable), DEVICE_UNUSABLE_SIZE - 1);
    wild.mig.position = RECORD_MIG_MAX;
    assert_int_equal(record_load(RECORD_MIG, &wild.mig, sizeof(wild.mig), &record), -EBADMSG);
    memset(&wild, 0, sizeof(wild));
    wild.inventory.n_mig_devices = RECORD_MIG_MAX + 1;
    assert_int_equal(
        record_load(RECORD_INVENTORY, &wild.inventory, sizeof(wild.inventory), &record), -EBADMSG);
    memset(&wild, 0xff, sizeof(wild));
    assert_int_equal(record_load(RECORD_BOARD, &wild.board, sizeof(wild.board), &record), -EBADMSG);
    assert_int_equal(record_load(RECORD_CHANGE, &wild.change, sizeof(wild.change), &record),
                     -EBADMSG);
    assert_int_equal(record_load(RECORD_CHANGED, &wild.changed, sizeof(wild.changed), &record),
                     -EBADMSG);
    wild.changed.n_holders = GPU_HOLDERS_MAX;
    assert_int_equal(record_load(RECORD_CHANGED, &wild.changed, sizeof(wild.changed), &record), 0);
    assert_int_equal(strlen(record.changed.holders[GPU_HOLDERS_MAX - 1].name),
                     GPU_PROCESS_NAME_SIZE - 1);
    memset(&wild, 0xff, sizeof(wild));
    assert_int_equal(record_load(RECORD_LISTED, &wild.listed, sizeof(wild.listed), &record),
                     -EBADMSG);
    wild.listed.n_processes = RECORD_PROCESSES_MAX;
    assert_int_equal(record_load(RECORD_LISTED, &wild.listed, sizeof(wild.listed), &record), 0);
    assert_int_equal(strlen(record.listed.reason), RECORD_REASON_SIZE - 1);
    memset(&wild, 0xff, sizeof(wild));
    wild.links.position = 0;
    assert_int_equal(record_load(RECORD_LINKS, &wild.links, sizeof(wild.links), &record), 0);
    assert_int_equal(record.links.links[7].path, GPU_PATH_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_loaded_as_it_was),
        cmocka_unit_test(refuses_strangers),
        cmocka_unit_test(tames_wild_bytes),
    };

    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
