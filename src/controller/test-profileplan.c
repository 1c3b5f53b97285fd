// SPDX-License-Identifier: Apache-2.0
#include "controller/profileplan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "controller/overlayplan.h"
#include "controller/owned.h"
#include "karpenter/test-bench.h"
#include "kube/field.h"

/* -- a cluster that keeps what is written, with Karpenter's conditions ------------------------- */

static struct cluster {
    json_t *profiles, *pools, *overlays, *classes;
    struct fleet fleet;
    time_t now;
    bool is_mute; /* Karpenter does not look at overlays */
    bool is_leaving;
    struct profileplan_trouble trouble;
    const char *failure;
    struct poolplan_count sent;
    int64_t sent_generation;
    unsigned n_changes;
    struct profileplan plan; /* the last */
} cluster;

#define CREATED "2026-01-01T00:00:00Z"
#define NOW     1767225600 /* the same */
#define P8      "{\"instanceTypes\":[\"p3.8xlarge\"],\"timeSlicing\":{\"replicas\":4"
#define SHARES  P8 "}}"
#define RENAMED P8 ",\"renameByDefault\":true}}"
#define NAMED                                                    \
    P8 "},\"nodePool\":\"theirs\",\"labels\":{\"team\":\"ml\"}," \
       "\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}"

static int set_up(void **state)
{
    cluster = (struct cluster){.profiles = json_array(),
                               .pools = json_array(),
                               .overlays = json_array(),
                               .classes = json_array(),
                               .now = NOW,
                               .failure = "",
                               .plan = {.change = CHANGE_INIT}};
    return 0;
}

static int tear_down(void **state)
{
    profileplan_deinit(&cluster.plan);
    json_decref(cluster.profiles);
    json_decref(cluster.pools);
    json_decref(cluster.overlays);
    json_decref(cluster.classes);
    fleet_deinit(&cluster.fleet);
    return 0;
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *object = json_loads(text, 0, &error);

    if (!object)
        fail_msg("%s: %s", text, error.text);
    return object;
}

static void put_profile(const char *name, const char *spec)
{
    json_t *old = owned_find(cluster.profiles, name);
    json_int_t generation = 1;

    if (old) {
        json_t *metadata = json_object_get(old, "metadata");

        generation = json_integer_value(json_object_get(metadata, "generation")) + 1;
        json_object_set_new(metadata, "generation", json_integer(generation));
        json_object_set_new(old, "spec", parse(spec));
        return;
    }
    json_array_append_new(cluster.profiles,
                          json_pack("{s:{s:s, s:s, s:I}, s:o}", "metadata", "name", name, "uid",
                                    name, "generation", generation, "spec", parse(spec)));
}

static void remove_named(json_t *objects, const char *name)
{
    for (size_t i = json_array_size(objects); i-- > 0;)
        if (str_equal(kube_name(json_array_get(objects, i)), name))
            json_array_remove(objects, i);
}

static void put_pool(const char *text)
{
    json_array_append_new(cluster.pools, parse(text));
}

static struct fleet_node node(const char *pool, const char *profile, const char *hash)
{
    return (struct fleet_node){(char *)(uintptr_t)pool, (char *)(uintptr_t)profile,
                               (char *)(uintptr_t)hash};
}

static void launch(const char *pool, const char *profile, const char *hash)
{
    struct fleet_node one = node(pool, profile, hash);

    fleet_add(&cluster.fleet, &one);
}

static void end_node(const char *pool, const char *profile, const char *hash)
{
    struct fleet_node one = node(pool, profile, hash);

    fleet_remove(&cluster.fleet, &one);
}

/* -- what is written --------------------------------------------------------------------------- */

static void merge(json_t *to, const json_t *from)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        json_t *there = json_object_get(to, key);

        if (json_is_object(there) && json_is_object(value))
            merge(there, value);
        else
            json_object_set_new(to, key, json_deep_copy(value));
    }
}

