// SPDX-License-Identifier: Apache-2.0

/* Scheduled faults of a machine, and the programs that use it from its start. */

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"
#include "nvml/machinefile-reader.h"

#define refuse yamlmap_refuse

static const struct yamlmap_choice fault_kinds[] = {
    {"xid", FAULT_XID},
    {"hang", FAULT_HANG},
    {"lost", FAULT_LOST},
    {"back", FAULT_BACK},
    {"error", FAULT_ERROR},
    {"missing", FAULT_MISSING},
    {"death", FAULT_DEATH},
    {"resetRefused", FAULT_RESET_REFUSED},
    {NULL, 0},
};

static void read_fault_gpu(struct machine_reader *r, const struct yaml *node, const char *path,
                           struct machine_fault *fault)
{
    uint32_t index;

    fault->gpu = MACHINE_ALL_GPUS;
    if (!node || (node->text && str_equal(node->text, "all")))
        return;
    if (!node->text || !number_parse(node->text, &index) || index >= r->machine->n_gpus)
        refuse(r->problems, node->at, path, "expected the index of a GPU, or all");
    else
        fault->gpu = (int32_t)index;
}

static void read_call(struct machine_reader *r, const struct yaml *node, const char *path, char *to,
                      size_t size)
{
    const char *near;

    if (node->text && str_equal(node->text, "all"))
        return;
    if (node->text && word_is_call(node->text) && str_copy(to, size, node->text) == 0)
        return;
    near = node->text ? word_suggest_call(node->text) : NULL;
    if (near)
        refuse(r->problems, node->at, path, "%s has no function '%s'; did you mean '%s'?",
               word_library(node->text), node->text, near);
    else
        refuse(r->problems, node->at, path, "expected the name of an NVML function, or all");
}

/* The value of the key that gives a fault its kind. */
static void read_fault_value(struct machine_reader *r, const struct yaml *fault_node,
                             const struct yaml *node, const char *path, struct machine_fault *f)
{
    static const struct yamlmap_field xid = {.kind = YAMLMAP_NUMBER, .min = 1, .max = 999};
    const struct yaml *call = yaml_get(fault_node, "call");
    bool yes = false;

    switch ((enum fault_kind)f->kind) {
    case FAULT_XID:
        yamlmap_read_number(r->problems, &xid, node, path, &f->code);
        return;
    case FAULT_HANG:
    case FAULT_DEATH:
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
    case FAULT_RESET_REFUSED:
        if (!yaml_as_bool(node, &yes))
            refuse(r->problems, node->at, path, "expected true or false");
        f->code = yes;
        return;
    case FAULT_ERROR:
        if (call)
            read_call(r, call, path, f->call, sizeof(f->call));
        if (!node->text || !word_error(f->call, node->text, &f->code))
            refuse(r->problems, node->at, path, "expected an error of %s such as %s",
                   word_library(f->call), word_error_example(f->call));
        return;
    }
}

/* Keys that belong to some kinds of fault only. */
static void read_details(struct machine_reader *r, const struct yaml *node, const char *path,
                         struct machine_fault *f)
{
    static const struct yamlmap_field id = {.kind = YAMLMAP_NUMBER, .max = 14};
    static const struct yamlmap_field nth = {.kind = YAMLMAP_NUMBER, .min = 1, .max = 1000000};
    const struct yaml *gi = yaml_get(node, "gi"), *ci = yaml_get(node, "ci");
    const struct yaml *count = yaml_get(node, "nth"), *call = yaml_get(node, "call");

    if (gi)
        yamlmap_read_number(r->problems, &id, gi, path, &f->gpu_instance);
    if (ci)
        yamlmap_read_number(r->problems, &id, ci, path, &f->compute_instance);
    if (count)
        yamlmap_read_number(r->problems, &nth, count, path, &f->nth);
    if ((gi || ci) && f->kind != FAULT_XID)
        refuse(r->problems, (gi ? gi : ci)->key_at, path, "'gi' and 'ci' belong to 'xid' only");
    else if (ci && !gi)
        refuse(r->problems, ci->key_at, path, "'ci' needs 'gi', its GPU instance");
    if (count && f->kind != FAULT_HANG && f->kind != FAULT_ERROR && f->kind != FAULT_DEATH)
        refuse(r->problems, count->key_at, path, "'nth' belongs to 'hang', 'error' and 'death'");
    if (call && f->kind != FAULT_ERROR)
        refuse(r->problems, call->key_at, path, "'call' belongs to 'error' only");
}

