// SPDX-License-Identifier: Apache-2.0
#include "arbiter/podcgroup.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"

struct span {
    const char *at;
    size_t length;
};

static bool span_is(struct span span, const char *text)
{
    return span.length == strlen(text) && !memcmp(span.at, text, span.length);
}

static bool span_starts_with(struct span span, const char *prefix)
{
    return span.length >= strlen(prefix) && !memcmp(span.at, prefix, strlen(prefix));
}

static bool span_cut_end(struct span *span, const char *suffix)
{
    size_t length = strlen(suffix);

    if (span->length < length || memcmp(span->at + span->length - length, suffix, length) != 0)
        return false;
    span->length -= length;
    return true;
}

/* "a-b-c" becomes "a-b"; false when there is no such character left. */
static bool span_cut_last(struct span *span, char separator)
{
    const char *found = memrchr(span->at, separator, span->length);

    if (found)
        span->length = (size_t)(found - span->at);
    return found != NULL;
}

enum { SHOWN_SIZE = 65 };

/* The beginning of it in ASCII: a cgroup's name may be made of any bytes. */
static const char *span_show(struct span span, char shown[SHOWN_SIZE])
{
    size_t length = span.length < SHOWN_SIZE ? span.length : SHOWN_SIZE - 1;

    for (size_t i = 0; i < length; i++)
        shown[i] = span.at[i] >= ' ' && span.at[i] <= '~' ? span.at[i] : '?';
    shown[length] = '\0';
    return shown;
}

/* --- names along a path --- */

/* The name behind *at, which moves on; an empty one at the end. */
static struct span name_next(const char **at, const char *end)
{
    struct span name;

    while (*at < end && **at == '/')
        (*at)++;
    name = (struct span){.at = *at};
    while (*at < end && **at != '/')
        (*at)++;
    name.length = (size_t)(*at - name.at);
    return name;
}

/* The name above one, no further up than `from`; an empty one where there is none. */
static struct span name_above(const char *from, struct span name)
{
    const char *end = name.at;
    struct span above;

    while (end > from && end[-1] == '/')
        end--;
    above = (struct span){.at = end};
    while (above.at > from && above.at[-1] != '/')
        above.at--;
    above.length = (size_t)(end - above.at);
    return above;
}

/* --- what the names say --- */

enum { NOT_A_POD = PODCGROUP_NO_POD };

static const struct {
    const char *folder, *slice_part, *name;
} qos_rows[] = {
    [PODCGROUP_QOS_UNKNOWN] = {NULL, NULL, NULL},
    [PODCGROUP_QOS_GUARANTEED] = {NULL, NULL, "Guaranteed"},
    [PODCGROUP_QOS_BURSTABLE] = {"burstable", "-burstable", "Burstable"},
    [PODCGROUP_QOS_BESTEFFORT] = {"besteffort", "-besteffort", "BestEffort"},
};

const char *podcgroup_qos_name(enum podcgroup_qos qos)
{
    return qos_rows[qos].name;
}

static bool is_hex(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return true;
}

static bool is_grouped_uid(struct span uid, char dash)
{
    static const size_t groups[] = {8, 4, 4, 4, 12};
    size_t at = 0;

    if (uid.length != PODCGROUP_UID_SIZE - 1)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (i && uid.at[at++] != dash)
            return false;
        if (!is_hex(uid.at + at, groups[i]))
            return false;
        at += groups[i];
    }
    return true;
}

static bool is_uid(struct span uid, char dash)
{
    return is_grouped_uid(uid, dash) || (uid.length == 32 && is_hex(uid.at, uid.length));
}

static int read_uid(struct span uid, char dash, struct podcgroup *pod, struct error *err)
{
    char shown[SHOWN_SIZE];

    if (!is_uid(uid, dash))
        return error_set(err, -EBADMSG, "the pod of the cgroup 'pod%s' has no UID of a known form",
                         span_show(uid, shown));
    memcpy(pod->pod_uid, uid.at, uid.length);
    for (char *c = pod->pod_uid; *c; c++)
        if (*c == '_')
            *c = '-';
    return 0;
}

/* As runtimes call themselves: "cri-containerd". */
static bool is_runtime(struct span word)
{
    for (size_t i = 0; i < word.length; i++)
        if (word.at[i] != '-' && !(word.at[i] >= 'a' && word.at[i] <= 'z') &&
            !(word.at[i] >= '0' && word.at[i] <= '9'))
            return false;
    return word.length < PODCGROUP_RUNTIME_SIZE;
}

