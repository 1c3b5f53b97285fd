// SPDX-License-Identifier: Apache-2.0

/* The endpoints of the NVLinks of a machine's GPUs. */

#include <stdlib.h>

#include "base/array.h"
#include "nvml/machinefile-reader.h"

#define refuse yamlmap_refuse

/* The next unused link of a GPU, or NULL if its model has no more. */
static struct link *next_link(struct machine_gpu *gpu)
{
    for (unsigned i = 0; i < gpu->model.nvlink_count; i++)
        if (gpu->links[i].end == LINK_NONE)
            return &gpu->links[i];
    return NULL;
}

static bool connect(struct machine *m, uint32_t a, uint32_t b)
{
    struct link *one = next_link(&m->gpus[a]), *other = next_link(&m->gpus[b]);

    if (!one || !other)
        return false;
    *one = (struct link){LINK_GPU, b};
    *other = (struct link){LINK_GPU, a};
    return true;
}

static bool read_pair(const char *key, uint32_t n_gpus, uint32_t *ret_a, uint32_t *ret_b)
{
    char *end;
    unsigned long a = strtoul(key, &end, 10), b;

    if (end == key || *end != '-' || key[0] == '-')
        return false;
    key = end + 1;
    b = strtoul(key, &end, 10);
    if (end == key || *end || key[0] == '-' || a >= n_gpus || b >= n_gpus || a == b)
        return false;
    *ret_a = (uint32_t)a;
    *ret_b = (uint32_t)b;
    return true;
}

static void read_peers(struct machine_reader *r, const struct yaml *map)
{
    if (!yamlmap_check_kind(r->problems, map, YAML_MAP, "nvlink.peers"))
        return;
    for (size_t i = 0; i < map->n_children; i++) {
        const struct yaml *child = &map->children[i];
        const struct yamlmap_field number = {
            .kind = YAMLMAP_NUMBER, .min = 1, .max = MACHINE_MAX_LINKS};
        char path[YAMLMAP_PATH];
        uint32_t a, b, n = 0;

        yamlmap_join(path, "nvlink.peers", child->key);
        if (!read_pair(child->key, r->machine->n_gpus, &a, &b)) {
            refuse(r->problems, child->key_at, path, "expected two of the GPUs, such as 0-1");
            continue;
        }
        yamlmap_read_number(r->problems, &number, child, path, &n);
        for (; n > 0; n--)
            if (!connect(r->machine, a, b)) {
                refuse(r->problems, child->at, path, "more links than the model has");
                break;
            }
    }
}

/* Every link of every GPU goes to a switch, round-robin. */
static void connect_switches(struct machine *m)
{
    for (uint32_t i = 0; m->n_switches && i < m->n_gpus; i++)
        for (uint32_t j = 0; j < m->gpus[i].model.nvlink_count; j++)
            m->gpus[i].links[j] = (struct link){LINK_SWITCH, j % m->n_switches};
}

static void read_switch(void *context, const struct yaml *node, const char *path)
{
    struct machine_reader *r = context;

    yamlmap_read_field(r->problems, &machine_pci_field, node, path,
                       &r->machine->switches[r->machine->n_switches++]);
}

void machine_read_wiring(struct machine_reader *r, const struct yaml *node)
{
    static const char *const known[] = {"peers", "switches"};
    const struct yaml *peers = yaml_get(node, "peers"), *switches = yaml_get(node, "switches");

    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, "nvlink"))
        return;
    yamlmap_check_keys(r->problems, node, "nvlink", known, ARRAY_SIZE(known));
    if (peers && switches)
        refuse(r->problems, node->at, "nvlink", "links go to peers or to switches, not both");
    else if (peers)
        read_peers(r, peers);
    else if (switches) {
        yamlmap_read_list(r->problems, switches, "nvlink.switches", MACHINE_MAX_SWITCHES,
                          read_switch, r);
        connect_switches(r->machine);
    }
}

/* Nominal: neighbours in a ring first, then those two steps away, until no GPU has a link left. */
static void connect_peers(struct machine *m)
{
    bool any = m->n_gpus > 1;

    while (any) {
        any = false;
        for (uint32_t step = 1; step <= m->n_gpus / 2; step++)
            for (uint32_t i = 0; i < (step * 2 == m->n_gpus ? step : m->n_gpus); i++)
                any |= connect(m, i, (i + step) % m->n_gpus);
    }
}

void machine_wire(struct machine *m, const struct instance_type *type)
{
    if (type->wiring == GPU_WIRING_PEERS)
        connect_peers(m);
    if (type->wiring != GPU_WIRING_SWITCHES)
        return;
    m->n_switches = type->n_switches;
    for (uint32_t i = 0; i < m->n_switches; i++)
        m->switches[i] = (struct pci_address){0, 0xc4 + i, 0};
    connect_switches(m);
}
