// SPDX-License-Identifier: Apache-2.0
#include "controller/drainplan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

#define OWNER(kind)      "\"ownerReferences\":[{\"kind\":\"" kind "\",\"controller\":true}]"
#define MARK(key, value) "\"annotations\":{\"" key "\":\"" value "\"}"
#define POD(more, node, phase)                                                                  \
    "{\"metadata\":{\"uid\":\"u1\"," more "},\"spec\":{\"nodeName\":\"" node "\"},\"status\":{" \
    "\"phase\":\"" phase "\"}}"
#define RUNNING(more) POD(more, "gpu-1", "Running")
#define SET           OWNER("ReplicaSet")

static const struct {
    const char *name, *pod; /* NULL = there is none */
    const char *uid;        /* as the agent named it */
    enum drain_consent consent;
    enum drain_step step;
    const char *why; /* a part of it */
} rows[] = {
    {"one of a Deployment", RUNNING(SET), "u1", DRAIN_ALLOWED, DRAIN_EVICT, NULL},
    {"one of a Job", RUNNING(OWNER("Job")), "u1", DRAIN_FORCED, DRAIN_EVICT, NULL},
    {"one that waits for its image", POD(SET, "gpu-1", "Pending"), "u1", DRAIN_ALLOWED, DRAIN_EVICT,
     NULL},
    {"no consent", RUNNING(SET), "u1", DRAIN_DENIED, DRAIN_LEFT, "may not be drained"},
    {"gone", NULL, "u1", DRAIN_ALLOWED, DRAIN_GONE, NULL},
    {"another of this name", RUNNING(SET), "u0", DRAIN_ALLOWED, DRAIN_GONE, NULL},
    {"not known which", RUNNING(SET), "", DRAIN_ALLOWED, DRAIN_UNKNOWN, NULL},
    {"on another node", POD(SET, "gpu-2", "Running"), "u1", DRAIN_FORCED, DRAIN_GONE, NULL},
    {"on no node", "{\"metadata\":{\"uid\":\"u1\"}}", "u1", DRAIN_FORCED, DRAIN_GONE, NULL},
    {"ended well", POD(SET, "gpu-1", "Succeeded"), "u1", DRAIN_ALLOWED, DRAIN_GONE, NULL},
    {"ended badly", POD(SET, "gpu-1", "Failed"), "u1", DRAIN_ALLOWED, DRAIN_GONE, NULL},
    {"being deleted", RUNNING(SET ",\"deletionTimestamp\":\"now\""), "u1", DRAIN_ALLOWED,
     DRAIN_GOING, NULL},
    {"of a DaemonSet", RUNNING(OWNER("DaemonSet")), "u1", DRAIN_FORCED, DRAIN_LEFT, "DaemonSet"},
    {"static", RUNNING(MARK("kubernetes.io/config.mirror", "x")), "u1", DRAIN_FORCED, DRAIN_LEFT,
     "static pod"},
    {"static, by its other uid", RUNNING(MARK("kubernetes.io/config.mirror", "x")), "x",
     DRAIN_FORCED, DRAIN_LEFT, "static pod"},
    {"nobody's", RUNNING("\"name\":\"x\""), "u1", DRAIN_ALLOWED, DRAIN_LEFT, "mig-drain=forced"},
    {"nobody's, forced", RUNNING("\"name\":\"x\""), "u1", DRAIN_FORCED, DRAIN_EVICT, NULL},
    {"only owned", RUNNING("\"ownerReferences\":[{\"kind\":\"ReplicaSet\"}]"), "u1", DRAIN_ALLOWED,
     DRAIN_LEFT, "no controller"},
    {"Karpenter must not", RUNNING(SET "," MARK("karpenter.sh/do-not-disrupt", "true")), "u1",
     DRAIN_FORCED, DRAIN_LEFT, "do-not-disrupt"},
    {"Karpenter must not for a while", RUNNING(SET "," MARK("karpenter.sh/do-not-disrupt", "24h")),
     "u1", DRAIN_FORCED, DRAIN_LEFT, "do-not-disrupt"},
    {"Karpenter may", RUNNING(SET "," MARK("karpenter.sh/do-not-disrupt", "false")), "u1",
     DRAIN_ALLOWED, DRAIN_EVICT, NULL},
    {"the autoscaler must not",
     RUNNING(SET "," MARK("cluster-autoscaler.kubernetes.io/safe-to-evict", "false")), "u1",
     DRAIN_FORCED, DRAIN_LEFT, "safe-to-evict"},
};

static void each_pod_has_its_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char namespace_[] = "default", name[] = "x", uid[8];
        const struct migwaits_pod wanted = {namespace_, name, uid};
        json_t *pod = rows[i].pod ? json_loads(rows[i].pod, 0, NULL) : NULL;
        const char *why = NULL;
        enum drain_step step;

        assert_true(!pod == !rows[i].pod);
        assert_int_equal(str_copy(uid, sizeof(uid), rows[i].uid), 0);
        step = drainplan_pod(pod, &wanted, "gpu-1", rows[i].consent, &why);
        if (step != rows[i].step || (rows[i].why && !strstr(why, rows[i].why)))
            fail_msg("%s: %d %s", rows[i].name, step, why ? why : "");
        json_decref(pod);
    }
}

static void words(void **state)
{
    static const char *const wrong[] = {"", "true", "Allowed", "allowed ", "force"};
    enum drain_consent consent;

    (void)state;
    for (unsigned i = 0; i < DRAIN_CONSENTS; i++) {
        assert_true(drain_consent_parse(drain_consent_names[i], &consent));
        assert_int_equal(consent, i);
    }
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_false(drain_consent_parse(wrong[i], &consent));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pod_has_its_step),
        cmocka_unit_test(words),
    };

    return cmocka_run_group_tests_name("controller/drainplan", tests, NULL, NULL);
}
