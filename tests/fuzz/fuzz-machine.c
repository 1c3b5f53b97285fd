// SPDX-License-Identifier: Apache-2.0

/* Any bytes as a machine file: a machine within its bounds or problems, never both. */

#include <stdint.h>
#include <stdlib.h>

#include "nvml/machine.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r = machine_parse((const char *)data, size, NULL, &problems, &machine);

    if ((r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    if (r == 0)
        check(&machine);
    return 0;
}
