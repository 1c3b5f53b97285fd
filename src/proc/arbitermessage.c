// SPDX-License-Identifier: Apache-2.0
#include "proc/arbitermessage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/number.h"
#include "limits/mode.h"

enum { SHARE_MAX = 1000 };

enum member_type { TEXT, NUMBER, TRUTH, MODE, COMPUTE };

struct member {
    const char *key;
    enum member_type type;
    size_t offset, size;
};

#define MEMBER(owner, field, key_, type_)                                        \
    {                                                                            \
        .key = (key_), .type = (type_), .offset = offsetof(struct owner, field), \
        .size = sizeof(((struct owner *)NULL)->field)                            \
    }

static const struct member wish_members[] = {
    MEMBER(arbiter_wish, mode, "mode", MODE),
    MEMBER(arbiter_wish, overcommits, "overcommits", TRUTH),
    MEMBER(arbiter_wish, compute, "compute", COMPUTE),
};

static const struct member state_members[] = {
    MEMBER(arbiter_state, version, "version", TEXT),
    MEMBER(arbiter_state, library, "library", TEXT),
    MEMBER(arbiter_state, trouble, "trouble", TEXT),
    MEMBER(arbiter_state, mode, "mode", MODE),
    MEMBER(arbiter_state, compute, "compute", COMPUTE),
    MEMBER(arbiter_state, is_off, "off", TRUTH),
};

static const struct member container_members[] = {
    MEMBER(arbiter_container, is_unenforced, "unenforced", TRUTH),
    MEMBER(arbiter_container, is_over, "over", TRUTH),
    MEMBER(arbiter_container, namespace_, "namespace", TEXT),
    MEMBER(arbiter_container, pod, "pod", TEXT),
    MEMBER(arbiter_container, container, "container", TEXT),
    MEMBER(arbiter_container, device, "device", TEXT),
    MEMBER(arbiter_container, limit_bytes, "limitBytes", NUMBER),
    MEMBER(arbiter_container, used_bytes, "usedBytes", NUMBER),
};

static const struct member event_members[] = {
    MEMBER(arbiter_event, reason, "reason", TEXT),
    MEMBER(arbiter_event, namespace_, "namespace", TEXT),
    MEMBER(arbiter_event, pod, "pod", TEXT),
    MEMBER(arbiter_event, container, "container", TEXT),
    MEMBER(arbiter_event, device, "device", TEXT),
    MEMBER(arbiter_event, limit_bytes, "limitBytes", NUMBER),
    MEMBER(arbiter_event, message, "message", TEXT),
};

static const struct member run_members[] = {
    MEMBER(arbiter_run, cgroup, "cgroup", TEXT),
};

static const struct member run_limit_members[] = {
    MEMBER(arbiter_run_limit, device, "device", TEXT),
    MEMBER(arbiter_run_limit, bytes, "bytes", NUMBER),
    MEMBER(arbiter_run_limit, share_permille, "sharePermille", NUMBER),
};

static const struct member run_grant_members[] = {
    MEMBER(arbiter_run_grant, refusal, "refusal", TEXT),
    MEMBER(arbiter_run_grant, id, "id", TEXT),
    MEMBER(arbiter_run_grant, folder, "folder", TEXT),
    MEMBER(arbiter_run_grant, mode, "mode", MODE),
};

/* Begins a container in a state; the keys behind it, up to the next one, are the container's. */
#define CONTAINER "container-is"
#define LIMIT     "limit-is" /* the same of a run */

void arbiter_state_deinit(struct arbiter_state *state)
{
    free(state->containers);
    *state = (struct arbiter_state)ARBITER_STATE_INIT;
}

/* --- writing --- */

static void write_text(const char *at, struct text *out)
{
    const size_t begin = out->length;

    text_add(out, at);
    if (!text_failed(out) && out->data)
        str_make_line(out->data + begin);
}

static void write_member(const struct member *member, const char *at, struct text *out)
{
    enum limits_compute compute;
    enum limits_mode mode;
    uint64_t number;

    text_addf(out, "%s ", member->key);
    switch (member->type) {
    case TEXT:
        write_text(at, out);
        break;
    case NUMBER:
        memcpy(&number, at, sizeof(number));
        text_addf(out, "%llu", (unsigned long long)number);
        break;
    case TRUTH:
        text_add(out, *(const bool *)at ? "true" : "false");
        break;
    case MODE:
        memcpy(&mode, at, sizeof(mode));
        text_add(out, limits_mode_name(mode));
        break;
    case COMPUTE:
        memcpy(&compute, at, sizeof(compute));
        text_add(out, limits_compute_name(compute));
        break;
    }
    text_add_char(out, '\n');
}

static int write_members(const struct member *members, size_t n_members, const void *owner,
                         struct text *out)
{
    for (size_t i = 0; i < n_members; i++)
        write_member(&members[i], (const char *)owner + members[i].offset, out);
    return text_failed(out) ? -ENOMEM : 0;
}

