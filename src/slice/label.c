// SPDX-License-Identifier: Apache-2.0
#include "slice/label.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/name.h"
#include "slice/share.h"

struct labeller {
    struct plan *plan;
    const struct inventory *inventory;
    const struct policy *policy;
    struct problems *problems;
    const struct gpu *first; /* the GPU that represents the labelled model */
    bool all_excluded;       /* no GPU is left, so the labels describe the machine */
    size_t capacity;         /* of plan->labels */
    bool failed;             /* out of memory */
};

/* ---- Values ---- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void label_sanitise(const char *name, char *buffer, size_t size)
{
    size_t length = 0;
    bool gap = false;

    for (; *name && length + 1 < size; name++) {
        if (strchr(" \t\n\v\f\r", *name)) {
            gap = length > 0;
            continue;
        }
        if (!is_alnum(*name) && !strchr("-_.", *name))
            continue;
        if (length == 0 && !is_alnum(*name))
            continue;
        if (gap && length + 2 >= size)
            break;
        if (gap)
            buffer[length++] = '-';
        gap = false;
        buffer[length++] = *name;
    }
    while (length > 0 && !is_alnum(buffer[length - 1]))
        length--;
    buffer[length] = '\0';
}

const char *label_family(unsigned cc_major, unsigned cc_minor)
{
    static const struct {
        unsigned major, minor_from;
        const char *name;
    } families[] = {
        {1, 0, "tesla"},  {2, 0, "fermi"},  {3, 0, "kepler"},     {5, 0, "maxwell"},
        {6, 0, "pascal"}, {7, 5, "turing"}, {7, 0, "volta"},      {8, 9, "ada-lovelace"},
        {8, 0, "ampere"}, {9, 0, "hopper"}, {10, 0, "blackwell"}, {12, 0, "blackwell"},
        {13, 0, "rubin"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        if (families[i].major == cc_major && cc_minor >= families[i].minor_from)
            return families[i].name;
    return "undefined";
}

/* ---- Collecting ---- */

/* key without the domain */
__attribute__((format(printf, 3, 4))) static void add(struct labeller *l, const char *key,
                                                      const char *format, ...)
{
    struct plan *plan = l->plan;
    struct plan_label *label =
        array_push(&plan->labels, &plan->n_labels, &l->capacity, sizeof(*label));
    va_list args;

    l->failed |= !label;
    if (!label)
        return;
    if (asprintf(&label->key, NAME_DOMAIN "%s", key) < 0)
        label->key = NULL;
    va_start(args, format);
    if (vasprintf(&label->value, format, args) < 0)
        label->value = NULL;
    va_end(args);
    l->failed |= !label->key || !label->value;
}

/* By gpuslice.excludeDevices, with all its MIG devices. */
static bool is_excluded(const struct plan *plan, const struct gpu *gpu)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        if (plan_gpu(plan, &plan->devices[i]) == gpu && !plan->devices[i].excluded)
            return false;
    return true;
}

/* A GPU that gpu-feature-discovery would count; including MIG parents that the plan leaves out. */
static bool can_count(const struct gpu *gpu)
{
    return !*gpu->unusable && !gpu_is_display(gpu);
}

static bool counts(const struct labeller *l, const struct gpu *gpu)
{
    return can_count(gpu) && (l->all_excluded || !is_excluded(l->plan, gpu));
}

static bool are_all_excluded(const struct plan *plan)
{
    for (size_t i = 0; i < plan->n_gpus; i++)
        if (can_count(&plan->gpus[i]) && !is_excluded(plan, &plan->gpus[i]))
            return false;
    return true;
}

static unsigned count_model(const struct labeller *l, const char *model)
{
    unsigned n = 0;

    for (size_t i = 0; i < l->plan->n_gpus; i++)
        n += counts(l, &l->plan->gpus[i]) && str_equal(l->plan->gpus[i].model, model);
    return n;
}

