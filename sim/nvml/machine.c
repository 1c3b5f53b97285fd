// SPDX-License-Identifier: Apache-2.0
#include "nvml/machine.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"
#include "nvml/model.h"
#include "nvml/schema.h"

struct reader {
    struct problems *problems;
    struct model_source models;
    struct machine *machine;
    struct gpu_model default_model;
    bool has_default_model, default_model_refused;
};

static const struct choice process_kinds[] = {
    {"compute", PROCESS_COMPUTE}, {"graphics", PROCESS_GRAPHICS}, {"mps", PROCESS_MPS}, {NULL, 0}};

static const struct field process_fields[] = {
    {"gpu", NUMBER(machine_process, gpu, 0, MACHINE_MAX_GPUS - 1), .required = true},
    {"pid", NUMBER(machine_process, pid, 1, INT32_MAX), .required = true},
    {"memory", .kind = F_SIZE, AT(machine_process, memory_bytes), .required = true},
    {"name", TEXT(machine_process, name)},
    {"kind", .kind = F_CHOICE, AT(machine_process, kind), .choices = process_kinds},
    {NULL},
};

int machine_parse_yaml(const char *text, size_t size, struct problems *problems,
                       struct yaml **ret_document)
{
    size_t n = 0;
    int r = yaml_parse(text, size, (struct position){0, 0}, problems, ret_document, &n);

    if (r < 0 || n == 1)
        return r;
    yaml_free(*ret_document, n);
    problem_add(problems, PROBLEM_ERROR, (struct position){1, 1}, "",
                n == 0 ? "the file is empty" : "expected one YAML document, not several");
    return -EBADMSG;
}

static void read_driver(struct reader *r, const struct yaml *node)
{
    struct {
        char version[32];
        uint32_t cuda[2];
    } driver = {.cuda = {0, 0}};
    const struct field fields[] = {
        {"version", .kind = F_TEXT, .offset = 0, .size = 32, .required = true},
        {"cuda", .kind = F_VERSION, .offset = 32, .required = true},
        {NULL},
    };
    const char *v = driver.version;

    schema_read(r->problems, fields, node, "driver", &driver);
    if (*v && (strspn(v, "0123456789.") != strlen(v) || !strchr(v, '.')))
        refuse(r->problems, yaml_get(node, "version")->at, "driver.version",
               "expected X.Y or X.Y.Z, such as 550.163.01");
    memcpy(r->machine->driver, driver.version, sizeof(driver.version));
    r->machine->cuda = driver.cuda[0] * 1000 + driver.cuda[1] * 10;
}

static void read_nodes(struct reader *r, const struct yaml *list)
{
    struct machine *m = r->machine;

    if (!schema_check_kind(r->problems, list, YAML_LIST, "nodes"))
        return;
    for (size_t i = 0; i < list->n_children; i++) {
        const struct yaml *node = &list->children[i];
        char path[SCHEMA_PATH];

        snprintf(path, sizeof(path), "nodes[%zu]", i);
        if (i == MACHINE_MAX_NODES) {
            refuse(r->problems, node->at, path, "more than %d nodes", MACHINE_MAX_NODES);
            return;
        }
        if (!node->text || !word_cpus(node->text, m->nodes[i].cpus, MACHINE_MAX_CPUS))
            refuse(r->problems, node->at, path, "expected processors such as 0-15,32-47, below %d",
                   MACHINE_MAX_CPUS);
        m->n_nodes++;
    }
}

static uint64_t hash(const char *text, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return h ^ h >> 29;
}

/* The same machine has the same UUIDs on every computer; shaped like a UUID made from a name. */
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

/* What a GPU of the list says; -1 = not said. */
struct gpu_words {
    struct pci_address pci;
    char uuid[48], serial[32];
    uint32_t node, bridge, minor;
};

