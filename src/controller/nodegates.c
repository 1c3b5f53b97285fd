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
#include "controller/gateprofiles.h"
#include "controller/gateset.h"
#include "controller/nodekinds.h"
#include "controller/nodetally.h"
#include "karpenter/nodekeys.h"
#include "kube/field.h"
#include "kube/object.h"
#include "kube/store.h"

enum {
    SOON_MS = 50,
    TICK_MS = 1000,
};

#define SLICES_PATH "/apis/resource.k8s.io/v1/resourceslices"
#define DRA_DRIVER  "gpu.nvidia.com"

struct nodegates {
    struct nodegates_setup setup;
    struct gate_setup gate_setup;
    struct gateprofile_setup profile_setup;
    uv_timer_t timer;
    struct kube_store *profiles, *overlays; /* borrowed */
    struct kube_store *nodes, *slices;
    struct gateset set;        /* one for each Node of the store */
    struct gateprofiles known; /* one for each SliceProfile of the store */
    struct nodekinds kinds;
    uint64_t counted_ms; /* when profiles were given what their nodes are */
};

static void wake(struct nodegates *gates);

/* -- what changes ------------------------------------------------------------------------------ */

/* The numbers of its nodes follow from it; NULL: from what all profiles share. */
static void touch(struct nodegates *gates, const char *profile)
{
    nodekinds_touch(&gates->kinds, profile);
    for (size_t i = 0; i < gates->set.n_items; i++) {
        struct gateset_item *item = &gates->set.items[i];
        const struct nodeview *view = kube_store_find(gates->nodes, gate_node(item->gate));

        if (!profile || (view && str_equal(view->texts[NODEVIEW_PROFILE], profile)))
            item->is_settled = false;
    }
}

/* Statuses are written often, by us too, and no number follows from them. */
static bool is_other_spec(const json_t *was, const json_t *is)
{
    return !was || !is || !json_equal(json_object_get(was, "spec"), json_object_get(is, "spec"));
}

static void on_profile(const char *key, const void *was, const void *is, void *userdata)
{
    struct nodegates *gates = userdata;

    if (gateprofiles_see(&gates->known, &gates->profile_setup, key, is) < 0)
        log_error("out of memory for a SliceProfile", "name", key);
    if (is_other_spec(was, is))
        touch(gates, key);
    wake(gates);
}

/* -- kinds ------------------------------------------------------------------------------------- */