/* The place of a path but for its last step, which is unescaped. */
static json_t *find_place(json_t *object, const char *path, char *step, size_t size)
{
    json_t *at = object;

    for (;;) {
        size_t n = 0;

        for (path++; *path && *path != '/' && n + 1 < size; path++)
            step[n++] = path[0] == '~' ? (*++path == '1' ? '/' : '~') : path[0];
        step[n] = '\0';
        if (!*path)
            return at;
        at = json_object_get(at, step);
    }
}

static void patch_one(json_t *object, const json_t *operation)
{
    const char *op = json_string_value(json_object_get(operation, "op"));
    json_t *value = json_object_get(operation, "value");
    char step[256];
    json_t *at = find_place(object, json_string_value(json_object_get(operation, "path")), step,
                            sizeof(step));
    json_t *is = json_object_get(at, step);

    assert_true(json_is_object(at)); /* else the API server refuses it */
    if (str_equal(op, "test"))
        assert_true(json_is_null(value) ? !is : json_equal(is, value));
    else if (str_equal(op, "remove"))
        assert_int_equal(json_object_del(at, step), 0);
    else
        json_object_set(at, step, value);
}

static void write_change(const struct change *change)
{
    json_t *objects = change_is_of_pool(change) ? cluster.pools : cluster.overlays;
    json_t *object = owned_find(objects, change->name);

    cluster.n_changes++;
    if (change->verb == CHANGE_DELETE) {
        assert_string_equal(kube_uid(object), change->uid);
        remove_named(objects, change->name);
        return;
    }
    if (change->verb == CHANGE_PATCH) {
        assert_non_null(object);
        for (size_t i = 0; i < json_array_size(change->body); i++)
            patch_one(object, json_array_get(change->body, i));
        return;
    }
    if (!object) {
        object = json_pack("{s:{s:s, s:s}}", "metadata", "uid", change->name, "creationTimestamp",
                           CREATED);
        json_array_append_new(objects, object);
    } else {
        assert_int_equal(change->conflict, KUBE_FORCE);
    }
    merge(object, change->body);
}

static void karpenter_looks(void)
{
    for (size_t i = 0; i < json_array_size(cluster.overlays) && !cluster.is_mute; i++) {
        json_t *one = json_array_get(cluster.overlays, i);

        if (!json_object_get(one, "status"))
            json_object_set_new(
                one, "status",
                parse("{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}"));
    }
}

static void plan(const char *name)
{
    json_t *object = owned_find(cluster.profiles, name);
    const struct planview view = {.catalog = &bench_catalog,
                                  .profiles = cluster.profiles,
                                  .pools = cluster.pools,
                                  .overlays = cluster.overlays,
                                  .classes = cluster.classes,
                                  .fleet = &cluster.fleet,
                                  .is_leaving = cluster.is_leaving,
                                  .now = cluster.now};
    struct profileplan_trouble trouble = {"", ""};

    if (cluster.trouble.reason)
        trouble = cluster.trouble;
    profileplan_deinit(&cluster.plan);
    assert_int_equal(
        profileplan_make(&(struct profileplan_setup){.view = &view,
                                                     .name = name,
                                                     .object = object,
                                                     .trouble = trouble,
                                                     .failure = cluster.failure,
                                                     .sent = cluster.sent,
                                                     .sent_generation = cluster.sent_generation},
                         &cluster.plan),
        0);
}

/* One step, as profilekeeper.c goes on. False: nothing is left to be written. */
static bool advance(const char *name)
{
    json_t *object = owned_find(cluster.profiles, name), *status;
    bool is_new;

    plan(name);
    if (cluster.plan.change.verb != CHANGE_NOTHING) {
        if (cluster.plan.change.is_counted) {
            profileplan_counted(object, &cluster.sent);
            cluster.sent_generation = profileplan_generation(object);
        }
        write_change(&cluster.plan.change);
        karpenter_looks();
        return true;
    }
    if (!cluster.plan.status)
        return false;
    status = profileplan_timed(cluster.plan.status, json_object_get(object, "status"), CREATED);
    is_new = !json_equal(status, json_object_get(object, "status"));
    json_object_set_new(object, "status", status);
    return is_new;
}