static const struct field gpu_fields[] = {
    {"pci", .kind = F_PCI, AT(gpu_words, pci), .required = true},
    {"uuid", TEXT(gpu_words, uuid)},
    {"serial", TEXT(gpu_words, serial)},
    {"node", NUMBER(gpu_words, node, 0, MACHINE_MAX_NODES - 1)},
    {"bridge", NUMBER(gpu_words, bridge, 0, 255)},
    {"minor", NUMBER(gpu_words, minor, 0, 255)},
    {"model", .kind = F_MAP}, /* read_gpu reads it: it may be a name */
    {NULL},
};

static void read_gpu_words(struct reader *r, const struct yaml *node, const char *path,
                           struct gpu_words *words)
{
    const char *known[ARRAY_SIZE(gpu_fields)];
    size_t n_known = 0;

    for (const struct field *f = gpu_fields; f->key; f++) {
        const struct yaml *child = yaml_get(node, f->key);
        char where[SCHEMA_PATH];

        known[n_known++] = f->key;
        schema_join(where, sizeof(where), path, f->key);
        if (child && f->kind != F_MAP)
            schema_read_field(r->problems, f, child, where, words);
        else if (!child && f->required)
            refuse(r->problems, node->at, path, "'%s' is missing", f->key);
    }
    schema_check_keys(r->problems, node, path, known, n_known);
}

static void read_gpu_model(struct reader *r, const struct yaml *node, const char *path,
                           struct gpu_model *model)
{
    const struct yaml *own = yaml_get(node, "model");
    char where[SCHEMA_PATH];

    schema_join(where, sizeof(where), path, "model");
    if (own)
        model_read(&r->models, own, where, model);
    else if (r->has_default_model)
        *model = r->default_model;
    else if (!r->default_model_refused)
        refuse(r->problems, node->at, path, "neither this GPU nor the machine names a model");
}

static bool same_pci(struct pci_address a, struct pci_address b)
{
    return a.domain != UINT32_MAX && a.domain == b.domain && a.bus == b.bus && a.device == b.device;
}

static void check_gpu(struct reader *r, const struct yaml *node, const char *path, unsigned index)
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

static void read_gpu(struct reader *r, const struct yaml *node, const char *path, unsigned index)
{
    struct gpu_words words = {
        .pci = {UINT32_MAX, 0, 0}, .node = UINT32_MAX, .bridge = UINT32_MAX, .minor = index};
    struct machine_gpu *gpu = &r->machine->gpus[index];

    if (!schema_check_kind(r->problems, node, YAML_MAP, path))
        return;
    read_gpu_words(r, node, path, &words);
    read_gpu_model(r, node, path, &gpu->model);
    gpu->pci = words.pci;
    gpu->node = (int32_t)words.node;
    gpu->bridge = (int32_t)words.bridge;
    gpu->minor = words.minor;
    memcpy(gpu->uuid, words.uuid, sizeof(words.uuid));
    memcpy(gpu->serial, words.serial, sizeof(words.serial));
    derive_identity(r->machine, index);
    check_gpu(r, node, path, index);
}

static void read_gpus(struct reader *r, const struct yaml *list)
{
    if (!schema_check_kind(r->problems, list, YAML_LIST, "gpus"))
        return;
    for (size_t i = 0; i < list->n_children; i++) {
        char path[SCHEMA_PATH];

        snprintf(path, sizeof(path), "gpus[%zu]", i);
        if (i == MACHINE_MAX_GPUS) {
            refuse(r->problems, list->children[i].at, path, "more than %d GPUs", MACHINE_MAX_GPUS);
            return;
        }
        r->machine->n_gpus++;
        read_gpu(r, &list->children[i], path, (unsigned)i);
    }
}

/* The next unused link of a GPU, or NULL when its model has no more. */
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