/* GPUs that work as a whole before MIG parents, then the larger model; earlier ones win ties. */
static const struct gpu *choose_first(const struct labeller *l)
{
    const struct gpu *best = NULL;
    unsigned best_rank = 0;

    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct gpu *gpu = &l->plan->gpus[i];
        unsigned rank = count_model(l, gpu->model);

        if (!counts(l, gpu))
            continue;
        if (!gpu->mig_enabled)
            rank += (unsigned)l->plan->n_gpus + 1;
        if (rank > best_rank) {
            best = gpu;
            best_rank = rank;
        }
    }
    return best;
}

/* True if an earlier GPU that counts is of the same model. */
static bool is_named(const struct labeller *l, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (counts(l, &l->plan->gpus[i]) &&
            str_equal(l->plan->gpus[i].model, l->plan->gpus[index].model))
            return true;
    return false;
}

static void report_other_models(const struct labeller *l)
{
    cleanup_text struct text others = TEXT_INIT;

    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct gpu *gpu = &l->plan->gpus[i];

        if (counts(l, gpu) && *gpu->model && !str_equal(gpu->model, l->first->model) &&
            !is_named(l, i))
            text_addf(&others, "%s'%s'", others.length ? ", " : "", gpu->model);
    }
    if (others.length)
        problem_add(l->problems, PROBLEM_WARNING, (struct position){0, 0}, "",
                    "this node has several GPU models; its " NAME_GPU
                    ".* labels describe '%s' and not %s",
                    l->first->model, text_string(&others));
}

/* ---- Driver, machine and modes ---- */

/* "550.163.01" -> three runs of digits, the last may be missing. */
static bool split_driver_version(const char *version, char parts[3][24])
{
    size_t n = 0;

    memset(parts, 0, 3 * sizeof(parts[0]));
    for (const char *c = version; n < 3; n++) {
        size_t length = strspn(c, "0123456789");

        if (length == 0 || length >= sizeof(parts[n]))
            return false;
        memcpy(parts[n], c, length);
        c += length;
        if (!*c)
            return n >= 1;
        if (*c++ != '.')
            return false;
    }
    return false;
}

static void add_driver(struct labeller *l)
{
    char parts[3][24];

    if (l->inventory->gaps[FACT_DRIVER_VERSION])
        return; /* unknown.h reports it */
    if (!split_driver_version(l->inventory->driver_version, parts)) {
        problem_add(
            l->problems, PROBLEM_WARNING, (struct position){0, 0}, "",
            "the driver's version '%s' is not of the form 550.163.01; its labels are left out",
            l->inventory->driver_version);
        return;
    }
    add(l, "cuda.driver-version.full", "%.63s", l->inventory->driver_version);
    add(l, "cuda.driver-version.major", "%s", parts[0]);
    add(l, "cuda.driver-version.minor", "%s", parts[1]);
    add(l, "cuda.driver-version.revision", "%s", parts[2]);
    add(l, "cuda.driver.major", "%s", parts[0]); /* these three are deprecated, but still in use */
    add(l, "cuda.driver.minor", "%s", parts[1]);
    add(l, "cuda.driver.rev", "%s", parts[2]);
}

static void add_runtime(struct labeller *l)
{
    int major = l->inventory->cuda_version / 1000, minor = l->inventory->cuda_version % 1000 / 10;

    if (l->inventory->cuda_version <= 0)
        return;
    add(l, "cuda.runtime-version.full", "%d.%d", major, minor);
    add(l, "cuda.runtime-version.major", "%d", major);
    add(l, "cuda.runtime-version.minor", "%d", minor);
    add(l, "cuda.runtime.major", "%d", major);
    add(l, "cuda.runtime.minor", "%d", minor);
}

static void add_machine(struct labeller *l)
{
    char machine[LABEL_VALUE_SIZE];

    label_sanitise(l->inventory->machine, machine, sizeof(machine));
    add(l, "gpu.machine", "%s", *machine ? machine : "unknown");
}