/* Until nothing changes any more. The number of changes that were made. */
static unsigned settle(const char *name)
{
    unsigned before = cluster.n_changes, n = 0;

    while (advance(name))
        assert_true(++n < 50);
    return cluster.n_changes - before;
}

static void assert_ready(const char *reason)
{
    if (!str_equal(cluster.plan.reason, reason))
        fail_msg("%s: %s", cluster.plan.reason, cluster.plan.message);
    assert_string_equal(cluster.plan.ready, str_equal(reason, "Kept") ? "True" : "False");
}

static void assert_says(const char *reason, const char *words)
{
    assert_ready(reason);
    if (!strstr(cluster.plan.message, words))
        fail_msg("%s", cluster.plan.message);
}

static const json_t *template_of(const char *pool)
{
    return json_object_get(json_object_get(owned_find(cluster.pools, pool), "spec"), "template");
}

static void hash_of(const char *spec, char ret_hash[SLICEPROFILE_HASH])
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(spec);

    sliceprofile_hash(&profile, ret_hash);
}

#define TEST_HASH(name, spec)     \
    char name[SLICEPROFILE_HASH]; \
    hash_of(spec, name)

/* -- a pool of its own ------------------------------------------------------------------------- */

static void one_profile_is_enough(void **state)
{
    put_profile("ts", RENAMED);
    assert_int_equal(settle("ts"), 2); /* an overlay, and then a pool */
    assert_ready("Kept");
    assert_int_equal(json_array_size(cluster.overlays), 1);
    assert_string_equal(owned_label(template_of("ts"), SLICEPROFILE_LABEL), "ts");
    assert_true(owned_is_ours(owned_find(cluster.pools, "ts"), "ts"));
    assert_int_equal(settle("ts"), 0);
}

/* Only what Karpenter heeds is Ready. */
static void overlays_are_written_before_the_pool(void **state)
{
    put_profile("ts", SHARES);
    advance("ts"); /* the write is counted */
    advance("ts");
    assert_int_equal(json_array_size(cluster.overlays), 1);
    assert_int_equal(json_array_size(cluster.pools), 0);
}

static void what_is_changed_is_changed_back(void **state)
{
    json_t *overlay;

    put_profile("ts", SHARES);
    settle("ts");
    overlay = json_array_get(cluster.overlays, 0);
    json_object_set_new(json_object_get(json_object_get(overlay, "spec"), "capacity"),
                        "nvidia.com/gpu", json_string("4"));
    json_object_set_new(json_object_get(owned_find(cluster.pools, "ts"), "spec"), "weight",
                        json_integer(7)); /* no business of ours */
    assert_int_equal(settle("ts"), 1);
    assert_string_equal(
        json_string_value(json_object_get(
            json_object_get(json_object_get(overlay, "spec"), "capacity"), "nvidia.com/gpu")),
        "16");
    remove_named(cluster.overlays, kube_name(overlay));
    assert_int_equal(settle("ts"), 1);
}

static void break_pool(const char *name)
{
    json_t *labels = json_object_get(
        json_object_get((json_t *)(uintptr_t)template_of(name), "metadata"), "labels");

    json_object_set_new(labels, SLICEPROFILE_LABEL, json_string("else"));
}

static void who_reverts_it_three_times_has_the_last_word(void **state)
{
    put_profile("ts", SHARES);
    settle("ts");
    for (unsigned i = 0; i < 2; i++) {
        break_pool("ts");
        assert_int_equal(settle("ts"), 1);
        assert_ready("Kept");
    }
    break_pool("ts");
    assert_int_equal(settle("ts"), 0);
    assert_says("Reverted", "3 times");
    /* A changed profile is a new beginning, also if the pool stays as it is. */
    put_profile("ts", P8 "},\"repair\":\"replace\"}");
    assert_int_equal(settle("ts"), 1);
    assert_ready("Kept");
}

