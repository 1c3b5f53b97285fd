// SPDX-License-Identifier: Apache-2.0
#include "node/reporter.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/child.h"

static_assert((int)REPORT_FD == (int)CHILD_FD, "the program finds its end where it is put");

struct reporter {
    struct child *child;
    reporter_answer_fn *answer;
    void *userdata;
};

/* Header and body in one piece; NULL for want of memory. */
static char *answer_question(struct reporter *reporter, char question, size_t *ret_size)
{
    cleanup_text struct text body = TEXT_INIT;
    struct report_header header = {.http_status = 500};
    char *bytes;

    header.http_status = reporter->answer(question, &body, reporter->userdata);
    header.size = (uint32_t)body.length;
    if (text_failed(&body))
        header = (struct report_header){.http_status = 500};
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
    struct reporter *reporter = userdata;

    for (size_t i = 0; i < n && child_is_open(reporter->child); i++) {
        size_t size;
        char *bytes = answer_question(reporter, questions[i], &size);

        if (bytes)
            child_write(reporter->child, bytes, size); /* who went away is started again */
    }
}

int reporter_new(uv_loop_t *loop, const char *address, reporter_answer_fn *answer, void *userdata,
                 struct reporter **ret_reporter, struct error *err)
{
    static const struct child_callbacks callbacks = {.said = on_said};
    const struct child_options options = {
        .program = "gpuslice-http",
        .title = "the HTTP program",
        .arguments = {address},
        .again = REPORT_AGAIN,
        .key = "address",
        .value = address,
    };
    cleanup_free struct reporter *reporter = calloc(1, sizeof(*reporter));
    int r;

    if (!reporter)
        return error_set_errno(err, -ENOMEM, "cannot serve %s", address);
    reporter->answer = answer;
    reporter->userdata = userdata;
    r = child_new(loop, &options, &callbacks, reporter, &reporter->child, err);
    if (r < 0)
        return r;
    *ret_reporter = TAKE_PTR(reporter);
    return 0;
}

void reporter_free(struct reporter *reporter)
{
    if (!reporter)
        return;
    child_free(reporter->child);
    free(reporter);
}