int arbiter_wish_write(const struct arbiter_wish *wish, struct text *out)
{
    return write_members(wish_members, ARRAY_SIZE(wish_members), wish, out);
}

int arbiter_event_write(const struct arbiter_event *event, struct text *out)
{
    return write_members(event_members, ARRAY_SIZE(event_members), event, out);
}

int arbiter_run_grant_write(const struct arbiter_run_grant *grant, struct text *out)
{
    return write_members(run_grant_members, ARRAY_SIZE(run_grant_members), grant, out);
}

int arbiter_run_write(const struct arbiter_run *run, struct text *out)
{
    int r = write_members(run_members, ARRAY_SIZE(run_members), run, out);

    for (size_t i = 0; i < run->n_limits && r == 0; i++) {
        text_add(out, LIMIT "\n");
        r = write_members(run_limit_members, ARRAY_SIZE(run_limit_members), &run->limits[i], out);
    }
    return r;
}

int arbiter_state_write(const struct arbiter_state *state, struct text *out)
{
    const size_t begin = out->length;
    int r = write_members(state_members, ARRAY_SIZE(state_members), state, out);

    for (size_t i = 0; i < state->n_containers && r == 0; i++) {
        text_add(out, CONTAINER "\n");
        r = write_members(container_members, ARRAY_SIZE(container_members), &state->containers[i],
                          out);
    }
    return r == 0 && out->length - begin > ARBITER_MESSAGE_MAX ? -EMSGSIZE : r;
}

/* --- reading --- */

/* One line: both parts end with a NUL. */
struct line {
    char *key, *value;
};

static int bad(struct error *err, const struct line *line, const char *wanted)
{
    return error_set(err, -EBADMSG, "%s should be %s", line->key, wanted);
}

static int read_mode(const struct line *line, char *at, struct error *err)
{
    enum limits_mode mode;

    if (!limits_parse_mode(line->value, &mode))
        return bad(err, line, "none, observe or enforced");
    memcpy(at, &mode, sizeof(mode));
    return 0;
}

static int read_compute(const struct line *line, char *at, struct error *err)
{
    enum limits_compute compute;

    if (!limits_parse_compute(line->value, &compute))
        return bad(err, line, "none, observe, elastic or strict");
    memcpy(at, &compute, sizeof(compute));
    return 0;
}

static int read_number(const struct line *line, char *at, struct error *err)
{
    const char *text = line->value;
    uint64_t number;

    if (!number_digits(&text, &number) || *text)
        return bad(err, line, "a number");
    memcpy(at, &number, sizeof(number));
    return 0;
}

static int read_member(const struct member *member, const struct line *line, char *at,
                       struct error *err)
{
    switch (member->type) {
    case TEXT:
        str_make_line(line->value);
        return str_copy(at, member->size, line->value) < 0 ? bad(err, line, "shorter") : 0;
    case NUMBER:
        return read_number(line, at, err);
    case TRUTH:
        *(bool *)at = str_equal(line->value, "true");
        return *(bool *)at || str_equal(line->value, "false") ? 0 : bad(err, line, "true or false");
    case MODE:
        return read_mode(line, at, err);
    case COMPUTE:
        return read_compute(line, at, err);
    }
    return -EBADMSG;
}

static int read_line(const struct member *members, size_t n_members, const struct line *line,
                     void *owner, struct error *err)
{
    for (size_t i = 0; i < n_members; i++)
        if (str_equal(line->key, members[i].key))
            return read_member(&members[i], line, (char *)owner + members[i].offset, err);
    return 0; /* of a newer release */
}

/* Takes the first line off *rest; false if there is none. */
static bool take_line(char **rest, struct line *ret_line)
{
    char *line = *rest, *end = strchr(line, '\n'), *blank;

    if (!*line)
        return false;
    *rest = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    blank = strchr(line, ' ');
    *ret_line = (struct line){line, blank ? blank + 1 : line + strlen(line)};
    if (blank)
        *blank = '\0';
    return true;
}

/* A copy of a body that may be cut into lines; NULL with the reason in ret_r. */
static char *copy_body(const char *body, size_t size, int *ret_r, struct error *err)
{
    char *copy = NULL;

    *ret_r = 0;
    if (size > ARBITER_MESSAGE_MAX)
        *ret_r =
            error_set(err, -EBADMSG, "the message is longer than %d bytes", ARBITER_MESSAGE_MAX);
    else if (size && memchr(body, '\0', size))
        *ret_r = error_set(err, -EBADMSG, "the message contains a zero byte");
    else if (!(copy = strndup(size ? body : "", size)))
        *ret_r = error_set_errno(err, -ENOMEM, "cannot read the message");
    return copy;
}

