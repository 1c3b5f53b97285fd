// SPDX-License-Identifier: Apache-2.0
#include "controller/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/lograte.h"
#include "kube/backoff.h"
#include "kube/object.h"

#define CLAIMS "/apis/karpenter.sh/v1"

struct gate {
    const struct gate_setup *setup;
    char *node;
    bool is_new;
    uint64_t seen_ms;        /* first */
    char *claim, *claim_uid; /* of the NodeClaim that owns it; "" = none, or not seen yet */
    struct kube_call *call;  /* NULL = none pending */
    uint64_t retry_ms;       /* not before */
    struct backoff backoff;
    unsigned n_conflicts;    /* in a row */
    uint64_t now_ms;         /* when it was seen last */
    uint64_t short_since_ms; /* 0 = it is not */
    uint64_t reason_since_ms;
    const char *reason; /* what stands; NULL = nothing */
    const char *told;   /* of it, what was reported */
    char *message;      /* of what was reported, with the numbers of now */
    const char *kept;   /* why it is not replaced, as reported */
    bool is_overdue;
    enum nodegate_state state;
    struct lograte trouble;
};

/* -- reports ----------------------------------------------------------------------------------- */

/* What is wrong also on the NodeClaim: a node that never opens is looked for at either. */
static void report(const struct gate *gate, bool warning, const char *reason, const char *message)
{
    struct correlator_event event = {.node = gate->node,
                                     .namespace_ = "",
                                     .pod = "",
                                     .reason = reason,
                                     .message = message,
                                     .warning = warning};

    if (warning)
        log_warning(message, "node", gate->node, "because", reason);
    else
        log_info(message, "node", gate->node);
    recorder_add(gate->setup->recorder, &event);
    if (!warning || !*gate->claim)
        return;
    event.node = gate->claim;
    event.api_version = "karpenter.sh/v1";
    event.kind = "NodeClaim";
    event.uid = gate->claim_uid;
    recorder_add(gate->setup->recorder, &event);
}

static void on_failure(struct gate *gate, const char *doing, const char *reason,
                       unsigned retry_after_s)
{
    gate->setup->counters->failed++;
    gate->retry_ms = gate->now_ms + backoff_next_ms(&gate->backoff, retry_after_s);
    if (lograte_begin(&gate->trouble, reason, gate->now_ms))
        log_warning(doing, "node", gate->node, "reason",
                    *reason ? reason : "the server gave no reason");
}

static void end_call(struct gate *gate)
{
    gate->call = NULL;
    gate->setup->counters->n_open--;
}

static void on_success(struct gate *gate, unsigned quiet_ms)
{
    lograte_end(&gate->trouble);
    backoff_reset(&gate->backoff);
    gate->n_conflicts = 0;
    gate->retry_ms = gate->now_ms + quiet_ms;
}

/* -- the taint --------------------------------------------------------------------------------- */

/* A failed `test` is a 422: somebody else changed the taints, and the next view has them. So is
 * what an admission policy denies. */
static bool is_passing(struct gate *gate, unsigned status)
{
    return (status == 409 || status == 422) && ++gate->n_conflicts < GATE_CONFLICTS;
}

static void on_opened(const struct kube_response *response, void *userdata)
{
    struct gate *gate = userdata;

    end_call(gate);
    if (kube_is_kind(response, "Node")) {
        on_success(gate, GATE_UNSEEN_MS);
        gate->setup->counters->opened++;
        report(gate, false, "SlicesReady",
               "the node advertises what it was promised to have, and is open");
        gate->setup->on_opened(gate->node, gate->setup->userdata);
    } else if (is_passing(gate, response->http_status)) {
        gate->retry_ms = gate->now_ms + GATE_RETRY_MS;
    } else if (!kube_is_gone(response, gate->node)) {
        on_failure(gate, "cannot remove the startup taint of a Node", response->reason,
                   response->retry_after_s);
    }
}

/* One that has to wait for others is asked again, since it is not settled. */
static bool may_send(const struct gate *gate)
{
    return !gate->call && gate->now_ms >= gate->retry_ms &&
           gate->setup->counters->n_open < GATE_CALLS &&
           gate->setup->may_write(gate->setup->userdata);
}

