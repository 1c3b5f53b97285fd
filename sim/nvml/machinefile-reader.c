// SPDX-License-Identifier: Apache-2.0
#include "nvml/machinefile-reader.h"

#include <string.h>

#include "base/array.h"
#include "base/text.h"

#define refuse yamlmap_refuse

static void read_driver(struct machine_reader *r, const struct yaml *node)
{
    struct {
        char version[32];
        uint32_t cuda[2];
    } driver = {.cuda = {0, 0}};
    const struct yamlmap_field fields[] = {
        {"version", .kind = YAMLMAP_TEXT, .offset = 0, .size = 32, .required = true},
        {"cuda", .kind = YAMLMAP_VERSION, .offset = 32, .required = true},
        {NULL},
    };
    const char *v = driver.version;

    yamlmap_read(r->problems, fields, node, "driver", &driver);
    if (*v && (strspn(v, "0123456789.") != strlen(v) || !strchr(v, '.')))
        refuse(r->problems, yaml_get(node, "version")->at, "driver.version",
               "expected X.Y or X.Y.Z, such as 550.163.01");
    memcpy(r->machine->driver, driver.version, sizeof(driver.version));
    r->machine->cuda = driver.cuda[0] * 1000 + driver.cuda[1] * 10;
}

static void read_node(void *context, const struct yaml *node, const char *path)
{
    struct machine_reader *r = context;
    struct machine *m = r->machine;

    if (!node->text || !word_cpus(node->text, m->nodes[m->n_nodes].cpus, MACHINE_MAX_CPUS))
        refuse(r->problems, node->at, path, "expected processors such as 0-15,32-47, below %d",
               MACHINE_MAX_CPUS);
    m->n_nodes++;
}

static uint64_t hash(const char *text, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return h ^ h >> 29;
}

/* The same machine has the same UUIDs on every computer; formatted like a name-based UUID. */
static void derive_identity(struct machine *m, unsigned index)
{
    struct machine_gpu *gpu = &m->gpus[index];
    char seed[MACHINE_NAME + 16];
    uint64_t a, b;

    snprintf(seed, sizeof(seed), "%s/%u", m->name, index);
    a = hash(seed, 1);
    b = hash(seed, 2);
    if (!gpu->uuid[0])
        snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%08x-%04x-5%03x-%04x-%012llx",
                 (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
                 (unsigned)(0x8000 | (b >> 48 & 0x3fff)),
                 (unsigned long long)(b & 0xffffffffffffu));
    if (!gpu->serial[0])
        snprintf(gpu->serial, sizeof(gpu->serial), "0%012llu",
                 (unsigned long long)(hash(seed, 3) % 1000000000000u));
}

static bool is_gpu_uuid(const char *text)
{
    static const char form[] = "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (strlen(text) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'x' ? !strchr("0123456789abcdef", text[i]) : text[i] != form[i])
            return false;
    return true;
}

static bool parse_pci(const char *text, void *to)
{
    return word_pci(text, to);
}

const struct yamlmap_field machine_pci_field = {
    .kind = YAMLMAP_WORD, .parse = parse_pci, .expected = "a PCI address such as 0000:00:1b.0"};

/* A GPU of the list before it is checked; -1 = not given. */
struct gpu_entry {
    struct pci_address pci;
    char uuid[48], serial[32];
    uint32_t node, bridge, minor;
};

static const struct yamlmap_field gpu_fields[] = {
    {"pci", .kind = YAMLMAP_WORD, YAMLMAP_AT(gpu_entry, pci), .required = true, .parse = parse_pci,
     .expected = "a PCI address such as 0000:00:1b.0"},
    {"uuid", YAMLMAP_TEXT_AT(gpu_entry, uuid)},
    {"serial", YAMLMAP_TEXT_AT(gpu_entry, serial)},
    {"node", YAMLMAP_NUMBER_AT(gpu_entry, node, 0, MACHINE_MAX_NODES - 1)},
    {"bridge", YAMLMAP_NUMBER_AT(gpu_entry, bridge, 0, 255)},
    {"minor", YAMLMAP_NUMBER_AT(gpu_entry, minor, 0, 255)},
    {"model", .kind = YAMLMAP_OTHER},
    {NULL},
};