/* What another leader counted may have been sent: it is not sent again without being counted. */
static void a_count_outlives_the_leader(void **state)
{
    put_profile("ts", SHARES);
    advance("ts");
    advance("ts");
    advance("ts");
    assert_int_equal(json_array_size(cluster.pools), 1);
    for (unsigned i = 0; i < 2; i++) {
        json_t *object = owned_find(cluster.profiles, "ts");

        break_pool("ts");
        profileplan_counted(object, &cluster.sent);
        cluster.sent_generation = profileplan_generation(object);
        settle("ts");
    }
    break_pool("ts");
    settle("ts");
    assert_ready("Reverted");
}

static void old_numbers_stay_while_nodes_are_replaced(void **state)
{
    TEST_HASH(old, "instanceTypes: [p3.8xlarge], timeSlicing: {replicas: 4}");

    put_profile("ts", SHARES);
    settle("ts");
    launch("ts", "ts", old);
    settle("ts");
    assert_int_equal(cluster.plan.n_rolls, 0);
    put_profile("ts", RENAMED);
    assert_int_equal(settle("ts"), 2);
    assert_ready("Kept");
    assert_int_equal(cluster.plan.n_rolls, 1);
    assert_int_equal(cluster.plan.n_nodes, 1);
    assert_int_equal(json_array_size(cluster.overlays), 2);
    end_node("ts", "ts", old);
    assert_int_equal(settle("ts"), 1);
    assert_int_equal(json_array_size(cluster.overlays), 1);
    assert_int_equal(cluster.plan.n_rolls, 0);
}

static void a_pool_that_is_not_ours_is_left_alone(void **state)
{
    put_pool("{\"metadata\":{\"name\":\"ts\"},\"spec\":{\"template\":{\"spec\":{}}}}");
    put_profile("ts", SHARES);
    assert_int_equal(settle("ts"), 0);
    assert_says("PoolTaken", "nodePool: ts");
    remove_named(cluster.profiles, "ts");
    assert_int_equal(settle("ts"), 0);
}

/* As `gpuslice render` prints them: the label alone makes none ours. */
static void an_overlay_that_is_not_ours_is_left_alone(void **state)
{
    json_t *overlay, *labels;

    put_profile("ts", SHARES);
    settle("ts");
    overlay = json_array_get(cluster.overlays, 0);
    labels = json_object_get(json_object_get(overlay, "metadata"), "labels");
    json_object_del(labels, OWNED_MANAGED_LABEL);
    assert_int_equal(settle("ts"), 0);
    assert_ready("Kept"); /* it says the same */
    json_object_set_new(json_object_get(json_object_get(overlay, "spec"), "capacity"),
                        "nvidia.com/gpu", json_string("4"));
    assert_int_equal(settle("ts"), 0);
    assert_says("OverlayTaken", "ts-");
    remove_named(cluster.profiles, "ts");
    settle("ts");
    assert_int_equal(json_array_size(cluster.overlays), 1);
}

/* -- what cannot be honoured ------------------------------------------------------------------- */

