// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/yaml.h"
#include "cli/findings.h"
#include "cli/migapply.h"
#include "cli/migask.h"
#include "cli/mighooks.h"
#include "cli/paths.h"
#include "cli/source.h"
#include "gpu/miglock.h"
#include "gpu/migrequest.h"
#include "proc/connector.h"

/* 0, or a negative errno after telling why. */
static int read_hooks(const char *path, struct mighooks *ret_hooks)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_source struct source source = SOURCE_INIT;
    struct error err = ERROR_INIT;
    int r = file_read(path, YAML_MAX_BYTES, &source.data, &source.size, &err);

    source.name = path;
    if (r == 0)
        r = problems_set_source(&problems, path);
    if (r == 0)
        r = mighooks_parse(source.data, source.size, &problems, ret_hooks);
    findings_print(&problems, &source, false, stderr);
    if (r == -EBADMSG)
        complain("%s has errors", path);
    else if (r < 0)
        complain("%s", err.code ? error_text(&err) : "out of memory");
    return r;
}

enum { N_VARIABLES = 5, VARIABLE_SIZE = 4096 };

/* The command line as hooks see it, options of it and variables alike. */
struct variables {
    char texts[N_VARIABLES][VARIABLE_SIZE];
    const char *list[N_VARIABLES + 1];
};

static void set_variables(const struct request *request, const char *label,
                          struct variables *variables)
{
    const struct {
        const char *name, *value;
    } rows[N_VARIABLES] = {
        {"CONFIG_FILE", request->config ? request->config : ""},
        {"SELECTED_CONFIG", label},
        {"HOOKS_FILE", request->hooks ? request->hooks : ""},
        {"SKIP_RESET", request->skip_reset ? "true" : "false"},
        {"MODE_CHANGE_ONLY", request->mode_only ? "true" : "false"},
    };

    for (size_t i = 0; i < N_VARIABLES; i++) {
        snprintf(variables->texts[i], VARIABLE_SIZE, "MIG_PARTED_%s=%s", rows[i].name,
                 rows[i].value);
        variables->list[i] = variables->texts[i];
    }
    variables->list[N_VARIABLES] = NULL;
}

struct application {
    const struct request *request;
    struct migapply apply;
    struct mighooks hooks;
    struct variables variables;
    bool asks; /* the agent, which holds the lock */
};

static int run_hooks(struct application *app, enum mighook when, struct error *err)
{
    return mighooks_run(&app->hooks, when, app->variables.list, app->request->debug, err);
}

/* Each phase runs its hook only when there is something to change. */
static int change(struct application *app, enum mighook hook, bool mode_only, struct error *err)
{
    int r = migapply_is_done(&app->apply, mode_only) ? 0 : run_hooks(app, hook, err);

    return r < 0 ? r : migapply_run(&app->apply, mode_only, err);
}

static int change_all(struct application *app, struct error *err)
{
    int r = migapply_check(&app->apply, err);

    if (r == 0)
        r = change(app, MIGHOOK_BEFORE_MODE, true, err);
    if (r == 0 && app->apply.n_pending)
        complain("the mode of %u GPU%s changes with the next reset", app->apply.n_pending,
                 app->apply.n_pending == 1 ? "" : "s");
    if (r < 0 || app->request->mode_only)
        return r;
    if (app->apply.n_devices_pending)
        return error_set(err, -EBUSY,
                         "no instance can be created before that reset; leave out --skip-reset, or "
                         "add --mode-only");
    return change(app, MIGHOOK_BEFORE_CONFIG, false, err);
}

/* Each phase by itself: hooks belong between them. The agent resets GPUs, so that nobody may have a
 * session with the driver. */
static int ask(struct application *app, bool mode_only, struct error *err)
{
    int r = migask(paths_state_dir(), app->apply.choice, mode_only, err);

    return r == MIGASK_NOBODY ? error_wrap(err, -EBUSY, "nothing was changed") : r;
}