static void read_peers(struct reader *r, const struct yaml *map)
{
    if (!schema_check_kind(r->problems, map, YAML_MAP, "nvlink.peers"))
        return;
    for (size_t i = 0; i < map->n_children; i++) {
        const struct yaml *child = &map->children[i];
        const struct field number = {.kind = F_NUMBER, .min = 1, .max = MACHINE_MAX_LINKS};
        char path[SCHEMA_PATH];
        uint32_t a, b, n = 0;

        schema_join(path, sizeof(path), "nvlink.peers", child->key);
        if (!read_pair(child->key, r->machine->n_gpus, &a, &b)) {
            refuse(r->problems, child->key_at, path, "expected two of the GPUs, such as 0-1");
            continue;
        }
        schema_read_number(r->problems, &number, child, path, &n);
        for (; n > 0; n--)
            if (!connect(r->machine, a, b)) {
                refuse(r->problems, child->at, path, "more links than the model has");
                break;
            }
    }
}

/* Every link of every GPU goes to a switch, dealt round. */
static void connect_switches(struct machine *m)
{
    for (uint32_t i = 0; i < m->n_gpus; i++)
        for (uint32_t j = 0; j < m->gpus[i].model.nvlink_count; j++)
            m->gpus[i].links[j] = (struct link){LINK_SWITCH, j % m->n_switches};
}

static void read_switches(struct reader *r, const struct yaml *list)
{
    struct machine *m = r->machine;

    if (!schema_check_kind(r->problems, list, YAML_LIST, "nvlink.switches"))
        return;
    for (size_t i = 0; i < list->n_children; i++) {
        const struct yaml *node = &list->children[i];
        const struct field pci = {.kind = F_PCI};
        char path[SCHEMA_PATH];

        snprintf(path, sizeof(path), "nvlink.switches[%zu]", i);
        if (i == MACHINE_MAX_SWITCHES) {
            refuse(r->problems, node->at, path, "more than %d switches", MACHINE_MAX_SWITCHES);
            return;
        }
        schema_read_field(r->problems, &pci, node, path, &m->switches[m->n_switches++]);
    }
    if (m->n_switches)
        connect_switches(m);
}

static void read_nvlink(struct reader *r, const struct yaml *node)
{
    static const char *const known[] = {"peers", "switches"};
    const struct yaml *peers = yaml_get(node, "peers"), *switches = yaml_get(node, "switches");

    if (!schema_check_kind(r->problems, node, YAML_MAP, "nvlink"))
        return;
    schema_check_keys(r->problems, node, "nvlink", known, ARRAY_SIZE(known));
    if (peers && switches)
        refuse(r->problems, node->at, "nvlink", "links go to peers or to switches, not both");
    else if (peers)
        read_peers(r, peers);
    else if (switches)
        read_switches(r, switches);
}

static const struct choice fault_kinds[] = {
    {"xid", FAULT_XID},
    {"hang", FAULT_HANG},
    {"lost", FAULT_LOST},
    {"back", FAULT_BACK},
    {"error", FAULT_ERROR},
    {"missing", FAULT_MISSING},
    {NULL, 0},
};

static void read_fault_gpu(struct reader *r, const struct yaml *node, const char *path,
                           struct machine_fault *fault)
{
    uint32_t index;

    fault->gpu = MACHINE_ALL_GPUS;
    if (!node || (node->text && str_equal(node->text, "all")))
        return;
    if (!node->text || !word_number(node->text, &index) || index >= r->machine->n_gpus)
        refuse(r->problems, node->at, path, "expected the index of a GPU, or all");
    else
        fault->gpu = (int32_t)index;
}

static void read_call(struct reader *r, const struct yaml *node, const char *path, char *to,
                      size_t size)
{
    const char *near;

    if (node->text && str_equal(node->text, "all"))
        return;
    if (node->text && word_is_call(node->text) && str_copy(to, size, node->text) == 0)
        return;
    near = node->text ? word_suggest_call(node->text) : NULL;
    if (near)
        refuse(r->problems, node->at, path, "NVML has no function '%s'; did you mean '%s'?",
               node->text, near);
    else
        refuse(r->problems, node->at, path, "expected the name of an NVML function, or all");
}