static void what_cannot_be_honoured_is_said_and_nothing_written(void **state)
{
    static const struct {
        const char *spec, *reason, *words;
    } cases[] = {
        {"{\"instanceTypes\":[\"p3.8xlarge\"]}", "Invalid", "nothing says how to slice"},
        {P8 ",\"repliques\":4}}", "Invalid", "repliques"},
        {"{\"gpuNames\":[\"t4\"],\"mps\":{\"replicas\":4}}", "NotServed", "MPS"},
        {"{\"instanceTypes\":[\"p3.8xlarge\"],\"mig\":{\"strategy\":\"mixed\",\"layout\":"
         "\"all-1g.5gb\"}}",
         "Impossible", "p3.8xlarge"},
        {P8 "},\"nodePool\":\"nowhere\"}", "PoolMissing", "nowhere"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_profile("ts", cases[i].spec);
        if (!str_equal(cases[i].reason, "PoolMissing"))
            assert_int_equal(settle("ts"), 0);
        settle("ts");
        assert_says(cases[i].reason, cases[i].words);
        assert_int_equal(json_array_size(cluster.pools), 0);
    }
}

static void what_was_there_stays_while_it_cannot_be_honoured(void **state)
{
    put_profile("ts", SHARES);
    settle("ts");
    put_profile("ts", "{\"gpuNames\":[\"t4\"],\"mps\":{\"replicas\":4}}");
    assert_int_equal(settle("ts"), 0);
    assert_ready("NotServed");
    assert_int_equal(json_array_size(cluster.pools), 1);
}

static void karpenter_that_is_not_there_is_said(void **state)
{
    put_profile("ts", SHARES);
    cluster.trouble = (struct profileplan_trouble){"KarpenterTooOld", "older than 1.7"};
    assert_int_equal(settle("ts"), 0);
    assert_says("KarpenterTooOld", "older than 1.7");
    remove_named(cluster.profiles, "ts");
    assert_int_equal(settle("ts"), 0);
}

static void a_gate_that_is_off_is_said(void **state)
{
    put_profile("ts", SHARES);
    cluster.is_mute = true;
    settle("ts");
    assert_ready("Waiting");
    assert_true(cluster.plan.is_waiting);
    cluster.now += OVERLAYPLAN_SILENCE_S;
    settle("ts");
    assert_says("OverlaysNotServed", "nodeOverlay=true");
}

static void what_karpenter_rejects_is_said(void **state)
{
    put_profile("ts", SHARES);
    cluster.is_mute = true;
    settle("ts");
    json_object_set_new(json_array_get(cluster.overlays, 0), "status",
                        parse("{\"conditions\":[{\"type\":\"ValidationSucceeded\",\"status\":"
                              "\"False\",\"message\":\"conflict with x\"}]}"));
    settle("ts");
    assert_says("OverlayRejected", "conflict with x");
}

#define STRANGER(weight, name, capacity)                                                       \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"weight\":" weight                       \
    ",\"requirements\":[],\"capacity\":{" capacity "}},\"status\":{\"conditions\":[{\"type\":" \
    "\"Ready\",\"status\":\"True\"}]}}"

static void strangers_overlays_are_found(void **state)
{
    put_profile("ts", SHARES);
    settle("ts");
    json_array_append_new(cluster.overlays,
                          parse(STRANGER("2000", "other", "\"nvidia.com/gpu\":\"8\"")));
    assert_int_equal(settle("ts"), 0);
    assert_says("Outweighed", "other");
    remove_named(cluster.overlays, "other");
    /* Between the two that clash there is a third, and Karpenter says nothing. */
    json_array_append_new(cluster.overlays,
                          parse(STRANGER("1000", "zz", "\"nvidia.com/gpu\":\"8\"")));
    json_array_append_new(cluster.overlays, parse(STRANGER("1000", "yy", "\"x.com/y\":\"8\"")));
    settle("ts");
    assert_says("Outweighed", "without a word");
}

static void put_class(const char *name, const char *shares)
{
    remove_named(cluster.classes, name);
    json_array_append_new(cluster.classes,
                          json_pack("{s:{s:s, s:{s:s}}}", "metadata", "name", name, "annotations",
                                    "karpenter.k8s.aws/nvidia-consumable-capacity", shares));
}

/* Its own pool refers to the EC2NodeClass with its name. */
static void a_promise_by_dra_is_found(void **state)
{
    put_profile("ts", SHARES);
    put_class("other", "4");
    put_class("ts", "disabled");
    settle("ts");
    assert_ready("Kept");
    put_class("ts", "4");
    assert_int_equal(settle("ts"), 0);
    assert_says("PromisedTwice", "EC2NodeClass ts: Karpenter promises the GPUs of the NodePool ts "
                                 "twice: by the NodeOverlays of the profile ts, and");
    remove_named(cluster.classes, "ts");
    settle("ts");
    assert_ready("Kept");
}

static void a_refused_write_is_said(void **state)
{
    put_profile("ts", SHARES);
    cluster.failure = "nodeoverlays is forbidden";
    plan("ts");
    assert_says("WriteFailed", "forbidden");
    assert_int_not_equal(cluster.plan.change.verb, CHANGE_NOTHING); /* and tried again */
}

/* Pods run out before slices do. */
static void warnings_are_told_beside(void **state)
{
    const json_t *warned;

    put_profile("ts", "{\"instanceTypes\":[\"g5.xlarge\"],\"timeSlicing\":{\"replicas\":200}}");
    settle("ts");
    assert_ready("Kept");
    warned = kube_condition(owned_find(cluster.profiles, "ts"), "Warned");
    assert_true(kube_says(warned, "status", "True"));
    assert_non_null(strstr(json_string_value(json_object_get(warned, "message")), "g5.xlarge"));
}

/* -- somebody else's pool ---------------------------------------------------------------------- */

#define THEIRS                                                                              \
    "{\"metadata\":{\"name\":\"theirs\"},\"spec\":{\"template\":{\"metadata\":{\"labels\":" \
    "{\"team\":\"old\",\"k\":\"v\"}},\"spec\":{\"taints\":[{\"key\":\"b\",\"effect\":"      \
    "\"NoSchedule\"}],\"requirements\":[{\"key\":\"node.kubernetes.io/instance-type\","     \
    "\"operator\":\"In\",\"values\":[\"p3.8xlarge\"]}]}}}}"

static void consent(const char *value)
{
    json_t *metadata = json_object_get(owned_find(cluster.pools, "theirs"), "metadata");

    if (!json_object_get(metadata, "annotations"))
        json_object_set_new(metadata, "annotations", json_object());
    json_object_set_new(json_object_get(metadata, "annotations"), POOLPLAN_CONSENT,
                        json_string(value));
}

static const char *asked(void)
{
    return json_string_value(
        json_object_get(json_object_get(owned_find(cluster.profiles, "ts"), "status"), "consent"));
}

static void a_pool_with_nodes_needs_consent(void **state)
{
    json_t *before = parse(THEIRS);

    put_pool(THEIRS);
    launch("theirs", "", "");
    launch("theirs", "", "");
    put_profile("ts", NAMED);
    settle("ts");
    assert_says("ConsentMissing", "replace its 2 nodes");
    assert_int_equal(cluster.plan.n_rolls, 2);
    assert_true(json_equal(owned_find(cluster.pools, "theirs"), before));
    consent("another");
    settle("ts");
    assert_ready("ConsentMissing");
    consent(asked());
    assert_int_equal(settle("ts"), 1);
    assert_ready("Kept");
    assert_string_equal(owned_label(template_of("theirs"), SLICEPROFILE_LABEL), "ts");
    assert_string_equal(owned_label(template_of("theirs"), "team"), "ml");
    assert_string_equal(owned_label(template_of("theirs"), "k"), "v");
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(template_of("theirs"), "spec"), "taints")),
        2);
    json_decref(before);
}

