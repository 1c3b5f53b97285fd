// SPDX-License-Identifier: Apache-2.0
#include "arbiter/violations.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"

#define HEADER "gpuslice-violations 1"

void violations_deinit(struct violations *violations)
{
    free(violations->items);
    *violations = (struct violations)VIOLATIONS_INIT;
}

/* --- audits --- */

static bool is_same_owner(const struct violation *violation, const struct audit_use *use)
{
    return violation->verdict == AUDIT_UNKNOWN
               ? violation->pid == use->pid
               : str_equal(violation->owner.pod_uid, use->owner.pod_uid) &&
                     str_equal(violation->owner.container, use->owner.container);
}

static bool is_about(const struct violation *violation, const struct audit *audit,
                     const struct audit_use *use)
{
    return violation->verdict == use->verdict &&
           str_equal(violation->device, audit->devices[use->device].device.uuid) &&
           is_same_owner(violation, use);
}

const struct audit_use *violation_find_use(const struct violation *violation,
                                           const struct audit *audit)
{
    for (size_t i = 0; i < audit->n_uses; i++)
        if (is_about(violation, audit, &audit->uses[i]))
            return &audit->uses[i];
    return NULL;
}

static struct violation *find(struct violations *violations, const struct audit *audit,
                              const struct audit_use *use)
{
    for (size_t i = 0; i < violations->n; i++)
        if (is_about(&violations->items[i], audit, use))
            return &violations->items[i];
    return NULL;
}

/* NULL: there are too many. */
static struct violation *add(struct violations *violations, const struct audit *audit,
                             const struct audit_use *use, uint64_t now_ms)
{
    struct violation *violation = violations->n < VIOLATIONS_MAX
                                      ? array_push(&violations->items, &violations->n,
                                                   &violations->capacity, sizeof(*violation))
                                      : NULL;

    if (!violation)
        return NULL;
    violation->verdict = use->verdict;
    memcpy(violation->device, audit->devices[use->device].device.uuid, sizeof(violation->device));
    violation->since_ms = now_ms;
    return violation;
}

static bool is_unread(const struct audit *audit, const char *device)
{
    for (size_t i = 0; i < audit->n_devices; i++)
        if (str_equal(audit->devices[i].device.uuid, device))
            return audit->devices[i].is_unread;
    return false;
}

/* True: it begins. */
static bool see(struct violation *violation, const struct audit_use *use, struct violations_now now)
{
    violation->owner = use->owner;
    violation->pid = use->pid;
    violation->n_absent = 0;
    if (violation->has_begun || ++violation->n_seen < VIOLATION_SEEN)
        return false;
    violation->has_begun = true;
    violation->began_s = now.s;
    return true;
}

/* True: there is no more to say of it. */
static bool miss(struct violation *violation)
{
    violation->n_seen = 0;
    return ++violation->n_absent >= (violation->has_begun ? VIOLATION_ABSENT : 1);
}

static bool observe_uses(struct violations *violations, const struct audit *audit,
                         struct violations_now now, const struct violations_callbacks *callbacks,
                         void *userdata)
{
    bool has_changed = false;

    for (size_t i = 0; i < audit->n_uses; i++) {
        const struct audit_use *use = &audit->uses[i];
        struct violation *violation;

        if (!audit_is_wrong(use))
            continue;
        violation = find(violations, audit, use);
        if (!violation)
            violation = add(violations, audit, use, now.ms);
        if (!violation) {
            violations->n_left_out++;
        } else if (see(violation, use, now)) {
            violations->n_begun[use->verdict]++;
            has_changed = true;
            callbacks->on_begun(violation, audit, use, userdata);
        }
    }
    return has_changed;
}

bool violations_observe(struct violations *violations, const struct audit *audit,
                        struct violations_now now, const struct violations_callbacks *callbacks,
                        void *userdata)
{
    bool has_changed;
    size_t kept = 0;

    violations->n_left_out = 0;
    has_changed = observe_uses(violations, audit, now, callbacks, userdata);
    for (size_t i = 0; i < violations->n; i++) {
        struct violation *violation = &violations->items[i];

        if (!violation_find_use(violation, audit) && !is_unread(audit, violation->device) &&
            miss(violation)) {
            if (!violation->has_begun)
                continue;
            has_changed = true;
            callbacks->on_ended(violation, userdata);
            continue;
        }
        violations->items[kept++] = *violation;
    }
    violations->n = kept;
    return has_changed;
}

bool violations_has_unconfirmed(const struct violations *violations)
{
    for (size_t i = 0; i < violations->n; i++)
        if (!violations->items[i].has_begun)
            return true;
    return false;
}

/* --- what is written down --- */

void violations_format(const struct violations *violations, struct text *text)
{
    text_add(text, HEADER "\n");
    for (size_t i = 0; i < violations->n; i++) {
        const struct violation *one = &violations->items[i];

        if (one->has_begun)
            text_addf(text, "%s\t%" PRId64 "\t%" PRIu32 "\t%s\t%s\t%s\t%s\t%s\n",
                      audit_verdict_name(one->verdict), one->began_s, one->pid, one->device,
                      one->owner.pod_uid, one->owner.container, one->owner.namespace_,
                      one->owner.pod);
    }
}

static bool parse_verdict(const char *word, enum audit_verdict *ret_verdict)
{
    for (int i = 0; i < N_AUDIT_VERDICTS; i++)
        if (str_equal(audit_verdict_name((enum audit_verdict)i), word)) {
            *ret_verdict = (enum audit_verdict)i;
            return true;
        }
    return false;
}

static bool copy_line(char *to, size_t size, char *from)
{
    if (str_copy(to, size, from) < 0)
        return false;
    str_make_line(to);
    return true;
}

static bool parse_line(char *line, struct violation *violation)
{
    struct audit_owner *owner = &violation->owner;
    uint32_t began_s;
    char *fields[8];

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (!(fields[i] = strsep(&line, "\t")))
            return false;
    if (line || !parse_verdict(fields[0], &violation->verdict) ||
        !number_parse(fields[1], &began_s) || !number_parse(fields[2], &violation->pid))
        return false;
    violation->began_s = began_s;
    violation->has_begun = true;
    return copy_line(violation->device, sizeof(violation->device), fields[3]) &&
           copy_line(owner->pod_uid, sizeof(owner->pod_uid), fields[4]) &&
           copy_line(owner->container, sizeof(owner->container), fields[5]) &&
           copy_line(owner->namespace_, sizeof(owner->namespace_), fields[6]) &&
           copy_line(owner->pod, sizeof(owner->pod), fields[7]);
}

static int parse_lines(struct violations *violations, char *rest, uint64_t now_ms)
{
    char *line;

    while ((line = strsep(&rest, "\n")) && *line) {
        struct violation *violation = array_push(&violations->items, &violations->n,
                                                 &violations->capacity, sizeof(*violation));

        if (!violation)
            return -ENOMEM;
        if (violations->n > VIOLATIONS_MAX || !parse_line(line, violation))
            return -EBADMSG;
        violation->since_ms = now_ms;
    }
    return line && !rest ? 0 : -EBADMSG; /* the last line ends too */
}

int violations_parse(struct violations *violations, char *text, size_t size, uint64_t now_ms)
{
    char *rest = text, *header;
    int r = -EBADMSG;

    if (strlen(text) == size && (header = strsep(&rest, "\n")) && rest && str_equal(header, HEADER))
        r = parse_lines(violations, rest, now_ms);
    if (r < 0)
        violations_deinit(violations);
    return r;
}
