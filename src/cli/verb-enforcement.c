// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include "arbiter/enforcement.h"
#include "base/clock.h"
#include "base/text.h"
#include "cli/arbiterclient.h"
#include "cli/emit.h"
#include "cli/paths.h"
#include "grant/places.h"
#include "limits/mode.h"
#include "proc/pause.h"

enum { NOTICE_MS = 3000, ASK_MS = 100 };

/* --- observe --- */

struct view {
    struct enforcement_files files;
    json_t *status;          /* of the arbiter; NULL = it does not answer ... */
    struct error no_arbiter; /* ... for this reason */
};

/* The arbiter sees the file within a second, and is asked again until then. */
static int observe(const struct request *request, const char *folder, struct view *view,
                   struct error *err)
{
    const uint64_t until_ms = clock_now_ms() + NOTICE_MS;
    bool agrees;
    int r = enforcement_read(folder, &view->files, err);

    do {
        json_decref(view->status);
        view->status = NULL;
        if (r < 0 || arbiterclient_read(request->root ? request->root : "", request->arbiter_dir,
                                        &view->status, &view->no_arbiter) < 0)
            return r;
        agrees = json_is_true(json_object_get(view->status, "is_off")) == view->files.is_off;
    } while (!agrees && clock_now_ms() < until_ms && pause_ms(ASK_MS));
    return 0;
}

/* --- report --- */

static const char *string(const json_t *tree, const char *key)
{
    return json_string_value(json_object_get(tree, key));
}

static void print_files(const struct enforcement_files *files)
{
    if (files->has_wish)
        printf("configured: %s\n", limits_mode_name(files->wish.mode));
    else
        puts("configured: not known: no agent has told the arbiter of this node");
    if (files->is_off)
        puts("switched off on this node; to enforce limits again: gpuslice enforcement on");
    if (files->has_wish)
        printf("compute configured: %s\n", limits_compute_name(files->wish.compute));
}

static void print_arbiter(const json_t *status)
{
    const char *library = string(status, "library"), *trouble = string(status, "trouble");
    const char *compute = string(status, "compute");

    if (!json_is_true(json_object_get(status, "has_limits"))) {
        puts("in effect: nothing: the arbiter of this node audits alone");
        return;
    }
    printf("in effect: %s\n", string(status, "mode"));
    if (compute) /* an arbiter of earlier knows no turns */
        printf("compute in effect: %s\n", compute);
    if (json_is_true(json_object_get(status, "is_overcommitted")))
        puts("limits may add up to more than a device has (gpuslice.overcommit)");
    printf("library: %s\n", library ? library : "none");
    if (trouble)
        complain("%s", trouble);
}

static void print_json(const struct view *view)
{
    const struct enforcement_files *files = &view->files;
    cleanup(json_decrefp) json_t *tree = json_pack(
        "{s:s?, s:s?, s:b, s:s?, s:s?, s:s?, s:s?}", "configured",
        files->has_wish ? limits_mode_name(files->wish.mode) : NULL, "compute_configured",
        files->has_wish ? limits_compute_name(files->wish.compute) : NULL, "is_off", files->is_off,
        "in_effect", string(view->status, "mode"), "compute_in_effect",
        string(view->status, "compute"), "library", string(view->status, "library"), "trouble",
        view->status ? string(view->status, "trouble") : error_text(&view->no_arbiter));

    emit_json(stdout, tree);
}

static enum exit_status report(const struct request *request, const struct view *view)
{
    if (request_wants(request, "json")) {
        print_json(view);
    } else {
        print_files(&view->files);
        if (view->status)
            print_arbiter(view->status);
        else
            complain("%s", error_text(&view->no_arbiter));
    }
    return view->status ? EXIT_CLEAN : EXIT_WARNINGS;
}

/* --- the verb --- */

static enum exit_status fail(const struct error *err)
{
    complain("%s", error_text(err));
    return EXIT_UNREADABLE;
}

enum exit_status verb_enforcement(const struct request *request)
{
    const char *word = request->operand ? request->operand : "status";
    const bool switches_off = str_equal(word, "off");
    struct view view = {.status = NULL, .no_arbiter = ERROR_INIT};
    struct places places;
    struct error err = ERROR_INIT;
    enum exit_status status;

    if (!switches_off && !str_equal(word, "on") && !str_equal(word, "status")) {
        complain("'%s': write off, on or status", word);
        return EXIT_USAGE;
    }
    if (places_find_below(request->root ? request->root : "", paths_state_dir(), &places, &err) < 0)
        return fail(&err);
    if (!str_equal(word, "status") && enforcement_switch(places.grant_dir, switches_off, &err) < 0)
        return fail(&err);
    if (observe(request, places.grant_dir, &view, &err) < 0)
        return fail(&err);
    status = report(request, &view);
    json_decref(view.status);
    return status;
}