static void a_pool_without_nodes_needs_none(void **state)
{
    put_pool(THEIRS);
    put_profile("ts", NAMED);
    settle("ts");
    assert_ready("Kept");
}

static void a_promise_by_dra_is_of_the_pools_class(void **state)
{
    json_t *spec;

    put_pool(THEIRS);
    spec = json_object_get((json_t *)(uintptr_t)template_of("theirs"), "spec");
    json_object_set_new(spec, "nodeClassRef",
                        json_pack("{s:s, s:s, s:s}", "group", "karpenter.k8s.aws", "kind",
                                  "EC2NodeClass", "name", "mine"));
    put_profile("ts", NAMED);
    put_class("theirs", "4");
    settle("ts");
    assert_ready("Kept");
    put_class("mine", "4");
    settle("ts");
    assert_says("PromisedTwice", "EC2NodeClass mine: Karpenter promises the GPUs of the NodePool "
                                 "theirs twice");
}

/* Each change of what nodes do is a change of its own. */
static void consent_is_for_one_content(void **state)
{
    TEST_HASH(old, "instanceTypes: [p3.8xlarge], timeSlicing: {replicas: 4}");

    put_pool(THEIRS);
    put_profile("ts", NAMED);
    settle("ts");
    launch("theirs", "ts", old);
    consent(asked());
    settle("ts");
    assert_ready("Kept");
    put_profile("ts", P8 ",\"renameByDefault\":true},\"nodePool\":\"theirs\"}");
    settle("ts");
    assert_says("ConsentMissing", "replace its 1 nodes");
    consent(asked());
    settle("ts");
    assert_ready("Kept");
    /* The first profile's label and taint went with it. */
    assert_string_equal(owned_label(template_of("theirs"), "team"), "old");
}