/* NVIDIA distinguishes a card that drives screens from one that computes by its PCI class. */
static void add_mode(struct labeller *l)
{
    uint16_t class = l->first->pci_class;

    for (size_t i = 0; i < l->plan->n_gpus; i++)
        if (counts(l, &l->plan->gpus[i]) && l->plan->gpus[i].pci_class != class)
            class = 0;
    add(l, "gpu.mode", "%s",
        class == PCI_CLASS_VGA  ? "graphics"
        : class == PCI_CLASS_3D ? "compute"
                                : "unknown");
}

/* "" and a UUID of zeros both mean that the GPU is in no NVLink partition. */
static bool in_fabric(const struct gpu *gpu)
{
    return gpu->fabric_completed && strspn(gpu->fabric_cluster, "0-") < strlen(gpu->fabric_cluster);
}

static void add_clique(struct labeller *l)
{
    const struct gpu *member = NULL;

    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct gpu *gpu = &l->plan->gpus[i];

        if (counts(l, gpu) && gpu->gaps[FACT_FABRIC])
            return;
        if (!counts(l, gpu) || !in_fabric(gpu))
            continue;
        if (member && (member->fabric_clique != gpu->fabric_clique ||
                       !str_equal(member->fabric_cluster, gpu->fabric_cluster)))
            return;
        member = gpu;
    }
    if (member)
        add(l, "gpu.clique", "%s.%u", member->fabric_cluster, member->fabric_clique);
}

/* ---- What the GPUs and their driver support ---- */

static void add_capabilities(struct labeller *l)
{
    bool mig_capable = false, mig_parent = false, mig_unknown = false, mps = false, vgpu = false,
         vgpu_unknown = false;

    for (size_t i = 0; i < l->plan->n_devices; i++)
        mps |= l->plan->devices[i].sharing == SHARING_MPS;
    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct gpu *gpu = &l->plan->gpus[i];

        mig_capable |= counts(l, gpu) && gpu->mig_capable;
        mig_parent |= counts(l, gpu) && gpu->mig_enabled;
        mig_unknown |= counts(l, gpu) && gpu->gaps[FACT_MIG];
        vgpu |= counts(l, gpu) && gpu->is_vgpu;
        vgpu_unknown |= counts(l, gpu) && gpu->gaps[FACT_VIRTUALIZATION];
    }
    if (mig_capable || !mig_unknown)
        add(l, "mig.capable", mig_capable ? "true" : "false");
    if (vgpu || !vgpu_unknown)
        add(l, "vgpu.present", vgpu ? "true" : "false");
    add(l, "mps.capable", mps && !mig_parent ? "true" : "false");
    if (l->policy->mig_strategy != MIG_STRATEGY_NONE)
        add(l, "mig.strategy", l->policy->mig_strategy == MIG_STRATEGY_SINGLE ? "single" : "mixed");
    if (mps && mig_parent)
        problem_add(l->problems, PROBLEM_WARNING, (struct position){0, 0}, "",
                    NAME_DOMAIN "mps.capable is false, because a GPU of this node has MIG enabled");
}

/* ---- What is offered ---- */

/*
 * The devices described by a set of labels with one prefix, represented by one of them. The rows
 * below write it; an unknown value has no label.
 */
struct subject {
    const char *prefix; /* "gpu", "mig-1g.5gb" */
    const char *model;
    const char *profile; /* of MIG devices; "" for GPUs */
    unsigned count;
    size_t replicas;
    enum sharing_strategy sharing;
    bool renamed; /* by `rename`, or because a size has a name of its own */
    uint64_t mem_total_bytes;
};

__attribute__((format(printf, 4, 5))) static void add_under(struct labeller *l, const char *prefix,
                                                            const char *suffix, const char *format,
                                                            ...)
{
    char key[RESOURCE_NAME_SIZE + 32], value[LABEL_VALUE_SIZE];
    va_list args;

    snprintf(key, sizeof(key), "%s.%s", prefix, suffix);
    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    add(l, key, "%s", value);
}

