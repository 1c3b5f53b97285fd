// SPDX-License-Identifier: Apache-2.0
#include "controller/nodegates.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/exposition.h"
#include "base/log.h"
#include "controller/gateprofile.h"
#include "karpenter/nodekeys.h"
#include "kube/object.h"
#include "kube/store.h"

enum {
    SOON_MS = 50,
    TICK_MS = 1000,
    KINDS_KEPT = 64, /* beyond that those without a node are looked for */
};

#define SLICES_PATH "/apis/resource.k8s.io/v1/resourceslices"
#define DRA_DRIVER  "gpu.nvidia.com"

struct subject {
    struct gate *gate;
    bool is_settled;
};

struct nodegates {
    struct nodegates_setup setup;
    struct gate_setup gate_setup;
    struct gateprofile_setup profile_setup;
    uv_timer_t timer;
    struct kube_store *profiles, *overlays; /* borrowed */
    struct kube_store *nodes, *slices;
    struct subject *subjects; /* by name, one for each Node of the store */
    size_t n_subjects, subjects_capacity;
    struct gateprofile **items; /* SliceProfiles */
    size_t n_items, items_capacity;
    struct nodekind **kinds;
    size_t n_kinds, kinds_capacity;
    size_t collect_at;   /* so many kinds */
    uint64_t counted_ms; /* when profiles were given what their nodes are */
    bool is_stale;       /* the kinds' numbers are to be computed again */
};

static void wake(struct nodegates *gates);

/* -- SliceProfiles ----------------------------------------------------------------------------- */

static struct gateprofile *find_profile(const struct nodegates *gates, const char *name)
{
    for (size_t i = 0; i < gates->n_items; i++)
        if (str_equal(gateprofile_name(gates->items[i]), name))
            return gates->items[i];
    return NULL;
}

static struct gateprofile *add_profile(struct nodegates *gates, const char *name)
{
    struct gateprofile *made = gateprofile_new(&gates->profile_setup, name);
    struct gateprofile **place =
        made ? array_push(&gates->items, &gates->n_items, &gates->items_capacity, sizeof(made))
             : NULL;

    if (!place) {
        gateprofile_free(made);
        return NULL;
    }
    return *place = made;
}

static void drop_profile(struct nodegates *gates, const char *name)
{
    for (size_t i = 0; i < gates->n_items; i++)
        if (str_equal(gateprofile_name(gates->items[i]), name)) {
            gateprofile_free(gates->items[i]);
            gates->items[i] = gates->items[--gates->n_items];
            return;
        }
}

static void on_profile(const char *key, const void *was, const void *is, void *userdata)
{
    struct nodegates *gates = userdata;
    struct gateprofile *profile = find_profile(gates, key);

    if (!is) {
        drop_profile(gates, key);
    } else {
        if (!profile)
            profile = add_profile(gates, key);
        if (profile)
            gateprofile_see(profile, is);
    }
    gates->is_stale = true;
    wake(gates);
}

/* -- kinds ------------------------------------------------------------------------------------- */

static struct nodekind *find_kind(const struct nodegates *gates, const struct nodeview *view)
{
    for (size_t i = 0; i < gates->n_kinds; i++)
        if (nodekind_has(gates->kinds[i], view))
            return gates->kinds[i];
    return NULL;
}

static bool is_used(const struct nodegates *gates, const struct nodekind *kind)
{
    for (size_t i = 0; i < kube_store_count(gates->nodes); i++)
        if (nodekind_has(kind, kube_store_at(gates->nodes, i)))
            return true;
    return false;
}

/* Kinds come with each state of a profile, and nobody says when the last node of one has gone. */
static void collect_kinds(struct nodegates *gates)
{
    if (gates->n_kinds < gates->collect_at)
        return;
    for (size_t i = gates->n_kinds; i-- > 0;)
        if (!is_used(gates, gates->kinds[i])) {
            nodekind_free(gates->kinds[i]);
            gates->kinds[i] = gates->kinds[--gates->n_kinds];
        }
    gates->collect_at = gates->n_kinds * 2 + KINDS_KEPT;
}