static void what_was_added_is_taken_back(void **state)
{
    json_t *before = parse(THEIRS);

    put_pool(THEIRS);
    put_profile("ts", NAMED);
    settle("ts");
    launch("theirs", "ts", "h");
    remove_named(cluster.profiles, "ts");
    settle("ts");
    assert_string_equal(cluster.plan.left.pool, "theirs");
    assert_false(cluster.plan.left.is_ours);
    assert_int_equal(cluster.plan.left.n_nodes, 1);
    assert_int_equal(json_array_size(cluster.overlays), 0);
    consent(POOLPLAN_WITHDRAW "ts");
    settle("ts");
    assert_string_equal(cluster.plan.left.pool, "");
    assert_true(json_equal(json_object_get(owned_find(cluster.pools, "theirs"), "spec"),
                           json_object_get(before, "spec")));
    assert_string_equal(owned_annotation(owned_find(cluster.pools, "theirs"), POOLPLAN_CONSENT),
                        "");
    json_decref(before);
}

static void a_pool_that_is_named_no_more_is_left_too(void **state)
{
    put_pool(THEIRS);
    put_profile("ts", NAMED);
    settle("ts");
    put_profile("ts", SHARES);
    settle("ts");
    assert_ready("Kept");
    assert_string_equal(owned_label(template_of("theirs"), SLICEPROFILE_LABEL), "");
    assert_string_equal(owned_label(template_of("ts"), SLICEPROFILE_LABEL), "ts");
}

static void a_pool_has_one_profile(void **state)
{
    put_pool(THEIRS);
    put_profile("ts", NAMED);
    settle("ts");
    put_profile("a", NAMED); /* it would be the first by name */
    assert_int_equal(settle("a"), 0);
    assert_says("PoolTaken", "profile ts");
    put_profile("own", SHARES);
    settle("own");
    put_profile("b", P8 "},\"nodePool\":\"own\"}");
    settle("b");
    assert_says("PoolTaken", "profile own");
}

/* Karpenter would never start whole GPUs beside masked ones. */
static void a_mixed_pool_is_refused(void **state)
{
    json_t *requirements, *values;

    put_pool(THEIRS);
    requirements = json_object_get(
        json_object_get((json_t *)(uintptr_t)template_of("theirs"), "spec"), "requirements");
    values = json_object_get(json_array_get(requirements, 0), "values");
    json_array_append_new(values, json_string("g5.xlarge"));
    put_profile("ts", P8 ",\"renameByDefault\":true},\"nodePool\":\"theirs\"}");
    assert_int_equal(settle("ts"), 0);
    assert_says("PoolUnfit", "g5.xlarge");
}

/* -- a profile that goes ----------------------------------------------------------------------- */

static void without_nodes_nothing_is_left(void **state)
{
    put_profile("ts", SHARES);
    settle("ts");
    remove_named(cluster.profiles, "ts");
    settle("ts");
    assert_int_equal(json_array_size(cluster.overlays), 0);
    assert_int_equal(json_array_size(cluster.pools), 0);
    assert_string_equal(cluster.plan.left.pool, "");
}