static void open_node(struct gate *gate, const struct nodeview *node)
{
    cleanup_free char *path = kube_path(&(struct kube_place){"/api/v1", NULL, "nodes", gate->node});
    json_t *patch = nodeview_open_patch(node);
    struct error err = ERROR_INIT;
    int r = -ENOMEM;

    if (path && patch)
        r = kube_json_patch(
            gate->setup->client, path, patch,
            &(struct kube_waiter){.on_done = on_opened, .userdata = gate, .ret_call = &gate->call},
            &err);
    else
        error_set_errno(&err, r, "no memory");
    if (r < 0)
        on_failure(gate, "cannot remove the startup taint of a Node", error_text(&err), 0);
    else
        gate->setup->counters->n_open++;
    json_decref(patch);
}

/* -- what is reported -------------------------------------------------------------------------- */

static bool is_same(const char *a, const char *b)
{
    return a == b || (a && b && str_equal(a, b));
}

static void replace_text(char **text, const char *new)
{
    char *copy = str_equal(*text, new) ? NULL : strdup(new);

    if (!copy)
        return;
    free(*text);
    *text = copy;
}

static void follow_reason(struct gate *gate, const char *reason)
{
    if (is_same(gate->reason, reason))
        return;
    gate->reason = reason;
    gate->reason_since_ms = gate->now_ms;
}

static bool is_due(const struct gate *gate, const struct nodegate *verdict)
{
    const int64_t stood_s = (int64_t)((gate->now_ms - gate->reason_since_ms) / 1000);

    return gate->reason && stood_s >= verdict->tell_after_s;
}

static void tell(struct gate *gate, const struct nodegate *verdict, bool is_going)
{
    follow_reason(gate, verdict->reason);
    if (is_due(gate, verdict) && !is_same(gate->told, gate->reason)) {
        gate->told = gate->reason;
        report(gate, true, gate->told, verdict->message);
    } else if (!gate->reason && gate->told) {
        gate->told = gate->kept = NULL;
        if (!is_going)
            report(gate, false, "SlicesAsPromised",
                   "what was promised, configured and advertised is the same again");
    }
    if (is_same(gate->told, gate->reason))
        replace_text(&gate->message, verdict->message);
}

/* A clock that is ahead must not make nodes old that have just begun. */
static int64_t age_of(const struct gate *gate, const struct nodeview *node, time_t wall)
{
    const int64_t seen_s = (int64_t)((gate->now_ms - gate->seen_ms) / 1000);
    const int64_t age_s = node->created_s ? wall - node->created_s : 0;

    return gate->is_new || age_s < seen_s ? seen_s : age_s;
}

bool gate_see(struct gate *gate, const struct nodeview *node, const struct nodekind *kind,
              bool has_dra, const struct gate_now *now)
{
    struct nodegate_facts facts = {
        .node = node, .kind = kind, .has_dra = has_dra, .limit_s = gate->setup->limit_s};
    struct nodegate verdict;

    gate->now_ms = now->ms;
    if (!gate->seen_ms)
        gate->seen_ms = now->ms;
    facts.age_s = age_of(gate, node, now->wall);
    replace_text(&gate->claim, node->texts[NODEVIEW_CLAIM]);
    replace_text(&gate->claim_uid, node->texts[NODEVIEW_CLAIM_UID]);
    if (gate->short_since_ms)
        facts.short_s = (int64_t)((now->ms - gate->short_since_ms) / 1000);
    nodegate_judge(&facts, &verdict);
    gate->is_overdue = verdict.is_overdue;
    if (verdict.is_met)
        gate->short_since_ms = 0;
    else if (!gate->short_since_ms)
        gate->short_since_ms = now->ms;
    tell(gate, &verdict, node->is_going);
    gate->state = nodegate_state(&facts, &verdict, gate->told != NULL);
    if (verdict.is_met && node->is_closed && !node->is_going && may_send(gate))
        open_node(gate, node);
    return gate->state == NODEGATE_OPEN && is_same(gate->told, gate->reason);
}

