// SPDX-License-Identifier: Apache-2.0
#include "karpenter/promise.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "slice/miglayout.h"
#include "slice/migstep.h"
#include "slice/name.h"
#include "slice/planner.h"

DEFINE_CLEANUP(struct plan *, plan_free)

enum { MAX_STEPS = 256 }; /* eight GPU instances of eight compute instances take half of it */

/* ---- The machine ---- */

static int make_gpus(const struct instance_type *type, const struct gpu_model *model,
                     struct inventory *inventory)
{
    uint32_t board = 0;
    int r = model->mig.n_slots ? inventory_share_board(inventory, &model->mig, &board) : 0;

    if (r < 0)
        return r;
    inventory->gpus = calloc(type->n_gpus, sizeof(*inventory->gpus));
    if (!inventory->gpus)
        return -ENOMEM;
    inventory->n_gpus = type->n_gpus;
    for (unsigned i = 0; i < type->n_gpus; i++) {
        struct gpu *gpu = &inventory->gpus[i];

        gpu->index = i;
        gpu->minor = (int)i;
        gpu->numa_node = -1;
        snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-00000000-0000-0000-0000-%012u", i);
        snprintf(gpu->model, sizeof(gpu->model), "%s", model->name);
        gpu->mem_total_bytes = model->memory_bytes;
        gpu->mem_reserved_bytes = model->reserved_bytes;
        gpu->cc_major = model->compute_major;
        gpu->cc_minor = model->compute_minor;
        gpu->mig_capable = model->mig.n_slots > 0;
        gpu->board = board;
    }
    return 0;
}

/* As the agent gets there: step by step, with nothing in use. */
static int walk(const struct mig_board *board, const struct mig_want *want,
                struct mig_layout *layout, struct error *err)
{
    for (int n = 0; n < MAX_STEPS; n++) {
        struct mig_next next;

        migstep_next(board, layout, want, NULL, 0, &next);
        if (next.step.kind == MIG_STEP_DONE)
            return 0;
        if (next.step.kind == MIG_STEP_IMPOSSIBLE)
            return error_set(err, -ENOENT, "%s", next.reason);
        migstep_apply(board, &next.step, false, layout);
    }
    return error_set(err, -ENOENT, "takes more than %d steps", MAX_STEPS);
}

/* Every GPU gets the layout. 0, PROMISE_IMPOSSIBLE or -ENOMEM. */
static int partition(const struct sliceprofile *profile, const struct mig_board *board,
                     struct inventory *inventory, struct error *err)
{
    struct mig_layout layout = {.n_instances = 0};
    struct mig_want want;
    int r = migwant_builtin(board, profile->layout, &want, err);

    if (r == 0)
        r = walk(board, &want, &layout, err);
    if (r != 0)
        return PROMISE_IMPOSSIBLE;
    for (size_t i = 0; i < inventory->n_gpus && r == 0; i++)
        r = miglayout_assume(inventory, i, board, &layout);
    return r;
}

/* ---- One promise ---- */

static int add_resource(struct promise *promise, const char *name, size_t count)
{
    struct promise_resource *resource = &promise->resources[promise->n_resources];

    if (promise->n_resources == PROMISE_RESOURCES_MAX)
        return -E2BIG;
    promise->n_resources++;
    snprintf(resource->name, sizeof(resource->name), "%s", name);
    resource->count = count;
    promise->n_slices += count;
    return 0;
}

static int compare_resources(const void *a, const void *b)
{
    return strcmp(((const struct promise_resource *)a)->name,
                  ((const struct promise_resource *)b)->name);
}

static int read_plan(const struct plan *plan, struct promise *promise)
{
    int r = 0;

    for (size_t i = 0; i < plan->n_resources && r == 0; i++)
        r = add_resource(promise, plan->resources[i].name, plan->resources[i].n_slices);
    promise->is_masked = !plan_find_resource(plan, NAME_GPU);
    if (r == 0 && promise->is_masked)
        r = add_resource(promise, NAME_GPU, 0);
    qsort(promise->resources, promise->n_resources, sizeof(*promise->resources), compare_resources);
    return r;
}

/* The agent would go on without what it cannot offer; to start such nodes on purpose is a mistake.
 */
static const struct plan_device *find_left_out(const struct plan *plan)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        if (*plan->devices[i].left_out)
            return &plan->devices[i];
    return NULL;
}

static int check_plan(const struct plan *plan, const struct problems *problems, struct error *err)
{
    const struct plan_device *device = find_left_out(plan);
    char name[DEVICE_NAME_SIZE];

    for (const struct problem *p = problems_next(problems, NULL); p; p = problems_next(problems, p))
        if (p->severity == PROBLEM_ERROR) {
            error_set(err, -EINVAL, "cannot be sliced so: %s", p->text);
            return PROMISE_IMPOSSIBLE;
        }
    if (device) {
        error_set(err, -EINVAL, "cannot be sliced so: it would not offer %s (%s)",
                  plan_device_name(plan, device, name), device->left_out);
        return PROMISE_IMPOSSIBLE;
    }
    return 0;
}