static int add_kind(struct nodegates *gates, const struct nodeview *view, const json_t *labels)
{
    struct nodekind *kind, **place;

    collect_kinds(gates);
    kind = nodekind_new(view, labels);
    place = kind ? array_push(&gates->kinds, &gates->n_kinds, &gates->kinds_capacity, sizeof(kind))
                 : NULL;
    if (!place) {
        nodekind_free(kind);
        return -ENOMEM;
    }
    *place = kind;
    gates->is_stale = true;
    return 0;
}

/* Karpenter's overlays; what cannot be read Karpenter does not heed either. NULL without memory. */
static struct overlay *read_overlays(const struct nodegates *gates, size_t *ret_n)
{
    const size_t n_all = kube_store_count(gates->overlays);
    struct overlay *overlays = calloc(n_all + 1, sizeof(*overlays));

    *ret_n = 0;
    for (size_t i = 0; overlays && i < n_all; i++)
        if (overlay_read(kube_store_at(gates->overlays, i), &overlays[*ret_n], NULL) == 0)
            ++*ret_n;
    return overlays;
}

static int compute(struct nodegates *gates)
{
    struct nodekind_world world = {.catalog = gates->setup.catalog};
    cleanup_free struct overlay *overlays = read_overlays(gates, &world.n_overlays);
    int r = overlays ? 0 : -ENOMEM;

    if (kube_store_is_complete(gates->overlays))
        world.overlays = overlays;
    for (size_t i = 0; i < gates->n_kinds && r == 0; i++) {
        const struct gateprofile *profile = find_profile(gates, gates->kinds[i]->profile);

        world.profile = profile ? gateprofile_read(profile) : NULL;
        r = nodekind_compute(gates->kinds[i], &world);
    }
    gates->is_stale = r < 0;
    return r;
}

/* -- Nodes ------------------------------------------------------------------------------------- */

