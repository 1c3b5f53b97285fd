// SPDX-License-Identifier: Apache-2.0
#include "arbiter/library.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arbiter/libraryfiles.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/installed.h"
#include "base/log.h"
#include "base/lograte.h"
#include "limits/message.h"

struct library {
    uv_loop_t *loop;
    uv_timer_t tick;
    struct library_options options;
    char source[INSTALLED_PATH_SIZE];
    struct task *task; /* that runs; NULL = none */
    char folder[2 * PATH_MAX];
    char trouble[512];
    struct lograte install_trouble, collect_trouble;
    library_changed_fn *on_changed;
    void *userdata;
};

/* What the pool does; it borrows nothing of the library. */
struct task {
    uv_work_t work;
    struct library *library; /* NULL: freed meanwhile */
    const char *version;
    char source[INSTALLED_PATH_SIZE];
    char folder[PATH_MAX], plugin_dir[PATH_MAX];
    char name[LIBRARYFILES_NAME_SIZE];
    struct names removed;
    int installed, collected; /* 0 or a negative errno */
    struct error install_error, collect_error;
};

/* --- in the pool --- */

static void run_task(uv_work_t *work)
{
    struct task *task = work->data;
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;

    task->installed = libraryfiles_install(task->folder, task->source, task->version, task->name,
                                           &task->install_error);
    if (!*task->name)
        return;
    task->collected = kubeletcheckpoint_load(task->plugin_dir, &checkpoint, &task->collect_error);
    if (task->collected == 0 && checkpoint.is_there)
        task->collected = libraryfiles_collect(task->folder, &checkpoint, time(NULL),
                                               &task->removed, &task->collect_error);
    kubeletcheckpoint_deinit(&checkpoint);
}

/* --- its outcome --- */

static const char *host_path(const struct library *library, const char *path)
{
    const char *root = library->options.root;

    return str_starts_with(path, root) ? path + strlen(root) : path;
}

static void take_installed(struct library *library, const struct task *task)
{
    char folder[sizeof(library->folder)] = "", trouble[sizeof(library->trouble)] = "";

    if (*task->name)
        snprintf(folder, sizeof(folder), "%s/%s", host_path(library, task->folder), task->name);
    if (task->installed < 0)
        snprintf(trouble, sizeof(trouble), "the library cannot be installed: %s",
                 error_text(&task->install_error));
    if (str_equal(folder, library->folder) && str_equal(trouble, library->trouble))
        return;
    if (*folder && !str_equal(folder, library->folder))
        log_info("new containers get this library", "folder", folder);
    memcpy(library->folder, folder, sizeof(folder));
    memcpy(library->trouble, trouble, sizeof(trouble));
    if (*trouble && lograte_begin(&library->install_trouble, trouble, clock_now_ms()))
        log_warning("the library cannot be installed", "reason", error_text(&task->install_error),
                    "instead", *folder ? folder : NULL);
    if (!*trouble)
        lograte_end(&library->install_trouble);
    library->on_changed(library->userdata);
}

static void take_collected(struct library *library, const struct task *task)
{
    for (size_t i = 0; i < task->removed.n_items; i++)
        log_info("a library that no pod needs is removed", "version", task->removed.items[i]);
    if (task->collected == 0)
        lograte_end(&library->collect_trouble);
    else if (lograte_begin(&library->collect_trouble, error_text(&task->collect_error),
                           clock_now_ms()))
        log_warning("libraries of earlier versions stay", "reason",
                    error_text(&task->collect_error));
}

static void end_task(uv_work_t *work, int status)
{
    struct task *task = work->data;
    struct library *library = task->library;

    if (library)
        library->task = NULL;
    if (library && status == 0) {
        take_installed(library, task);
        take_collected(library, task);
        uv_timer_set_repeat(&library->tick,
                            *library->trouble ? LIBRARY_RETRY_MS : LIBRARY_PERIOD_MS);
        uv_timer_again(&library->tick);
    }
    names_deinit(&task->removed);
    free(task);
}

static void on_tick(uv_timer_t *timer)
{
    struct library *library = timer->data;
    struct task *task = library->task ? NULL : calloc(1, sizeof(*task));

    if (!task) /* the last one still runs, or no memory: later */
        return;
    task->library = library;
    task->version = library->options.version;
    snprintf(task->source, sizeof(task->source), "%s", library->source);
    snprintf(task->folder, sizeof(task->folder), "%s/" LIMITS_LIBRARY,
             library->options.places.grant_dir);
    snprintf(task->plugin_dir, sizeof(task->plugin_dir), "%s", library->options.places.plugin_dir);
    task->work.data = task;
    if (uv_queue_work(library->loop, &task->work, run_task, end_task) == 0)
        library->task = task;
    else
        free(task);
}

/* --- life --- */

int library_new(uv_loop_t *loop, const struct library_options *options,
                library_changed_fn *on_changed, void *userdata, struct library **ret_library,
                struct error *err)
{
    static const struct installed_place place = {BUILD_FOLDER, BUILT_LIBRARY, MOVED_LIBRARY,
                                                 INSTALLED_LIBRARY};
    struct library *library = calloc(1, sizeof(*library));
    char path[INSTALLED_PATH_SIZE];

    if (!library)
        return error_set_errno(err, -ENOMEM, "cannot install the library");
    library->loop = loop;
    library->options = *options;
    snprintf(library->source, sizeof(library->source), "%s",
             options->source ? options->source : installed_find(&place, path));
    library->on_changed = on_changed;
    library->userdata = userdata;
    uv_timer_init(loop, &library->tick);
    library->tick.data = library;
    uv_timer_start(&library->tick, on_tick, 0, LIBRARY_PERIOD_MS);
    *ret_library = library;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void library_free(struct library *library)
{
    if (!library)
        return;
    if (library->task)
        library->task->library = NULL;
    uv_close((uv_handle_t *)&library->tick, on_closed);
}

const char *library_folder(const struct library *library)
{
    return library->folder;
}

const char *library_trouble(const struct library *library)
{
    return library->trouble;
}
