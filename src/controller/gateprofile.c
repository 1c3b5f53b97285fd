// SPDX-License-Identifier: Apache-2.0
#include "controller/gateprofile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"
#include "kube/object.h"
#include "kube/writer.h"

enum { MESSAGE_MAX = 1200 };

struct gateprofile {
    const struct gateprofile_setup *setup;
    char *name, *path;
    json_t *object; /* NULL before it was seen */
    struct sliceprofile profile;
    bool is_read;
    struct writer writer;
    /* The condition to be; NULL: it stays as it is. */
    const char *status;
    char *reason, *message;
    json_t *replacements; /* to be written; NULL = as they are */
    bool is_sent;         /* they are in the request under way */
};

/* -- what is there ----------------------------------------------------------------------------- */

static const json_t *status_of(const struct gateprofile *profile)
{
    return json_object_get(profile->object, "status");
}

static const json_t *condition_of(const struct gateprofile *profile)
{
    return kube_condition(profile->object, GATEPROFILE_CONDITION);
}

static const json_t *conditions_of(const struct gateprofile *profile)
{
    return json_object_get(status_of(profile), "conditions");
}

static json_int_t generation_of(const struct gateprofile *profile)
{
    return kube_generation(profile->object);
}

static bool is_condition_right(const struct gateprofile *profile)
{
    const json_t *condition = condition_of(profile);

    return !profile->status || (kube_says(condition, "status", profile->status) &&
                                kube_says(condition, "reason", profile->reason) &&
                                kube_says(condition, "message", profile->message));
}

/* -- what is written --------------------------------------------------------------------------- */

/* The time of the last change of the status, not of the message. */
static json_t *make_condition(const struct gateprofile *profile)
{
    const json_t *old = condition_of(profile);
    const char *since = kube_text(old, "lastTransitionTime");
    char now[KUBE_TIME_SIZE];

    kube_time_format(time(NULL), now);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "type", GATEPROFILE_CONDITION, "status",
                     profile->status, "reason", profile->reason, "message", profile->message,
                     "observedGeneration", generation_of(profile), "lastTransitionTime",
                     *since && kube_says(old, "status", profile->status) ? since : now);
}

/* The other conditions as they are. NULL without memory. */
static json_t *make_conditions(const struct gateprofile *profile)
{
    const json_t *old = conditions_of(profile), *ours = condition_of(profile);
    json_t *conditions = json_array();
    int r = 0;

    for (size_t i = 0; i < json_array_size(old) && r == 0; i++) {
        json_t *condition = json_array_get(old, i);

        if (condition != ours)
            r = json_array_append(conditions, condition);
    }
    if (r == 0)
        r = json_array_append_new(conditions, make_condition(profile));
    if (r == 0)
        return conditions;
    json_decref(conditions);
    return NULL;
}

static int change(const struct gateprofile *profile, json_t *operations, const char *path,
                  const char *key, json_t *new)
{
    return new ? jsonpatch_change(operations, path, json_object_get(status_of(profile), key), new)
               : -ENOMEM;
}

static int make_patch(const struct gateprofile *profile, json_t *operations)
{
    int r = 0;

    if (!status_of(profile))
        r = jsonpatch_change(operations, "/status", NULL, json_object());
    if (r == 0 && !is_condition_right(profile))
        r = change(profile, operations, "/status/conditions", "conditions",
                   make_conditions(profile));
    if (r == 0 && profile->replacements)
        r = change(profile, operations, "/status/replacements", "replacements",
                   json_incref(profile->replacements));
    return r;
}

static int send_patch(void *userdata, kube_done_fn *on_done, void *done_userdata,
                      struct kube_call **ret_call, struct error *err)
{
    struct gateprofile *profile = userdata;
    json_t *operations;
    int r;

    if (!profile->object || (is_condition_right(profile) && !profile->replacements) ||
        !profile->setup->may_write(profile->setup->userdata))
        return WRITER_IDLE;
    profile->is_sent = profile->replacements != NULL;
    operations = json_array();
    r = operations ? make_patch(profile, operations) : -ENOMEM;
    if (r == 0)
        r = kube_json_patch(profile->setup->client, profile->path, operations,
                            &(struct kube_waiter){.on_done = on_done,
                                                  .userdata = done_userdata,
                                                  .ret_call = ret_call},
                            err);
    else
        error_set_errno(err, r, "cannot write the status of a SliceProfile");
    json_decref(operations);
    return r;
}

static bool is_ours(const struct kube_response *response, void *userdata)
{
    const struct gateprofile *profile = userdata;

    return kube_is_kind(response, SLICEPROFILE_KIND) || kube_is_gone(response, profile->name);
}

static void on_answer(const struct kube_response *response, void *userdata)
{
    struct gateprofile *profile = userdata;
    json_t *object = kube_is_kind(response, SLICEPROFILE_KIND)
                         ? json_loadb(response->body, response->size, 0, NULL)
                         : NULL;

    if (profile->is_sent)
        json_decref(TAKE_PTR(profile->replacements));
    if (object)
        gateprofile_see(profile, object);
    json_decref(object);
}