/* "NVIDIA-A30-MIG-1g.6gb-SHARED": a long model is truncated, its suffix is not. */
static void add_product(struct labeller *l, const struct subject *subject)
{
    bool shared = subject->sharing != SHARING_NONE && !subject->renamed;
    char tail[DEVICE_PROFILE_SIZE + 16], model[LABEL_VALUE_SIZE];

    snprintf(tail, sizeof(tail), "%s%s%s", *subject->profile ? "-MIG-" : "", subject->profile,
             shared ? "-SHARED" : "");
    for (char *c = tail; *c; c++)
        if (*c == '+')
            *c = '.'; /* as in the resource's name; a label's value has no '+' */
    label_sanitise(subject->model, model, sizeof(model) - strlen(tail));
    add_under(l, subject->prefix, "product", "%s%s", *model ? model : "unknown", tail);
}

static void add_subject(struct labeller *l, const struct subject *subject)
{
    static const char *const names[] = {
        [SHARING_NONE] = "none", [SHARING_TIME_SLICING] = "time-slicing", [SHARING_MPS] = "mps"};

    add_product(l, subject);
    add_under(l, subject->prefix, "count", "%u", subject->count);
    add_under(l, subject->prefix, "replicas", "%zu", subject->replicas);
    add_under(l, subject->prefix, "sharing-strategy", "%s", names[subject->sharing]);
    if (subject->mem_total_bytes / SHARE_MIB > 0)
        add_under(l, subject->prefix, "memory", "%ju",
                  (uintmax_t)(subject->mem_total_bytes / SHARE_MIB));
}

static void set_sharing(const struct plan *plan, const struct plan_device *on, bool is_second,
                        struct subject *subject)
{
    const struct plan_resource *resource = plan_resource_of(plan, on, is_second);

    subject->replicas = on->n_slices > 1 ? on->n_slices : 1;
    subject->sharing = on->n_slices > 1 ? on->sharing : SHARING_NONE;
    subject->renamed = resource && !str_equal(resource->name, is_second ? on->second : on->base);
}

/* The GPU as one device, or NULL when the plan has its MIG devices instead. */
static const struct plan_device *find_whole(const struct plan *plan, const struct gpu *gpu)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        if (plan->devices[i].device.kind == DEVICE_WHOLE &&
            plan_gpu(plan, &plan->devices[i]) == gpu)
            return &plan->devices[i];
    return NULL;
}

/* gpu-feature-discovery gives MIG parents no replicas, shared or not. */
static void add_whole(struct labeller *l)
{
    const struct plan_device *on = find_whole(l->plan, l->first);
    struct subject subject = {.prefix = "gpu",
                              .model = l->first->model,
                              .profile = "",
                              .count = count_model(l, l->first->model),
                              .mem_total_bytes = l->first->mem_total_bytes};

    if (on && !l->first->mig_enabled)
        set_sharing(l->plan, on, false, &subject);
    add_subject(l, &subject);
}

static void add_shape(struct labeller *l, const char *prefix, const struct device_shape *shape)
{
    const struct {
        const char *suffix;
        unsigned value;
    } rows[] = {
        {"multiprocessors", shape->multiprocessors},
        {"slices.gi", shape->gi_slices},
        {"slices.ci", shape->ci_slices},
        {"engines.copy", shape->copy_engines},
        {"engines.decoder", shape->decoders},
        {"engines.encoder", shape->encoders},
        {"engines.jpeg", shape->jpeg_engines},
        {"engines.ofa", shape->ofa_engines},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows) && shape->multiprocessors > 0; i++)
        add_under(l, prefix, rows[i].suffix, "%u", rows[i].value);
}

static bool is_offered_like(const struct plan_device *on, const struct plan_device *like)
{
    return !*on->left_out && on->device.kind == DEVICE_MIG &&
           str_equal(on->device.profile, like->device.profile);
}

/* All offered MIG devices of one profile, represented by the first; those with two names have a set
 * of labels for each. */
