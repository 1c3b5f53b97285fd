// SPDX-License-Identifier: Apache-2.0
#include "controller/profilekeeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lograte.h"
#include "base/text.h"
#include "karpenter/nodepool.h"
#include "kube/field.h"
#include "kube/writer.h"

enum {
    VERSION_SIZE = 64,
    PACE_MS = 5000, /* between two requests that write the same */
    SEEN_MS = 5000, /* the watch may skip a version when it lists again */
    WAITS_SIZE = 640,
    FAILURE_SIZE = 512,
};

/* One that writes, and what it wrote last. */
struct hand {
    struct profilekeeper *keeper;
    struct writer writer;
    /* Until the watch has seen it, nothing is planned. */
    const json_t *(*objects)(const struct planview *view); /* of its collection; NULL = nothing */
    char name[CHANGE_NAME_SIZE], version[VERSION_SIZE];    /* version "": it was deleted */
    uint64_t until_ms;
    uint64_t content, content_ms; /* of the last request: what it wrote, and when */
    kube_done_fn *done;           /* of the request that is open */
    void *done_userdata;
};

struct profilekeeper {
    struct profilekeeper_setup setup;
    char name[SLICEPROFILE_NAME];
    struct hand objects, status;
    struct profileplan plan;
    json_t *object; /* the profile; NULL = it has gone */
    struct poolplan_count sent;
    int64_t sent_generation;
    bool is_paced;              /* something is to be written, but not yet */
    bool is_settled;            /* the plan is of what was written last, or newer */
    char failure[FAILURE_SIZE]; /* of the last change */
    char waits[WAITS_SIZE];
    struct lograte waiting;
    unsigned n_closing;
};

/* -- what was written comes back --------------------------------------------------------------- */

static const json_t *pools_of(const struct planview *view)
{
    return view->pools;
}

static const json_t *overlays_of(const struct planview *view)
{
    return view->overlays;
}

static const json_t *profiles_of(const struct planview *view)
{
    return view->profiles;
}

static const char *version_of(const json_t *object)
{
    return kube_text(kube_metadata(object), "resourceVersion");
}

static bool is_seen(struct hand *hand, const struct planview *view)
{
    const json_t *object;

    if (!hand->objects)
        return true;
    object = owned_find(hand->objects(view), hand->name);
    if (clock_now_ms() < hand->until_ms &&
        (*hand->version ? !str_equal(version_of(object), hand->version) : object != NULL))
        return false;
    hand->objects = NULL;
    return true;
}

static void expect(struct hand *hand, const json_t *(*objects)(const struct planview *view),
                   const char *name, const char *version)
{
    hand->objects = objects;
    snprintf(hand->name, sizeof(hand->name), "%s", name);
    snprintf(hand->version, sizeof(hand->version), "%s", version);
    hand->until_ms = clock_now_ms() + SEEN_MS;
}

static void expect_answer(struct hand *hand, const json_t *(*objects)(const struct planview *view),
                          const struct kube_response *response)
{
    json_t *object = json_loadb(response->body, response->size, 0, NULL);

    if (*version_of(object))
        expect(hand, objects, kube_name(object), version_of(object));
    json_decref(object);
}

/* Who undoes what we write, or a kind that does not keep it, must not make us write all the time.
 */
