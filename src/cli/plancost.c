// SPDX-License-Identifier: Apache-2.0
#include "cli/plancost.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"
#include "catalog/boards.h"
#include "catalog/prices.h"
#include "cli/emit.h"
#include "cli/findings.h"
#include "cli/source.h"
#include "cli/table.h"
#include "cli/target.h"
#include "karpenter/cost.h"
#include "karpenter/promise.h"

enum { MICRO = 1000000 };

/* One type of a profile. */
struct row {
    const struct promise *promise;
    size_t n_slices; /* that pods can have */
    uint64_t micro;  /* 0 = no price is known */
    size_t n_nodes;  /* of the cheapest nodes */
};

struct costs {
    const struct sliceprofile *profile;
    const struct prices *prices;
    char resource[RESOURCE_NAME_SIZE]; /* of the slices */
    size_t n_wanted;
    struct row *rows; /* owned; cheapest slices first, those without a price last */
    size_t n_rows, n_priced;
    uint64_t micro; /* of the cheapest nodes, for an hour */
    size_t n_had;   /* slices of them */
};

/* ---- Arithmetic ---- */

static double hourly(uint64_t micro)
{
    return (double)micro / MICRO;
}

/* a/b < c/d without division. */
static int compare_rows(const void *a_p, const void *b_p)
{
    const struct row *a = a_p, *b = b_p;
    uint64_t left = a->micro * b->n_slices, right = b->micro * a->n_slices;

    if (!a->micro || !b->micro)
        return (a->micro == 0) - (b->micro == 0);
    if (left != right)
        return left < right ? -1 : 1;
    return a->n_slices < b->n_slices ? -1 : a->n_slices > b->n_slices;
}

/* One kind of slice, or a number of them says nothing. */
static int find_resource(const struct promises *promises, char ret_name[RESOURCE_NAME_SIZE],
                         struct error *err)
{
    const struct promise *first = &promises->items[0];
    size_t n = 0;

    for (size_t i = 0; i < first->n_resources; i++)
        if (first->resources[i].count) {
            memcpy(ret_name, first->resources[i].name, RESOURCE_NAME_SIZE);
            n++;
        }
    return n == 1 ? 0
                  : error_set(err, -EINVAL,
                              "its nodes have several kinds of slice, so a number of slices has no "
                              "price; give a profile with one kind, such as layout: all-1g.5gb");
}

static int make_rows(struct costs *c, const struct promises *promises)
{
    c->rows = calloc(promises->n_items + 1, sizeof(*c->rows));
    if (!c->rows)
        return -ENOMEM;
    for (size_t i = 0; i < promises->n_items; i++) {
        const struct promise *promise = &promises->items[i];
        const uint32_t max_pods = promise->type->max_pods;

        c->rows[i] = (struct row){
            .promise = promise,
            .n_slices = max_pods && max_pods < promise->n_slices ? max_pods : promise->n_slices,
            .micro = prices_find(c->prices, promise->type->name)};
        c->n_priced += c->rows[i].micro > 0;
    }
    c->n_rows = promises->n_items;
    qsort(c->rows, c->n_rows, sizeof(*c->rows), compare_rows);
    return 0;
}

static int choose_nodes(struct costs *c)
{
    cleanup_free struct cost_offer *offers = calloc(c->n_priced + 1, sizeof(*offers));
    cleanup_free size_t *counts = calloc(c->n_priced + 1, sizeof(*counts));
    int r = offers && counts ? 0 : -ENOMEM;

    for (size_t i = 0; i < c->n_priced && r == 0; i++)
        offers[i] = (struct cost_offer){c->rows[i].n_slices, c->rows[i].micro};
    if (r == 0)
        r = cost_cheapest(offers, c->n_priced, c->n_wanted, counts);
    for (size_t i = 0; i < c->n_priced && r == 0; i++) {
        c->rows[i].n_nodes = counts[i];
        c->micro += counts[i] * c->rows[i].micro;
        c->n_had += counts[i] * c->rows[i].n_slices;
    }
    return r;
}

/* ---- For people ---- */

static void print_table(const struct costs *c)
{
    cleanup_table struct table table = {
        .headings = {"TYPE", "GPUS", "SLICES", "PER HOUR", "PER SLICE", "NODES", NULL},
        .right = {false, true, true, true, true, true},
    };

    for (size_t i = 0; i < c->n_rows; i++) {
        const struct row *row = &c->rows[i];

        table_add(&table, "%s", row->promise->type->name);
        table_add(&table, "%u", row->promise->type->n_gpus);
        table_add(&table, "%zu", row->n_slices);
        if (row->micro) {
            table_add(&table, "%.4f", hourly(row->micro));
            table_add(&table, "%.4f", hourly(row->micro) / (double)row->n_slices);
            table_add(&table, "%zu", row->n_nodes);
            continue;
        }
        for (int k = 0; k < 3; k++)
            table_add(&table, "-");
    }
    table_print(&table, stdout);
}

static void print_sentence(const struct costs *c)
{
    const char *between = "";

    printf("\nThe cheapest nodes for %zu %s: ", c->n_wanted, c->resource);
    for (size_t i = 0; i < c->n_rows; i++) {
        if (!c->rows[i].n_nodes)
            continue;
        printf("%s%zu %s", between, c->rows[i].n_nodes, c->rows[i].promise->type->name);
        between = ", ";
    }
    printf(", %.4f %s an hour for %zu.\n", hourly(c->micro), c->prices->currency, c->n_had);
    printf("Prices on demand in %s, of %s; SLICES is what pods of one slice can have.\n",
           c->prices->region, c->prices->date);
}

