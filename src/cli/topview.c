// SPDX-License-Identifier: Apache-2.0
#include "cli/topview.h"

#include <inttypes.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/table.h"

enum { OLD_S = 5, US_PER_MS = 1000, PPM_PER_PERCENT = 10000 }; /* figures are of every second */

#define MIB      (INT64_C(1) << 20)
#define NS_PER_S 1e9

static const json_t *get(const json_t *tree, const char *key)
{
    return json_object_get(tree, key);
}

static const char *word(const json_t *tree, const char *key)
{
    const char *text = json_string_value(get(tree, key));

    return text ? text : "";
}

static bool is(const json_t *tree, const char *key)
{
    return json_is_true(get(tree, key));
}

/* --- the node --- */

static void print_mode(const json_t *status, FILE *out)
{
    const char *mode = word(status, "mode"), *configured = word(status, "configured");

    if (!is(status, "has_limits")) {
        fputs("This node is audited; no memory limit is enforced.\n", out);
        return;
    }
    fprintf(out, "Memory limits: %s", mode);
    if (!str_equal(mode, configured))
        fprintf(out, " (configured: %s)", configured);
    fputs(is(status, "is_off") ? ", switched off on this node (gpuslice enforcement on)\n" : "\n",
          out);
    if (is(status, "is_overcommitted"))
        fputs("Limits may add up to more than a device has: an allocation within its limit may "
              "fail.\n",
              out);
    if (!*word(status, "library"))
        fputs("There is no library for new containers: none of them can be limited.\n", out);
}

/* Of an arbiter that knows turns, where there are any. */
static void print_compute(const json_t *status, FILE *out)
{
    const char *compute = word(status, "compute"), *configured = word(status, "compute_configured");

    if (!*compute || (str_equal(compute, "none") && str_equal(configured, "none")))
        return;
    fprintf(out, "Compute: %s", compute);
    if (!str_equal(compute, configured))
        fprintf(out, " (configured: %s)", configured);
    fputs("\n", out);
}

