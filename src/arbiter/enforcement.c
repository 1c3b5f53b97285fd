// SPDX-License-Identifier: Apache-2.0
#include "arbiter/enforcement.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/dirwatch.h"
#include "base/file.h"
#include "base/log.h"
#include "base/lograte.h"
#include "limits/mode.h"

struct enforcement {
    struct dirwatch watch; /* first: its callback's data is this */
    uv_timer_t tick;
    int n_open; /* handles */
    char folder[PATH_MAX];
    struct arbiter_wish wish;
    bool has_wish, is_off;
    bool is_to_keep; /* the wish is not in its file */
    struct lograte trouble;
    enforcement_changed_fn *on_changed;
    void *userdata;
};

/* --- the files --- */

static int find(char path[PATH_MAX], const char *folder, const char *name, struct error *err)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX)
        return 0;
    return error_set_errno(err, -ENAMETOOLONG, "%s/%s", folder, name);
}

static bool is_there(const char *folder)
{
    char path[PATH_MAX];

    return find(path, folder, ENFORCEMENT_OFF, NULL) == 0 && access(path, F_OK) == 0;
}

int enforcement_read(const char *folder, struct enforcement_files *ret_files, struct error *err)
{
    struct enforcement_files files = {.is_off = is_there(folder)};
    cleanup_free char *data = NULL;
    char path[PATH_MAX];
    size_t size = 0;
    int r = find(path, folder, ENFORCEMENT_WISH, err);

    if (r == 0)
        r = file_read(path, ARBITER_MESSAGE_MAX, &data, &size, err);
    if (r == 0) {
        files.has_wish = true;
        r = arbiter_wish_read(data, size, &files.wish, err);
        if (r < 0)
            error_wrap(err, r, "%s", path);
    } else if (r == -ENOENT) {
        r = 0;
    }
    if (r == 0)
        *ret_files = files;
    return r;
}

int enforcement_switch(const char *folder, bool is_off, struct error *err)
{
    static const char note[] =
        "Memory limits are not enforced on this node while this file is here, and GPUs are not\n"
        "shared in turns.\n"
        "To enforce them again: gpuslice enforcement on\n";
    char path[PATH_MAX];
    int r = find(path, folder, ENFORCEMENT_OFF, err);

    if (r == 0 && is_off) {
        r = file_make_directory(folder, err);
        return r < 0 ? r : file_write_durable(path, note, sizeof(note) - 1, 0644, err);
    }
    if (r == 0 && unlink(path) < 0 && errno != ENOENT)
        r = error_set_errno(err, -errno, "cannot remove %s", path);
    return r;
}

static void keep(struct enforcement *enforcement)
{
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    char path[PATH_MAX];
    int r = arbiter_wish_write(&enforcement->wish, &text);

    if (r == 0)
        r = file_make_directory(enforcement->folder, &err);
    if (r == 0)
        r = find(path, enforcement->folder, ENFORCEMENT_WISH, &err);
    if (r == 0)
        r = file_write_atomic(path, text_string(&text), text.length, 0644, &err);
    enforcement->is_to_keep = r < 0;
    if (r == 0)
        lograte_end(&enforcement->trouble);
    else if (lograte_begin(&enforcement->trouble, error_text(&err), clock_now_ms()))
        log_warning("the mode of memory limits is lost when this program ends", "reason",
                    error_text(&err));
}

/* --- what holds --- */

enum limits_mode enforcement_mode(const struct enforcement *enforcement)
{
    if (enforcement->is_off && enforcement->wish.mode == LIMITS_ENFORCED)
        return LIMITS_NONE;
    return enforcement->wish.mode;
}

enum limits_compute enforcement_compute(const struct enforcement *enforcement)
{
    if (enforcement->is_off && enforcement->wish.compute != LIMITS_COMPUTE_OBSERVE)
        return LIMITS_COMPUTE_NONE;
    return enforcement->wish.compute;
}

bool enforcement_is_off(const struct enforcement *enforcement)
{
    return enforcement->is_off;
}

const struct arbiter_wish *enforcement_get_wish(const struct enforcement *enforcement)
{
    return &enforcement->wish;
}

void enforcement_set_wish(struct enforcement *enforcement, const struct arbiter_wish *wish)
{
    if (enforcement->has_wish && enforcement->wish.mode == wish->mode &&
        enforcement->wish.overcommits == wish->overcommits &&
        enforcement->wish.compute == wish->compute)
        return;
    enforcement->wish = *wish;
    enforcement->has_wish = true;
    enforcement->on_changed(enforcement->userdata);
    keep(enforcement);
}

static void look(struct enforcement *enforcement)
{
    const bool is_off = is_there(enforcement->folder);

    if (is_off == enforcement->is_off)
        return;
    enforcement->is_off = is_off;
    if (is_off)
        log_warning("memory limits are not enforced on this node", "file", ENFORCEMENT_OFF, "hint",
                    "gpuslice enforcement on");
    else
        log_info("memory limits are no longer switched off on this node", "mode",
                 limits_mode_name(enforcement->wish.mode));
    enforcement->on_changed(enforcement->userdata);
}

static void on_entry(const char *name, void *userdata)
{
    struct enforcement *enforcement = userdata;

    if (!name || str_equal(name, ENFORCEMENT_OFF))
        look(enforcement);
}

static void on_tick(uv_timer_t *timer)
{
    struct enforcement *enforcement = timer->data;

    dirwatch_watch(&enforcement->watch, enforcement->folder);
    look(enforcement);
    if (enforcement->is_to_keep)
        keep(enforcement);
}

/* --- life --- */

static void recall(struct enforcement *enforcement)
{
    struct enforcement_files files = {.has_wish = false};
    struct error err = ERROR_INIT;

    if (enforcement_read(enforcement->folder, &files, &err) < 0)
        log_warning("the mode of memory limits is not known until the agent connects", "reason",
                    error_text(&err));
    if (files.has_wish)
        enforcement->wish = files.wish;
    enforcement->has_wish = files.has_wish;
    enforcement->is_off = files.is_off;
}

int enforcement_new(uv_loop_t *loop, const char *folder, const struct arbiter_wish *first,
                    enforcement_changed_fn *on_changed, void *userdata,
                    struct enforcement **ret_enforcement, struct error *err)
{
    cleanup_free struct enforcement *enforcement = calloc(1, sizeof(*enforcement));
    int r;

    if (!enforcement || str_copy(enforcement->folder, PATH_MAX, folder) < 0)
        return error_set_errno(err, enforcement ? -ENAMETOOLONG : -ENOMEM, "cannot watch %s",
                               folder);
    enforcement->on_changed = on_changed;
    enforcement->userdata = userdata;
    enforcement->wish = *first;
    recall(enforcement);
    r = dirwatch_init(&enforcement->watch, loop, on_entry, enforcement);
    if (r < 0)
        return error_set_errno(err, r, "cannot watch %s", folder);
    uv_timer_init(loop, &enforcement->tick);
    enforcement->tick.data = enforcement;
    enforcement->n_open = 2;
    uv_timer_start(&enforcement->tick, on_tick, 0, ENFORCEMENT_PERIOD_MS);
    *ret_enforcement = TAKE_PTR(enforcement);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct enforcement *enforcement = handle->data;

    if (--enforcement->n_open == 0)
        free(enforcement);
}

void enforcement_free(struct enforcement *enforcement)
{
    if (!enforcement)
        return;
    uv_close((uv_handle_t *)&enforcement->watch.watch, on_closed);
    uv_close((uv_handle_t *)&enforcement->tick, on_closed);
}