static void read_fault(void *context, const struct yaml *node, const char *path)
{
    struct machine_reader *r = context;
    static const char *const known[] = {"at",           "gpu",   "call",    "xid",  "hang",
                                        "lost",         "error", "missing", "back", "death",
                                        "resetRefused", "gi",    "ci",      "nth"};
    struct machine_fault *f = &r->machine->faults[r->machine->n_faults];
    const struct yaml *at = yaml_get(node, "at"), *value = NULL;
    char where[YAMLMAP_PATH];

    f->gpu_instance = f->compute_instance = MACHINE_NO_INSTANCE;
    if (!yamlmap_check_kind(r->problems, node, YAML_MAP, path))
        return;
    yamlmap_check_keys(r->problems, node, path, known, ARRAY_SIZE(known));
    if (at && (!at->text || !word_duration(at->text, &f->after_ns)))
        refuse(r->problems, at->at, path, "'at' takes a duration such as 3s or 500ms");
    read_fault_gpu(r, yaml_get(node, "gpu"), path, f);
    for (const struct yamlmap_choice *c = fault_kinds; c->name; c++) {
        const struct yaml *child = yaml_get(node, c->name);

        if (!child)
            continue;
        yamlmap_join(where, path, c->name);
        if (value)
            refuse(r->problems, child->key_at, where,
                   "one fault has one kind; make it two of the list");
        f->kind = c->value;
        value = child;
        read_fault_value(r, node, child, where, f);
    }
    if (!value)
        refuse(r->problems, node->at, path,
               "expected one of xid, hang, lost, back, error, missing, death, resetRefused");
    else
        read_details(r, node, path, f);
    r->machine->n_faults++;
}

static const struct yamlmap_choice process_kinds[] = {
    {"compute", PROCESS_COMPUTE}, {"graphics", PROCESS_GRAPHICS}, {"mps", PROCESS_MPS},
    {"client", PROCESS_CLIENT},   {"raw", PROCESS_RAW},           {NULL, 0}};

static const struct yamlmap_field process_fields[] = {
    {"gpu", YAMLMAP_NUMBER_AT(machine_process, gpu, 0, MACHINE_MAX_GPUS - 1), .required = true},
    {"pid", YAMLMAP_NUMBER_AT(machine_process, pid, 1, INT32_MAX), .required = true},
    {"memory", .kind = YAMLMAP_SIZE, YAMLMAP_AT(machine_process, memory_bytes), .required = true},
    {"name", YAMLMAP_TEXT_AT(machine_process, name)},
    {"kind", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(machine_process, kind), .choices = process_kinds},
    {"gi", YAMLMAP_NUMBER_AT(machine_process, gpu_instance, 0, 14)},
    {"ci", YAMLMAP_NUMBER_AT(machine_process, compute_instance, 0, MIG_INSTANCES_MAX - 1)},
    {NULL},
};

static void read_process(void *context, const struct yaml *node, const char *path)
{
    struct machine_reader *r = context;
    struct machine_process *p = &r->machine->processes[r->machine->n_processes++];

    p->gpu_instance = p->compute_instance = MACHINE_NO_INSTANCE;
    yamlmap_read(r->problems, process_fields, node, path, p);
    if (p->gpu >= r->machine->n_gpus)
        refuse(r->problems, node->at, path, "there is no GPU %u", p->gpu);
}

void machine_read_faults(struct machine_reader *r, const struct yaml *list)
{
    yamlmap_read_list(r->problems, list, "faults", MACHINE_MAX_FAULTS, read_fault, r);
}

void machine_read_processes(struct machine_reader *r, const struct yaml *list)
{
    yamlmap_read_list(r->problems, list, "processes", MACHINE_MAX_PROCESSES, read_process, r);
}
