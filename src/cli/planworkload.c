// SPDX-License-Identifier: Apache-2.0
#include "cli/planworkload.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"
#include "cli/emit.h"
#include "cli/findings.h"
#include "cli/podlist.h"
#include "cli/source.h"
#include "cli/table.h"
#include "cli/target.h"
#include "slice/sharechoice.h"

enum { NAMES_DEFAULT = 8, WAYS_MAX = 16, TITLE = 40, PERCENT = 16 };

/* A way to slice, and what it needs. */
struct way {
    char title[TITLE];
    size_t n_names;
    struct sharefit fit;
};

struct study {
    const struct podlist *pods;
    const struct catalog *catalog;
    const char *machine;       /* whose GPUs those pods get that name none; NULL = not known */
    struct sharedemand *kinds; /* owned; as the workload's */
    size_t n_pods;             /* that want parts of GPUs */
    uint64_t sum_permille;     /* of the parts */
    uint64_t n_whole_pods, n_whole_gpus;
    struct sharechoice choice; /* with the wanted number of names */
    struct way ways[WAYS_MAX];
    size_t n_ways;
};

static void study_deinit(struct study *study)
{
    free(study->kinds);
}

/* ---- What pods want ---- */

/* As the catalog, a product, or EC2 calls it. */
static const struct gpu_model *find_model(const struct study *study, const char *kind)
{
    const struct catalog *catalog = study->catalog;
    struct catalog_machine machine;

    if (!*kind)
        return study->machine && catalog_find_machine(catalog, study->machine, &machine, NULL) == 0
                   ? machine.model
                   : NULL;
    for (size_t i = 0; i < catalog->n_types; i++)
        if (str_equal(catalog->types[i].gpu_name, kind))
            return &catalog->models[catalog->types[i].model];
    return catalog_find_model(catalog, kind);
}

/* The least share with so much memory. */
static int share_of_memory(const struct study *study, const struct podlist_row *row,
                           unsigned *ret_permille, struct error *err)
{
    const char *kind = study->pods->kinds.items[row->kind];
    const struct gpu_model *model = find_model(study, kind);
    const uint64_t mib = model ? (model->memory_bytes - model->reserved_bytes) / SHARE_MIB : 0;
    const uint64_t wanted = row->mem_bytes / SHARE_MIB + (row->mem_bytes % SHARE_MIB != 0);

    if (!mib)
        return error_set(err, -EINVAL,
                         "how large a part of a GPU this memory is depends on the GPU; name one "
                         "that the catalog has in the column model%s",
                         *kind ? "" : ", or give --machine");
    if (wanted > mib)
        return error_set(err, -EINVAL, "%s has %llu MiB, and the pod wants %llu", model->name,
                         (unsigned long long)mib, (unsigned long long)wanted);
    *ret_permille = (unsigned)((wanted * SHARE_WHOLE + mib - 1) / mib);
    return 0;
}

static int add_row(struct study *study, const struct podlist_row *row, struct error *err)
{
    unsigned permille = 0;
    int r = row->mem_bytes ? share_of_memory(study, row, &permille, err) : 0;

    if (r < 0)
        return r;
    if (permille < row->share_permille)
        permille = row->share_permille;
    if (permille == SHARE_WHOLE) {
        study->n_whole_pods += row->n_pods;
        study->n_whole_gpus += (uint64_t)row->n_pods * row->n_gpus;
        return 0;
    }
    study->kinds[row->kind].n_pods[permille] += row->n_pods;
    study->n_pods += row->n_pods;
    study->sum_permille += (uint64_t)row->n_pods * permille;
    return 0;
}

static int add_rows(struct study *study, struct problems *problems)
{
    const struct podlist *pods = study->pods;
    int r = 0;

    study->kinds = calloc(pods->kinds.n_items, sizeof(*study->kinds));
    if (!study->kinds)
        return -ENOMEM;
    for (size_t i = 0;
         i < pods->n_rows && problems_count(problems, PROBLEM_ERROR) < PODLIST_MAX_ERRORS; i++) {
        struct error err = ERROR_INIT;

        if (add_row(study, &pods->rows[i], &err) == 0)
            continue;
        problem_add(problems, PROBLEM_ERROR, pods->rows[i].at, "memory", "%s", error_text(&err));
        r = -EBADMSG;
    }
    return r;
}