static int plan_on(const struct sliceprofile *profile, const struct inventory *inventory,
                   struct promise *promise, struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup(plan_free_p) struct plan *plan = NULL;
    struct sharing_entry entry;
    struct policy policy;
    int r;

    sliceprofile_policy(profile, &entry, &policy);
    r = plan_make(inventory, &policy, &problems, &plan);
    if (r < 0)
        return r;
    r = check_plan(plan, &problems, err);
    if (r != 0)
        return r;
    r = read_plan(plan, promise);
    if (r == 0)
        return 0;
    error_set(err, r, "would offer more than %d resources", PROMISE_RESOURCES_MAX);
    return PROMISE_IMPOSSIBLE;
}

int promise_make(const struct sliceprofile *profile, const struct catalog *catalog,
                 const struct instance_type *type, struct promise *ret_promise, struct error *err)
{
    cleanup_inventory struct inventory inventory = INVENTORY_INIT;
    const struct gpu_model *model = &catalog->models[type->model];
    struct promise promise = {.type = type};
    int r = make_gpus(type, model, &inventory);

    if (r == 0 && profile->mode == SLICEPROFILE_MIG)
        r = partition(profile, &model->mig, &inventory, err);
    if (r == 0)
        r = plan_on(profile, &inventory, &promise, err);
    if (r == 0)
        *ret_promise = promise;
    return r;
}

/* The same resources in the same numbers. */
static bool promise_equal(const struct promise *a, const struct promise *b)
{
    if (a->n_resources != b->n_resources)
        return false;
    for (size_t i = 0; i < a->n_resources; i++)
        if (a->resources[i].count != b->resources[i].count ||
            !str_equal(a->resources[i].name, b->resources[i].name))
            return false;
    return true;
}

/* ---- Of all types that a profile selects ---- */

void promises_deinit(struct promises *promises)
{
    free(promises->items);
    *promises = (struct promises)PROMISES_INIT;
}

json_t *promises_like(const struct promises *promises, size_t i)
{
    json_t *types;

    for (size_t k = 0; k < i; k++)
        if (promise_equal(&promises->items[k], &promises->items[i]))
            return NULL;
    types = json_array();
    for (size_t k = i; k < promises->n_items; k++)
        if (promise_equal(&promises->items[k], &promises->items[i]))
            json_array_append_new(types, json_string(promises->items[k].type->name));
    return types;
}

static bool has_name(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->n_items; i++)
        if (strcasecmp(names->items[i], name) == 0)
            return true;
    return false;
}

static bool is_selected(const struct sliceprofile *profile, const struct instance_type *type)
{
    return (!profile->instance_types.n_items || has_name(&profile->instance_types, type->name)) &&
           (!profile->gpu_names.n_items || has_name(&profile->gpu_names, type->gpu_name));
}

static void check_known(const struct sliceprofile *profile, const struct catalog *catalog,
                        const struct names *names, const char *path, struct problems *problems)
{
    for (size_t i = 0; i < names->n_items; i++) {
        cleanup_text struct text near = TEXT_INIT;

        if (catalog_find_type(catalog, names->items[i]))
            continue;
        catalog_add_near_machines(catalog, names->items[i], &near);
        problem_add(problems, PROBLEM_ERROR, profile->types_at, path,
                    "the instance type %s is not known; %s", names->items[i], text_string(&near));
    }
}

/* With both lists a type has to be in both: one that cannot be is a mistake. */
static void check_types(const struct sliceprofile *profile, const struct catalog *catalog,
                        struct problems *problems)
{
    const struct names *names = &profile->instance_types;

    check_known(profile, catalog, names, "spec.instanceTypes", problems);
    for (size_t i = 0; i < names->n_items; i++) {
        const struct instance_type *type = catalog_find_type(catalog, names->items[i]);

        if (type && !is_selected(profile, type))
            problem_add(problems, PROBLEM_ERROR, profile->types_at, "spec.instanceTypes",
                        "%s has another GPU than those of gpuNames: %s", type->name,
                        type->gpu_name);
    }
}

static bool is_gpu_name(const struct catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->n_types; i++)
        if (strcasecmp(catalog->types[i].gpu_name, name) == 0)
            return true;
    return false;
}

static void check_gpus(const struct sliceprofile *profile, const struct catalog *catalog,
                       struct problems *problems)
{
    for (size_t i = 0; i < profile->gpu_names.n_items; i++) {
        const char *name = profile->gpu_names.items[i];

        if (!is_gpu_name(catalog, name))
            problem_add(problems, PROBLEM_ERROR, profile->types_at, "spec.gpuNames",
                        "no instance type has the GPU %s%s", name,
                        strcasecmp(name, "a10") == 0 ? "; on EC2 it is an a10g" : "");
    }
}

