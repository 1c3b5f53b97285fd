// SPDX-License-Identifier: Apache-2.0
#include "node/migwaits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct gpu gpu = {.index = 3, .uuid = "GPU-3"};

static void a_pod_is_told_once(void **state)
{
    static struct gpuholders holders = {
        .n = 5,
        .names = {"pod default/train", "a pod that begins or has just ended", "pod default/train",
                  "pod ml/other", "process dcgm (pid 7)"},
        .uids = {"u1", "", "u1", ""},
        .is_process = {[4] = true},
    };
    const uint32_t all[] = {0, 1, 2, 3, 4}, none[] = {1, 4};
    cleanup_free char *part = migwaits_of_gpu(&gpu, &holders, all, 5);

    (void)state;
    assert_string_equal(part,
                        "{\"index\":3,\"uuid\":\"GPU-3\",\"pods\":[{\"namespace\":\"default\","
                        "\"name\":\"train\",\"uid\":\"u1\"},{\"namespace\":\"ml\",\"name\":"
                        "\"other\",\"uid\":\"\"}]}");
    assert_null(migwaits_of_gpu(&gpu, &holders, none, 2));
    assert_null(migwaits_of_gpu(&gpu, &holders, all, 0));
}

/* The longest names that Kubernetes has. */
static void no_name_is_cut(void **state)
{
    static struct gpuholders holders = {.n = 1};
    char namespace_[64], name[254], expected[400];
    const uint32_t first = 0;
    cleanup_free char *part = NULL;

    (void)state;
    memset(namespace_, 'n', sizeof(namespace_) - 1);
    memset(name, 'p', sizeof(name) - 1);
    namespace_[63] = name[253] = '\0';
    snprintf(holders.names[0], sizeof(holders.names[0]), "pod %s/%s", namespace_, name);
    snprintf(expected, sizeof(expected), "\"namespace\":\"%s\",\"name\":\"%s\",", namespace_, name);
    part = migwaits_of_gpu(&gpu, &holders, &first, 1);
    assert_non_null(strstr(part, expected));
}

static void parts_make_a_whole(void **state)
{
    char one[] = "{\"index\":0}", two[] = "{\"index\":1}";
    char *const parts[] = {one, two};
    cleanup_text struct text text = TEXT_INIT;

    (void)state;
    migwaits_add("x", parts, 0, &text);
    assert_string_equal(text_string(&text), "");
    migwaits_add("a \"b\"", parts, 2, &text);
    assert_string_equal(text_string(&text),
                        "{\"layout\":\"a \\\"b\\\"\",\"gpus\":[{\"index\":0},{\"index\":1}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_is_told_once),
        cmocka_unit_test(no_name_is_cut),
        cmocka_unit_test(parts_make_a_whole),
    };

    return cmocka_run_group_tests_name("node/migwaits", tests, NULL, NULL);
}