static int ask_for_all(struct application *app, struct error *err)
{
    const bool has_mode = migapply_is_done(&app->apply, true);
    const bool is_done = migapply_is_done(&app->apply, false);
    int r = migapply_check(&app->apply, err);

    migapply_deinit(&app->apply);
    if (r == 0 && app->request->skip_reset && !has_mode)
        return error_set(err, -ENOTSUP,
                         "nothing was changed: a mode has to change, and the agent resets the GPU "
                         "for that; leave out --skip-reset");
    if (r == 0 && !has_mode)
        r = run_hooks(app, MIGHOOK_BEFORE_MODE, err);
    if (r == 0 && (app->request->mode_only || (!has_mode && app->request->hooks)))
        r = ask(app, true, err);
    if (r < 0 || app->request->mode_only)
        return r;
    if (!is_done)
        r = run_hooks(app, MIGHOOK_BEFORE_CONFIG, err);
    return r == 0 ? ask(app, false, err) : r;
}

/* The last hook runs whatever happened. */
static int apply_with_hooks(struct application *app, struct error *err)
{
    struct error at_exit = ERROR_INIT;
    int r = run_hooks(app, MIGHOOK_START, err), r_exit;

    if (r < 0)
        return r;
    r = migapply_init(&app->apply, err);
    if (r == 0)
        r = app->asks ? ask_for_all(app, err) : change_all(app, err);
    migapply_deinit(&app->apply);
    r_exit = run_hooks(app, MIGHOOK_EXIT, &at_exit);
    if (r == 0 && r_exit < 0)
        return error_set(err, r_exit, "%s", error_text(&at_exit));
    if (r_exit < 0)
        complain("%s", error_text(&at_exit));
    return r;
}

/* Who holds the lock is an agent, which has a socket, or another such program. */
static int take_lock_or_ask(struct application *app, int *ret_lock, struct error *err)
{
    int r = miglock_take(paths_state_dir(), "gpuslice mig apply", ret_lock, err);
    cleanup_close int fd = -1;
    char path[PATH_MAX];

    if (r != MIGLOCK_HELD)
        return r;
    migrequest_socket(paths_state_dir(), path);
    fd = connector_open(path, NULL);
    app->asks = fd >= 0;
    return app->asks ? 0 : error_wrap(err, -EBUSY, "nothing was changed");
}

/* An agent that has ended was changing the GPUs: one that follows is not to go on with that. */
static void forget_earlier(const struct places *places)
{
    static const char *const names[] = {MIGREQUEST_ORDER, MIGREQUEST_BEGUN};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (snprintf(path, sizeof(path), "%s/%s", places->grant_dir, names[i]) <
                (int)sizeof(path) &&
            unlink(path) < 0 && errno != ENOENT)
            complain("cannot remove %s: %s; an agent would go on with what it had begun", path,
                     strerror(errno));
}

enum exit_status verb_mig_apply(const struct request *request)
{
    cleanup_migchoice struct migchoice choice = MIGCHOICE_INIT;
    struct application app = {.request = request, .hooks = MIGHOOKS_INIT};
    cleanup_close int lock = -1;
    struct error err = ERROR_INIT;
    int r = migchoice_read(request, &choice);

    if (r == 0 && request->hooks)
        r = read_hooks(request->hooks, &app.hooks);
    if (r < 0)
        return EXIT_MIG_FAILED;
    app.apply = (struct migapply){
        .choice = &choice, .skip_reset = request->skip_reset, .debug = request->debug};
    places_find(paths_state_dir(), &app.apply.places);
    set_variables(request, choice.name, &app.variables);
    r = take_lock_or_ask(&app, &lock, &err);
    if (r == 0)
        r = apply_with_hooks(&app, &err);
    if (r == 0 && !app.asks)
        forget_earlier(&app.apply.places);
    mighooks_deinit(&app.hooks);
    if (r != 0) {
        complain("%s", error_text(&err));
        return EXIT_MIG_FAILED;
    }
    puts("MIG configuration applied successfully");
    return EXIT_CLEAN;
}
