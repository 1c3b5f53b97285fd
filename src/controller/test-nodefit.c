// SPDX-License-Identifier: Apache-2.0
#include "controller/nodefit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"
#include "controller/test-json.h"

#define NODE(spec) \
    "{'metadata':{'name':'gpu-1','labels':{'zone':'a','size':'8','odd':'x'}},'spec':{" spec "}}"
#define PLAIN            NODE("")
#define TAINT(key, more) NODE("'taints':[{'key':'" key "'" more "}]")
#define TAINTED          TAINT("team", ",'value':'a','effect':'NoSchedule'")
#define SELECT(labels)   "'nodeSelector':{" labels "}"
#define AFFINE(terms)                                                                \
    "'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{" \
    "'nodeSelectorTerms':[" terms "]}}}"
#define LABELS(expressions)        "{'matchExpressions':[" expressions "]}"
#define NEEDS(key, operator, more) "{'key':'" key "','operator':'" operator"'" more "}"
#define VALUES(values)             ",'values':[" values "]"
#define ONE(key, operator, more)   AFFINE(LABELS(NEEDS(key, operator, more)))
#define TOLERATE(members)          "'tolerations':[{" members "}]"

enum { NO, YES, LATER /* not now */ };

static const struct {
    const char *name, *spec, *node;
    int fits;
} rows[] = {
    {"anything", "", PLAIN, YES},
    {"selector", SELECT("'zone':'a','size':'8'"), PLAIN, YES},
    {"selector, one is another", SELECT("'zone':'a','size':'9'"), PLAIN, NO},
    {"selector, not there", SELECT("'row':'1'"), PLAIN, NO},
    {"In", ONE("zone", "In", VALUES("'b','a'")), PLAIN, YES},
    {"In, not among", ONE("zone", "In", VALUES("'b'")), PLAIN, NO},
    {"In, no label", ONE("row", "In", VALUES("'b'")), PLAIN, NO},
    {"NotIn", ONE("zone", "NotIn", VALUES("'b'")), PLAIN, YES},
    {"NotIn, among", ONE("zone", "NotIn", VALUES("'a'")), PLAIN, NO},
    {"NotIn, no label", ONE("row", "NotIn", VALUES("'a'")), PLAIN, YES},
    {"Exists", ONE("zone", "Exists", ""), PLAIN, YES},
    {"Exists, no label", ONE("row", "Exists", ""), PLAIN, NO},
    {"DoesNotExist", ONE("row", "DoesNotExist", ""), PLAIN, YES},
    {"DoesNotExist, label", ONE("zone", "DoesNotExist", ""), PLAIN, NO},
    {"Gt", ONE("size", "Gt", VALUES("'7'")), PLAIN, YES},
    {"Gt, equal", ONE("size", "Gt", VALUES("'8'")), PLAIN, NO},
    {"Lt", ONE("size", "Lt", VALUES("'9'")), PLAIN, YES},
    {"Lt, no number", ONE("odd", "Lt", VALUES("'9'")), PLAIN, NO},
    {"an operator of the future", ONE("zone", "Near", VALUES("'a'")), PLAIN, NO},
    {"both expressions", AFFINE(LABELS(NEEDS("zone", "Exists", "") "," NEEDS("row", "Exists", ""))),
     PLAIN, NO},
    {"one of two terms",
     AFFINE(LABELS(NEEDS("row", "Exists", "")) "," LABELS(NEEDS("zone", "Exists", ""))), PLAIN,
     YES},
    {"an empty term", AFFINE("{}"), PLAIN, NO},
    {"no term", AFFINE(""), PLAIN, NO},
    {"by name",
     AFFINE("{'matchFields':[{'key':'metadata.name','operator':'In','values':['gpu-1']}]}"), PLAIN,
     YES},
    {"by another name",
     AFFINE("{'matchFields':[{'key':'metadata.name','operator':'In','values':['gpu-2']}]}"), PLAIN,
     NO},
    {"tainted", "", TAINTED, NO},
    {"only preferred", "", TAINT("team", ",'effect':'PreferNoSchedule'"), YES},
    {"NoExecute", "", TAINT("team", ",'effect':'NoExecute'"), NO},
    {"tolerated", TOLERATE("'key':'team','value':'a','effect':'NoSchedule'"), TAINTED, YES},
    {"tolerated, every effect", TOLERATE("'key':'team','operator':'Equal','value':'a'"), TAINTED,
     YES},
    {"tolerated, another value", TOLERATE("'key':'team','value':'b'"), TAINTED, NO},
    {"tolerated, another effect", TOLERATE("'key':'team','value':'a','effect':'NoExecute'"),
     TAINTED, NO},
    {"tolerated, every value", TOLERATE("'key':'team','operator':'Exists'"), TAINTED, YES},
    {"everything tolerated", TOLERATE("'operator':'Exists'"), TAINTED, YES},
    {"nothing tolerated", TOLERATE("'value':'a'"), TAINTED, NO},
    {"another one tolerated", TOLERATE("'key':'x','operator':'Exists'"), TAINTED, NO},
    {"tolerated up to", TOLERATE("'key':'cost','operator':'Lt','value':'9'"),
     TAINT("cost", ",'value':'5','effect':'NoSchedule'"), YES},
    {"tolerated from", TOLERATE("'key':'cost','operator':'Gt','value':'9'"),
     TAINT("cost", ",'value':'5','effect':'NoSchedule'"), NO},
    {"not ready", "", TAINT("node.kubernetes.io/not-ready", ",'effect':'NoExecute'"), LATER},
    {"our agent starts", "", TAINT("gpuslice.dev/not-ready", ",'effect':'NoSchedule'"), LATER},
    {"cordoned", "", NODE("'unschedulable':true"), LATER},
    {"cordoned, tolerated",
     TOLERATE("'key':'node.kubernetes.io/unschedulable','operator':'Exists'"),
     NODE("'unschedulable':true"), YES},
    {"cordoned, and elsewhere", SELECT("'zone':'b'"), NODE("'unschedulable':true"), NO},
};

static void nodes_are_judged_as_the_scheduler_does(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node = read_json(rows[i].node), *spec, *pod;
        char text[1024];

        snprintf(text, sizeof(text), "{%s}", rows[i].spec);
        spec = read_json(text);
        pod = json_pack("{s:o}", "spec", spec);
        if (nodefit_may_run(pod, node, NODEFIT_NOW) != (rows[i].fits == YES) ||
            nodefit_may_run(pod, node, NODEFIT_SOME_TIME) != (rows[i].fits != NO))
            fail_msg("%s", rows[i].name);
        json_decref(pod);
        json_decref(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nodes_are_judged_as_the_scheduler_does)};

    return cmocka_run_group_tests_name("controller/nodefit", tests, NULL, NULL);
}