/* -- replacing --------------------------------------------------------------------------------- */

void gate_keep(struct gate *gate, const char *why)
{
    cleanup_text struct text message = TEXT_INIT;

    if (is_same(gate->kept, why))
        return;
    gate->kept = why;
    text_addf(&message,
              "the node never advertised what it was promised to have, and is not "
              "replaced: %s",
              why);
    report(gate, true, "NotReplaced", text_string(&message));
}

static void on_deleted(const struct kube_response *response, void *userdata)
{
    struct gate *gate = userdata;

    end_call(gate);
    if (kube_is_success(response->http_status)) {
        on_success(gate, GATE_GOING_MS);
        gate->setup->counters->replaced++;
        report(gate, true, "Replaced",
               "the node never advertised what it was promised to have: its NodeClaim is deleted, "
               "and Karpenter replaces it");
    } else if (response->http_status == 404 || response->http_status == 409) {
        on_success(gate, GATE_GOING_MS); /* it has gone, or is another one */
    } else {
        on_failure(gate, "cannot delete the NodeClaim of a Node", response->reason,
                   response->retry_after_s);
    }
}

/* Only that NodeClaim: another one of its name has another uid. */
static char *options_of(const struct nodeview *node)
{
    json_t *options = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
                                "preconditions", "uid", node->texts[NODEVIEW_CLAIM_UID]);
    char *text = json_dumps(options, JSON_COMPACT);

    json_decref(options);
    return text;
}

void gate_replace(struct gate *gate, const struct nodeview *node, const struct gate_now *now)
{
    const char *claim = node->texts[NODEVIEW_CLAIM];
    cleanup_free char *path = kube_path(&(struct kube_place){CLAIMS, NULL, "nodeclaims", claim});
    cleanup_free char *body = options_of(node);
    struct error err = ERROR_INIT;

    gate->now_ms = now->ms;
    if (!path || !body || !may_send(gate))
        return;
    if (kube_send(gate->setup->client,
                  &(struct kube_request){.method = "DELETE",
                                         .path = path,
                                         .content_type = "application/json",
                                         .body = body,
                                         .body_size = strlen(body),
                                         .on_done = on_deleted},
                  gate, &gate->call, &err) < 0)
        on_failure(gate, "cannot delete the NodeClaim of a Node", error_text(&err), 0);
    else
        gate->setup->counters->n_open++;
}

/* -- life -------------------------------------------------------------------------------------- */

const char *gate_node(const struct gate *gate)
{
    return gate->node;
}

enum nodegate_state gate_state(const struct gate *gate)
{
    return gate->state;
}

bool gate_is_overdue(const struct gate *gate)
{
    const int64_t enough_s =
        gate->setup->limit_s < GATE_SEEN_S ? gate->setup->limit_s : GATE_SEEN_S;

    return gate->is_overdue && gate->short_since_ms &&
           (int64_t)((gate->now_ms - gate->short_since_ms) / 1000) >= enough_s;
}

const char *gate_reason(const struct gate *gate)
{
    return gate->told;
}

const char *gate_message(const struct gate *gate)
{
    return gate->message;
}

struct gate *gate_new(const struct gate_setup *setup, const char *node, bool is_new)
{
    struct gate *gate = calloc(1, sizeof(*gate));

    if (!gate)
        return NULL;
    gate->setup = setup;
    gate->is_new = is_new;
    gate->backoff = (struct backoff){.first_ms = GATE_RETRY_MS, .last_ms = GATE_RETRY_MAX_MS};
    gate->node = strdup(node);
    gate->claim = strdup("");
    gate->claim_uid = strdup("");
    gate->message = strdup("");
    if (gate->node && gate->claim && gate->claim_uid && gate->message)
        return gate;
    gate_free(gate);
    return NULL;
}

void gate_free(struct gate *gate)
{
    if (!gate)
        return;
    if (gate->call) {
        kube_cancel(gate->call);
        end_call(gate);
    }
    free(gate->node);
    free(gate->claim);
    free(gate->claim_uid);
    free(gate->message);
    free(gate);
}
