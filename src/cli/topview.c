// SPDX-License-Identifier: Apache-2.0
#include "cli/topview.h"

#include <inttypes.h>
#include <string.h>

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

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
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

/* --- devices --- */

static void add_size(struct table *table, const json_t *value)
{
    if (json_is_integer(value))
        table_add(table, "%" PRId64 " MiB", (int64_t)json_integer_value(value) / MIB);
    else
        table_add(table, "-");
}

static void add_state(struct table *table, const json_t *container)
{
    const char *verdict = word(container, "verdict");
    const bool is_wrong = *verdict && !str_equal(verdict, "within");
    const char *const states[] = {is_wrong ? verdict : "",
                                  is(container, "is_unenforced") ? "unenforced" : "",
                                  is(container, "is_starved") ? "starved" : ""};
    cleanup_text struct text text = TEXT_INIT;

    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
        if (*states[i])
            text_addf(&text, "%s%s", text.length ? ", " : "", states[i]);
    table_add(table, "%s", text.length ? text_string(&text) : "-");
}

static void add_container(struct table *table, const json_t *device, const json_t *container)
{
    static const char *const sizes[] = {"limit_bytes", "charged_bytes", "overhead_bytes",
                                        "peak_bytes", "used_bytes"};
    const char *name = word(container, "container");
    const json_t *denials = get(container, "denials");

    table_add(table, "%s", word(device, "index"));
    if (*word(container, "pod"))
        table_add(table, "%s/%s", word(container, "namespace"), word(container, "pod"));
    else
        table_add(table, "pod %s", word(container, "pod_uid"));
    table_add(table, "%s", *name ? name : "-");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        add_size(table, get(container, sizes[i]));
    if (json_is_integer(denials))
        table_add(table, "%" PRId64, (int64_t)json_integer_value(denials));
    else
        table_add(table, "-");
    add_state(table, container);
}

static void add_rest(struct table *table, const json_t *device, const char *name, const char *key)
{
    table_add(table, "%s", word(device, "index"));
    table_add(table, "%s", name);
    for (size_t i = 0; i < 5; i++)
        table_add(table, "-");
    add_size(table, get(device, key));
    table_add(table, "-");
    table_add(table, "%s", is(device, "is_complete") ? "-" : "incomplete");
}

static void add_device(struct table *table, const json_t *device)
{
    static const struct {
        const char *name, *key;
    } rest[] = {{"[not ours]", "not_ours_bytes"},
                {"[driver]", "reserved_bytes"},
                {"[idle]", "idle_bytes"},
                {"[all]", "memory_bytes"}};
    const json_t *container;
    size_t i;

    json_array_foreach(get(device, "containers"), i, container)
        add_container(table, device, container);
    for (i = 0; i < sizeof(rest) / sizeof(*rest); i++)
        add_rest(table, device, rest[i].name, rest[i].key);
}

/* --- turns --- */

static void add_seconds(struct table *table, const json_t *turns, const char *key)
{
    const json_t *value = get(turns, key);

    if (json_is_integer(value))
        table_add(table, "%.1f s", (double)json_integer_value(value) / NS_PER_S);
    else
        table_add(table, "-");
}

/* A bin's upper bound. */
static void add_wait(struct table *table, const json_t *turns, const char *key)
{
    const json_t *value = get(turns, key);

    if (json_is_integer(value))
        table_add(table, "< %.1f ms", (double)json_integer_value(value) / US_PER_MS);
    else
        table_add(table, "-");
}

static void add_turns_state(struct table *table, const json_t *container, const json_t *turns)
{
    static const struct {
        const char *key, *word;
    } states[] = {{"is_overdue", "overdue"}, {"is_capped", "capped"}, {"is_suspect", "suspect"}};
    cleanup_text struct text text = TEXT_INIT;

    if (json_integer_value(get(container, "unenforced_compute")) > 0)
        text_add(&text, "unenforced compute");
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
        if (is(turns, states[i].key))
            text_addf(&text, "%s%s", text.length ? ", " : "", states[i].word);
    if (json_is_integer(get(turns, "group")))
        text_addf(&text, "%sgroup %lld", text.length ? ", " : "",
                  (long long)json_integer_value(get(turns, "group")));
    table_add(table, "%s", text.length ? text_string(&text) : "-");
}

static void add_turns(struct table *table, const json_t *device, const json_t *container)
{
    static const char *const times[] = {"entitled_ns", "received_ns", "borrowed_ns", "lent_ns"};
    const json_t *turns = get(container, "turns"), *share = get(container, "share_ppm");
    const char *name = word(container, "container"), *weight = word(turns, "weight");

    if (!json_is_object(turns) && !json_integer_value(get(container, "unenforced_compute")))
        return;
    table_add(table, "%s", word(device, "index"));
    if (*word(container, "pod"))
        table_add(table, "%s/%s", word(container, "namespace"), word(container, "pod"));
    else
        table_add(table, "pod %s", word(container, "pod_uid"));
    table_add(table, "%s", *name ? name : "-");
    if (json_is_integer(share))
        table_add(table, "%.1f %%", (double)json_integer_value(share) / PPM_PER_PERCENT);
    else
        table_add(table, "-");
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
        add_seconds(table, turns, times[i]);
    add_wait(table, turns, "wait_p50_us");
    add_wait(table, turns, "wait_p99_us");
    table_add(table, "%s", *weight ? weight : "-");
    add_turns_state(table, container, turns);
}

/* Behind the memory: who got how much of each device's time. */
static void print_turns(const json_t *status, size_t max_width, FILE *out)
{
    cleanup_table struct table table = {
        .headings = {"GPU", "POD", "CONTAINER", "SHARE", "ENTITLED", "RECEIVED", "BORROWED", "LENT",
                     "WAIT P50", "WAIT P99", "WEIGHT", "STATE"},
        .right = {false, false, false, true, true, true, true, true, true, true, false, false},
        .max_width = max_width,
    };
    const json_t *device, *container;
    size_t i, j;

    json_array_foreach(get(status, "devices"), i, device)
        json_array_foreach(get(device, "containers"), j, container)
            add_turns(&table, device, container);
    if (!table.n_cells)
        return;
    fputs("\n", out);
    json_array_foreach(get(status, "devices"), i, device) print_plan(device, out);
    table_print(&table, out);
}

void topview_print(const json_t *status, size_t max_width, FILE *out)
{
    cleanup_table struct table table = {
        .headings = {"GPU", "POD", "CONTAINER", "LIMIT", "CHARGED", "OVERHEAD", "PEAK", "USED",
                     "DENIED", "STATE"},
        .right = {false, false, false, true, true, true, true, true, true, false},
        .max_width = max_width,
    };
    const json_t *device;
    size_t i;

    print_node(status, out);
    json_array_foreach(get(status, "devices"), i, device) add_device(&table, device);
    if (table.n_cells)
        table_print(&table, out);
    print_turns(status, max_width, out);
}
