// SPDX-License-Identifier: Apache-2.0
#include "node/httplink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/child.h"

static_assert((int)HTTPLINK_FD == (int)CHILD_FD, "the program finds its end where it is put");

struct httplink {
    struct child *child;
    httplink_answer_fn *answer;
    void *userdata;
};

/* Header and body in one piece; NULL for want of memory. */
static char *answer_question(struct httplink *httplink, char question, size_t *ret_size)
{
    cleanup_text struct text body = TEXT_INIT;
    struct httplink_header header = {.http_status = 500};
    char *bytes;

    header.http_status = httplink->answer(question, &body, httplink->userdata);
    header.size = (uint32_t)body.length;
    if (text_failed(&body))
        header = (struct httplink_header){.http_status = 500};
    bytes = malloc(sizeof(header) + header.size);
    if (!bytes)
        return NULL;
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), text_string(&body), header.size);
    *ret_size = sizeof(header) + header.size;
    return bytes;
}

static void on_said(const char *questions, size_t n, void *userdata)
{
    struct httplink *httplink = userdata;

    for (size_t i = 0; i < n && child_is_open(httplink->child); i++) {
        size_t size;
        char *bytes = answer_question(httplink, questions[i], &size);

        if (bytes)
            child_write(httplink->child, bytes, size); /* who went away is started again */
    }
}

int httplink_new(uv_loop_t *loop, const char *address, httplink_answer_fn *answer, void *userdata,
                 struct httplink **ret_httplink, struct error *err)
{
    static const struct child_callbacks callbacks = {.said = on_said};
    const struct child_options options = {
        .program = "gpuslice-http",
        .title = "the HTTP program",
        .arguments = {address},
        .again = HTTPLINK_AGAIN,
        .key = "address",
        .value = address,
    };
    cleanup_free struct httplink *httplink = calloc(1, sizeof(*httplink));
    int r;

    if (!httplink)
        return error_set_errno(err, -ENOMEM, "cannot serve %s", address);
    httplink->answer = answer;
    httplink->userdata = userdata;
    r = child_new(loop, &options, &callbacks, httplink, &httplink->child, err);
    if (r < 0)
        return r;
    *ret_httplink = TAKE_PTR(httplink);
    return 0;
}

void httplink_free(struct httplink *httplink)
{
    if (!httplink)
        return;
    child_free(httplink->child);
    free(httplink);
}
