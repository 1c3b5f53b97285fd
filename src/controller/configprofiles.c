// SPDX-License-Identifier: Apache-2.0
#include "controller/configprofiles.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/log.h"
#include "controller/configkeeper.h"
#include "controller/configplan.h"
#include "controller/profiles.h"
#include "karpenter/configprofile.h"
#include "kube/field.h"
#include "kube/store.h"

enum {
    SOON_MS = 50,   /* several changes at once are one look */
    AGAIN_MS = 5000 /* what waits for time */
};

enum collection { CONFIG_MAPS, PROFILES, COLLECTIONS };

struct configprofiles {
    struct configprofiles_setup setup;
    struct kube_store *stores[COLLECTIONS]; /* no ConfigMaps while it is leaving; SliceProfiles are
                                               those of sharedstores.h, borrowed */
    uv_timer_t timer;
    struct configkeeper **keepers;
    size_t n_keepers, capacity;
    json_t *said; /* an object: what the last look said, by its words */
    bool is_left; /* on_left was called */
};

/* -- what is kept ------------------------------------------------------------------------------ */

static void look_soon(struct configprofiles *profiles);

static void on_change(const char *key, const void *was, const void *is, void *userdata)
{
    look_soon(userdata);
}

static void on_state(struct kube_store *store, void *userdata)
{
    look_soon(userdata);
}

static const struct store_events events = {on_change, on_state};

static json_t *all_of(const struct configprofiles *profiles, enum collection which)
{
    const struct kube_store *store = profiles->stores[which];
    json_t *all = json_array();

    for (size_t i = 0; i < kube_store_count(store); i++)
        json_array_append(all, (json_t *)(uintptr_t)kube_store_at(store, i));
    return all;
}

/* What cannot be seen is not made, and above all not deleted. */
static bool is_seen(const struct configprofiles *profiles, enum collection which)
{
    return kube_store_is_complete(profiles->stores[which]) &&
           kube_store_state(profiles->stores[which]) == STORE_SYNCED;
}

/* -- events ------------------------------------------------------------------------------ */

static void tell(struct configprofiles *profiles, const json_t *config_map, const char *reason,
                 bool is_warning, const char *message)
{
    const char *name = kube_name(config_map);

    log_event(is_warning ? LOG_WARNING : LOG_INFO, message, "configmap", name, NULL);
    recorder_add(profiles->setup.recorder,
                 &(struct correlator_event){.node = name,
                                            .api_version = "v1",
                                            .kind = "ConfigMap",
                                            .uid = kube_uid(config_map),
                                            .namespace_ = profiles->setup.namespace_,
                                            .pod = "",
                                            .reason = reason,
                                            .message = message,
                                            .warning = is_warning});
}

/* Once, until it is no longer so. `now` collects what this look says. */
static void say(struct configprofiles *profiles, json_t *now, const json_t *config_map,
                const char *reason, bool is_warning, const char *message)
{
    cleanup_text struct text key = TEXT_INIT;

    text_addf(&key, "%s %s %s", kube_uid(config_map), reason, message);
    json_object_set_new(now, text_string(&key), json_true());
    if (!json_object_get(profiles->said, text_string(&key)))
        tell(profiles, config_map, reason, is_warning, message);
}

static struct configkeeper *find(const struct configprofiles *profiles, const char *name)
{
    for (size_t i = 0; i < profiles->n_keepers; i++)
        if (str_equal(configkeeper_name(profiles->keepers[i]), name))
            return profiles->keepers[i];
    return NULL;
}

static void say_refusal(struct configprofiles *profiles, json_t *now,
                        const struct configplan_item *item)
{
    const struct configkeeper *keeper = find(profiles, item->name);
    const char *refusal = keeper ? configkeeper_refusal(keeper) : "";
    cleanup_text struct text message = TEXT_INIT;

    text_addf(&message, "cannot write the SliceProfile %s: %s", item->name, refusal);
    if (*refusal && item->config_map)
        say(profiles, now, item->config_map, "WriteFailed", true, text_string(&message));
}

/* After it was written, so that a new leader, who writes nothing, says nothing. */
static void tell_news(struct configprofiles *profiles, const struct configplan_item *item)
{
    struct configkeeper *keeper = find(profiles, item->name);
    const enum configkeeper_news news =
        keeper ? configkeeper_take_news(keeper) : CONFIGKEEPER_NO_NEWS;
    const bool is_made = news == CONFIGKEEPER_MADE;
    cleanup_text struct text message = TEXT_INIT;

    if (news == CONFIGKEEPER_NO_NEWS || !item->config_map)
        return;
    text_addf(&message,
              "%s/%s %s the SliceProfile %s; what becomes of it: kubectl describe sliceprofile %s",
              kube_name(item->config_map), item->key, is_made ? "is" : "has changed", item->name,
              item->name);
    tell(profiles, item->config_map, is_made ? "SliceProfileMade" : "SliceProfileChanged", false,
         text_string(&message));
}

