// SPDX-License-Identifier: Apache-2.0
#include "controller/nodetally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void nodes_are_counted_by_profile_pool_and_state(void **state)
{
    static const struct {
        const char *profile, *pool;
        enum nodegate_state state;
    } rows[] = {{"p", "one", NODEGATE_OPEN},
                {"p", "two", NODEGATE_OPEN},
                {"q", "one", NODEGATE_OPEN},
                {"p", "one", NODEGATE_OPEN},
                {"p", "one", NODEGATE_SHORT}};
    static const char *const lines[] = {
        "nodes{profile=\"p\",nodepool=\"one\",state=\"waiting\"} 0\n",
        "nodes{profile=\"p\",nodepool=\"one\",state=\"open\"} 2\n",
        "nodes{profile=\"p\",nodepool=\"one\",state=\"short\"} 1\n",
        "nodes{profile=\"p\",nodepool=\"two\",state=\"open\"} 1\n",
        "nodes{profile=\"q\",nodepool=\"one\",state=\"open\"} 1\n",
    };
    struct nodeview *views[ARRAY_SIZE(rows)];
    struct nodetally tally = {.rows = NULL};
    cleanup_text struct text out = TEXT_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node = json_pack("{s:{s:{s:s,s:s}}}", "metadata", "labels", "gpuslice.dev/profile",
                                 rows[i].profile, "karpenter.sh/nodepool", rows[i].pool);

        views[i] = nodeview_new(node);
        json_decref(node);
        nodetally_add(&tally, views[i], rows[i].state);
    }
    nodetally_write(&tally, "nodes", &out);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        if (!strstr(text_string(&out), lines[i]))
            fail_msg("no %s in\n%s", lines[i], text_string(&out));
    assert_int_equal(tally.n_rows, 3);
    nodetally_deinit(&tally);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        nodeview_free(views[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_counted_by_profile_pool_and_state),
    };

    return cmocka_run_group_tests_name("controller/nodetally", tests, NULL, NULL);
}
