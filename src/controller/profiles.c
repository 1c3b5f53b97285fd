// SPDX-License-Identifier: Apache-2.0
#include "controller/profiles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/exposition.h"
#include "base/log.h"
#include "controller/profilekeeper.h"
#include "controller/templatemerge.h"
#include "karpenter/nodeclass.h"
#include "karpenter/sliceprofile.h"
#include "kube/field.h"
#include "kube/store.h"

enum {
    SOON_MS = 50,   /* several changes at once are one look */
    AGAIN_MS = 5000 /* what waits for time */
};

enum collection { PROFILES, POOLS, OVERLAYS, CLASSES, CLAIMS, COLLECTIONS };

struct profiles {
    struct profiles_setup setup;
    struct kube_store *stores[COLLECTIONS]; /* those of sharedstores.h are borrowed */
    struct fleet fleet;
    uv_timer_t timer;
    struct profilekeeper **keepers;
    size_t n_keepers, capacity;
    bool is_left;         /* on_left was called */
    bool is_kind_missing; /* the API server has no SliceProfiles, which was logged */
};

/* -- what is kept of objects ------------------------------------------------------------------- */

/* An EC2NodeClass: its name, and what DRA shares of its GPUs. */
static void *reduce_class(const json_t *object, void *userdata)
{
    return json_pack("{s:{s:s, s:{s:s}}}", "metadata", "name", kube_name(object), "annotations",
                     NODECLASS_DRA_SHARES, nodeclass_dra_shares(object));
}

static void *reduce_claim(const json_t *object, void *userdata)
{
    return fleet_node_new(object);
}

static bool claim_is_equal(const void *a, const void *b)
{
    return fleet_node_is_equal(a, b);
}

static void claim_release(void *kept)
{
    fleet_node_free(kept);
}

static const struct store_kind json_kind = {kube_store_keep, kube_store_json_is_equal,
                                            kube_store_json_release};
static const struct store_kind class_kind = {reduce_class, kube_store_json_is_equal,
                                             kube_store_json_release};
static const struct store_kind claim_kind = {reduce_claim, claim_is_equal, claim_release};

static void look_soon(struct profiles *profiles);

static void on_change(const char *key, const void *was, const void *is, void *userdata)
{
    look_soon(userdata);
}

static void on_claim(const char *key, const void *was, const void *is, void *userdata)
{
    struct profiles *profiles = userdata;

    if (was)
        fleet_remove(&profiles->fleet, was);
    if (is)
        fleet_add(&profiles->fleet, is);
    look_soon(profiles);
}

/* To the rest of this file it is as if all profiles had been deleted, as they were with their kind;
 * but who only forgot to install it would wait for nodes in vain. */
static void log_kind(struct profiles *profiles)
{
    const enum store_state state = kube_store_state(profiles->stores[PROFILES]);

    if (state == STORE_ABSENT && !profiles->is_kind_missing && !profiles->setup.is_leaving)
        log_warning("the cluster has no SliceProfiles (gpuslice.dev/v1alpha1): their kind is not "
                    "installed, so there is nothing to do for Karpenter, and what was made for "
                    "profiles of before is taken back",
                    "hint", PROFILES_KIND_HINT);
    else if (state == STORE_SYNCED && profiles->is_kind_missing)
        log_info("the cluster has SliceProfiles now");
    profiles->is_kind_missing =
        state == STORE_ABSENT || (profiles->is_kind_missing && state != STORE_SYNCED);
}

static void on_state(struct kube_store *store, void *userdata)
{
    struct profiles *profiles = userdata;

    log_kind(profiles);
    look_soon(profiles);
    if (kube_store_state(store) == STORE_SYNCED)
        recorder_kick(profiles->setup.recorder);
}

static const struct store_events object_events = {on_change, on_state};
static const struct store_events claim_events = {on_claim, on_state};

/* What other duties watch too. */
static const struct {
    enum collection which;
    enum sharedstore shared;
} shared[] = {{PROFILES, SHAREDSTORE_PROFILES}, {OVERLAYS, SHAREDSTORE_OVERLAYS}};

