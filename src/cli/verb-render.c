// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "catalog/boards.h"
#include "catalog/prices.h"
#include "cli/findings.h"
#include "cli/objects.h"
#include "cli/source.h"
#include "cli/target.h"
#include "karpenter/autoscaler.h"
#include "karpenter/cost.h"
#include "karpenter/nodepool.h"
#include "karpenter/overlay.h"
#include "karpenter/overlaycheck.h"
#include "karpenter/placeholder.h"
#include "karpenter/poolcheck.h"
#include "karpenter/yamljson.h"

/* What is rendered, from one file after the other. */
struct rendering {
    const struct request *request;
    const struct catalog *catalog;
    struct documents *documents;
    struct problems *problems; /* of the current file */
    json_t *overlays;          /* others', of the current file */
    json_t *pools;             /* of the current file */
    struct names profiles;     /* that were rendered */
};

/* What one subject makes of one profile. 0 or a negative errno. */
typedef int render_profile(struct rendering *r, const struct sliceprofile *profile,
                           const struct promises *promises);

static int split_types(const char *list, struct names *names)
{
    int r = 0;

    while (list && *list && r == 0) {
        size_t length = strcspn(list, ",");

        if (length)
            r = names_add(names, list, length);
        list += length + (list[length] == ',');
    }
    return r;
}

static int render_profiles(struct rendering *r, const struct sliceprofiles *profiles,
                           render_profile *render)
{
    cleanup_names struct names only = NAMES_INIT;
    int result = split_types(r->request->types, &only);

    for (size_t i = 0; i < profiles->n_items && result == 0; i++) {
        cleanup_promises struct promises promises = PROMISES_INIT;

        result = promises_make(&profiles->items[i], r->catalog, r->request->types ? &only : NULL,
                               r->problems, &promises);
        if (result == 0 && promises.n_items)
            result = render(r, &profiles->items[i], &promises);
    }
    return result;
}

static int render_source(struct rendering *r, const struct source *source, render_profile *render)
{
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
    int result = sliceprofiles_parse(source->data, source->size, r->problems, &profiles);

    if (result < 0)
        return result;
    r->overlays = json_array();
    r->pools = json_array();
    result = yamljson_collect(source->data, source->size, "NodeOverlay", r->problems, r->overlays);
    if (result == 0)
        result = yamljson_collect(source->data, source->size, "NodePool", r->problems, r->pools);
    if (result == 0)
        result = render_profiles(r, &profiles, render);
    json_decref(r->pools);
    json_decref(r->overlays);
    return result;
}

static enum exit_status render_file(struct rendering *r, const char *path, render_profile *render)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_source struct source source = SOURCE_INIT;
    struct error err = ERROR_INIT;
    int result = source_read(r->request, path, &source, &err);

    if (result < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    r->problems = &problems;
    result = problems_set_source(&problems, source.name);
    if (result == 0)
        result = render_source(r, &source, render);
    r->problems = NULL;
    findings_print(&problems, &source, false, stderr);
    if (result < 0 && result != -EBADMSG) {
        complain("cannot render %s: %s", path, strerror(-result));
        return EXIT_UNREADABLE;
    }
    return findings_status(&problems);
}

static enum exit_status worse(enum exit_status a, enum exit_status b)
{
    return a > b ? a : b;
}

static enum exit_status print_rendered(struct rendering *r)
{
    if (objects_print(r->documents, stdout) == 0)
        return EXIT_CLEAN;
    complain("out of memory");
    return EXIT_UNREADABLE;
}

/* Nothing is printed where something is missing: half of it applied would start wrong nodes. */
static enum exit_status render_files(const struct request *request, render_profile *render)
{
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    struct rendering r = {.request = request, .catalog = &catalog, .documents = &documents};
    enum exit_status status = EXIT_CLEAN;
    struct error err = ERROR_INIT;