/* The value behind the key that gives a fault its kind. */
static void read_fault_value(struct reader *r, const struct yaml *fault_node,
                             const struct yaml *node, const char *path, struct machine_fault *f)
{
    static const struct field xid = {.kind = F_NUMBER, .min = 1, .max = 999};
    const struct yaml *call = yaml_get(fault_node, "call");
    bool yes = false;

    switch ((enum fault_kind)f->kind) {
    case FAULT_XID:
        schema_read_number(r->problems, &xid, node, path, &f->code);
        return;
    case FAULT_HANG:
    case FAULT_MISSING:
        read_call(r, node, path, f->call, sizeof(f->call));
        if (f->kind == FAULT_MISSING && node->text && str_equal(node->text, "all"))
            refuse(r->problems, node->at, path, "expected the name of one NVML function");
        return;
    case FAULT_LOST:
    case FAULT_BACK:
        if (!yaml_as_bool(node, &yes) || !yes)
            refuse(r->problems, node->at, path, "expected true");
        return;
    case FAULT_ERROR:
        if (!node->text || !word_error(node->text, &f->code))
            refuse(r->problems, node->at, path, "expected an NVML error such as GPU_IS_LOST");
        if (call)
            read_call(r, call, path, f->call, sizeof(f->call));
        return;
    }
}

static void read_fault(struct reader *r, const struct yaml *node, const char *path)
{
    static const char *const known[] = {"at",   "gpu",   "call",    "xid", "hang",
                                        "lost", "error", "missing", "back"};
    struct machine_fault *f = &r->machine->faults[r->machine->n_faults];
    const struct yaml *at = yaml_get(node, "at"), *value = NULL;
    char where[SCHEMA_PATH];

    if (!schema_check_kind(r->problems, node, YAML_MAP, path))
        return;
    schema_check_keys(r->problems, node, path, known, ARRAY_SIZE(known));
    if (at && (!at->text || !word_duration(at->text, &f->after_ns)))
        refuse(r->problems, at->at, path, "'at' takes a duration such as 3s or 500ms");
    read_fault_gpu(r, yaml_get(node, "gpu"), path, f);
    for (const struct choice *c = fault_kinds; c->name; c++) {
        const struct yaml *child = yaml_get(node, c->name);

        if (!child)
            continue;
        schema_join(where, sizeof(where), path, c->name);
        if (value)
            refuse(r->problems, child->key_at, where,
                   "one fault has one kind; make it two of the list");
        f->kind = c->value;
        value = child;
        read_fault_value(r, node, child, where, f);
    }
    if (!value)
        refuse(r->problems, node->at, path,
               "expected one of xid, hang, lost, back, error, missing");
    else if (yaml_get(node, "call") && f->kind != FAULT_ERROR)
        refuse(r->problems, yaml_get(node, "call")->key_at, path, "'call' belongs to 'error' only");
    r->machine->n_faults++;
}

static void read_process(struct reader *r, const struct yaml *node, const char *path)
{
    struct machine_process *p = &r->machine->processes[r->machine->n_processes++];

    schema_read(r->problems, process_fields, node, path, p);
    if (p->gpu >= r->machine->n_gpus)
        refuse(r->problems, node->at, path, "there is no GPU %u", p->gpu);
}

static void read_list(struct reader *r, const struct yaml *list, const char *key, size_t max,
                      void (*read)(struct reader *, const struct yaml *, const char *))
{
    if (!schema_check_kind(r->problems, list, YAML_LIST, key))
        return;
    for (size_t i = 0; i < list->n_children; i++) {
        char path[SCHEMA_PATH];

        snprintf(path, sizeof(path), "%s[%zu]", key, i);
        if (i == max) {
            refuse(r->problems, list->children[i].at, path, "more than %zu", max);
            return;
        }
        read(r, &list->children[i], path);
    }
}

