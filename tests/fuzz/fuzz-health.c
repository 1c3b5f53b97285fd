// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "health/health.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is restored is asked for, until no probe is due: each GPU once, at most. */
static void check_probes(struct health *health)
{
    const uint64_t now_ms = UINT64_C(1) << 40;
    size_t n = 0;

    while (health_take_due(health, now_ms))
        if (++n > health->n_devices)
            abort();
}

/* GPU-a is there with the MIG device MIG-b; of all other devices the driver knows nothing. */
static void check_session(struct health *health)
{
    struct gpu gpu = {.uuid = "GPU-a"};
    struct device mig = {.uuid = "MIG-b", .kind = DEVICE_MIG, .instance = {9, 0}};
    const struct inventory inventory = {
        .gpus = &gpu, .n_gpus = 1, .mig_devices = &mig, .n_mig_devices = 1};
    const struct gpu_probe probe = GPU_PROBE_INIT;

    if (health_inventory(health, &inventory, 1000) < 0)
        return; /* the file named as many devices as there may be */
    check_probes(health);
    health_probe(health, "GPU-a", 0, &probe, "", 2000);
    health_forget(health, &inventory);
    check_probes(health);
    for (size_t i = 0; i < health->n_devices; i++)
        if (health->devices[i].kind == DEVICE_MIG && strcmp(health->devices[i].gpu_uuid, "GPU-a"))
            abort();
}

/* With every check off no need counts. */
static void check_overruled(struct health *health)
{
    const struct xid_filter off = {.disable_all = true};

    for (size_t i = 0; i < health->n_devices; i++) {
        char reason[HEALTH_REASON_SIZE];

        devicehealth_overrule(&health->devices[i], &off, 3000, reason);
        if (health->devices[i].need != HEALTH_NEED_NOTHING)
            abort();
    }
}

/* The saved state of an earlier agent: what is taken is written back the same, and works. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct health health = HEALTH_INIT, again = HEALTH_INIT;
    struct text first = TEXT_INIT, second = TEXT_INIT;

    if (health_restore(&health, "boot", (const char *)data, size) == 0) {
        health_save(&health, "boot", &first);
        if (health_restore(&again, "boot", first.data, first.length) != 0)
            abort();
        health_save(&again, "boot", &second);
        if (strcmp(first.data, second.data) != 0)
            abort();
        check_session(&again);
        check_overruled(&health);
    }
    text_deinit(&first);
    text_deinit(&second);
    health_deinit(&health);
    health_deinit(&again);
    return 0;
}