    if (!request->n_operands) {
        complain("give the file that has the SliceProfile, or - for standard input");
        return EXIT_USAGE;
    }
    if (target_load_catalog(&catalog, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    for (size_t i = 0; i < request->n_operands; i++)
        status = worse(status, render_file(&r, request->operands[i], render));
    if (status < EXIT_ERRORS)
        status = worse(status, print_rendered(&r));
    names_deinit(&r.profiles);
    return status;
}

/* ---- Karpenter ---- */

static int render_pool(struct rendering *r, const struct sliceprofile *profile,
                       const struct promises *promises)
{
    const struct request *request = r->request;
    const struct nodepool_options options = {.has_startup_taint = !request->no_startup_taint};
    enum nodepool_family family = request->ami && str_equal(request->ami, "bottlerocket")
                                      ? NODEPOOL_BOTTLEROCKET
                                      : NODEPOOL_AL2023;
    int result = *profile->node_class ? 0 : nodepool_make_class(profile, family, r->documents);

    return result < 0 ? result : nodepool_make(profile, promises, &options, r->documents);
}

/* Our overlays, from document `first` on, beside those of others in the same file. */
static int check_overlays(struct rendering *r, const struct sliceprofile *profile,
                          const struct promises *promises, size_t first)
{
    json_t *all = json_copy(r->overlays);
    int result;

    for (size_t i = first; i < r->documents->n_items; i++)
        json_array_append(all, r->documents->items[i].tree);
    result = overlaycheck_compare(profile, promises, all, r->problems);
    json_decref(all);
    return result;
}

/* NodePools and NodeOverlays are called as the profile. */
static int note_profile(struct rendering *r, const struct sliceprofile *profile)
{
    for (size_t i = 0; i < r->profiles.n_items; i++)
        if (str_equal(r->profiles.items[i], profile->name)) {
            problem_add(r->problems, PROBLEM_ERROR, profile->at, "metadata.name",
                        "another file has a profile of this name, too");
            return -EBADMSG;
        }
    return names_add(&r->profiles, profile->name, strlen(profile->name));
}

static int render_karpenter(struct rendering *r, const struct sliceprofile *profile,
                            const struct promises *promises)
{
    int result = *profile->node_pool ? 0 : render_pool(r, profile, promises);
    size_t first = r->documents->n_items;

    if (*profile->node_pool)
        poolcheck_compare(profile, promises, r->request->types != NULL, r->catalog, r->pools,
                          r->problems);

    if (result == 0)
        result = overlay_make(profile, promises, r->documents);
    if (result == 0)
        result = check_overlays(r, profile, promises, first);
    return result == 0 ? note_profile(r, profile) : result;
}

enum exit_status verb_render_karpenter(const struct request *request)
{
    return render_files(request, render_karpenter);
}

/* ---- Karpenter without NodeOverlays ---- */

/* Of each type that is promised; 0 = not known. To be freed; NULL without memory. */
static uint64_t *find_prices(const struct promises *promises, const struct prices *prices)
{
    uint64_t *hourly = calloc(promises->n_items, sizeof(*hourly));

    for (size_t i = 0; hourly && i < promises->n_items; i++)
        hourly[i] = prices_find(prices, promises->items[i].type->name);
    return hourly;
}

/* Karpenter starts nodes for these by itself, as many as there are whole GPUs. */
static void warn_of_whole_gpus(struct rendering *r, const struct sliceprofile *profile,
                               const struct promises *promises)
{
    if (!promises->items[0].is_masked)
        problem_add(r->problems, PROBLEM_WARNING, profile->mode_at, "spec",
                    "the slices are called nvidia.com/gpu, and without NodeOverlays Karpenter "
                    "starts nodes of its own for such pods, one for each whole GPU; rename them "
                    "(renameByDefault: true)");
}

static int render_placeholders(struct rendering *r, const struct sliceprofile *profile,
                               const struct promises *promises)
{
    cleanup_problems struct problems of_prices = PROBLEMS_INIT;
    cleanup_prices struct prices prices = PRICES_INIT;
    cleanup_free uint64_t *hourly = NULL;
    struct error err = ERROR_INIT;
    uint32_t n_slices = 0;
    int result = *profile->node_pool ? 0 : render_pool(r, profile, promises);

    number_parse(r->request->slices, &n_slices);
    /* Without prices the GPUs count. */
    (void)prices_load(boards_folder(), &of_prices, &prices);
    hourly = find_prices(promises, &prices);
    if (!hourly)
        return -ENOMEM;
    warn_of_whole_gpus(r, profile, promises);
    if (result == 0)
        result = placeholder_make(profile, promises, hourly, n_slices, r->documents, &err);
    if (err.code) {
        problem_add(r->problems, PROBLEM_ERROR, profile->at, "", "%s", error_text(&err));
        return -EBADMSG;
    }
    return result == 0 ? note_profile(r, profile) : result;
}

enum exit_status verb_render_placeholders(const struct request *request)
{
    uint32_t n;

    if (request->slices && number_parse(request->slices, &n) && n >= 1 && n <= COST_SLICES_MAX)
        return render_files(request, render_placeholders);
    complain("say for how many slices there are to be nodes: --slices and a number from 1 to %d",
             COST_SLICES_MAX);
    return EXIT_USAGE;
}

/* ---- cluster-autoscaler ---- */

static int render_autoscaler(struct rendering *r, const struct sliceprofile *profile,
                             const struct promises *promises)
{
    return autoscaler_make(profile, promises, r->documents);
}

enum exit_status verb_render_autoscaler(const struct request *request)
{
    return render_files(request, render_autoscaler);
}

enum exit_status verb_render(const struct request *request)
{
    return verb_group("render", request->operand);
}
