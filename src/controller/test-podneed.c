// SPDX-License-Identifier: Apache-2.0
#include "controller/podneed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/array.h"
#include "controller/test-json.h"

#define META         "'metadata':{'namespace':'ml','name':'a','uid':'u1','labels':{'x':'y'}}"
#define ASKS(counts) "{'resources':{'requests':{" counts "}}}"
#define STATUS(reason)                                                                          \
    "'status':{'conditions':[{'type':'Other','status':'True'},{'type':'PodScheduled','status':" \
    "'False','reason':'" reason "','lastTransitionTime':'1970-01-01T00:01:40Z'}]}"
#define WAITS            STATUS("Unschedulable")
#define SPEC(members)    "{" META ",'spec':{" members "}," WAITS "}"
#define MAIN(containers) "'containers':[" containers "]"
#define INIT(containers) "'initContainers':[" containers "]"
#define BESIDE(count) \
    "{'restartPolicy':'Always','resources':{'requests':{'nvidia.com/gpu':'" count "'}}}"
#define GPUS(count) ASKS("'nvidia.com/gpu':'" count "'")

static void what_is_requested_is_counted(void **state)
{
    static const struct {
        const char *spec, *requests;
    } rows[] = {
        {MAIN(GPUS("1")), "{'nvidia.com/gpu':1}"},
        {MAIN(GPUS("1") "," GPUS("2")), "{'nvidia.com/gpu':3}"},
        {MAIN(ASKS("'cpu':'1','nvidia.com/mig-1g.5gb':'2k'")), "{'nvidia.com/mig-1g.5gb':2000}"},
        {INIT(GPUS("2") "," GPUS("1")) "," MAIN(GPUS("1")), "{'nvidia.com/gpu':2}"},
        {INIT(GPUS("1")) "," MAIN("{}"), "{'nvidia.com/gpu':1}"},
        /* One that runs on counts with all that come after it. */
        {INIT(BESIDE("1") "," GPUS("3")) "," MAIN(GPUS("2")), "{'nvidia.com/gpu':4}"},
        {INIT(GPUS("3") "," BESIDE("1")) "," MAIN(GPUS("2")), "{'nvidia.com/gpu':3}"},
        {INIT(BESIDE("1")) "," MAIN(GPUS("2")), "{'nvidia.com/gpu':3}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[1024];
        json_t *pod, *kept;

        snprintf(text, sizeof(text), SPEC("%s"), rows[i].spec);
        pod = read_json(text);
        kept = podneed_reduce(pod);
        assert_json(podneed_requests(kept), rows[i].requests);
        json_decref(kept);
        json_decref(pod);
    }
}

static void only_what_waits_is_kept(void **state)
{
    static const char *const rows[] = {
        SPEC(MAIN("{}")),
        SPEC(MAIN(ASKS("'cpu':'1'"))),
        SPEC(MAIN(GPUS("0"))),
        SPEC("'nodeName':'gpu-1'," MAIN(GPUS("1"))),
        "{" META ",'spec':{" MAIN(GPUS("1")) "}," STATUS("SchedulingGated") "}",
        "{" META ",'spec':{" MAIN(GPUS("1")) "},'status':{}}",
        "{'metadata':{'deletionTimestamp':'x'},'spec':{" MAIN(GPUS("1")) "}," WAITS "}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *pod = read_json(rows[i]), *kept = podneed_reduce(pod);

        assert_json(kept, "{}");
        json_decref(kept);
        json_decref(pod);
    }
}

static void where_it_may_run_is_kept(void **state)
{
    json_t *pod = read_json(
        SPEC("'nodeSelector':{'a':'b'},'tolerations':[{'key':'t'}],'affinity':{'podAffinity':{},"
             "'nodeAffinity':{'x':1}},'serviceAccount':'z'," MAIN(GPUS("1"))));
    json_t *kept = podneed_reduce(pod);

    assert_json(kept, "{'metadata':{'namespace':'ml','name':'a','uid':'u1'},'spec':{"
                      "'nodeSelector':{'a':'b'},'tolerations':[{'key':'t'}],'affinity':{"
                      "'nodeAffinity':{'x':1}}},'requests':{'nvidia.com/gpu':1},'since':100}");
    assert_string_equal(podneed_uid(kept), "u1");
    assert_int_equal(podneed_since(kept), 100);
    json_decref(kept);
    json_decref(pod);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_requested_is_counted),
        cmocka_unit_test(only_what_waits_is_kept),
        cmocka_unit_test(where_it_may_run_is_kept),
    };

    return cmocka_run_group_tests_name("controller/podneed", tests, NULL, NULL);
}
