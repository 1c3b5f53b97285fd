// SPDX-License-Identifier: Apache-2.0
#include "node/migorder.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "config/load.h"
#include "config/miglabel.h"
#include "slice/migwant.h"

#define SOURCE "the file of gpuslice mig apply"

DEFINE_CLEANUP(struct migorder *, migorder_free)

void migorder_free(struct migorder *order)
{
    if (!order)
        return;
    migconfig_free(order->config);
    free(order);
}

static int read_file(struct migorder *order, const struct migrequest *request, struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    const struct config_request how = {
        .source = SOURCE, .key = *request->key ? request->key : NULL, .strictness = CONFIG_AGENT};
    int r = config_parse_mig(request->file, request->size, &how, &problems, &order->config, err);

    return r < 0 ? r : miglabel_select(order->config, request->label, &order->label, err);
}

int migorder_parse(const char *data, size_t size, struct migorder **ret_order, struct error *err)
{
    cleanup(migorder_free_p) struct migorder *order = calloc(1, sizeof(*order));
    struct migrequest request;
    int r = migrequest_parse(data, size, &request, err);

    if (r < 0)
        return r;
    if (!order)
        return error_set_errno(err, -ENOMEM, "cannot read the request");
    snprintf(order->name, sizeof(order->name), "%s", request.label);
    order->mode_only = request.mode_only;
    if (request.size)
        r = read_file(order, &request, err);
    else if (!migwant_is_builtin(order->name))
        r = error_set(err, -ENOENT, "%s is no built-in layout", order->name);
    if (r < 0)
        return r;
    *ret_order = TAKE_PTR(order);
    return 0;
}

static void order_path(const char *folder, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/" MIGREQUEST_ORDER, folder);
}

int migorder_store(const char *folder, const char *data, size_t size, struct error *err)
{
    char path[PATH_MAX];

    order_path(folder, path);
    return file_write_atomic(path, data, size, 0600, err);
}

struct migorder *migorder_recall(const char *folder)
{
    cleanup_free char *data = NULL;
    struct migorder *order = NULL;
    struct error err = ERROR_INIT;
    char path[PATH_MAX];
    size_t size;

    order_path(folder, path);
    if (file_read(path, MIGREQUEST_MAX, &data, &size, NULL) < 0)
        return NULL;
    if (migorder_parse(data, size, &order, &err) == 0)
        return order;
    log_warning("a MIG layout that was asked for is forgotten", "reason", error_text(&err));
    migorder_forget(folder);
    return NULL;
}

void migorder_forget(const char *folder)
{
    char path[PATH_MAX];

    order_path(folder, path);
    (void)unlink(path);
}