static void on_change(void *userdata)
{
}

static const struct writer_job job = {
    .what = "what the nodes of a SliceProfile advertise, in its status",
    .remedy = "let our service account patch sliceprofiles/status",
    .send = send_patch,
    .on_answer = on_answer,
    .is_ours = is_ours,
    .absent_is_fine = true,
};

/* -- what is seen ------------------------------------------------------------------------------ */

static void parse(struct gateprofile *profile)
{
    cleanup_sliceprofiles struct sliceprofiles found = SLICEPROFILES_INIT;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_free char *text = json_dumps(profile->object, JSON_COMPACT);

    sliceprofile_deinit(&profile->profile);
    profile->is_read = text && sliceprofiles_parse(text, strlen(text), &problems, &found) == 0 &&
                       found.n_items == 1;
    if (!profile->is_read)
        return;
    profile->profile = found.items[0];
    found.n_items = 0;
}

void gateprofile_see(struct gateprofile *profile, const json_t *object)
{
    json_t *copy = json_deep_copy(object);
    const bool is_same = profile->object && json_equal(json_object_get(profile->object, "spec"),
                                                       json_object_get(copy, "spec"));

    if (!copy)
        return;
    json_decref(profile->object);
    profile->object = copy;
    if (!is_same || !profile->is_read)
        parse(profile);
}

const struct sliceprofile *gateprofile_read(const struct gateprofile *profile)
{
    return profile->is_read ? &profile->profile : NULL;
}

const json_t *gateprofile_list(const struct gateprofile *profile)
{
    return replacement_list(status_of(profile), generation_of(profile));
}

/* -- what is wanted ---------------------------------------------------------------------------- */

bool gateprofile_is_recording(const struct gateprofile *profile)
{
    return profile->replacements != NULL;
}

void gateprofile_record(struct gateprofile *profile, const char *type, const char *claim)
{
    if (profile->replacements)
        return;
    profile->replacements =
        replacement_add(gateprofile_list(profile), generation_of(profile), type, claim);
    writer_sync(&profile->writer);
}

void gateprofile_clear(struct gateprofile *profile, const char *type)
{
    if (profile->replacements || !replacement_count(gateprofile_list(profile), type))
        return;
    profile->replacements =
        replacement_clear(gateprofile_list(profile), generation_of(profile), type);
    writer_sync(&profile->writer);
}

static void describe(const struct gateprofile_nodes *nodes, struct text *out)
{
    if (!nodes->n_nodes)
        text_add(out, "no node has the profile");
    else if (!nodes->n_wrong)
        text_add(out, "every node that is open advertises what was promised");
    else
        text_addf(out, "%zu of %zu nodes; %s: %s", nodes->n_wrong, nodes->n_nodes, nodes->node,
                  nodes->message);
}

void gateprofile_count(struct gateprofile *profile, const struct gateprofile_nodes *nodes)
{
    cleanup_text struct text message = TEXT_INIT;
    const char *reason = nodes->n_wrong   ? nodes->reason
                         : nodes->n_nodes ? "AllAsPromised"
                                          : "NoNodes";

    if (!nodes->n_nodes && !condition_of(profile))
        return;
    describe(nodes, &message);
    free(profile->reason);
    free(profile->message);
    profile->reason = strdup(reason);
    profile->message = text_take(&message);
    profile->status = profile->reason && profile->message ? (nodes->n_wrong   ? "False"
                                                             : nodes->n_nodes ? "True"
                                                                              : "Unknown")
                                                          : NULL;
    writer_sync(&profile->writer);
}

/* -- life -------------------------------------------------------------------------------------- */

const char *gateprofile_name(const struct gateprofile *profile)
{
    return profile->name;
}

static void release(struct gateprofile *profile)
{
    sliceprofile_deinit(&profile->profile);
    json_decref(profile->object);
    json_decref(profile->replacements);
    free(profile->reason);
    free(profile->message);
    free(profile->name);
    free(profile->path);
    free(profile);
}

struct gateprofile *gateprofile_new(const struct gateprofile_setup *setup, const char *name)
{
    struct gateprofile *profile = calloc(1, sizeof(*profile));
    cleanup_text struct text path = TEXT_INIT;

    if (!profile)
        return NULL;
    text_add(&path, GATEPROFILE_PATH "/");
    kube_add_escaped(&path, name);
    text_add(&path, "/status");
    profile->setup = setup;
    profile->name = strdup(name);
    profile->path = text_take(&path);
    if (!profile->name || !profile->path) {
        release(profile);
        return NULL;
    }
    writer_init(&profile->writer, setup->loop, &job, on_change, profile, profile);
    return profile;
}

static void on_closed(uv_handle_t *handle)
{
    const struct writer *writer = handle->data;

    release(writer->job_userdata);
}

void gateprofile_free(struct gateprofile *profile)
{
    if (!profile)
        return;
    uv_close((uv_handle_t *)&profile->writer.timer, on_closed);
    writer_deinit(&profile->writer);
}