/* "cri-containerd-<id>.scope", "crio-<id>", "<id>", and behind a slice "cri-containerd:<id>". */
static bool read_container(struct span name, char separator, struct podcgroup *pod)
{
    struct span id, runtime = {.at = name.at};

    span_cut_end(&name, ".scope");
    if (name.length < PODCGROUP_ID_SIZE - 1)
        return false;
    runtime.length = name.length - (PODCGROUP_ID_SIZE - 1);
    id = (struct span){name.at + runtime.length, PODCGROUP_ID_SIZE - 1};
    if (runtime.length && runtime.at[--runtime.length] != separator)
        return false;
    if (!is_hex(id.at, id.length) || !is_runtime(runtime))
        return false;
    /* CRI-O's monitor of a container is in the pod, but not in the container. */
    if (span_cut_end(&runtime, "-conmon"))
        return true;
    memcpy(pod->runtime, runtime.at, runtime.length);
    memcpy(pod->container_id, id.at, id.length);
    return true;
}

/* systemd puts a-b-c.slice into a.slice/a-b.slice; what else lies above is not the kubelet's. */
static bool slice_is_nested(const char *from, struct span name, struct span stem)
{
    struct span above = name_above(from, name);

    for (; above.length; above = name_above(from, above)) {
        struct span parent = above;

        if (!span_cut_last(&stem, '-') || !span_cut_end(&parent, ".slice") ||
            parent.length != stem.length || memcmp(parent.at, stem.at, stem.length) != 0)
            return true;
    }
    return false;
}

/* "kubepods-burstable-pod<uid>.slice", also with ":cri-containerd:<id>" behind it. */
static int read_slice(const char *from, struct span name, struct podcgroup *pod, struct error *err)
{
    struct span tree, stem = name, uid;
    const char *colon = memmem(name.at, name.length, ".slice:", 7);

    if (colon)
        stem.length = (size_t)(colon - name.at) + strlen(".slice");
    if (!span_cut_end(&stem, ".slice"))
        return NOT_A_POD;
    tree = stem;
    if (!span_cut_last(&tree, '-'))
        return NOT_A_POD;
    uid = (struct span){tree.at + tree.length + 1, stem.length - tree.length - 1};
    pod->qos = PODCGROUP_QOS_GUARANTEED;
    for (size_t i = 0; i < ARRAY_SIZE(qos_rows); i++)
        if (qos_rows[i].slice_part && span_cut_end(&tree, qos_rows[i].slice_part)) {
            pod->qos = (enum podcgroup_qos)i;
            break;
        }
    if (!span_starts_with(uid, "pod") ||
        (!span_is(tree, "kubepods") && !span_cut_end(&tree, "-kubepods")))
        return NOT_A_POD;
    pod->is_nested = slice_is_nested(from, name, stem);
    if (colon)
        read_container((struct span){colon + 7, name.length - stem.length - 7}, ':', pod);
    return read_uid((struct span){uid.at + 3, uid.length - 3}, '_', pod, err);
}

/* "pod<uid>" below kubepods, or below its burstable or besteffort, or below what ".." hides. */
static int read_folder(const char *from, bool is_relative, struct span name, struct podcgroup *pod,
                       struct error *err)
{
    struct span above = name_above(from, name), uid;

    if (!span_starts_with(name, "pod"))
        return NOT_A_POD;
    uid = (struct span){name.at + 3, name.length - 3};
    pod->qos = PODCGROUP_QOS_UNKNOWN;
    for (size_t i = 0; i < ARRAY_SIZE(qos_rows); i++)
        if (qos_rows[i].folder && span_is(above, qos_rows[i].folder))
            pod->qos = (enum podcgroup_qos)i;
    if (pod->qos)
        above = name_above(from, above);
    /* Without kubepods in the path, podruntime.slice is not a malformed pod. */
    if (!span_is(above, "kubepods"))
        return !above.length && is_relative && is_uid(uid, '-') ? read_uid(uid, '-', pod, err)
                                                                : NOT_A_POD;
    pod->is_nested = above.at != from;
    if (!pod->qos)
        pod->qos = PODCGROUP_QOS_GUARANTEED;
    return read_uid(uid, '-', pod, err);
}

/* --- the text --- */

/* The outermost pod from `name` on; what lies below its container does not count. */
static int read_names(struct span name, const char *end, bool is_relative, struct podcgroup *pod,
                      struct error *err)
{
    const char *from = name.at, *at = name.at + name.length;
    int r = NOT_A_POD;