static int read_members(const struct member *members, size_t n_members, const char *body,
                        size_t size, void *owner, struct error *err)
{
    struct line line;
    int r;
    cleanup_free char *copy = copy_body(body, size, &r, err);
    char *rest = copy;

    if (!copy)
        return r;
    while (r == 0 && take_line(&rest, &line))
        r = read_line(members, n_members, &line, owner, err);
    return r;
}

int arbiter_wish_read(const char *body, size_t size, struct arbiter_wish *ret_wish,
                      struct error *err)
{
    struct arbiter_wish wish = {.mode = LIMITS_NONE};
    int r = read_members(wish_members, ARRAY_SIZE(wish_members), body, size, &wish, err);

    if (r == 0)
        *ret_wish = wish;
    return r;
}

int arbiter_event_read(const char *body, size_t size, struct arbiter_event *ret_event,
                       struct error *err)
{
    struct arbiter_event event = {.reason = ""};
    int r = read_members(event_members, ARRAY_SIZE(event_members), body, size, &event, err);

    if (r == 0 && !*event.reason)
        r = error_set(err, -EBADMSG, "reason is missing");
    if (r == 0)
        *ret_event = event;
    return r;
}

static int read_state_line(const struct line *line, struct arbiter_state *state, struct error *err)
{
    if (!str_equal(line->key, CONTAINER))
        return state->n_containers
                   ? read_line(container_members, ARRAY_SIZE(container_members), line,
                               &state->containers[state->n_containers - 1], err)
                   : read_line(state_members, ARRAY_SIZE(state_members), line, state, err);
    if (state->n_containers == ARBITER_CONTAINERS_MAX)
        return error_set(err, -EBADMSG, "more than %d containers", ARBITER_CONTAINERS_MAX);
    if (!array_push(&state->containers, &state->n_containers, &state->containers_capacity,
                    sizeof(*state->containers)))
        return error_set_errno(err, -ENOMEM, "cannot read the message");
    return 0;
}

int arbiter_state_read(const char *body, size_t size, struct arbiter_state *ret_state,
                       struct error *err)
{
    cleanup_arbiter_state struct arbiter_state state = ARBITER_STATE_INIT;
    struct line line;
    int r;
    cleanup_free char *copy = copy_body(body, size, &r, err);
    char *rest = copy;

    if (!copy)
        return r;
    while (r == 0 && take_line(&rest, &line))
        r = read_state_line(&line, &state, err);
    if (r < 0)
        return r;
    *ret_state = state;
    state = (struct arbiter_state)ARBITER_STATE_INIT;
    return 0;
}

int arbiter_run_grant_read(const char *body, size_t size, struct arbiter_run_grant *ret_grant,
                           struct error *err)
{
    struct arbiter_run_grant grant = {.refusal = ""};
    int r = read_members(run_grant_members, ARRAY_SIZE(run_grant_members), body, size, &grant, err);

    if (r == 0 && !*grant.refusal && !*grant.id)
        r = error_set(err, -EBADMSG, "id is missing");
    if (r == 0)
        *ret_grant = grant;
    return r;
}

static int read_run_line(const struct line *line, struct arbiter_run *run, struct error *err)
{
    if (!str_equal(line->key, LIMIT))
        return run->n_limits ? read_line(run_limit_members, ARRAY_SIZE(run_limit_members), line,
                                         &run->limits[run->n_limits - 1], err)
                             : read_line(run_members, ARRAY_SIZE(run_members), line, run, err);
    if (run->n_limits == LIMITS_DEVICES_MAX)
        return error_set(err, -EBADMSG, "more than %d limits", LIMITS_DEVICES_MAX);
    run->n_limits++;
    return 0;
}

/* A device once: each limit is given where that one alone fits. */
static int check_run_limit(const struct arbiter_run *run, size_t place, struct error *err)
{
    const struct arbiter_run_limit *limit = &run->limits[place];

    if (!*limit->device || !limit->bytes)
        return error_set(err, -EBADMSG, "a limit without device or bytes");
    if (limit->share_permille > SHARE_MAX)
        return error_set(err, -EBADMSG, "sharePermille should be at most %d", SHARE_MAX);
    for (size_t i = 0; i < place; i++)
        if (strcasecmp(run->limits[i].device, limit->device) == 0)
            return error_set(err, -EBADMSG, "two limits of %s", limit->device);
    return 0;
}

int arbiter_run_read(const char *body, size_t size, struct arbiter_run *ret_run, struct error *err)
{
    struct arbiter_run run = {.cgroup = ""};
    struct line line;
    int r;
    cleanup_free char *copy = copy_body(body, size, &r, err);
    char *rest = copy;

    if (!copy)
        return r;
    while (r == 0 && take_line(&rest, &line))
        r = read_run_line(&line, &run, err);
    if (r == 0 && !run.n_limits)
        r = error_set(err, -EBADMSG, "no limit is in it");
    for (size_t i = 0; i < run.n_limits && r == 0; i++)
        r = check_run_limit(&run, i, err);
    if (r == 0)
        *ret_run = run;
    return r;
}