static bool is_used(const struct nodekind *kind, const void *userdata)
{
    const struct nodegates *gates = userdata;

    for (size_t i = 0; i < kube_store_count(gates->nodes); i++)
        if (nodekind_has(kind, kube_store_at(gates->nodes, i)))
            return true;
    return false;
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

/* Those that are stale. */
static int compute(struct nodegates *gates)
{
    struct nodekind_world world = {.catalog = gates->setup.catalog};
    cleanup_free struct overlay *overlays = read_overlays(gates, &world.n_overlays);
    int r = overlays ? 0 : -ENOMEM;

    if (kube_store_is_complete(gates->overlays))
        world.overlays = overlays;
    for (size_t i = 0; i < gates->kinds.n_items && r == 0; i++) {
        struct nodekind *kind = gates->kinds.items[i];
        const struct gateprofile *profile = gateprofiles_find(&gates->known, kind->profile);

        world.profile = profile ? gateprofile_read(profile) : NULL;
        if (kind->is_stale)
            r = nodekind_compute(kind, &world);
    }
    return r;
}

/* -- Nodes ------------------------------------------------------------------------------------- */

static void add(struct nodegates *gates, const char *node)
{
    struct gate *gate = gate_new(&gates->gate_setup, node, kube_store_is_complete(gates->nodes));

    if (!gate || gateset_add(&gates->set, gate) < 0)
        log_error("out of memory for a Node of a SliceProfile", "node", node);
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

static void see(struct nodegates *gates, struct gateset_item *item, const struct gate_now *now)
{
    const char *node = gate_node(item->gate);
    const struct nodeview *view = kube_store_find(gates->nodes, node);
    const struct nodekind *kind = view ? nodekinds_find(&gates->kinds, view) : NULL;

    if (kind && !kind->is_stale)
        item->is_settled = gate_see(item->gate, view, kind, has_dra(gates, node), now);
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
    struct gateset_item *item = gateset_find(&gates->set, key);

    if (!is)
        gateset_drop(&gates->set, key);
    else if (!item)
        add(gates, key);
    else
        item->is_settled = false;
    wake(gates);
}

/* The gate of a Node that just opened: replacements of its type are worth trying again. */
static void on_opened(const char *node, void *userdata)
{
    struct nodegates *gates = userdata;
    const struct nodeview *view = kube_store_find(gates->nodes, node);
    struct gateprofile *profile =
        view ? gateprofiles_find(&gates->known, view->texts[NODEVIEW_PROFILE]) : NULL;

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
    const struct gateprofile *profile =
        gateprofiles_find(&gates->known, view->texts[NODEVIEW_PROFILE]);

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
    return n + gateprofiles_count_recording(&gates->known);
}

/* n_going: see count_going. */
static void replace(struct nodegates *gates, struct gate *gate, const struct gate_now *now,
                    size_t *n_going)
{
    const struct nodeview *view = kube_store_find(gates->nodes, gate_node(gate));
    struct gateprofile *profile =
        view ? gateprofiles_find(&gates->known, view->texts[NODEVIEW_PROFILE]) : NULL;
    const struct sliceprofile *read = profile ? gateprofile_read(profile) : NULL;
    const struct replacement_facts facts = {
        .node = view,
        .kind = view ? nodekinds_find(&gates->kinds, view) : NULL,
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
    for (size_t i = 0; i < gates->set.n_items; i++)
        if (gate_is_overdue(gates->set.items[i].gate))
            replace(gates, gates->set.items[i].gate, now, &n_going);
}

/* -- all together ------------------------------------------------------------------------------ */

static void count_profile(const struct nodegates *gates, struct gateprofile *profile)
{
    struct gateprofile_nodes nodes = {.n_nodes = 0};

    for (size_t i = 0; i < gates->set.n_items; i++) {
        const struct gate *gate = gates->set.items[i].gate;
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
    for (size_t i = 0; i < gates->known.n_items; i++)
        count_profile(gates, gates->known.items[i]);
    return true;
}

static void look(struct nodegates *gates)
{
    const struct gate_now moment = now();
    bool is_settled = true;

    if (!is_world_known(gates) || !kube_store_is_complete(gates->nodes)) {
        uv_timer_stop(&gates->timer); /* on_state comes */
        return;
    }
    nodekinds_collect(&gates->kinds, is_used, gates);
    if (nodekinds_are_stale(&gates->kinds) && compute(gates) < 0)
        log_error("out of memory for what nodes were promised");
    for (size_t i = 0; i < gates->set.n_items; i++) {
        struct gateset_item *item = &gates->set.items[i];

        if (!item->is_settled)
            see(gates, item, &moment);
        is_settled = is_settled && item->is_settled;
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

    if (view && nodekinds_ensure(&gates->kinds, view,
                                 json_object_get(kube_metadata(object), "labels")) < 0) {
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
    return strdup(kube_text(json_object_get(object, "spec"), "nodeName"));
}

static bool is_equal_slice(const void *a, const void *b)
{
    return str_equal(a, b);
}

static const struct store_kind slice_kind = {reduce_slice, is_equal_slice, free};

static void on_overlay(const char *key, const void *was, const void *is, void *userdata)
{
    struct nodegates *gates = userdata;

    if (is_other_spec(was, is))
        touch(gates, NULL);
    wake(gates);
}

static void on_slice(const char *key, const void *was, const void *is, void *userdata)
{
    struct nodegates *gates = userdata;
    struct gateset_item *item = gateset_find(&gates->set, is ? is : was);

    if (item)
        item->is_settled = false;
    wake(gates);
}

static void on_state(struct kube_store *store, void *userdata)
{
    struct nodegates *gates = userdata;

    if (store == gates->overlays)
        touch(gates, NULL);
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

static void add_states(const struct nodegates *gates, struct text *out)
{
    cleanup_nodetally struct nodetally tally = {.rows = NULL};

    for (size_t i = 0; i < gates->set.n_items; i++) {
        const struct gate *gate = gates->set.items[i].gate;
        const struct nodeview *view = kube_store_find(gates->nodes, gate_node(gate));

        if (view)
            nodetally_add(&tally, view, gate_state(gate));
    }
    nodetally_write(&tally, "gpuslice_controller_profile_nodes", out);
}

static void add_reasons(const struct nodegates *gates, struct text *out)
{
    for (size_t i = 0; i < gates->set.n_items; i++) {
        const struct gate *gate = gates->set.items[i].gate;

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
    nodekinds_init(&gates->kinds);
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
    gateset_deinit(&gates->set);
    gateprofiles_deinit(&gates->known);
    nodekinds_deinit(&gates->kinds);
    uv_close((uv_handle_t *)&gates->timer, on_closed);
}