static void say_all(struct configprofiles *profiles, const struct configplan *plan)
{
    json_t *now = json_object();

    for (size_t i = 0; i < plan->n_remarks; i++)
        say(profiles, now, plan->remarks[i].config_map, plan->remarks[i].reason,
            plan->remarks[i].is_warning, plan->remarks[i].message);
    for (size_t i = 0; i < plan->n_items; i++) {
        say_refusal(profiles, now, &plan->items[i]);
        tell_news(profiles, &plan->items[i]);
    }
    json_decref(profiles->said);
    profiles->said = now;
}

/* -- keepers ----------------------------------------------------------------------------------- */

static void on_keeper_change(void *userdata)
{
    look_soon(userdata);
}

/* NULL without memory. */
static struct configkeeper *ensure(struct configprofiles *profiles, const char *name)
{
    const struct configprofiles_setup *setup = &profiles->setup;
    const uint64_t grace_ms = setup->is_leaving ? 0 : setup->grace_ms;
    struct configkeeper **place, *keeper = find(profiles, name);

    if (keeper)
        return keeper;
    keeper = configkeeper_new(&(struct configkeeper_setup){.loop = setup->loop,
                                                           .client = setup->client,
                                                           .may_write = setup->may_write,
                                                           .userdata = setup->userdata,
                                                           .on_change = on_keeper_change,
                                                           .on_change_userdata = profiles,
                                                           .grace_ms = grace_ms},
                              name);
    place = keeper ? array_push(&profiles->keepers, &profiles->n_keepers, &profiles->capacity,
                                sizeof(struct configkeeper *))
                   : NULL;
    if (place) {
        *place = keeper;
        return keeper;
    }
    configkeeper_free(keeper);
    log_error("out of memory for a SliceProfile", "name", name);
    return NULL;
}

static bool is_planned(const struct configplan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_items; i++)
        if (str_equal(plan->items[i].name, name))
            return true;
    return false;
}

/* Of profiles that are neither there nor wanted. */
static void drop_ended(struct configprofiles *profiles, const struct configplan *plan)
{
    for (size_t i = profiles->n_keepers; i-- > 0;)
        if (!is_planned(plan, configkeeper_name(profiles->keepers[i]))) {
            configkeeper_free(profiles->keepers[i]);
            profiles->keepers[i] = profiles->keepers[--profiles->n_keepers];
        }
}

/* -- a look ------------------------------------------------------------------------------------ */

static void leave(struct configprofiles *profiles, const char *why)
{
    if (!profiles->is_left)
        profiles->setup.on_left(why, profiles->setup.userdata);
    profiles->is_left = true;
}

/* While it is leaving: says so when nothing of ours is left, or none of it can be deleted. */
static void look_for_end(struct configprofiles *profiles, const struct configplan *plan)
{
    const char *why = "";

    for (size_t i = 0; i < plan->n_items; i++) {
        const struct configkeeper *keeper = find(profiles, plan->items[i].name);

        why = keeper ? configkeeper_refusal(keeper) : "";
        if (!*why)
            return;
    }
    leave(profiles, why);
}

/* True: look again soon. */
static bool look(struct configprofiles *profiles, struct configplan *plan)
{
    bool again = false;

    for (size_t i = 0; i < plan->n_items; i++) {
        struct configkeeper *keeper = ensure(profiles, plan->items[i].name);

        again |= !keeper || configkeeper_want(keeper, &plan->items[i].change);
    }
    drop_ended(profiles, plan);
    say_all(profiles, plan);
    if (profiles->setup.is_leaving)
        look_for_end(profiles, plan);
    return again;
}

/* No SliceProfiles, or none that may be seen, are none of ours. */
static bool has_nothing(const struct configprofiles *profiles)
{
    const enum store_state state = kube_store_state(profiles->stores[PROFILES]);

    return state == STORE_ABSENT || state == STORE_FORBIDDEN;
}