static void read_gpu_model(struct machine_reader *r, const struct yaml *node, const char *path,
                           struct gpu_model *model)
{
    const struct yaml *own = yaml_get(node, "model");
    char where[YAMLMAP_PATH];

    yamlmap_join(where, path, "model");
    if (own)
        machine_read_model(r, own, where, model);
    else if (r->has_model)
        *model = r->model;
    else if (!r->model_refused)
        refuse(r->problems, node->at, path, "neither this GPU nor the machine names a model");
}

static bool same_pci(struct pci_address a, struct pci_address b)
{
    return a.domain != UINT32_MAX && a.domain == b.domain && a.bus == b.bus && a.device == b.device;
}

static void check_gpu(struct machine_reader *r, const struct yaml *node, const char *path,
                      unsigned index)
{
    const struct machine *m = r->machine;
    const struct machine_gpu *gpu = &m->gpus[index];

    if (!is_gpu_uuid(gpu->uuid))
        refuse(r->problems, node->at, path,
               "a UUID looks like GPU-8dea5edf-1f2e-5a3b-8c4d-0123456789ab");
    if (gpu->node >= (int32_t)m->n_nodes)
        refuse(r->problems, node->at, path, "there is no node %d under 'nodes'", (int)gpu->node);
    for (unsigned i = 0; i < index; i++) {
        if (same_pci(m->gpus[i].pci, gpu->pci))
            refuse(r->problems, node->at, path, "has the PCI address of gpus[%u]", i);
        if (str_equal(m->gpus[i].uuid, gpu->uuid))
            refuse(r->problems, node->at, path, "has the UUID of gpus[%u]", i);
        if (m->gpus[i].minor == gpu->minor)
            refuse(r->problems, node->at, path, "has the minor number of gpus[%u]", i);
    }
}

static void read_gpu(void *context, const struct yaml *node, const char *path)
{
    struct machine_reader *r = context;
    unsigned index = r->machine->n_gpus++;
    struct gpu_entry entry = {
        .pci = {UINT32_MAX, 0, 0}, .node = UINT32_MAX, .bridge = UINT32_MAX, .minor = index};
    struct machine_gpu *gpu = &r->machine->gpus[index];

    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        return;
    yamlmap_read(r->problems, gpu_fields, node, path, &entry);
    read_gpu_model(r, node, path, &gpu->model);
    gpu->pci = entry.pci;
    gpu->node = (int32_t)entry.node;
    gpu->bridge = (int32_t)entry.bridge;
    gpu->minor = entry.minor;
    memcpy(gpu->uuid, entry.uuid, sizeof(entry.uuid));
    memcpy(gpu->serial, entry.serial, sizeof(entry.serial));
    derive_identity(r->machine, index);
    check_gpu(r, node, path, index);
}

/* Addresses as on EC2's Nitro machines: counting up to 00:1e.0. */
static void place_gpus(struct machine *m, uint32_t n_gpus, const struct gpu_model *model)
{
    m->n_gpus = n_gpus;
    for (uint32_t i = 0; i < n_gpus; i++) {
        m->gpus[i].model = *model;
        m->gpus[i].pci = (struct pci_address){0, 0, 0x1f - n_gpus + i};
        m->gpus[i].node = m->gpus[i].bridge = -1;
        m->gpus[i].minor = i;
        derive_identity(m, i);
    }
}

/* The last branch with Volta, and the release of which it is recorded what each function returns
 * (tests/conformance/recordings). */
static void use_nominal_driver(struct machine *m)
{
    (void)str_copy(m->driver, sizeof(m->driver), "580.159.04");
    m->cuda = 13000;
}

void machine_read_catalog(struct machine_reader *r, const struct catalog_machine *found)
{
    struct machine *m = r->machine;

    (void)str_copy(m->name, sizeof(m->name), found->name);
    use_nominal_driver(m);
    place_gpus(m, found->n_gpus, found->model);
    if (found->type)
        machine_wire(m, found->type);
}