static void add_profile(struct labeller *l, const char *prefix, const struct plan_device *first,
                        bool is_second)
{
    struct subject subject = {.prefix = prefix,
                              .model = plan_gpu(l->plan, first)->model,
                              .profile = first->device.profile,
                              .mem_total_bytes = first->device.mem_total_bytes};

    for (size_t i = 0; i < l->plan->n_devices; i++)
        subject.count += is_offered_like(&l->plan->devices[i], first);
    set_sharing(l->plan, first, is_second, &subject);
    add_subject(l, &subject);
    add_shape(l, prefix, &first->device.shape);
}

static const struct plan_device *find_mig(const struct plan *plan, bool offered)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        if (plan->devices[i].device.kind == DEVICE_MIG && (!offered || !*plan->devices[i].left_out))
            return &plan->devices[i];
    return NULL;
}

/* `single` with differing MIG devices; gpu-feature-discovery's values, by which people notice. */
static void add_invalid(struct labeller *l)
{
    const struct subject subject = {
        .prefix = "gpu", .model = l->first->model, .profile = "INVALID"};

    add_product(l, &subject);
    add(l, "gpu.count", "0");
    add(l, "gpu.replicas", "0");
    add(l, "gpu.sharing-strategy", "%s", "");
    add(l, "gpu.memory", "0");
}

/* The nvidia.com/gpu.* labels on what is offered. A usable whole GPU takes precedence. */
static void add_gpu(struct labeller *l)
{
    const bool single = l->policy->mig_strategy == MIG_STRATEGY_SINGLE;

    if (single && find_mig(l->plan, true))
        add_profile(l, "gpu", find_mig(l->plan, true), false);
    else if (single && l->first->mig_enabled)
        add_invalid(l);
    else
        add_whole(l);
}

/* `mixed`, or `single` with both names: a set of labels for each profile that is offered. */
static void add_profiles(struct labeller *l)
{
    const struct plan *plan = l->plan;
    const bool mixed = l->policy->mig_strategy == MIG_STRATEGY_MIXED;

    for (size_t i = 0; i < plan->n_devices; i++) {
        const struct plan_device *on = &plan->devices[i];
        char name[RESOURCE_NAME_SIZE];
        bool seen = false;

        if (*on->left_out || on->device.kind != DEVICE_MIG || !(mixed || *on->second))
            continue;
        for (size_t j = 0; j < i && !seen; j++)
            seen = is_offered_like(&plan->devices[j], on);
        if (!seen && name_mig(on->device.profile, name, NULL) == 0)
            add_profile(l, name + strlen(NAME_DOMAIN), on, !mixed);
    }
}

static void add_hardware(struct labeller *l)
{
    const struct gpu *gpu = l->first;

    if (gpu->cc_major == 0)
        return;
    add(l, "gpu.family", "%s", label_family(gpu->cc_major, gpu->cc_minor));
    add(l, "gpu.compute.major", "%u", gpu->cc_major);
    add(l, "gpu.compute.minor", "%u", gpu->cc_minor);
}

/* ---- All of them ---- */

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct plan_label *)a)->key, ((const struct plan_label *)b)->key);
}

int label_make(struct plan *plan, const struct inventory *inventory, const struct policy *policy,
               struct problems *problems)
{
    static void (*const groups[])(struct labeller *) = {
        add_driver,       add_runtime, add_machine,  add_mode,     add_clique,
        add_capabilities, add_gpu,     add_profiles, add_hardware,
    };
    struct labeller l = {plan, inventory, policy, problems, NULL, false, 0, false};

    l.all_excluded = are_all_excluded(plan);
    l.first = choose_first(&l);
    if (!l.first)
        return 0;
    report_other_models(&l);
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        groups[i](&l);
    if (l.failed)
        return -ENOMEM;
    qsort(plan->labels, plan->n_labels, sizeof(*plan->labels), compare_labels);
    return 0;
}