/* Each ConfigMap waits in vain for its profiles. */
static void say_kind_is_missing(struct configprofiles *profiles, const json_t *config_maps)
{
    json_t *now = json_object();

    for (size_t i = 0; i < json_array_size(config_maps); i++)
        say(profiles, now, json_array_get(config_maps, i), "NoSliceProfile", true,
            "the cluster has no SliceProfiles (gpuslice.dev/v1alpha1), their kind is not "
            "installed; " PROFILES_KIND_HINT);
    json_decref(profiles->said);
    profiles->said = now;
}

/* True: look again soon. */
static bool plan_and_look(struct configprofiles *profiles, const json_t *config_maps)
{
    cleanup_configplan struct configplan plan = CONFIGPLAN_INIT;
    json_t *made = all_of(profiles, PROFILES);
    const bool again = configplan_make(profiles->setup.namespace_, config_maps, made, &plan) < 0 ||
                       look(profiles, &plan);

    json_decref(made);
    return again;
}

static void on_timer(uv_timer_t *timer)
{
    struct configprofiles *profiles = timer->data;
    const bool is_leaving = profiles->setup.is_leaving;
    json_t *config_maps;

    if (is_leaving && has_nothing(profiles))
        leave(profiles, "");
    if (!is_leaving && !is_seen(profiles, CONFIG_MAPS))
        return;
    config_maps = all_of(profiles, CONFIG_MAPS);
    if (!is_leaving && kube_store_state(profiles->stores[PROFILES]) == STORE_ABSENT)
        say_kind_is_missing(profiles, config_maps);
    else if (is_seen(profiles, PROFILES) && plan_and_look(profiles, config_maps))
        uv_timer_start(timer, on_timer, AGAIN_MS, 0);
    json_decref(config_maps);
}

static void look_soon(struct configprofiles *profiles)
{
    if (!uv_is_active((uv_handle_t *)&profiles->timer) ||
        uv_timer_get_due_in(&profiles->timer) > SOON_MS)
        uv_timer_start(&profiles->timer, on_timer, SOON_MS, 0);
}

/* -- life -------------------------------------------------------------------------------------- */

static int watch_config_maps(struct configprofiles *profiles, struct error *err)
{
    static const struct store_kind kind = {kube_store_keep, kube_store_json_is_equal,
                                           kube_store_json_release};
    const struct configprofiles_setup *setup = &profiles->setup;
    cleanup_free char *path =
        kube_path(&(struct kube_place){"/api/v1", setup->namespace_, "configmaps", NULL});

    if (!path)
        return error_set_errno(err, -ENOMEM, "cannot watch ConfigMaps");
    return kube_store_new(
        setup->loop,
        &(struct kube_store_setup){
            .client = setup->client,
            .path = path,
            .query = "labelSelector=" CONFIGPROFILE_LABEL "%3Dtrue",
            .what = "ConfigMaps of SliceProfiles",
            .remedy = "let our service account list and watch configmaps of its namespace",
            .kind = &kind,
            .events = &events,
            .userdata = profiles},
        &profiles->stores[CONFIG_MAPS], err);
}

static int hear(struct configprofiles *profiles, struct error *err)
{
    struct sharedstores *stores = profiles->setup.stores;

    if (sharedstores_listen(stores, SHAREDSTORE_PROFILES, &events, profiles) < 0)
        return error_set_errno(err, -ENOMEM, "cannot make SliceProfiles of ConfigMaps");
    profiles->stores[PROFILES] = sharedstores_get(stores, SHAREDSTORE_PROFILES);
    return 0;
}

int configprofiles_new(const struct configprofiles_setup *setup,
                       struct configprofiles **ret_profiles, struct error *err)
{
    struct configprofiles *profiles = calloc(1, sizeof(*profiles));
    int r;

    if (!profiles)
        return error_set_errno(err, -ENOMEM, "cannot make SliceProfiles of ConfigMaps");
    profiles->setup = *setup;
    uv_timer_init(setup->loop, &profiles->timer);
    profiles->timer.data = profiles;
    r = hear(profiles, err);
    if (r == 0 && !setup->is_leaving)
        r = watch_config_maps(profiles, err);
    if (r < 0)
        configprofiles_free(profiles);
    else
        *ret_profiles = profiles;
    return r;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void configprofiles_free(struct configprofiles *profiles)
{
    if (!profiles)
        return;
    sharedstores_leave(profiles->setup.stores, profiles);
    kube_store_free(profiles->stores[CONFIG_MAPS]);
    for (size_t i = 0; i < profiles->n_keepers; i++)
        configkeeper_free(profiles->keepers[i]);
    free(profiles->keepers);
    json_decref(profiles->said);
    uv_close((uv_handle_t *)&profiles->timer, on_closed);
}
