// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/arbiterclient.h"
#include "cli/emit.h"
#include "cli/topscreen.h"
#include "cli/topview.h"
#include "proc/pause.h"

#define INTERVAL_LEAST_S 0.1
#define INTERVAL_MOST_S  3600.0

static int read_interval(const struct request *request, double *ret_s)
{
    char *end;

    *ret_s = 1;
    if (!request->interval)
        return 0;
    *ret_s = strtod(request->interval, &end);
    if (end != request->interval && !*end && *ret_s >= INTERVAL_LEAST_S &&
        *ret_s <= INTERVAL_MOST_S)
        return 0;
    complain("--interval=%s: write a number of seconds from 0.1 to 3600", request->interval);
    return -1;
}

static int observe(const struct request *request, json_t **ret_status, struct error *err)
{
    return arbiterclient_read(request->root ? request->root : "", request->arbiter_dir, ret_status,
                              err);
}

/* --- once, or again and again, as lines --- */

static void print_document(const json_t *status, bool is_one_line)
{
    if (is_one_line)
        json_dumpf(status, stdout, JSON_COMPACT);
    else
        emit_json(stdout, status);
    if (is_one_line)
        putchar('\n');
}

static enum exit_status print(const struct request *request, double interval_s)
{
    for (bool is_first = true;; is_first = false) {
        cleanup(json_decrefp) json_t *status = NULL;
        struct error err = ERROR_INIT;

        if (observe(request, &status, &err) < 0) {
            complain("%s", error_text(&err));
            return EXIT_UNREADABLE;
        }
        if (!request->json && !is_first)
            putchar('\n');
        if (request->json)
            print_document(status, request->interval);
        else
            topview_print(status, 0, stdout);
        if (fflush(stdout) != 0 || !request->interval || !pause_ms((uint64_t)(interval_s * 1000)))
            return EXIT_CLEAN;
    }
}

/* --- on a terminal --- */

/* An arbiter that is away for a while is waited for: the screen tells. */
static char *make_text(size_t width, void *userdata)
{
    cleanup(json_decrefp) json_t *status = NULL;
    struct error err = ERROR_INIT;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    if (observe(userdata, &status, &err) < 0)
        fprintf(out, "%s\n", error_text(&err));
    else
        topview_print(status, width, out);
    fclose(out);
    return text;
}

static enum exit_status show(const struct request *request, double interval_s)
{
    cleanup(json_decrefp) json_t *status = NULL;
    struct error err = ERROR_INIT;

    /* Before the screen is cleared: what is wrong from the start is an error. */
    if (observe(request, &status, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    if (topscreen_run(interval_s, make_text, (void *)request) != TOPSCREEN_NO_TERMINAL)
        return EXIT_CLEAN;
    complain("this terminal (TERM) is not known here: one table, as with --plain");
    return print(request, interval_s);
}

enum exit_status verb_top(const struct request *request)
{
    double interval_s;

    if (request->plain && request->json) {
        complain("--plain and --json exclude each other");
        return EXIT_USAGE;
    }
    if (read_interval(request, &interval_s) < 0)
        return EXIT_USAGE;
    if (request->plain || request->json || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
        return print(request, interval_s);
    return show(request, interval_s);
}