    for (; name.length; name = name_next(&at, end)) {
        r = read_slice(from, name, pod, err);
        if (r == NOT_A_POD)
            r = read_folder(from, is_relative, name, pod, err);
        if (r != NOT_A_POD)
            break;
    }
    /* A slice with ":cri-containerd:<id>" is the container's own cgroup. */
    if (r == 0 && !memchr(name.at, ':', name.length))
        read_container(name_next(&at, end), '-', pod);
    return r;
}

/* 0, NOT_A_POD, PODCGROUP_HIDDEN, or -EBADMSG; the first and the third fill *pod. */
static int read_path(struct span path, struct podcgroup *pod, struct error *err)
{
    const char *at = path.at, *end;
    bool is_relative = false;
    struct span name;

    span_cut_end(&path, " (deleted)");
    end = path.at + path.length;
    for (name = name_next(&at, end); span_is(name, ".."); name = name_next(&at, end))
        is_relative = true;
    /* A container beside the reader's own; what lies below was made in there. */
    if (is_relative && read_container(name, '-', pod))
        return PODCGROUP_HIDDEN;
    return read_names(name, end, is_relative, pod, err);
}

/* "4:memory:/path": cgroup names may hold colons, the first two fields not. */
static int read_line(struct span line, struct span *ret_path, struct error *err)
{
    const char *end = line.at + line.length, *colon = line.at;
    char shown[SHOWN_SIZE];

    while (colon < end && *colon >= '0' && *colon <= '9')
        colon++;
    if (colon > line.at && colon < end && *colon == ':')
        colon = memchr(colon + 1, ':', (size_t)(end - colon - 1));
    else
        colon = NULL;
    if (!colon || end - colon < 2 || colon[1] != '/')
        return error_set(err, -EBADMSG, "'%s' is no line of /proc/PID/cgroup",
                         span_show(line, shown));
    *ret_path = (struct span){colon + 1, (size_t)(end - colon - 1)};
    return 0;
}

/* Takes over what is not known yet; refuses what contradicts it. */
static int merge_word(char *known, const char *word, size_t size, const char *what,
                      struct error *err)
{
    if (*known && *word && strcmp(known, word) != 0)
        return error_set(err, -EBADMSG, "its cgroups name two %s, %s and %s", what, known, word);
    if (*word)
        memcpy(known, word, size);
    return 0;
}

static int merge(struct podcgroup *known, const struct podcgroup *pod, struct error *err)
{
    int r = merge_word(known->pod_uid, pod->pod_uid, sizeof(pod->pod_uid), "pods", err);

    if (r == 0)
        r = merge_word(known->container_id, pod->container_id, sizeof(pod->container_id),
                       "containers", err);
    if (r == 0)
        r = merge_word(known->runtime, pod->runtime, sizeof(pod->runtime), "runtimes", err);
    if (!known->qos)
        known->qos = pod->qos;
    known->is_nested |= pod->is_nested;
    return r;
}

/* What this line adds to what others told. */
static int take_line(struct span line, struct podcgroup *known, bool *any_hidden, struct error *err)
{
    struct podcgroup pod = {.pod_uid = ""};
    struct span path = {.at = NULL};
    int r = read_line(line, &path, err);

    if (r == 0)
        r = read_path(path, &pod, err);
    if (r < 0 || r == NOT_A_POD)
        return r < 0 ? r : 0;
    *any_hidden |= r == PODCGROUP_HIDDEN;
    return merge(known, &pod, err);
}

int podcgroup_parse(const char *text, size_t size, struct podcgroup *ret_pod, struct error *err)
{
    struct podcgroup known = {.pod_uid = ""};
    bool any_hidden = false;

    if (size == 0)
        return error_set(err, -EBADMSG, "the text of its cgroups is empty");
    if (size > PODCGROUP_TEXT_MAX)
        return error_set(err, -EBADMSG, "the text of its cgroups is longer than %d bytes",
                         PODCGROUP_TEXT_MAX);
    for (const char *at = text, *end = text + size; at < end;) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        struct span line = {at, (size_t)((feed ? feed : end) - at)};
        int r = take_line(line, &known, &any_hidden, err);

        if (r < 0)
            return r;
        at = feed ? feed + 1 : end;
    }
    if (!*known.pod_uid && !any_hidden)
        return PODCGROUP_NO_POD;
    *ret_pod = known;
    return *known.pod_uid ? 0 : PODCGROUP_HIDDEN;
}