/* A type that the profile names. */
static void refuse_type(const struct sliceprofile *profile, const struct instance_type *type,
                        const struct error *why, struct problems *problems)
{
    problem_add(problems, PROBLEM_ERROR, profile->types_at, "spec.instanceTypes", "%s %s",
                type->name, error_text(why));
}

/* One that it selects by its GPU. Those with one model are all alike, and said once. */
static void leave_out(const struct sliceprofile *profile, const struct catalog *catalog,
                      const struct instance_type *type, const struct error *why,
                      struct problems *problems)
{
    size_t n = 0, n_before = 0;
    char others[64] = "";

    for (size_t i = 0; i < catalog->n_types; i++) {
        const struct instance_type *other = &catalog->types[i];

        if (other->model != type->model || !is_selected(profile, other))
            continue;
        n++;
        n_before += other < type;
    }
    if (n_before)
        return;
    if (n > 1)
        snprintf(others, sizeof(others), ", as %zu other types with this GPU,", n - 1);
    problem_add(problems, PROBLEM_WARNING, profile->mode_at, "spec.gpuNames",
                "%s%s %s; the profile leaves it out, a second one may have it", type->name, others,
                error_text(why));
}

static void check_pods(const struct sliceprofile *profile, const struct promise *promise,
                       struct problems *problems)
{
    const struct instance_type *type = promise->type;

    if (!type->max_pods || promise->n_slices <= type->max_pods)
        return;
    problem_add(problems, PROBLEM_WARNING, profile->mode_at, "spec",
                "a %s has %zu slices and network addresses for %u pods, so that pods of one slice "
                "leave the others unused; use fewer slices, or prefix delegation with "
                "spec.kubelet.maxPods of the EC2NodeClass, by which Karpenter counts",
                type->name, promise->n_slices, type->max_pods);
}

static int add_promise(const struct sliceprofile *profile, const struct catalog *catalog,
                       const struct instance_type *type, struct problems *problems,
                       struct promises *promises)
{
    struct error why = ERROR_INIT;
    struct promise promise, *added;
    int r = promise_make(profile, catalog, type, &promise, &why);

    if (r == PROMISE_IMPOSSIBLE && profile->instance_types.n_items)
        refuse_type(profile, type, &why, problems);
    else if (r == PROMISE_IMPOSSIBLE)
        leave_out(profile, catalog, type, &why, problems);
    if (r != 0)
        return r < 0 ? r : 0;
    check_pods(profile, &promise, problems);
    added = array_push(&promises->items, &promises->n_items, &promises->capacity, sizeof(*added));
    if (!added)
        return -ENOMEM;
    *added = promise;
    return 0;
}

/* Karpenter's provider for EC2 takes a type whose GPUs are masked for one without any, and then
 * drops the types that have some from a launch. */
static void check_masks(const struct sliceprofile *profile, const struct promises *promises,
                        struct problems *problems)
{
    for (size_t i = 1; i < promises->n_items; i++)
        if (promises->items[i].is_masked != promises->items[0].is_masked) {
            problem_add(problems, PROBLEM_ERROR, profile->types_at, "spec",
                        "%s offers " NAME_GPU " and %s does not, and Karpenter would launch only "
                        "one kind; write a profile for each",
                        promises->items[promises->items[0].is_masked ? i : 0].type->name,
                        promises->items[promises->items[0].is_masked ? 0 : i].type->name);
            return;
        }
}

int promises_make(const struct sliceprofile *profile, const struct catalog *catalog,
                  const struct names *only, struct problems *problems,
                  struct promises *ret_promises)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    cleanup_promises struct promises promises = {.catalog = catalog};

    check_types(profile, catalog, problems);
    check_gpus(profile, catalog, problems);
    if (only)
        check_known(profile, catalog, only, "--instance-types", problems);
    for (size_t i = 0; i < catalog->n_types; i++) {
        const struct instance_type *type = &catalog->types[i];
        int r = 0;

        if (is_selected(profile, type) && (!only || has_name(only, type->name)))
            r = add_promise(profile, catalog, type, problems, &promises);
        if (r < 0)
            return r;
    }
    check_masks(profile, &promises, problems);
    if (problems_count(problems, PROBLEM_ERROR) == before && !promises.n_items)
        problem_add(problems, only ? PROBLEM_WARNING : PROBLEM_ERROR, profile->types_at, "spec",
                    only ? "it has none of --instance-types that could be sliced so, and is left "
                           "out"
                         : "no instance type is left that could be sliced so");
    if (problems_count(problems, PROBLEM_ERROR) > before)
        return -EBADMSG;
    *ret_promises = promises;
    promises = (struct promises)PROMISES_INIT;
    return 0;
}