static bool may_write_again(struct hand *hand, const json_t *content)
{
    cleanup_free char *text = json_dumps(content, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    uint64_t hash = hash_text(HASH_INIT, text ? text : hand->name), now = clock_now_ms();

    if (hash == hand->content && now - hand->content_ms < PACE_MS) {
        hand->keeper->is_paced = true;
        return false;
    }
    hand->content = hash;
    hand->content_ms = now;
    return true;
}

/* Also if it is no longer there: the watch tells. */
static bool is_done(const struct kube_response *response)
{
    return kube_is_success(response->http_status) || response->http_status == 404;
}

/* After a failure the same is tried again, until there is another plan. */
static void end_request(struct hand *hand, const struct kube_response *response)
{
    hand->keeper->is_settled = !is_done(response);
    if (!is_done(response))
        hand->content = 0; /* the writer knows when to try again */
    hand->done(response, hand->done_userdata);
    hand->keeper->setup.on_change(hand->keeper->setup.on_change_userdata);
}

/* -- changes of Karpenter's objects ------------------------------------------------------------ */

/* A conflict is nothing to tell: the next try sees what others wrote. */
static void note_failure(struct profilekeeper *keeper, const struct kube_response *response)
{
    keeper->setup.counters->failed++;
    if (response->http_status != 409 && snprintf(keeper->failure, sizeof(keeper->failure), "%s",
                                                 response->reason) >= (int)sizeof(keeper->failure))
        str_mark_cut(keeper->failure, sizeof(keeper->failure));
}

static void note_success(struct hand *hand, const struct kube_response *response)
{
    struct profilekeeper *keeper = hand->keeper;
    struct change *change = &keeper->plan.change;
    const json_t *(*objects)(const struct planview *view) =
        change_is_of_pool(change) ? pools_of : overlays_of;

    keeper->failure[0] = '\0';
    keeper->setup.counters->written++;
    if (change->is_counted)
        profileplan_counted(keeper->object, &keeper->sent);
    if (change->verb == CHANGE_DELETE || response->http_status == 404)
        expect(hand, objects, change->name, "");
    else
        expect_answer(hand, objects, response);
    change_deinit(change); /* the next comes from the next look */
}

static void on_object_done(const struct kube_response *response, void *userdata)
{
    struct hand *hand = userdata;

    if (is_done(response))
        note_success(hand, response);
    else
        note_failure(hand->keeper, response);
    end_request(hand, response);
}

static int send_object(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    struct hand *hand = userdata;
    struct profilekeeper *keeper = hand->keeper;

    if (!keeper->is_settled || keeper->plan.change.verb == CHANGE_NOTHING ||
        !keeper->setup.may_write(keeper->setup.userdata) ||
        !may_write_again(hand, keeper->plan.change.body))
        return WRITER_IDLE;
    hand->done = on_done;
    hand->done_userdata = done_userdata;
    return change_send(
        &keeper->plan.change, keeper->setup.client,
        &(struct kube_waiter){.on_done = on_object_done, .userdata = hand, .ret_call = ret_call},
        err);
}

/* -- the status -------------------------------------------------------------------------------- */

static const json_t *was_condition(const struct profilekeeper *keeper)
{
    return kube_condition(keeper->object, "Ready");
}

/* What comes and goes by itself is no event. */
static void say(const struct profilekeeper *keeper)
{
    const struct profileplan *plan = &keeper->plan;
    const json_t *was = was_condition(keeper);

    if (str_equal(plan->reason, "Writing") || str_equal(plan->reason, "Waiting") ||
        (kube_says(was, "reason", plan->reason) && kube_says(was, "message", plan->message)))
        return;
    recorder_add(keeper->setup.recorder,
                 &(struct correlator_event){.node = keeper->name,
                                            .api_version = SLICEPROFILE_API_VERSION,
                                            .kind = SLICEPROFILE_KIND,
                                            .uid = kube_uid(keeper->object),
                                            .namespace_ = "",
                                            .pod = "",
                                            .reason = plan->reason,
                                            .message = plan->message,
                                            .warning = !str_equal(plan->ready, "True")});
}

static void on_status_done(const struct kube_response *response, void *userdata)
{
    struct hand *hand = userdata;

    if (kube_is_success(response->http_status)) {
        say(hand->keeper);
        expect_answer(hand, profiles_of, response);
    }
    end_request(hand, response);
}

static char *status_path(const struct profilekeeper *keeper)
{
    cleanup_text struct text path = TEXT_INIT;
    cleanup_free char *object = kube_path(&(struct kube_place){
        "/apis/" SLICEPROFILE_API_VERSION, NULL, "sliceprofiles", keeper->name});

    text_addf(&path, "%s/status", object ? object : "");
    return object ? text_take(&path) : NULL;
}

static json_t *timed_status(const struct profilekeeper *keeper)
{
    char now[KUBE_TIME_SIZE];

    kube_time_format(time(NULL), now);
    return profileplan_timed(keeper->plan.status, json_object_get(keeper->object, "status"), now);
}

static int apply_status(struct profilekeeper *keeper, json_t *status, struct kube_call **ret_call,
                        struct error *err)
{
    cleanup_free char *path = status_path(keeper);
    json_t *object =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:O}", "apiVersion", SLICEPROFILE_API_VERSION, "kind",
                  SLICEPROFILE_KIND, "metadata", "name", keeper->name, "uid",
                  kube_uid(keeper->object), "status", status);
    int r = path && object
                ? kube_apply(keeper->setup.client, path, KUBE_FORCE, object,
                             &(struct kube_waiter){.on_done = on_status_done,
                                                   .userdata = &keeper->status,
                                                   .ret_call = ret_call},
                             err)
                : error_set_errno(err, -ENOMEM, "cannot write the status of %s", keeper->name);

    json_decref(object);
    return r;
}

