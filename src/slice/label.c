// SPDX-License-Identifier: Apache-2.0
#include "slice/label.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "slice/name.h"
#include "slice/share.h"

enum { LABELS_MAX = 40 }; /* more than there are rows below */

struct labeller {
    struct plan *plan;
    const struct inventory *inventory;
    const struct policy *policy;
    struct problems *problems;
    const struct plan_gpu *first; /* the GPU that stands for the labelled model */
    bool failed;                  /* for want of memory */
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

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (families[i].major == cc_major && cc_minor >= families[i].minor_from)
            return families[i].name;
    return "undefined";
}

/* ---- Collecting ---- */

/* key without the domain */
__attribute__((format(printf, 3, 4))) static void add(struct labeller *l, const char *key,
                                                      const char *format, ...)
{
    struct plan_label *label = &l->plan->labels[l->plan->n_labels];
    va_list args;

    assert(l->plan->n_labels < LABELS_MAX);
    if (asprintf(&label->key, NAME_DOMAIN "%s", key) < 0)
        label->key = NULL;
    va_start(args, format);
    if (vasprintf(&label->value, format, args) < 0)
        label->value = NULL;
    va_end(args);
    l->plan->n_labels++;
    l->failed |= !label->key || !label->value;
}

/* A GPU that gpu-feature-discovery would see; MIG parents too, though the plan leaves them out. */
static bool counts(const struct plan_gpu *gpu)
{
    return !*gpu->gpu.unusable && !gpu_is_display(&gpu->gpu);
}

static bool is_mig_parent(const struct plan_gpu *gpu)
{
    return gpu->gpu.mig_enabled;
}

static unsigned count_model(const struct plan *plan, const char *model)
{
    unsigned n = 0;

    for (size_t i = 0; i < plan->n_gpus; i++)
        n += counts(&plan->gpus[i]) && str_equal(plan->gpus[i].gpu.model, model);
    return n;
}

/* GPUs that work as a whole before MIG parents, then the larger model; earlier ones win ties. */
static const struct plan_gpu *choose_first(const struct labeller *l)
{
    const struct plan_gpu *best = NULL;
    unsigned best_rank = 0;

    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct plan_gpu *gpu = &l->plan->gpus[i];
        unsigned rank = count_model(l->plan, gpu->gpu.model);

        if (!counts(gpu))
            continue;
        if (!is_mig_parent(gpu))
            rank += (unsigned)l->plan->n_gpus + 1;
        if (rank > best_rank) {
            best = gpu;
            best_rank = rank;
        }
    }
    return best;
}

static void say_other_models(const struct labeller *l)
{
    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct plan_gpu *gpu = &l->plan->gpus[i];

        if (!counts(gpu) || str_equal(gpu->gpu.model, l->first->gpu.model))
            continue;
        problem_add(l->problems, PROBLEM_WARNING, (struct position){0, 0}, "",
                    "this node has several GPU models; its " NAME_GPU
                    ".* labels describe '%s' and not "
                    "'%s'",
                    l->first->gpu.model, gpu->gpu.model);
        return;
    }
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
    add(l, "cuda.driver.major", "%s", parts[0]); /* these three are deprecated, and still read */
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

/* NVIDIA tells a card that drives screens from one that computes by its PCI class. */
static void add_mode(struct labeller *l)
{
    uint16_t class = l->first->gpu.pci_class;

    for (size_t i = 0; i < l->plan->n_gpus; i++)
        if (counts(&l->plan->gpus[i]) && l->plan->gpus[i].gpu.pci_class != class)
            class = 0;
    add(l, "gpu.mode", "%s",
        class == PCI_CLASS_VGA  ? "graphics"
        : class == PCI_CLASS_3D ? "compute"
                                : "unknown");
}

/* "" and a UUID of zeros both say that the GPU is in no NVLink partition. */
static bool in_fabric(const struct gpu *gpu)
{
    return gpu->fabric_completed && strspn(gpu->fabric_cluster, "0-") < strlen(gpu->fabric_cluster);
}

static void add_clique(struct labeller *l)
{
    const struct gpu *member = NULL;

    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct gpu *gpu = &l->plan->gpus[i].gpu;

        if (!counts(&l->plan->gpus[i]) || !in_fabric(gpu))
            continue;
        if (member && (member->fabric_clique != gpu->fabric_clique ||
                       !str_equal(member->fabric_cluster, gpu->fabric_cluster)))
            return;
        member = gpu;
    }
    if (member)
        add(l, "gpu.clique", "%s.%u", member->fabric_cluster, member->fabric_clique);
}

