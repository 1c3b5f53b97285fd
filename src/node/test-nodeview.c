// SPDX-License-Identifier: Apache-2.0
#include "node/nodeview.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static char gpu[] = "nvidia.com/gpu", half[] = "nvidia.com/gpu-half";

static void assert_shown(const struct nodeview *view, const char *resource, int64_t capacity,
                         int64_t allocatable)
{
    int64_t shown_capacity, shown_allocatable;

    assert_true(nodeview_find(view, resource, &shown_capacity, &shown_allocatable));
    assert_int_equal(shown_capacity, capacity);
    assert_int_equal(shown_allocatable, allocatable);
}

static void the_last_news_count(void **state)
{
    struct cluster_resource resources[] = {{gpu, 16, 12}, {half, 2, 2}};
    struct cluster_news news = {.resources = resources, .n_resources = 2};
    struct nodeview view = {.known = false};
    int64_t capacity, allocatable;

    (void)state;
    assert_false(nodeview_find(&view, gpu, &capacity, &allocatable));
    assert_int_equal(nodeview_take(&view, &news), 0);
    assert_shown(&view, gpu, 16, 12);
    assert_shown(&view, half, 2, 2);
    assert_shown(&view, "nvidia.com/other", 0, 0);
    news.n_resources = 1;
    assert_int_equal(nodeview_take(&view, &news), 0);
    assert_shown(&view, half, 0, 0);
    news.n_resources = 0;
    assert_int_equal(nodeview_take(&view, &news), 0);
    assert_shown(&view, gpu, 0, 0);
    nodeview_deinit(&view);
    assert_false(nodeview_find(&view, gpu, &capacity, &allocatable));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_news_count),
    };

    return cmocka_run_group_tests_name("nodeview", tests, NULL, NULL);
}