/* What others put into it stays. */
static bool is_written(const struct profilekeeper *keeper, json_t *status)
{
    json_t *conditions = json_object_get(status, "conditions"), *bare = json_copy(status);
    bool is = json_object_del(bare, "conditions") == 0 &&
              owned_has(json_object_get(keeper->object, "status"), bare);

    json_decref(bare);
    for (size_t i = 0; i < json_array_size(conditions) && is; i++) {
        const json_t *one = json_array_get(conditions, i);

        is = json_equal(kube_condition(keeper->object, kube_text(one, "type")), one);
    }
    return is;
}

static int send_status(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    struct hand *hand = userdata;
    struct profilekeeper *keeper = hand->keeper;
    json_t *status;
    int r = WRITER_IDLE;

    if (!keeper->is_settled || !keeper->plan.status || !keeper->object ||
        !keeper->setup.may_write(keeper->setup.userdata))
        return WRITER_IDLE;
    status = timed_status(keeper);
    hand->done = on_done;
    hand->done_userdata = done_userdata;
    if (!is_written(keeper, status) && may_write_again(hand, keeper->plan.status))
        r = apply_status(keeper, status, ret_call, err);
    json_decref(status);
    return r;
}

/* -- a look ------------------------------------------------------------------------------------ */

static void set_object(struct profilekeeper *keeper, json_t *object)
{
    bool is_another = !str_equal(kube_uid(keeper->object), kube_uid(object));

    json_decref(keeper->object);
    keeper->object = json_incref(object);
    if (!is_another || !object)
        return;
    keeper->objects.content = keeper->status.content = 0;
    /* What another leader counted may have been sent. */
    profileplan_counted(object, &keeper->sent);
    keeper->sent_generation = profileplan_generation(object);
}

static void note_generation(struct profilekeeper *keeper)
{
    int64_t generation = kube_generation(keeper->object);

    if (generation == keeper->sent_generation)
        return;
    keeper->sent = (struct poolplan_count){.token = ""};
    keeper->sent_generation = generation;
}

static void describe_left(const struct profilekeeper *keeper, char *text, size_t size)
{
    const struct poolplan_left *left = &keeper->plan.left;

    if (left->is_ours)
        snprintf(text, size,
                 "the SliceProfile %s has gone: this NodePool starts no more nodes, and goes with "
                 "the last of its %zu",
                 keeper->name, left->n_nodes);
    else
        snprintf(text, size,
                 "the SliceProfile %s is no longer for this NodePool, whose template still has its "
                 "labels and taints; to have them taken away, which makes Karpenter replace %zu "
                 "nodes: kubectl annotate --overwrite nodepool %s " POOLPLAN_CONSENT
                 "=" POOLPLAN_WITHDRAW "%s",
                 keeper->name, left->n_nodes, left->pool, keeper->name);
}

/* A pool of ours goes by itself. */
static void tell_of_left(struct profilekeeper *keeper, const struct planview *view)
{
    const struct poolplan_left *left = &keeper->plan.left;
    const json_t *pool = owned_find(view->pools, left->pool);
    char text[WAITS_SIZE];

    keeper->waits[0] = '\0';
    if (!*left->pool || keeper->plan.change.verb != CHANGE_NOTHING)
        return;
    describe_left(keeper, text, sizeof(text));
    if (!left->is_ours)
        memcpy(keeper->waits, text, sizeof(text));
    if (lograte_change(&keeper->waiting, left->is_ours ? left->pool : text))
        recorder_add(keeper->setup.recorder,
                     &(struct correlator_event){.node = left->pool,
                                                .api_version = NODEPOOL_API_VERSION,
                                                .kind = "NodePool",
                                                .uid = kube_uid(pool),
                                                .namespace_ = "",
                                                .pod = "",
                                                .reason = "SliceProfileLeft",
                                                .message = text});
}