/* The place of the first subject whose Node does not come before. */
static size_t place_of(const struct nodegates *gates, const char *node)
{
    size_t from = 0, to = gates->n_subjects;

    while (from < to) {
        const size_t middle = from + (to - from) / 2;

        if (strcmp(gate_node(gates->subjects[middle].gate), node) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct subject *find(const struct nodegates *gates, const char *node)
{
    const size_t i = place_of(gates, node);

    return i < gates->n_subjects && str_equal(gate_node(gates->subjects[i].gate), node)
               ? &gates->subjects[i]
               : NULL;
}

static void add(struct nodegates *gates, const char *node)
{
    const size_t i = place_of(gates, node);
    struct gate *gate = gate_new(&gates->gate_setup, node, kube_store_is_complete(gates->nodes));

    if (!gate || !array_push(&gates->subjects, &gates->n_subjects, &gates->subjects_capacity,
                             sizeof(*gates->subjects))) {
        gate_free(gate);
        log_error("out of memory for a Node of a SliceProfile", "node", node);
        return;
    }
    memmove(&gates->subjects[i + 1], &gates->subjects[i],
            (gates->n_subjects - 1 - i) * sizeof(*gates->subjects));
    gates->subjects[i] = (struct subject){.gate = gate};
}

static void drop(struct nodegates *gates, struct subject *subject)
{
    gate_free(subject->gate);
    gates->n_subjects--;
    memmove(subject, subject + 1,
            (size_t)(&gates->subjects[gates->n_subjects] - subject) * sizeof(*subject));
}

static bool has_dra(const struct nodegates *gates, const char *node)
{
    for (size_t i = 0; i < kube_store_count(gates->slices); i++)
        if (str_equal(kube_store_at(gates->slices, i), node))
            return true;
    return false;
}

static struct gate_now now(void)
{
    return (struct gate_now){.ms = clock_now_ms(), .wall = time(NULL)};
}

static void see(struct nodegates *gates, struct subject *subject, const struct gate_now *now)
{
    const struct nodeview *view = kube_store_find(gates->nodes, gate_node(subject->gate));
    const struct nodekind *kind = view ? find_kind(gates, view) : NULL;

    if (kind)
        subject->is_settled =
            gate_see(subject->gate, view, kind, has_dra(gates, gate_node(subject->gate)), now);
}

/* Until the profiles are known, and the overlays or that there are none, nothing can be judged. */
static bool is_world_known(const struct nodegates *gates)
{
    return kube_store_is_complete(gates->profiles) &&
           (kube_store_is_complete(gates->overlays) ||
            kube_store_state(gates->overlays) == STORE_ABSENT ||
            kube_store_state(gates->overlays) == STORE_FORBIDDEN);
}

static void on_node(const char *key, const void *was, const void *is, void *userdata)
{
    struct nodegates *gates = userdata;
    struct subject *subject = find(gates, key);

    if (!is && subject)
        drop(gates, subject);
    else if (is && !subject)
        add(gates, key);
    else if (subject)
        subject->is_settled = false;
    wake(gates);
}

/* The gate of a Node that just opened: replacements of its type are worth trying again. */
static void on_opened(const char *node, void *userdata)
{
    struct nodegates *gates = userdata;
    const struct nodeview *view = kube_store_find(gates->nodes, node);
    struct gateprofile *profile = view ? find_profile(gates, view->texts[NODEVIEW_PROFILE]) : NULL;

    if (profile)
        gateprofile_clear(profile, view->texts[NODEVIEW_TYPE]);
}

static bool may_write(void *userdata)
{
    const struct nodegates *gates = userdata;

    return gates->setup.may_write(gates->setup.userdata);
}

/* -- replacements ------------------------------------------------------------------------------ */

static bool is_being_replaced(const struct nodegates *gates, const struct nodeview *view)
{
    const struct gateprofile *profile = find_profile(gates, view->texts[NODEVIEW_PROFILE]);

    if (view->is_going)
        return view->is_closed;
    return profile && replacement_has(gateprofile_list(profile), view->texts[NODEVIEW_TYPE],
                                      view->texts[NODEVIEW_CLAIM]);
}

/* Also those that are being written down. */
static size_t count_going(const struct nodegates *gates)
{
    size_t n = 0;

    for (size_t i = 0; i < kube_store_count(gates->nodes); i++)
        n += is_being_replaced(gates, kube_store_at(gates->nodes, i));
    for (size_t i = 0; i < gates->n_items; i++)
        n += gateprofile_is_recording(gates->items[i]);
    return n;
}

/* n_going: see count_going. */
static void replace(struct nodegates *gates, struct gate *gate, const struct gate_now *now,
                    size_t *n_going)
{
    const struct nodeview *view = kube_store_find(gates->nodes, gate_node(gate));
    struct gateprofile *profile = view ? find_profile(gates, view->texts[NODEVIEW_PROFILE]) : NULL;
    const struct sliceprofile *read = profile ? gateprofile_read(profile) : NULL;
    const struct replacement_facts facts = {
        .node = view,
        .kind = view ? find_kind(gates, view) : NULL,
        .is_wanted = read && read->replace,
        .list = profile ? gateprofile_list(profile) : NULL,
        .n_going = *n_going,
        .at_most = gates->setup.replace_at_most,
    };
    const char *why;

    if (!facts.kind || !profile || !read)
        return;
    switch (replacement_decide(&facts, &why)) {
    case REPLACEMENT_LEFT:
        if (read->replace)
            gate_keep(gate, why);
        return;
    case REPLACEMENT_WAITS:
        return;
    case REPLACEMENT_RECORD:
        if (!gateprofile_is_recording(profile)) {
            gateprofile_record(profile, view->texts[NODEVIEW_TYPE], view->texts[NODEVIEW_CLAIM]);
            ++*n_going;
        }
        return;
    case REPLACEMENT_DELETE:
        gate_replace(gate, view, now);
        return;
    }
}

/* What is deleted has to be true now: not while the server cannot be asked. */
static void replace_overdue(struct nodegates *gates, const struct gate_now *now)
{
    size_t n_going;

    if (kube_store_state(gates->nodes) != STORE_SYNCED ||
        kube_store_state(gates->profiles) != STORE_SYNCED)
        return;
    n_going = count_going(gates);
    for (size_t i = 0; i < gates->n_subjects; i++)
        if (gate_is_overdue(gates->subjects[i].gate))
            replace(gates, gates->subjects[i].gate, now, &n_going);
}

/* -- all together ------------------------------------------------------------------------------ */

static void count_profile(const struct nodegates *gates, struct gateprofile *profile)
{
    struct gateprofile_nodes nodes = {.n_nodes = 0};

    for (size_t i = 0; i < gates->n_subjects; i++) {
        const struct gate *gate = gates->subjects[i].gate;
        const struct nodeview *view = kube_store_find(gates->nodes, gate_node(gate));

        if (!view || !str_equal(view->texts[NODEVIEW_PROFILE], gateprofile_name(profile)))
            continue;
        nodes.n_nodes++;
        if (gate_reason(gate) && !nodes.n_wrong++) {
            nodes.node = gate_node(gate);
            nodes.reason = gate_reason(gate);
            nodes.message = gate_message(gate);
        }
    }
    gateprofile_count(profile, &nodes);
}

/* Not more often than it ticks: each change is a request. False: later. */
static bool count_profiles(struct nodegates *gates, const struct gate_now *now)
{
    if (gates->counted_ms && now->ms - gates->counted_ms < TICK_MS - SOON_MS)
        return false;
    gates->counted_ms = now->ms;
    for (size_t i = 0; i < gates->n_items; i++)
        count_profile(gates, gates->items[i]);
    return true;
}

static void look(struct nodegates *gates)
{
    const struct gate_now moment = now();
    const bool was_stale = gates->is_stale;
    bool is_settled = true;

    if (!is_world_known(gates) || !kube_store_is_complete(gates->nodes)) {
        uv_timer_stop(&gates->timer); /* on_state comes */
        return;
    }
    if (was_stale && compute(gates) < 0)
        log_error("out of memory for what nodes were promised");
    for (size_t i = 0; i < gates->n_subjects; i++) {
        struct subject *subject = &gates->subjects[i];

        if (was_stale || !subject->is_settled)
            see(gates, subject, &moment);
        is_settled = is_settled && subject->is_settled;
    }
    replace_overdue(gates, &moment);
    if (count_profiles(gates, &moment) && is_settled)
        uv_timer_stop(&gates->timer);
}

static void on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

/* Changes rarely come alone. */
static void wake(struct nodegates *gates)
{
    if (!uv_is_active((uv_handle_t *)&gates->timer) || uv_timer_get_due_in(&gates->timer) > SOON_MS)
        uv_timer_start(&gates->timer, on_timer, SOON_MS, TICK_MS);
}

/* -- stores ------------------------------------------------------------------------------------ */

static void *reduce_node(const json_t *object, void *userdata)
{
    struct nodegates *gates = userdata;
    struct nodeview *view = nodeview_new(object);

    if (view && !find_kind(gates, view) &&
        add_kind(gates, view, json_object_get(json_object_get(object, "metadata"), "labels")) < 0) {
        nodeview_free(view);
        return NULL;
    }
    return view;
}

static bool is_equal_node(const void *a, const void *b)
{
    return nodeview_equal(a, b);
}

static void release_node(void *kept)
{
    nodeview_free(kept);
}

static const struct store_kind node_kind = {reduce_node, is_equal_node, release_node};

/* A ResourceSlice: the name of its node. */
static void *reduce_slice(const json_t *object, void *userdata)
{
    const char *node =
        json_string_value(json_object_get(json_object_get(object, "spec"), "nodeName"));

    return strdup(node ? node : "");
}

static bool is_equal_slice(const void *a, const void *b)
{
    return str_equal(a, b);
}

static const struct store_kind slice_kind = {reduce_slice, is_equal_slice, free};

static void on_overlay(const char *key, const void *was, const void *is, void *userdata)
{
    struct nodegates *gates = userdata;

    gates->is_stale = true;
    wake(gates);
}

static void on_slice(const char *key, const void *was, const void *is, void *userdata)
{
    struct nodegates *gates = userdata;
    struct subject *subject = find(gates, is ? is : was);

    if (subject)
        subject->is_settled = false;
    wake(gates);
}

static void on_state(struct kube_store *store, void *userdata)
{
    struct nodegates *gates = userdata;

    if (store == gates->overlays)
        gates->is_stale = true;
    if (store == gates->nodes && kube_store_state(store) == STORE_SYNCED)
        recorder_kick(gates->setup.recorder);
    wake(gates);
}

static const struct collection {
    size_t store; /* where in nodegates */
    const char *path, *label, *field, *what, *remedy;
    const struct store_kind *kind;
    struct store_events events;
} collections[] = {
    {offsetof(struct nodegates, slices),
     SLICES_PATH,
     NULL,
     "spec.driver=" DRA_DRIVER,
     "ResourceSlices",
     "let our service account list and watch resourceslices",
     &slice_kind,
     {on_slice, on_state}},
    {offsetof(struct nodegates, nodes),
     "/api/v1/nodes",
     SLICEPROFILE_LABEL,
     NULL,
     "Nodes",
     "let our service account list and watch nodes",
     &node_kind,
     {on_node, on_state}},
};

static struct kube_store **store_of(struct nodegates *gates, const struct collection *collection)
{
    return (struct kube_store **)((char *)gates + collection->store);
}

static int watch(struct nodegates *gates, const struct collection *collection, struct error *err)
{
    cleanup_text struct text query = TEXT_INIT;

    text_add(&query, collection->label   ? "labelSelector="
                     : collection->field ? "fieldSelector="
                                         : "");
    if (collection->label || collection->field)
        kube_add_escaped(&query, collection->label ? collection->label : collection->field);
    if (text_failed(&query))
        return error_set_errno(err, -ENOMEM, "cannot watch %s", collection->what);
    return kube_store_new(
        gates->setup.loop,
        &(struct kube_store_setup){.client = gates->setup.client,
                                   .path = collection->path,
                                   .query = query.length ? text_string(&query) : NULL,
                                   .what = collection->what,
                                   .remedy = collection->remedy,
                                   .kind = collection->kind,
                                   .events = &collection->events,
                                   .userdata = gates},
        store_of(gates, collection), err);
}

static int hear(struct nodegates *gates, struct error *err)
{
    static const struct store_events profile_events = {on_profile, on_state};
    static const struct store_events overlay_events = {on_overlay, on_state};
    struct sharedstores *stores = gates->setup.stores;

    if (sharedstores_listen(stores, SHAREDSTORE_PROFILES, &profile_events, gates) < 0 ||
        sharedstores_listen(stores, SHAREDSTORE_OVERLAYS, &overlay_events, gates) < 0)
        return error_set_errno(err, -ENOMEM, "cannot watch the Nodes of SliceProfiles");
    gates->profiles = sharedstores_get(stores, SHAREDSTORE_PROFILES);
    gates->overlays = sharedstores_get(stores, SHAREDSTORE_OVERLAYS);
    return 0;
}

/* -- metrics ----------------------------------------------------------------------------------- */

/* Of one profile and NodePool. */
struct row {
    const char *profile, *pool;
    unsigned n[NODEGATE_STATES];
};

struct rows {
    struct row *items;
    size_t n_items, capacity;
};

static void count_node(struct rows *rows, const struct nodeview *view, enum nodegate_state state)
{
    const char *profile = view->texts[NODEVIEW_PROFILE], *pool = view->texts[NODEVIEW_POOL];
    struct row *row = NULL;

    for (size_t i = 0; i < rows->n_items && !row; i++)
        if (str_equal(rows->items[i].profile, profile) && str_equal(rows->items[i].pool, pool))
            row = &rows->items[i];
    if (!row)
        row = array_push(&rows->items, &rows->n_items, &rows->capacity, sizeof(*row));
    if (!row)
        return;
    row->profile = profile;
    row->pool = pool;
    row->n[state]++;
}

static void add_states(const struct nodegates *gates, struct text *out)
{
    static const char name[] = "gpuslice_controller_profile_nodes";
    struct rows rows = {.items = NULL};

    for (size_t i = 0; i < gates->n_subjects; i++) {
        const struct gate *gate = gates->subjects[i].gate;
        const struct nodeview *view = kube_store_find(gates->nodes, gate_node(gate));

        if (view)
            count_node(&rows, view, gate_state(gate));
    }
    for (size_t i = 0; i < rows.n_items; i++)
        for (size_t k = 0; k < NODEGATE_STATES; k++)
            exposition_sample(out, name, rows.items[i].n[k], "profile", rows.items[i].profile,
                              "nodepool", rows.items[i].pool, "state", nodegate_state_names[k],
                              NULL);
    free(rows.items);
}

static void add_reasons(const struct nodegates *gates, struct text *out)
{
    for (size_t i = 0; i < gates->n_subjects; i++) {
        const struct gate *gate = gates->subjects[i].gate;

        if (gate_reason(gate))
            exposition_sample(out, "gpuslice_controller_profile_node_wrong", 1, "node",
                              gate_node(gate), "reason", gate_reason(gate), NULL);
    }
}

void nodegates_add_metrics(const struct nodegates *gates, struct text *out)
{
    exposition_family(out, "gpuslice_controller_profile_nodes", "gauge",
                      "Nodes of SliceProfiles: open with what was promised, waiting for it, or "
                      "short of it.");
    if (gates)
        add_states(gates, out);
    exposition_family(out, "gpuslice_controller_profile_node_wrong", "gauge",
                      "1 for each Node whose promised, believed, configured and advertised numbers "
                      "differ, and why.");
    if (gates)
        add_reasons(gates, out);
}

/* -- life -------------------------------------------------------------------------------------- */

int nodegates_new(const struct nodegates_setup *setup, struct nodegates **ret_gates,
                  struct error *err)
{
    struct nodegates *gates = calloc(1, sizeof(*gates));
    int r;

    if (!gates)
        return error_set_errno(err, -ENOMEM, "cannot watch the Nodes of SliceProfiles");
    gates->setup = *setup;
    gates->gate_setup = (struct gate_setup){.client = setup->client,
                                            .recorder = setup->recorder,
                                            .limit_s = setup->limit_s,
                                            .may_write = may_write,
                                            .on_opened = on_opened,
                                            .userdata = gates,
                                            .counters = setup->counters};
    gates->profile_setup = (struct gateprofile_setup){
        .loop = setup->loop, .client = setup->client, .may_write = may_write, .userdata = gates};
    gates->collect_at = KINDS_KEPT;
    uv_timer_init(setup->loop, &gates->timer);
    gates->timer.data = gates;
    r = hear(gates, err);
    for (size_t i = 0; i < ARRAY_SIZE(collections) && r == 0; i++)
        r = watch(gates, &collections[i], err);
    if (r < 0)
        nodegates_free(gates);
    else
        *ret_gates = gates;
    return r;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void nodegates_free(struct nodegates *gates)
{
    if (!gates)
        return;
    sharedstores_leave(gates->setup.stores, gates);
    for (size_t i = 0; i < ARRAY_SIZE(collections); i++)
        kube_store_free(*store_of(gates, &collections[i]));
    for (size_t i = 0; i < gates->n_subjects; i++)
        gate_free(gates->subjects[i].gate);
    for (size_t i = 0; i < gates->n_items; i++)
        gateprofile_free(gates->items[i]);
    for (size_t i = 0; i < gates->n_kinds; i++)
        nodekind_free(gates->kinds[i]);
    free(gates->subjects);
    free(gates->items);
    free(gates->kinds);
    uv_close((uv_handle_t *)&gates->timer, on_closed);
}
