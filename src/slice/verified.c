// SPDX-License-Identifier: Apache-2.0
#include "slice/verified.h"

#include <stdbool.h>
#include <string.h>

#include "base/array.h"
#include "slice/label.h"

static const struct {
    const char *family;
    const char *branch; /* of the driver */
} rows[] = {
    {"hopper", "580"}, /* NVIDIA H200, 580.159.04 */
};

static int branch_length(const char *driver_version)
{
    return (int)strcspn(driver_version, ".");
}

static bool is_branch(const char *driver_version, const char *branch)
{
    const size_t length = (size_t)branch_length(driver_version);

    return length == strlen(branch) && memcmp(driver_version, branch, length) == 0;
}

static bool is_verified(const struct gpu *gpu, const char *driver_version)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (str_equal(label_family(gpu->cc_major, gpu->cc_minor), rows[i].family) &&
            is_branch(driver_version, rows[i].branch))
            return true;
    return false;
}

static bool is_first_of_family(const struct inventory *machine, size_t place)
{
    const struct gpu *gpu = &machine->gpus[place];

    for (size_t i = 0; i < place; i++)
        if (str_equal(label_family(machine->gpus[i].cc_major, machine->gpus[i].cc_minor),
                      label_family(gpu->cc_major, gpu->cc_minor)))
            return false;
    return true;
}

void verified_add_missing(const struct inventory *machine, struct text *out)
{
    const char *driver = *machine->driver_version ? machine->driver_version : "unknown";
    bool is_any = false;

    for (size_t i = 0; i < machine->n_gpus; i++) {
        const struct gpu *gpu = &machine->gpus[i];

        if (is_verified(gpu, machine->driver_version) || !is_first_of_family(machine, i))
            continue;
        text_addf(out, "%s%s with driver %.*s", is_any ? ", " : "",
                  gpu->cc_major ? label_family(gpu->cc_major, gpu->cc_minor)
                                : "GPUs of an unknown generation",
                  branch_length(driver), driver);
        is_any = true;
    }
}