static const struct own_store {
    enum collection which;
    const char *path, *what, *remedy;
    const struct store_kind *kind;
    const struct store_events *events;
} own_stores[] = {
    {POOLS, "/apis/karpenter.sh/v1/nodepools", "NodePools",
     "let our service account list and watch nodepools", &json_kind, &object_events},
    {CLASSES, NODECLASS_PATH, "EC2NodeClasses",
     "let our service account list and watch ec2nodeclasses", &class_kind, &object_events},
    {CLAIMS, "/apis/karpenter.sh/v1/nodeclaims", "NodeClaims",
     "let our service account list and watch nodeclaims", &claim_kind, &claim_events},
};

/* -- whether Karpenter can be seen ------------------------------------------------------------- */

static bool is_state(const struct profiles *profiles, enum collection which, enum store_state state)
{
    return kube_store_state(profiles->stores[which]) == state;
}

/* What is there, or that nothing of the kind can be. Profiles that may not be read are not known:
 * that there are none would take everything away. Who leaves needs none. */
static bool is_collection_known(const struct profiles *profiles, enum collection which)
{
    const bool is_complete = kube_store_is_complete(profiles->stores[which]);

    /* A profile can be kept without, and elsewhere than on AWS there are none. */
    if (which == CLASSES)
        return is_complete || !is_state(profiles, which, STORE_STARTING);
    switch (kube_store_state(profiles->stores[which])) {
    case STORE_STARTING:
    case STORE_SYNCED:
        return is_complete;
    case STORE_ABSENT:
        return true;
    case STORE_FORBIDDEN:
        return which != PROFILES || is_complete || profiles->setup.is_leaving;
    case STORE_UNREACHABLE:
        break;
    }
    return false;
}

/* Nothing is planned before everything is known, nor while the server cannot be asked. */
static bool is_known(const struct profiles *profiles)
{
    for (size_t i = 0; i < COLLECTIONS; i++)
        if (!is_collection_known(profiles, (enum collection)i))
            return false;
    return true;
}

static const char *forbidden_why(const struct profiles *profiles)
{
    static const enum collection needed[] = {POOLS, OVERLAYS, CLAIMS};

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (is_state(profiles, needed[i], STORE_FORBIDDEN))
            return kube_store_reason(profiles->stores[needed[i]]);
    return NULL;
}

static struct profileplan_trouble trouble_of(const struct profiles *profiles)
{
    const char *why = forbidden_why(profiles);

    if (why)
        return (struct profileplan_trouble){.reason = "Forbidden", .message = why};
    if (is_state(profiles, POOLS, STORE_ABSENT) || is_state(profiles, CLAIMS, STORE_ABSENT))
        return (struct profileplan_trouble){.reason = "KarpenterMissing",
                                            .message =
                                                "the cluster has no NodePools (karpenter.sh/v1): "
                                                "Karpenter is not installed, or older "
                                                "than 1.0"};
    if (is_state(profiles, OVERLAYS, STORE_ABSENT))
        return (struct profileplan_trouble){
            .reason = "KarpenterTooOld",
            .message = "the cluster has no NodeOverlays (karpenter.sh/v1alpha1), which came with "
                       "Karpenter "
                       "1.7 and which EKS Auto Mode does not have; update Karpenter and its CRDs",
            .has_pools = true};
    return (struct profileplan_trouble){.reason = "", .message = ""};
}

/* -- keepers ----------------------------------------------------------------------------------- */

static struct profilekeeper *find(const struct profiles *profiles, const char *name)
{
    for (size_t i = 0; i < profiles->n_keepers; i++)
        if (str_equal(profilekeeper_name(profiles->keepers[i]), name))
            return profiles->keepers[i];
    return NULL;
}

static void on_keeper_change(void *userdata)
{
    look_soon(userdata);
}

static void ensure(struct profiles *profiles, const char *name)
{
    const struct profiles_setup *setup = &profiles->setup;
    struct profilekeeper **place, *keeper;

    if (!*name || find(profiles, name))
        return;
    keeper = profilekeeper_new(&(struct profilekeeper_setup){.loop = setup->loop,
                                                             .client = setup->client,
                                                             .recorder = setup->recorder,
                                                             .may_write = setup->may_write,
                                                             .userdata = setup->userdata,
                                                             .counters = setup->counters,
                                                             .on_change = on_keeper_change,
                                                             .on_change_userdata = profiles},
                               name);
    place = keeper ? array_push(&profiles->keepers, &profiles->n_keepers, &profiles->capacity,
                                sizeof(struct profilekeeper *))
                   : NULL;
    if (place) {
        *place = keeper;
        return;
    }
    profilekeeper_free(keeper);
    log_error("out of memory for a SliceProfile", "name", name);
}