/* ---- For programs ---- */

static json_t *row_tree(const struct row *row)
{
    json_t *tree = json_pack("{s:s, s:I, s:I, s:I}", "type", row->promise->type->name, "gpus",
                             (json_int_t)row->promise->type->n_gpus, "slices",
                             (json_int_t)row->n_slices, "nodes", (json_int_t)row->n_nodes);

    json_object_set_new(tree, "hourly", row->micro ? json_real(hourly(row->micro)) : json_null());
    json_object_set_new(tree, "hourly_per_slice",
                        row->micro ? json_real(hourly(row->micro) / (double)row->n_slices)
                                   : json_null());
    return tree;
}

static json_t *tree_of(const struct costs *c)
{
    json_t *types = json_array();

    for (size_t i = 0; i < c->n_rows; i++)
        json_array_append_new(types, row_tree(&c->rows[i]));
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:o, s:{s:I, s:I, s:f}}", "profile",
                     c->profile->name, "resource", c->resource, "prices", "date", c->prices->date,
                     "region", c->prices->region, "currency", c->prices->currency, "types", types,
                     "cheapest", "wanted", (json_int_t)c->n_wanted, "slices", (json_int_t)c->n_had,
                     "hourly", hourly(c->micro));
}

static void print_costs(const struct costs *c, const struct request *request)
{
    cleanup_text struct text yaml = TEXT_INIT;
    json_t *tree;

    if (!request->output || request_wants(request, "table")) {
        print_table(c);
        print_sentence(c);
        return;
    }
    tree = tree_of(c);
    if (request_wants(request, "json"))
        emit_json(stdout, tree);
    else
        emit_yaml(&yaml, tree);
    fputs(text_string(&yaml), stdout);
    json_decref(tree);
}

/* ---- All of it ---- */

static int compute(struct costs *c, const struct promises *promises, struct error *err)
{
    int r = find_resource(promises, c->resource, err);

    if (r == 0)
        r = make_rows(c, promises);
    if (r == 0 && !c->n_priced)
        return error_set(err, -ENOENT, "there is no price of any of its instance types");
    return r == 0 ? choose_nodes(c) : r;
}

static int print_profile(const struct sliceprofile *profile, const struct request *request,
                         const struct catalog *catalog, const struct prices *prices,
                         struct problems *problems)
{
    cleanup_promises struct promises promises = PROMISES_INIT;
    struct costs costs = {.profile = profile, .prices = prices};
    struct error err = ERROR_INIT;
    uint32_t n_wanted = 0;
    int r = number_parse(request->cost, &n_wanted) ? 0 : -EINVAL;

    costs.n_wanted = n_wanted;
    if (r == 0)
        r = promises_make(profile, catalog, NULL, problems, &promises);
    if (r == 0)
        r = compute(&costs, &promises, &err);
    if (r == 0)
        print_costs(&costs, request);
    else if (err.code)
        problem_add(problems, PROBLEM_ERROR, profile->at, "", "%s", error_text(&err));
    free(costs.rows);
    return err.code ? -EBADMSG : r;
}

static int print_source(const struct source *source, const struct request *request,
                        struct problems *problems, struct error *err)
{
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
    cleanup_problems struct problems of_prices = PROBLEMS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_prices struct prices prices = PRICES_INIT;
    char line[512];
    int r = target_load_catalog(&catalog, err);

    if (r == 0 && prices_load(boards_folder(), &of_prices, &prices) < 0) {
        problems_describe(&of_prices, line, sizeof(line));
        return error_set(err, -EINVAL, "%s", line);
    }
    if (r == 0)
        r = sliceprofiles_parse(source->data, source->size, problems, &profiles);
    if (r != 0)
        return r;
    if (profiles.n_items != 1)
        return error_set(err, -EINVAL, "%s has several profiles; give a file with one",
                         source->name);
    return print_profile(&profiles.items[0], request, &catalog, &prices, problems);
}

static enum exit_status check_request(const struct request *request)
{
    uint32_t n;

    if (request->machine || request->node || request->mig || request->mig_file || request->room ||
        request->labels || request->key)
        complain("--cost looks at every instance type of a SliceProfile; give it no machine and no "
                 "layout");
    else if (!number_parse(request->cost, &n) || n < 1 || n > COST_SLICES_MAX)
        complain("--cost cannot be '%s'; write a number of slices from 1 to %d", request->cost,
                 COST_SLICES_MAX);
    else if (!request->config)
        complain("--cost needs the file of a SliceProfile, see gpuslice-profile(5)");
    else
        return EXIT_CLEAN;
    return EXIT_USAGE;
}

enum exit_status plancost_print(const struct request *request)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_source struct source source = SOURCE_INIT;
    enum exit_status status = check_request(request);
    struct error err = ERROR_INIT;
    int r;

    if (status != EXIT_CLEAN)
        return status;
    r = source_read(request, request->config, &source, &err);
    if (r == 0)
        r = problems_set_source(&problems, source.name);
    if (r == 0)
        r = print_source(&source, request, &problems, &err);
    findings_print(&problems, &source, false, stderr);
    if (r < 0 && r != -EBADMSG) {
        complain("%s", err.code ? error_text(&err) : strerror(-r));
        return EXIT_UNREADABLE;
    }
    return findings_status(&problems);
}