const struct catalog *machine_reader_catalog(struct machine_reader *r)
{
    static const struct position nowhere = {0, 0};
    cleanup_free char *folder = NULL;

    if (r->catalog || r->catalog_refused)
        return r->catalog;
    folder = r->directory ? machine_catalog_folder() : NULL;
    r->catalog_refused = true;
    if (!folder)
        refuse(r->problems, nowhere, "", "there is no catalog of models and instance types");
    else if (catalog_load(folder, r->problems, &r->own_catalog) == 0)
        r->catalog = &r->own_catalog;
    else if (problems_count(r->problems, PROBLEM_ERROR) == 0)
        refuse(r->problems, nowhere, "", "not enough memory for the catalog");
    return r->catalog;
}

/* NULL if the file names none, or none that exists. */
static const struct instance_type *read_type(struct machine_reader *r, const struct yaml *node)
{
    const struct catalog *catalog = node ? machine_reader_catalog(r) : NULL;
    const struct instance_type *type;
    cleanup_text struct text near = TEXT_INIT;

    if (!catalog)
        return NULL;
    type = node->text ? catalog_find_type(catalog, node->text) : NULL;
    if (type) {
        r->model = catalog->models[type->model];
        r->has_model = true;
        (void)str_copy(r->machine->name, sizeof(r->machine->name), type->name);
        use_nominal_driver(r->machine);
        return type;
    }
    catalog_add_near_machines(catalog, node->text ? node->text : "", &near);
    refuse(r->problems, node->at, "type", "no such instance type; %s", text_string(&near));
    return NULL;
}

static void check_required(struct machine_reader *r, const struct yaml *root)
{
    static const char *const required[] = {"machine", "driver", "gpus"};

    for (size_t i = 0; i < ARRAY_SIZE(required) && !yaml_get(root, "type"); i++)
        if (!yaml_get(root, required[i]))
            refuse(r->problems, root->at, "", "'%s' is missing", required[i]);
}

static void read_model(struct machine_reader *r, const struct yaml *node)
{
    if (!node)
        return;
    r->has_model = machine_read_model(r, node, "model", &r->model);
    r->model_refused = !r->has_model;
}

static void read_gpus_and_wiring(struct machine_reader *r, const struct yaml *root,
                                 const struct instance_type *type)
{
    const struct yaml *gpus = yaml_get(root, "gpus"), *nvlink = yaml_get(root, "nvlink");

    if (gpus)
        yamlmap_read_list(r->problems, gpus, "gpus", MACHINE_MAX_GPUS, read_gpu, r);
    else if (type && r->has_model)
        place_gpus(r->machine, type->n_gpus, &r->model);
    if (nvlink)
        machine_read_wiring(r, nvlink);
    else if (type)
        machine_wire(r->machine, type);
}

void machine_read(struct machine_reader *r, const struct yaml *root)
{
    static const char *const known[] = {"machine", "type",   "driver", "model",  "nodes",
                                        "gpus",    "nvlink", "mig",    "faults", "processes"};
    static const struct yamlmap_field name = {YAMLMAP_TEXT_AT(machine, name)};
    const struct instance_type *type;
    const struct yaml *node;

    if (!yamlmap_check_kind(r->problems, root, YAML_MAP, ""))
        return;
    yamlmap_check_keys(r->problems, root, "", known, ARRAY_SIZE(known));
    check_required(r, root);
    type = read_type(r, yaml_get(root, "type"));
    if ((node = yaml_get(root, "machine")))
        yamlmap_read_field(r->problems, &name, node, "machine", r->machine);
    if ((node = yaml_get(root, "driver")))
        read_driver(r, node);
    read_model(r, yaml_get(root, "model"));
    if ((node = yaml_get(root, "nodes")))
        yamlmap_read_list(r->problems, node, "nodes", MACHINE_MAX_NODES, read_node, r);
    read_gpus_and_wiring(r, root, type);
    if ((node = yaml_get(root, "mig")))
        machine_read_mig(r, node);
    if ((node = yaml_get(root, "faults")))
        machine_read_faults(r, node);
    if ((node = yaml_get(root, "processes")))
        machine_read_processes(r, node);
}