/* ---- What can be asked of the GPUs ---- */

static void add_capabilities(struct labeller *l)
{
    bool mig_capable = false, mig_parent = false, mps = false;

    for (size_t i = 0; i < l->plan->n_gpus; i++) {
        const struct plan_gpu *gpu = &l->plan->gpus[i];

        mps |= gpu->sharing == SHARING_MPS;
        mig_capable |= counts(gpu) && gpu->gpu.mig_capable;
        mig_parent |= counts(gpu) && is_mig_parent(gpu);
    }
    add(l, "mig.capable", mig_capable ? "true" : "false");
    add(l, "mps.capable", mps && !mig_parent ? "true" : "false");
    if (l->policy->mig_strategy != MIG_STRATEGY_NONE)
        add(l, "mig.strategy", l->policy->mig_strategy == MIG_STRATEGY_SINGLE ? "single" : "mixed");
    if (mps && mig_parent)
        problem_add(l->problems, PROBLEM_WARNING, (struct position){0, 0}, "",
                    NAME_DOMAIN "mps.capable is false, because a GPU of this node has MIG enabled");
}

/* The resource that holds a slice of the GPU, or NULL. */
static const struct plan_resource *resource_of(const struct plan *plan, const struct plan_gpu *gpu)
{
    for (size_t i = 0; i < plan->n_resources; i++)
        for (size_t j = 0; j < plan->resources[i].n_slices; j++)
            if (&plan->gpus[plan->resources[i].slices[j].gpu] == gpu)
                return &plan->resources[i];
    return NULL;
}

/* The resource is called otherwise than whole GPUs of the model are: by rename, or as a size. */
static bool is_renamed(const struct plan *plan, const struct plan_gpu *gpu)
{
    const struct plan_resource *resource = resource_of(plan, gpu);

    return resource && !str_equal(resource->name, gpu->base);
}

static void add_product(struct labeller *l, bool shared)
{
    const char *suffix = shared && !is_renamed(l->plan, l->first) ? "-SHARED" : "";
    char product[LABEL_VALUE_SIZE];

    label_sanitise(l->first->gpu.model, product, sizeof(product) - strlen(suffix));
    add(l, "gpu.product", "%s%s", *product ? product : "unknown", suffix);
}

static void add_sharing(struct labeller *l)
{
    static const char *const names[] = {
        [SHARING_NONE] = "none", [SHARING_TIME_SLICING] = "time-slicing", [SHARING_MPS] = "mps"};
    const struct plan_gpu *gpu = l->first;
    bool parent = is_mig_parent(gpu);
    bool shared = !parent && gpu->n_slices > 1;

    add_product(l, shared);
    add(l, "gpu.replicas", "%zu", parent ? 0 : gpu->n_slices > 1 ? gpu->n_slices : 1);
    add(l, "gpu.sharing-strategy", "%s", names[shared ? gpu->sharing : SHARING_NONE]);
}

static void add_hardware(struct labeller *l)
{
    const struct gpu *gpu = &l->first->gpu;

    add(l, "gpu.count", "%u", count_model(l->plan, gpu->model));
    if (gpu->mem_total_bytes / SHARE_MIB > 0)
        add(l, "gpu.memory", "%ju", (uintmax_t)(gpu->mem_total_bytes / SHARE_MIB));
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
        add_driver, add_runtime,      add_machine, add_mode,
        add_clique, add_capabilities, add_sharing, add_hardware,
    };
    struct labeller l = {plan, inventory, policy, problems, NULL, false};

    l.first = choose_first(&l);
    if (!l.first)
        return 0;
    plan->labels = calloc(LABELS_MAX, sizeof(*plan->labels));
    if (!plan->labels)
        return -ENOMEM;
    say_other_models(&l);
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        groups[i](&l);
    if (l.failed)
        return -ENOMEM;
    qsort(plan->labels, plan->n_labels, sizeof(*plan->labels), compare_labels);
    return 0;
}

const char *label_find(const struct plan *plan, const char *key)
{
    for (size_t i = 0; i < plan->n_labels; i++)
        if (str_equal(plan->labels[i].key, key))
            return plan->labels[i].value;
    return NULL;
}