static int plan(struct profilekeeper *keeper, const struct planview *view,
                const struct profileplan_trouble *trouble)
{
    profileplan_deinit(&keeper->plan);
    return profileplan_make(&(struct profileplan_setup){.view = view,
                                                        .name = keeper->name,
                                                        .object = keeper->object,
                                                        .trouble = *trouble,
                                                        .failure = keeper->failure,
                                                        .sent = keeper->sent,
                                                        .sent_generation = keeper->sent_generation},
                            &keeper->plan);
}

bool profilekeeper_look(struct profilekeeper *keeper, const struct planview *view,
                        const struct profileplan_trouble *trouble)
{
    /* What an open request is about must stay as it is. */
    if (keeper->objects.writer.call || keeper->status.writer.call)
        return true;
    if (!is_seen(&keeper->objects, view) || !is_seen(&keeper->status, view))
        return true;
    set_object(keeper, owned_find(view->profiles, keeper->name));
    note_generation(keeper);
    keeper->is_paced = false;
    keeper->is_settled = plan(keeper, view, trouble) == 0;
    if (!keeper->is_settled)
        return true;
    tell_of_left(keeper, view);
    writer_sync(&keeper->objects.writer);
    if (!keeper->objects.writer.call)
        writer_sync(&keeper->status.writer);
    return keeper->plan.is_waiting || keeper->is_paced;
}

bool profilekeeper_is_idle(const struct profilekeeper *keeper)
{
    return keeper->is_settled && keeper->plan.change.verb == CHANGE_NOTHING &&
           !keeper->objects.writer.call && !keeper->status.writer.call;
}

const char *profilekeeper_waits_for(const struct profilekeeper *keeper)
{
    return keeper->waits;
}

bool profilekeeper_is_over(const struct profilekeeper *keeper)
{
    return !keeper->object && profilekeeper_is_idle(keeper) && !*keeper->plan.left.pool;
}

double profilekeeper_number(const struct profilekeeper *keeper, enum profilekeeper_number number)
{
    switch (number) {
    case PROFILEKEEPER_READY:
        return keeper->plan.ready && str_equal(keeper->plan.ready, "True");
    case PROFILEKEEPER_NODES:
        return (double)keeper->plan.n_nodes;
    case PROFILEKEEPER_ROLLS:
        return (double)keeper->plan.n_rolls;
    case PROFILEKEEPER_OVERLAYS:
        return (double)keeper->plan.n_overlays;
    }
    return 0;
}

/* -- life -------------------------------------------------------------------------------------- */

static void on_writer_change(void *userdata)
{
}

struct profilekeeper *profilekeeper_new(const struct profilekeeper_setup *setup, const char *name)
{
    static const struct writer_job objects = {
        .what = "NodeOverlays and NodePools of a SliceProfile",
        .remedy = "let our service account create, patch and delete nodeoverlays and nodepools",
        .send = send_object,
        .absent_is_fine = true};
    static const struct writer_job status = {
        .what = "the status of a SliceProfile",
        .remedy = "let our service account patch sliceprofiles/status",
        .send = send_status,
        .absent_is_fine = true};
    struct profilekeeper *keeper = calloc(1, sizeof(*keeper));

    if (!keeper)
        return NULL;
    keeper->setup = *setup;
    snprintf(keeper->name, sizeof(keeper->name), "%s", name);
    keeper->objects.keeper = keeper->status.keeper = keeper;
    writer_init(&keeper->objects.writer, setup->loop, &objects, on_writer_change, keeper,
                &keeper->objects);
    writer_init(&keeper->status.writer, setup->loop, &status, on_writer_change, keeper,
                &keeper->status);
    return keeper;
}

const char *profilekeeper_name(const struct profilekeeper *keeper)
{
    return keeper->name;
}

static void on_closed(uv_handle_t *handle)
{
    struct writer *writer = handle->data;
    struct hand *hand = writer->job_userdata;

    if (--hand->keeper->n_closing == 0)
        free(hand->keeper);
}

void profilekeeper_free(struct profilekeeper *keeper)
{
    struct hand *hands[2];

    if (!keeper)
        return;
    hands[0] = &keeper->objects;
    hands[1] = &keeper->status;
    for (size_t i = 0; i < ARRAY_SIZE(hands); i++) {
        keeper->n_closing++;
        uv_close((uv_handle_t *)&hands[i]->writer.timer, on_closed);
        writer_deinit(&hands[i]->writer);
    }
    profileplan_deinit(&keeper->plan);
    json_decref(keeper->object);
}