static void read_machine(struct reader *r, const struct yaml *root)
{
    static const char *const known[] = {"machine", "driver", "model",  "nodes",
                                        "gpus",    "nvlink", "faults", "processes"};
    static const char *const required[] = {"machine", "driver", "gpus"};
    static const struct field name = {TEXT(machine, name)};
    const struct yaml *node;

    if (!schema_check_kind(r->problems, root, YAML_MAP, ""))
        return;
    schema_check_keys(r->problems, root, "", known, ARRAY_SIZE(known));
    for (size_t i = 0; i < ARRAY_SIZE(required); i++)
        if (!yaml_get(root, required[i]))
            refuse(r->problems, root->at, "", "'%s' is missing", required[i]);
    if ((node = yaml_get(root, "machine")))
        schema_read_field(r->problems, &name, node, "machine", r->machine);
    if ((node = yaml_get(root, "driver")))
        read_driver(r, node);
    if ((node = yaml_get(root, "model"))) {
        r->has_default_model = model_read(&r->models, node, "model", &r->default_model);
        r->default_model_refused = !r->has_default_model;
    }
    if ((node = yaml_get(root, "nodes")))
        read_nodes(r, node);
    if ((node = yaml_get(root, "gpus")))
        read_gpus(r, node);
    if ((node = yaml_get(root, "nvlink")))
        read_nvlink(r, node);
    if ((node = yaml_get(root, "faults")))
        read_list(r, node, "faults", MACHINE_MAX_FAULTS, read_fault);
    if ((node = yaml_get(root, "processes")))
        read_list(r, node, "processes", MACHINE_MAX_PROCESSES, read_process);
}

int machine_parse(const char *text, size_t size, const char *directory, struct problems *problems,
                  struct machine *ret_machine)
{
    cleanup_free struct machine *machine = calloc(1, sizeof(*machine));
    struct reader r = {.problems = problems, .models = {problems, directory}, .machine = machine};
    struct yaml *document;
    int result;

    if (!machine)
        return -ENOMEM;
    result = machine_parse_yaml(text, size, problems, &document);
    if (result < 0)
        return result;
    read_machine(&r, document);
    yaml_free(document, 1);
    if (problems_count(problems, PROBLEM_ERROR) > 0) {
        problems_sort(problems);
        return -EBADMSG;
    }
    *ret_machine = *machine;
    return 0;
}

int machine_load(const char *path, struct problems *problems, struct machine *ret_machine)
{
    cleanup_free char *text = NULL, *directory = strdup(path);
    struct error err = ERROR_INIT;
    char *slash;
    size_t size;
    int r;

    if (!directory || problems_set_source(problems, path) < 0)
        return -ENOMEM;
    slash = strrchr(directory, '/');
    if (slash)
        *slash = '\0';
    r = file_read(path, YAML_MAX_BYTES, &text, &size, &err);
    if (r < 0) {
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", error_text(&err));
        return -EBADMSG;
    }
    return machine_parse(text, size, slash ? directory : ".", problems, ret_machine);
}

char *machine_search_path(void)
{
    const char *more = getenv("GPUSLICE_MACHINE_PATH");
    struct text path = TEXT_INIT;

    if (more && *more)
        text_addf(&path, "%s:", more);
    text_add(&path, GPUSLICE_MACHINES);
    return text_take(&path);
}

static bool is_path(const char *name)
{
    return strchr(name, '/') || str_ends_with(name, ".yaml") || str_ends_with(name, ".yml");
}

int machine_find(const char *name, const char *search, struct problems *problems, char **ret_path)
{
    cleanup_free char *directories = search ? strdup(search) : machine_search_path();
    cleanup_text struct text candidate = TEXT_INIT;
    char *rest = directories, *directory;

    if (!directories)
        return -ENOMEM;
    if (is_path(name)) {
        *ret_path = strdup(name);
        return *ret_path ? 0 : -ENOMEM;
    }
    while ((directory = strsep(&rest, ":"))) {
        text_clear(&candidate);
        text_addf(&candidate, "%s/%s.yaml", directory, name);
        if (*directory && access(text_string(&candidate), R_OK) == 0) {
            *ret_path = text_take(&candidate);
            return *ret_path ? 0 : -ENOMEM;
        }
    }
    problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "",
                "there is no machine '%s'; `gpuslice-sim list` names those that are", name);
    return -ENOENT;
}