static void a_pool_goes_with_its_last_node(void **state)
{
    const json_t *limits;
    json_t *before;

    put_profile("ts", SHARES);
    settle("ts");
    before = json_deep_copy(template_of("ts"));
    launch("ts", "ts", "h");
    remove_named(cluster.profiles, "ts");
    settle("ts");
    limits = json_object_get(json_object_get(owned_find(cluster.pools, "ts"), "spec"), "limits");
    assert_string_equal(json_string_value(json_object_get(limits, "cpu")), "0");
    assert_true(json_equal(template_of("ts"), before)); /* nothing is replaced */
    assert_true(cluster.plan.left.is_ours);
    end_node("ts", "ts", "h");
    settle("ts");
    assert_int_equal(json_array_size(cluster.pools), 0);
    json_decref(before);
}

static void a_profile_that_comes_back_has_its_pool_again(void **state)
{
    const json_t *limits;

    put_profile("ts", SHARES);
    settle("ts");
    launch("ts", "ts", "h");
    remove_named(cluster.profiles, "ts");
    settle("ts");
    cluster.sent = (struct poolplan_count){.token = ""};
    put_profile("ts", SHARES);
    settle("ts");
    assert_ready("Kept");
    limits = json_object_get(json_object_get(owned_find(cluster.pools, "ts"), "spec"), "limits");
    assert_null(json_object_get(limits, "cpu"));
}

/* Its CRD was removed, with the overlays. */
static void a_pool_is_left_without_overlays_too(void **state)
{
    put_pool(THEIRS);
    put_profile("ts", NAMED);
    settle("ts");
    remove_named(cluster.profiles, "ts");
    json_array_clear(cluster.overlays);
    cluster.trouble = (struct profileplan_trouble){
        .reason = "KarpenterTooOld", .message = "no NodeOverlays", .has_pools = true};
    settle("ts");
    assert_string_equal(owned_label(template_of("theirs"), SLICEPROFILE_LABEL), "");
    assert_string_equal(cluster.plan.left.pool, "");
}

static void a_controller_that_goes_leaves_as_profiles_do(void **state)
{
    put_profile("ts", SHARES);
    settle("ts");
    cluster.is_leaving = true;
    settle("ts");
    assert_int_equal(json_array_size(cluster.overlays), 0);
    assert_int_equal(json_array_size(cluster.pools), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_profile_is_enough),
        TEST(overlays_are_written_before_the_pool),
        TEST(what_is_changed_is_changed_back),
        TEST(who_reverts_it_three_times_has_the_last_word),
        TEST(a_count_outlives_the_leader),
        TEST(old_numbers_stay_while_nodes_are_replaced),
        TEST(a_pool_that_is_not_ours_is_left_alone),
        TEST(an_overlay_that_is_not_ours_is_left_alone),
        TEST(what_cannot_be_honoured_is_said_and_nothing_written),
        TEST(what_was_there_stays_while_it_cannot_be_honoured),
        TEST(karpenter_that_is_not_there_is_said),
        TEST(a_gate_that_is_off_is_said),
        TEST(what_karpenter_rejects_is_said),
        TEST(strangers_overlays_are_found),
        TEST(a_promise_by_dra_is_found),
        TEST(a_refused_write_is_said),
        TEST(warnings_are_told_beside),
        TEST(a_pool_with_nodes_needs_consent),
        TEST(a_pool_without_nodes_needs_none),
        TEST(a_promise_by_dra_is_of_the_pools_class),
        TEST(consent_is_for_one_content),
        TEST(what_was_added_is_taken_back),
        TEST(a_pool_that_is_named_no_more_is_left_too),
        TEST(a_pool_has_one_profile),
        TEST(a_mixed_pool_is_refused),
        TEST(without_nodes_nothing_is_left),
        TEST(a_pool_goes_with_its_last_node),
        TEST(a_profile_that_comes_back_has_its_pool_again),
        TEST(a_pool_is_left_without_overlays_too),
        TEST(a_controller_that_goes_leaves_as_profiles_do),
    };

    return cmocka_run_group_tests_name("controller profileplan", tests, bench_setup,
                                       bench_teardown);
}