static void ensure_of_pool(struct profiles *profiles, const json_t *pool)
{
    json_t *record = templatemerge_record(pool);

    if (owned_is_ours(pool, NULL))
        ensure(profiles, owned_label(pool, SLICEPROFILE_LABEL));
    ensure(profiles, templatemerge_profile(record));
    json_decref(record);
}

/* Of each profile, and of what profiles left behind. */
static void ensure_all(struct profiles *profiles, const struct planview *view)
{
    for (size_t i = 0; i < json_array_size(view->profiles); i++)
        ensure(profiles, kube_name(json_array_get(view->profiles, i)));
    for (size_t i = 0; i < json_array_size(view->pools); i++)
        ensure_of_pool(profiles, json_array_get(view->pools, i));
    for (size_t i = 0; i < json_array_size(view->overlays); i++)
        if (owned_is_ours(json_array_get(view->overlays, i), NULL))
            ensure(profiles, owned_label(json_array_get(view->overlays, i), SLICEPROFILE_LABEL));
}

/* -- a look ------------------------------------------------------------------------------------ */

/* NodeOverlays and EC2NodeClasses go with their CRDs, unseen. */
static json_t *all_of(const struct profiles *profiles, enum collection which)
{
    const struct kube_store *store = profiles->stores[which];
    const bool is_gone =
        (which == OVERLAYS || which == CLASSES) && is_state(profiles, which, STORE_ABSENT);
    json_t *all = json_array();

    for (size_t i = 0; !is_gone && i < kube_store_count(store); i++)
        json_array_append(all, (json_t *)(uintptr_t)kube_store_at(store, i));
    return all;
}

/* While it is leaving: says so when nothing moves any more. What may not be seen is not left. */
static void look_for_end(struct profiles *profiles)
{
    const char *why = forbidden_why(profiles), *waits = why ? why : "";

    for (size_t i = 0; i < profiles->n_keepers; i++) {
        if (!profilekeeper_is_idle(profiles->keepers[i]))
            return;
        if (*profilekeeper_waits_for(profiles->keepers[i]))
            waits = profilekeeper_waits_for(profiles->keepers[i]);
    }
    if (profiles->is_left || !profiles->setup.on_left)
        return;
    profiles->is_left = true;
    profiles->setup.on_left(waits, profiles->setup.userdata);
}

static void drop_ended(struct profiles *profiles)
{
    for (size_t i = profiles->n_keepers; i-- > 0;)
        if (profilekeeper_is_over(profiles->keepers[i])) {
            profilekeeper_free(profiles->keepers[i]);
            profiles->keepers[i] = profiles->keepers[--profiles->n_keepers];
        }
}

static bool look_at_all(struct profiles *profiles, const struct planview *view)
{
    const struct profileplan_trouble trouble = trouble_of(profiles);
    bool again = false;

    ensure_all(profiles, view);
    for (size_t i = 0; i < profiles->n_keepers; i++)
        again |= profilekeeper_look(profiles->keepers[i], view, &trouble);
    if (profiles->setup.is_leaving)
        look_for_end(profiles);
    drop_ended(profiles);
    return again;
}

static void on_timer(uv_timer_t *timer)
{
    struct profiles *profiles = timer->data;
    struct planview view = {.catalog = profiles->setup.catalog,
                            .fleet = &profiles->fleet,
                            .is_leaving = profiles->setup.is_leaving,
                            .now = time(NULL)};
    json_t *objects[CLAIMS] = {NULL};

    if (!is_known(profiles))
        return;
    for (size_t i = 0; i < CLAIMS; i++)
        objects[i] = all_of(profiles, (enum collection)i);
    view.profiles = objects[PROFILES];
    view.pools = objects[POOLS];
    view.overlays = objects[OVERLAYS];
    view.classes = objects[CLASSES];
    if (look_at_all(profiles, &view))
        uv_timer_start(&profiles->timer, on_timer, AGAIN_MS, 0);
    for (size_t i = 0; i < CLAIMS; i++)
        json_decref(objects[i]);
}