/* ---- Ways ---- */

static void add_way(struct study *study, const char *title, size_t n_names, struct sharefit fit)
{
    struct way way = {.n_names = n_names, .fit = fit};

    assert(study->n_ways < WAYS_MAX);
    str_copy(way.title, sizeof(way.title), title);
    study->ways[study->n_ways++] = way;
}

static int add_named(struct study *study, size_t n_names)
{
    const size_t n_kinds = study->pods->kinds.n_items;
    char title[TITLE];
    int r = sharechoice_make(study->kinds, n_kinds, n_names, &study->choice);

    snprintf(title, sizeof(title), "unequal, %zu name%s", n_names, n_names > 1 ? "s" : "");
    if (r == 0)
        add_way(study, title, study->choice.n_sizes,
                sharechoice_fit(&study->choice, study->kinds, n_kinds));
    return r;
}

static size_t count_shares(const struct study *study)
{
    size_t n_shares = 0;

    for (unsigned share = 1; share <= SHARE_WHOLE; share++) {
        bool is_wanted = false;

        for (size_t i = 0; i < study->pods->kinds.n_items; i++)
            is_wanted = is_wanted || study->kinds[i].n_pods[share];
        n_shares += is_wanted;
    }
    return n_shares;
}

/* Of the choices that of the wanted number of names comes last: it stays. */
static int compare_ways(struct study *study, size_t n_names)
{
    static const unsigned equal[] = {2, 3, 4, 6, 7, 8};
    static const size_t fewer[] = {3, 5};
    const size_t n_kinds = study->pods->kinds.n_items;
    char title[TITLE];
    int r = 0;

    add_way(study, "whole GPUs", 1, sharechoice_equal(study->kinds, n_kinds, 1));
    for (size_t i = 0; i < ARRAY_SIZE(equal); i++) {
        snprintf(title, sizeof(title), "%u equal slices", equal[i]);
        add_way(study, title, 1, sharechoice_equal(study->kinds, n_kinds, equal[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(fewer) && r == 0; i++)
        if (fewer[i] < n_names)
            r = add_named(study, fewer[i]);
    if (r == 0)
        r = add_named(study, n_names);
    add_way(study, "unequal, a name for each share", count_shares(study),
            sharechoice_exact(study->kinds, n_kinds));
    return r;
}

/* ---- Words ---- */

static double gpus(uint64_t permille)
{
    return (double)permille / SHARE_WHOLE;
}

static double rounded_up(const struct study *study, const struct way *way)
{
    const double had = (double)way->fit.n_parts / way->fit.whole;

    return study->sum_permille ? 100 * (had / gpus(study->sum_permille) - 1) : 0;
}

/* "81%", "12.5%": as gpuslice.slices has it. */
static const char *percent(unsigned permille, char to[PERCENT])
{
    if (permille % 10)
        snprintf(to, PERCENT, "%u.%u%%", permille / 10, permille % 10);
    else
        snprintf(to, PERCENT, "%u%%", permille / 10);
    return to;
}

/* ---- For people ---- */

static void print_ways(const struct study *study)
{
    cleanup_table struct table table = {
        .headings = {"SLICES", "NAMES", "GPUS", "ROUNDED UP", NULL},
        .right = {false, true, true, true},
    };

    for (size_t i = 0; i < study->n_ways; i++) {
        const struct way *way = &study->ways[i];

        table_add(&table, "%s", way->title);
        table_add(&table, "%zu", way->n_names);
        table_add(&table, "%zu", way->fit.n_gpus);
        table_add(&table, "%.1f %%", rounded_up(study, way));
    }
    table_print(&table, stdout);
}

static size_t pods_of(const struct study *study, size_t size)
{
    struct sharepack_size sizes[SHAREPACK_NAMES_MAX];
    size_t n_pods = 0;

    for (size_t i = 0; i < study->pods->kinds.n_items; i++) {
        sharechoice_round(&study->choice, &study->kinds[i], sizes);
        n_pods += sizes[size].n_slices;
    }
    return n_pods;
}

static void print_names(const struct study *study)
{
    cleanup_table struct table table = {
        .headings = {"NAME", "SHARE", "PODS", NULL},
        .right = {false, true, true},
    };
    char text[PERCENT];

    for (size_t i = 0; i < study->choice.n_sizes; i++) {
        table_add(&table, "nvidia.com/gpu-%um", study->choice.sizes[i]);
        table_add(&table, "%s", percent(study->choice.sizes[i], text));
        table_add(&table, "%zu", pods_of(study, i));
    }
    printf("\n");
    table_print(&table, stdout);
}

static void add_slices(struct text *text, const struct study *study,
                       const struct sharepack_layout *layout)
{
    char share[PERCENT];

    for (size_t i = 0; i < study->choice.n_sizes; i++)
        if (layout->counts[i])
            text_addf(text, "%s%u x %s", text->length ? ", " : "", layout->counts[i],
                      percent(study->choice.sizes[i], share));
}

static int pack_kind(const struct study *study, size_t kind, struct sharepack *ret_pack)
{
    struct sharepack_size sizes[SHAREPACK_NAMES_MAX];

    sharechoice_round(&study->choice, &study->kinds[kind], sizes);
    return sharepack_make(sizes, study->choice.n_sizes, SHARE_WHOLE, ret_pack);
}

static const char *kind_name(const struct study *study, size_t kind)
{
    const char *name = study->pods->kinds.items[kind];

    return *name ? name : "any";
}

static int print_layouts(const struct study *study)
{
    cleanup_table struct table table = {
        .headings = {"GPUS", "MODEL", "SLICES OF EACH", NULL},
        .right = {true},
    };
    int r = 0;

    for (size_t i = 0; i < study->pods->kinds.n_items && r == 0; i++) {
        cleanup_sharepack struct sharepack pack = SHAREPACK_INIT;

        r = pack_kind(study, i, &pack);
        for (size_t k = 0; k < pack.n_layouts; k++) {
            cleanup_text struct text slices = TEXT_INIT;

            add_slices(&slices, study, &pack.layouts[k]);
            table_add(&table, "%zu", pack.layouts[k].n_gpus);
            table_add(&table, "%s", kind_name(study, i));
            table_add(&table, "%s", text_string(&slices));
        }
    }
    printf("\n");
    table_print(&table, stdout);
    return r;
}

static int print_tables(const struct study *study)
{
    printf("%zu pods want parts of GPUs, %.1f GPUs in sum.\n\n", study->n_pods,
           gpus(study->sum_permille));
    print_ways(study);
    if (study->n_whole_pods)
        printf("\n%llu pods want whole GPUs, %llu of them, in each of these cases.\n",
               (unsigned long long)study->n_whole_pods, (unsigned long long)study->n_whole_gpus);
    print_names(study);
    return print_layouts(study);
}

/* ---- For programs ---- */

static json_t *ways_tree(const struct study *study)
{
    json_t *tree = json_array();

    for (size_t i = 0; i < study->n_ways; i++) {
        const struct way *way = &study->ways[i];

        json_array_append_new(tree, json_pack("{s:s, s:I, s:I, s:f}", "slices", way->title, "names",
                                              (json_int_t)way->n_names, "gpus",
                                              (json_int_t)way->fit.n_gpus, "rounded_up_percent",
                                              rounded_up(study, way)));
    }
    return tree;
}

static json_t *names_tree(const struct study *study)
{
    json_t *tree = json_array();
    char text[PERCENT];

    for (size_t i = 0; i < study->choice.n_sizes; i++)
        json_array_append_new(tree, json_pack("{s:o, s:s, s:I}", "name",
                                              json_sprintf("%um", study->choice.sizes[i]), "share",
                                              percent(study->choice.sizes[i], text), "pods",
                                              (json_int_t)pods_of(study, i)));
    return tree;
}

/* As gpuslice.slices of a configuration. */
static json_t *slices_tree(const struct study *study, const struct sharepack_layout *layout)
{
    json_t *tree = json_array();
    char text[PERCENT];

    for (size_t i = 0; i < study->choice.n_sizes; i++)
        if (layout->counts[i])
            json_array_append_new(tree, json_pack("{s:o, s:s, s:I}", "name",
                                                  json_sprintf("%um", study->choice.sizes[i]),
                                                  "share", percent(study->choice.sizes[i], text),
                                                  "count", (json_int_t)layout->counts[i]));
    return tree;
}

static int layouts_tree(const struct study *study, json_t *tree)
{
    int r = 0;

    for (size_t i = 0; i < study->pods->kinds.n_items && r == 0; i++) {
        cleanup_sharepack struct sharepack pack = SHAREPACK_INIT;

        r = pack_kind(study, i, &pack);
        for (size_t k = 0; k < pack.n_layouts; k++)
            json_array_append_new(tree, json_pack("{s:s, s:I, s:o}", "model", kind_name(study, i),
                                                  "gpus", (json_int_t)pack.layouts[k].n_gpus,
                                                  "slices", slices_tree(study, &pack.layouts[k])));
    }
    return r;
}

static int print_tree(const struct study *study, const struct request *request)
{
    cleanup(json_decrefp) json_t *tree = NULL;
    cleanup_text struct text yaml = TEXT_INIT;
    json_t *layouts = json_array();
    int r = layouts_tree(study, layouts);

    tree = json_pack("{s:I, s:f, s:I, s:I, s:I, s:o, s:o, s:o}", "pods", (json_int_t)study->n_pods,
                     "gpus_in_sum", gpus(study->sum_permille), "pods_of_whole_gpus",
                     (json_int_t)study->n_whole_pods, "whole_gpus", (json_int_t)study->n_whole_gpus,
                     "pods_without_gpu", (json_int_t)study->pods->n_without, "ways",
                     ways_tree(study), "names", names_tree(study), "layouts", layouts);
    if (request_wants(request, "json"))
        emit_json(stdout, tree);
    else
        emit_yaml(&yaml, tree);
    fputs(text_string(&yaml), stdout);
    return r;
}

/* ---- All of it ---- */

static int study_workload(struct study *study, const struct request *request, size_t n_names,
                          struct problems *problems)
{
    int r = add_rows(study, problems);

    if (r == 0)
        r = compare_ways(study, n_names);
    if (r == 0)
        r = !request->output || request_wants(request, "table") ? print_tables(study)
                                                                : print_tree(study, request);
    return r;
}

static int print_source(const struct source *source, const struct request *request, size_t n_names,
                        struct problems *problems, struct error *err)
{
    cleanup_podlist struct podlist pods = PODLIST_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup(study_deinit) struct study study = {
        .pods = &pods, .catalog = &catalog, .machine = request->machine};
    struct catalog_machine machine;
    int r = target_load_catalog(&catalog, err);

    if (r == 0 && request->machine)
        r = catalog_find_machine(&catalog, request->machine, &machine, err);
    if (r > 0)
        return error_set(err, -EINVAL,
                         "--machine %s is neither an instance type nor a count of a model",
                         request->machine);
    if (r == 0)
        r = podlist_parse(source->data, source->size, problems, &pods);
    return r == 0 ? study_workload(&study, request, n_names, problems) : r;
}

static enum exit_status check_request(const struct request *request, uint32_t *ret_n_names)
{
    *ret_n_names = NAMES_DEFAULT;
    if (request->config || request->cost || request->node || request->mig || request->mig_file ||
        request->room || request->labels || request->key)
        complain("--workload plans for pods alone; of the other options, only --names, --machine "
                 "and --output go with it");
    else if (request->names && (!number_parse(request->names, ret_n_names) || *ret_n_names < 1 ||
                                *ret_n_names > SHAREPACK_NAMES_MAX))
        complain("--names cannot be '%s'; write a number from 1 to %d", request->names,
                 SHAREPACK_NAMES_MAX);
    else
        return EXIT_CLEAN;
    return EXIT_USAGE;
}

enum exit_status planworkload_print(const struct request *request)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_source struct source source = SOURCE_INIT;
    const bool is_stdin = str_equal(request->workload, "-");
    struct error err = ERROR_INIT;
    uint32_t n_names;
    enum exit_status status = check_request(request, &n_names);
    int r;

    if (status != EXIT_CLEAN)
        return status;
    source.name = is_stdin ? "<stdin>" : request->workload;
    r = file_read(is_stdin ? "/dev/stdin" : request->workload, PODLIST_MAX_BYTES, &source.data,
                  &source.size, &err);
    if (r == 0)
        r = problems_set_source(&problems, source.name);
    if (r == 0)
        r = print_source(&source, request, n_names, &problems, &err);
    findings_print(&problems, &source, false, stderr);
    if (r < 0 && r != -EBADMSG) {
        complain("%s", err.code ? error_text(&err) : strerror(-r));
        return EXIT_UNREADABLE;
    }
    return findings_status(&problems);
}