/* A word that is not known is of a later arbiter. */
static const char *describe_plan(const char *plan)
{
    static const char *const words[][2] = {
        {"free", "all launch freely"},
        {"turns", "heavy ones take turns"},
        {"bounded", "heavy ones take turns and queue little"},
        {"full", "heavy ones without gaps take turns"},
        {"full-bounded", "heavy ones without gaps take turns and queue little"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_equal(words[i][0], plan))
            return words[i][1];
    return plan;
}

static void print_plan(const json_t *device, FILE *out)
{
    const json_t *turns = get(device, "turns");

    if (!json_is_object(turns))
        return;
    fprintf(out, "GPU %s: %s: %s; %" PRId64 " with work, %" PRId64 " of them heavy\n",
            word(device, "index"), describe_plan(word(turns, "plan")), word(turns, "why"),
            (int64_t)json_integer_value(get(turns, "active")),
            (int64_t)json_integer_value(get(turns, "heavy")));
}

static void print_node(const json_t *status, FILE *out)
{
    const double age_s = json_number_value(get(status, "age_seconds"));

    print_mode(status, out);
    print_compute(status, out);
    if (*word(status, "unverified"))
        fprintf(out, "Never verified on %s: gpuslice verify does it.\n",
                word(status, "unverified"));
    if (*word(status, "trouble"))
        fprintf(out, "Trouble: %s\n", word(status, "trouble"));
    if (*word(status, "no_driver"))
        fprintf(out, "There is no driver to ask: %s\n", word(status, "no_driver"));
    else if (!json_array_size(get(status, "devices")))
        fputs("Nothing is known of this node's GPUs yet.\n", out);
    if (age_s > OLD_S)
        fprintf(out, "These figures are %.0f s old.\n", age_s);
}

/* --- cells --- */

/* A container on a device; or, without one, a part of the rest of the device's memory. */
struct line {
    const json_t *device, *container;
    const char *name, *key; /* of that part: what it is called, and where the device has it */
};

static const json_t *turns_of(const struct line *line)
{
    return get(line->container, "turns");
}

static void add_index(struct table *table, const struct line *line, const char *key)
{
    table_add(table, "%s", word(line->device, key));
}

static void add_pod(struct table *table, const struct line *line, const char *key)
{
    const json_t *container = line->container;

    if (!container)
        table_add(table, "%s", line->name);
    else if (*word(container, key))
        table_add(table, "%s/%s", word(container, "namespace"), word(container, key));
    else
        table_add(table, "pod %s", word(container, "pod_uid"));
}

static void add_word(struct table *table, const json_t *tree, const char *key)
{
    const char *text = word(tree, key);

    table_add(table, "%s", *text ? text : "-");
}

static void add_container(struct table *table, const struct line *line, const char *key)
{
    add_word(table, line->container, key);
}

static void add_weight(struct table *table, const struct line *line, const char *key)
{
    add_word(table, turns_of(line), key);
}

static void add_bytes(struct table *table, const json_t *value)
{
    if (json_is_integer(value))
        table_add(table, "%" PRId64 " MiB", (int64_t)json_integer_value(value) / MIB);
    else
        table_add(table, "-");
}

static void add_size(struct table *table, const struct line *line, const char *key)
{
    add_bytes(table, get(line->container, key));
}

static void add_used(struct table *table, const struct line *line, const char *key)
{
    add_bytes(table, line->container ? get(line->container, key) : get(line->device, line->key));
}

static void add_count(struct table *table, const struct line *line, const char *key)
{
    const json_t *value = get(line->container, key);

    if (json_is_integer(value))
        table_add(table, "%" PRId64, (int64_t)json_integer_value(value));
    else
        table_add(table, "-");
}

static void add_share(struct table *table, const struct line *line, const char *key)
{
    const json_t *value = get(line->container, key);

    if (json_is_integer(value))
        table_add(table, "%.1f %%", (double)json_integer_value(value) / PPM_PER_PERCENT);
    else
        table_add(table, "-");
}

static void add_seconds(struct table *table, const struct line *line, const char *key)
{
    const json_t *value = get(turns_of(line), key);

    if (json_is_integer(value))
        table_add(table, "%.1f s", (double)json_integer_value(value) / NS_PER_S);
    else
        table_add(table, "-");
}

/* A bin's upper bound. */
static void add_wait(struct table *table, const struct line *line, const char *key)
{
    const json_t *value = get(turns_of(line), key);

    if (json_is_integer(value))
        table_add(table, "< %.1f ms", (double)json_integer_value(value) / US_PER_MS);
    else
        table_add(table, "-");
}

/* "": it is not so. */
static void add_state_word(struct text *text, const char *state)
{
    if (*state)
        text_addf(text, "%s%s", text->length ? ", " : "", state);
}

static void add_memory_state(struct table *table, const struct line *line, const char *key)
{
    const json_t *container = line->container;
    const char *verdict = word(container, key);
    cleanup_text struct text text = TEXT_INIT;

    if (!container)
        add_state_word(&text, is(line->device, "is_complete") ? "" : "incomplete");
    add_state_word(&text, str_equal(verdict, "within") ? "" : verdict);
    add_state_word(&text, is(container, "is_unenforced") ? "unenforced" : "");
    add_state_word(&text, is(container, "is_starved") ? "starved" : "");
    table_add(table, "%s", text.length ? text_string(&text) : "-");
}

static void add_turns_state(struct table *table, const struct line *line, const char *key)
{
    const json_t *turns = turns_of(line), *group = get(turns, "group");
    cleanup_text struct text text = TEXT_INIT;

    if (json_integer_value(get(line->container, key)) > 0)
        add_state_word(&text, "unenforced compute");
    add_state_word(&text, is(turns, "is_overdue") ? "overdue" : "");
    add_state_word(&text, is(turns, "is_capped") ? "capped" : "");
    add_state_word(&text, is(turns, "is_suspect") ? "suspect" : "");
    if (json_is_integer(group))
        text_addf(&text, "%sgroup %" PRId64, text.length ? ", " : "",
                  (int64_t)json_integer_value(group));
    table_add(table, "%s", text.length ? text_string(&text) : "-");
}

/* --- columns --- */

enum view { MEMORY = 1, TURNS = 2 };

static const struct column {
    const char *heading;
    unsigned views; /* that have it */
    bool is_right;
    void (*add)(struct table *table, const struct line *line, const char *key);
    const char *key; /* of what it shows, in the document */
} columns[] = {
    {"GPU", MEMORY | TURNS, false, add_index, "index"},
    {"POD", MEMORY | TURNS, false, add_pod, "pod"},
    {"CONTAINER", MEMORY | TURNS, false, add_container, "container"},
    {"LIMIT", MEMORY, true, add_size, "limit_bytes"},
    {"CHARGED", MEMORY, true, add_size, "charged_bytes"},
    {"OVERHEAD", MEMORY, true, add_size, "overhead_bytes"},
    {"PEAK", MEMORY, true, add_size, "peak_bytes"},
    {"USED", MEMORY, true, add_used, "used_bytes"},
    {"DENIED", MEMORY, true, add_count, "denials"},
    {"STATE", MEMORY, false, add_memory_state, "verdict"},
    {"SHARE", TURNS, true, add_share, "share_ppm"},
    {"ENTITLED", TURNS, true, add_seconds, "entitled_ns"},
    {"RECEIVED", TURNS, true, add_seconds, "received_ns"},
    {"BORROWED", TURNS, true, add_seconds, "borrowed_ns"},
    {"LENT", TURNS, true, add_seconds, "lent_ns"},
    {"WAIT P50", TURNS, true, add_wait, "wait_p50_us"},
    {"WAIT P99", TURNS, true, add_wait, "wait_p99_us"},
    {"WEIGHT", TURNS, false, add_weight, "weight"},
    {"STATE", TURNS, false, add_turns_state, "unenforced_compute"},
};

static void add_headings(struct table *table, enum view view)
{
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        if (columns[i].views & view) {
            table->headings[n] = columns[i].heading;
            table->right[n++] = columns[i].is_right;
        }
}

static void add_line(struct table *table, enum view view, const struct line *line)
{
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        if (columns[i].views & view)
            columns[i].add(table, line, columns[i].key);
}

/* --- lines --- */

/* What its containers do not have of its memory. */
static void add_rest(struct table *table, const json_t *device)
{
    static const struct {
        const char *name, *key;
    } rest[] = {{"[not ours]", "not_ours_bytes"},
                {"[driver]", "reserved_bytes"},
                {"[idle]", "idle_bytes"},
                {"[all]", "memory_bytes"}};

    for (size_t i = 0; i < ARRAY_SIZE(rest); i++)
        add_line(table, MEMORY,
                 &(struct line){.device = device, .name = rest[i].name, .key = rest[i].key});
}

/* Who takes part in turns, or should. */
static bool is_in(enum view view, const struct line *line)
{
    return view == MEMORY || json_is_object(turns_of(line)) ||
           json_integer_value(get(line->container, "unenforced_compute"));
}

static void add_device(struct table *table, enum view view, const json_t *device)
{
    struct line line = {.device = device};
    size_t i;

    json_array_foreach(get(device, "containers"), i, line.container) if (is_in(view, &line))
        add_line(table, view, &line);
    if (view == MEMORY)
        add_rest(table, device);
}

static void print_plans(const json_t *status, FILE *out)
{
    const json_t *device;
    size_t i;

    fputs("\n", out);
    json_array_foreach(get(status, "devices"), i, device) print_plan(device, out);
}

static void print_view(const json_t *status, enum view view, size_t max_width, FILE *out)
{
    cleanup_table struct table table = {.max_width = max_width};
    const json_t *device;
    size_t i;

    add_headings(&table, view);
    json_array_foreach(get(status, "devices"), i, device) add_device(&table, view, device);
    if (!table.n_cells)
        return;
    if (view == TURNS)
        print_plans(status, out);
    table_print(&table, out);
}

void topview_print(const json_t *status, size_t max_width, FILE *out)
{
    print_node(status, out);
    print_view(status, MEMORY, max_width, out);
    print_view(status, TURNS, max_width, out); /* who got how much of each device's time */
}
