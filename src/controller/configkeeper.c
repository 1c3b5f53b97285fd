// SPDX-License-Identifier: Apache-2.0
#include "controller/configkeeper.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "kube/writer.h"

enum {
    PACE_MS = 5000, /* between two requests that write the same */
    REFUSAL_SIZE = 512,
};

struct configkeeper {
    struct configkeeper_setup setup;
    char name[CHANGE_NAME_SIZE];
    struct writer writer;
    struct change change;
    uint64_t content, content_ms; /* of the last request: what it wrote, and when */
    bool is_paced;                /* something is to be written, but not yet */
    uint64_t unwanted_ms;         /* since when nobody wants it; 0 = it is wanted */
    enum configkeeper_news news;
    char refusal[REFUSAL_SIZE];
    kube_done_fn *done; /* of the request that is open */
    void *done_userdata;
};

static uint64_t content_of(const struct change *change)
{
    cleanup_free char *text =
        change->body ? json_dumps(change->body, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    return hash_text(HASH_INIT, text ? text : change->uid);
}

/* Also if what is deleted is no longer there. */
static bool is_done(const struct kube_response *response)
{
    return kube_is_success(response->http_status) || response->http_status == 404;
}

/* Whether a person has to do something. After a conflict the next try sees what others wrote. */
static bool is_refusal(unsigned status)
{
    return status >= 400 && status < 500 && status != 409 && status != 429;
}

static void note_failure(struct configkeeper *keeper, const struct kube_response *response)
{
    keeper->content = 0; /* the writer knows when to try again */
    if (is_refusal(response->http_status) &&
        snprintf(keeper->refusal, sizeof(keeper->refusal), "%s", response->reason) >=
            (int)sizeof(keeper->refusal))
        str_mark_cut(keeper->refusal, sizeof(keeper->refusal));
}

static void note_news(struct configkeeper *keeper, const struct kube_response *response)
{
    if (keeper->change.verb == CHANGE_APPLY && response->http_status == 201)
        keeper->news = CONFIGKEEPER_MADE;
    else if (keeper->change.verb == CHANGE_APPLY && kube_is_success(response->http_status))
        keeper->news = CONFIGKEEPER_CHANGED;
}

static void on_done(const struct kube_response *response, void *userdata)
{
    struct configkeeper *keeper = userdata;

    if (is_done(response)) {
        keeper->refusal[0] = '\0';
        note_news(keeper, response);
        change_deinit(&keeper->change); /* the next comes from the next look */
    } else {
        note_failure(keeper, response);
    }
    keeper->done(response, keeper->done_userdata);
    keeper->setup.on_change(keeper->setup.on_change_userdata);
}

static bool is_too_early(const struct configkeeper *keeper, uint64_t now)
{
    return keeper->change.verb == CHANGE_DELETE &&
           now - keeper->unwanted_ms < keeper->setup.grace_ms;
}

static int send_change(void *userdata, kube_done_fn *done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    struct configkeeper *keeper = userdata;
    const uint64_t content = content_of(&keeper->change), now = clock_now_ms();

    if (keeper->change.verb == CHANGE_NOTHING || !keeper->setup.may_write(keeper->setup.userdata))
        return WRITER_IDLE;
    keeper->is_paced = is_too_early(keeper, now) ||
                       (content == keeper->content && now - keeper->content_ms < PACE_MS);
    if (keeper->is_paced)
        return WRITER_IDLE;
    keeper->content = content;
    keeper->content_ms = now;
    keeper->done = done;
    keeper->done_userdata = done_userdata;
    return change_send(
        &keeper->change, keeper->setup.client,
        &(struct kube_waiter){.on_done = on_done, .userdata = keeper, .ret_call = ret_call}, err);
}

static void on_writer_change(void *userdata)
{
}

struct configkeeper *configkeeper_new(const struct configkeeper_setup *setup, const char *name)
{
    static const struct writer_job job = {
        .what = "the SliceProfile of a ConfigMap",
        .remedy = "let our service account create, patch and delete sliceprofiles",
        .send = send_change,
        .absent_is_fine = true};
    struct configkeeper *keeper = calloc(1, sizeof(*keeper));

    if (!keeper)
        return NULL;
    keeper->setup = *setup;
    snprintf(keeper->name, sizeof(keeper->name), "%s", name);
    writer_init(&keeper->writer, setup->loop, &job, on_writer_change, keeper, keeper);
    return keeper;
}

const char *configkeeper_name(const struct configkeeper *keeper)
{
    return keeper->name;
}

bool configkeeper_want(struct configkeeper *keeper, struct change *change)
{
    if (keeper->writer.call) { /* what it is about must stay as it is */
        change_deinit(change);
        return false;
    }
    change_deinit(&keeper->change);
    keeper->change = *change;
    *change = (struct change)CHANGE_INIT;
    keeper->is_paced = false;
    if (keeper->change.verb != CHANGE_DELETE)
        keeper->unwanted_ms = 0;
    else if (!keeper->unwanted_ms)
        keeper->unwanted_ms = clock_now_ms();
    if (keeper->change.verb == CHANGE_NOTHING)
        keeper->refusal[0] = '\0';
    writer_sync(&keeper->writer);
    return keeper->is_paced;
}

const char *configkeeper_refusal(const struct configkeeper *keeper)
{
    return keeper->refusal;
}

enum configkeeper_news configkeeper_take_news(struct configkeeper *keeper)
{
    const enum configkeeper_news news = keeper->news;

    keeper->news = CONFIGKEEPER_NO_NEWS;
    return news;
}

static void on_closed(uv_handle_t *handle)
{
    const struct writer *writer = handle->data;
    struct configkeeper *keeper = writer->job_userdata;

    change_deinit(&keeper->change);
    free(keeper);
}

void configkeeper_free(struct configkeeper *keeper)
{
    if (!keeper)
        return;
    uv_close((uv_handle_t *)&keeper->writer.timer, on_closed);
    writer_deinit(&keeper->writer);
}
