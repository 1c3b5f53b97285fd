// SPDX-License-Identifier: Apache-2.0

/* Any bytes as a machine file: a machine within its limits or problems, never both. */

#include <stdint.h>
#include <stdlib.h>

#include "nvml/machinefile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct machine *m)
{
    if (m->n_gpus > MACHINE_MAX_GPUS || m->n_nodes > MACHINE_MAX_NODES ||
        m->n_faults > MACHINE_MAX_FAULTS || m->n_processes > MACHINE_MAX_PROCESSES)
        abort();
    for (unsigned i = 0; i < m->n_gpus; i++) {
        const struct machine_gpu *gpu = &m->gpus[i];

        if (gpu->node >= (int)m->n_nodes || gpu->model.nvlink_count > MACHINE_MAX_LINKS ||
            gpu->model.reserved_bytes >= gpu->model.memory_bytes)
            abort();
        for (unsigned j = 0; j < MACHINE_MAX_LINKS; j++)
            if (gpu->links[j].end == LINK_GPU && gpu->links[j].peer >= m->n_gpus)
                abort();
    }
    for (unsigned i = 0; i < m->n_faults; i++)
        if (m->faults[i].gpu >= (int)m->n_gpus)
            abort();
}

/* A catalog of one family, without a file to read. */
static const struct catalog *small_catalog(void)
{
    static struct gpu_model model = {.name = "Tesla T4", .memory_bytes = 2, .nvlink_count = 6};
    static struct instance_type type = {
        .name = "g4dn.12xlarge", .family = "g4dn", .n_gpus = 4, .wiring = GPU_WIRING_PEERS};
    static const struct catalog catalog = {
        .models = &model, .n_models = 1, .types = &type, .n_types = 1};

    return &catalog;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;
    const struct machine_source source = {.catalog = small_catalog()};
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r = machine_parse((const char *)data, size, &source, &problems, &machine);

    if ((r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    if (r == 0)
        check(&machine);
    return 0;
}