static void look_soon(struct profiles *profiles)
{
    if (!uv_is_active((uv_handle_t *)&profiles->timer) ||
        uv_timer_get_due_in(&profiles->timer) > SOON_MS)
        uv_timer_start(&profiles->timer, on_timer, SOON_MS, 0);
}

/* -- life -------------------------------------------------------------------------------------- */

static int hear(struct profiles *profiles, struct error *err)
{
    struct sharedstores *stores = profiles->setup.stores;

    for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
        if (sharedstores_listen(stores, shared[i].shared, &object_events, profiles) < 0)
            return error_set_errno(err, -ENOMEM, "cannot keep SliceProfiles");
        profiles->stores[shared[i].which] = sharedstores_get(stores, shared[i].shared);
    }
    return 0;
}

static int watch(struct profiles *profiles, const struct own_store *own, struct error *err)
{
    return kube_store_new(profiles->setup.loop,
                          &(struct kube_store_setup){.client = profiles->setup.client,
                                                     .path = own->path,
                                                     .what = own->what,
                                                     .remedy = own->remedy,
                                                     .kind = own->kind,
                                                     .events = own->events,
                                                     .userdata = profiles},
                          &profiles->stores[own->which], err);
}

int profiles_new(const struct profiles_setup *setup, struct profiles **ret_profiles,
                 struct error *err)
{
    struct profiles *profiles = calloc(1, sizeof(*profiles));
    int r;

    if (!profiles)
        return error_set_errno(err, -ENOMEM, "cannot keep SliceProfiles");
    profiles->setup = *setup;
    uv_timer_init(setup->loop, &profiles->timer);
    profiles->timer.data = profiles;
    r = hear(profiles, err);
    for (size_t i = 0; i < ARRAY_SIZE(own_stores) && r == 0; i++)
        r = watch(profiles, &own_stores[i], err);
    if (r < 0)
        profiles_free(profiles);
    else
        *ret_profiles = profiles;
    return r;
}

void profiles_add_metrics(const struct profiles *profiles, struct text *out)
{
    static const char ready[] = "gpuslice_profile_ready", nodes[] = "gpuslice_profile_nodes",
                      rolls[] = "gpuslice_profile_nodes_to_replace",
                      overlays[] = "gpuslice_profile_node_overlays";
    static const struct {
        const char *name, *help;
        enum profilekeeper_number number;
    } gauges[] = {
        {ready, "1 while Karpenter starts nodes as the SliceProfile says.", PROFILEKEEPER_READY},
        {nodes, "NodeClaims of the SliceProfile.", PROFILEKEEPER_NODES},
        {rolls, "NodeClaims that Karpenter replaces for the SliceProfile, or would with consent.",
         PROFILEKEEPER_ROLLS},
        {overlays, "NodeOverlays of the SliceProfile.", PROFILEKEEPER_OVERLAYS},
    };

    for (size_t k = 0; k < ARRAY_SIZE(gauges); k++) {
        exposition_family(out, gauges[k].name, "gauge", gauges[k].help);
        for (size_t i = 0; profiles && i < profiles->n_keepers; i++)
            exposition_sample(out, gauges[k].name,
                              profilekeeper_number(profiles->keepers[i], gauges[k].number),
                              "profile", profilekeeper_name(profiles->keepers[i]), NULL);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void profiles_free(struct profiles *profiles)
{
    if (!profiles)
        return;
    sharedstores_leave(profiles->setup.stores, profiles);
    for (size_t i = 0; i < ARRAY_SIZE(own_stores); i++)
        kube_store_free(profiles->stores[own_stores[i].which]);
    for (size_t i = 0; i < profiles->n_keepers; i++)
        profilekeeper_free(profiles->keepers[i]);
    free(profiles->keepers);
    fleet_deinit(&profiles->fleet);
    uv_close((uv_handle_t *)&profiles->timer, on_closed);
}
