// SPDX-License-Identifier: Apache-2.0
#include "nodesync/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static json_t *version(const char *uid, const char *text)
{
    return json_pack("{s:{s:s,s:s}}", "metadata", "uid", uid, "resourceVersion", text);
}

static void knows_the_later_one(void **state)
{
    static const struct {
        const char *uid, *text;
        bool is_later;
    } rows[] = {{"a", "99", false},
                {"a", "100", false},
                {"a", "101", true},
                {"a", "1000", true},
                {"b", "1", true} /* deleted and recreated */};
    json_t *than = version("a", "100");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *candidate = version(rows[i].uid, rows[i].text);

        assert_int_equal(node_is_later(candidate, than), rows[i].is_later);
        json_decref(candidate);
    }
    assert_true(node_is_later(than, NULL));
    json_decref(than);
}

static void tells_what_the_agent_asks(void **state)
{
    json_t *node = json_loads("{\"metadata\":{\"labels\":{\"config\":\"small\",\"x\":\"y\"},"
                              "\"annotations\":{\"layout\":\"\"}},\"status\":{"
                              "\"capacity\":{\"cpu\":\"4\",\"nvidia.com/"
                              "gpu\":\"16\",\"hugepages-2Mi\":\"0\",\"a/b\":\"1.5\"},"
                              "\"allocatable\":{\"nvidia.com/gpu\":\"12\"},\"images\":[1,2]}}",
                              0, NULL);
    json_t *kept = node_keep(node);
    char *labels[] = {(char[]){"absent"}, (char[]){"config"}},
         *annotations[] = {(char[]){"layout"}};
    const struct sync_setup setup = {.watched_labels = labels,
                                     .n_watched_labels = 2,
                                     .watched_annotations = annotations,
                                     .n_watched_annotations = 1};
    const struct sync_setup incurious = {.node = NULL};
    struct sync_news news;

    assert_int_equal(node_news(kept, &setup, &news), 0);
    assert_int_equal(news.n_labels, 1);
    assert_string_equal(sync_news_label(&news, "config"), "small");
    assert_null(sync_news_label(&news, "absent"));
    assert_int_equal(news.n_annotations, 1);
    assert_string_equal(news.annotations[0].key, "layout");
    assert_string_equal(news.annotations[0].value, "");
    assert_int_equal(news.n_resources, 1);
    assert_string_equal(news.resources[0].name, "nvidia.com/gpu");
    assert_int_equal(news.resources[0].capacity, 16);
    assert_int_equal(news.resources[0].allocatable, 12);
    sync_news_deinit(&news);
    assert_null(json_object_get(json_object_get(kept, "status"), "images"));
    assert_non_null(json_object_get(json_object_get(node, "status"), "images"));
    assert_int_equal(node_news(kept, &incurious, &news), 0);
    assert_int_equal(news.n_labels + news.n_annotations, 0);
    sync_news_deinit(&news);
    assert_int_equal(node_news(NULL, &setup, &news), 0);
    assert_int_equal(news.n_resources, 0);
    sync_news_deinit(&news);
    json_decref(kept);
    json_decref(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_later_one),
        cmocka_unit_test(tells_what_the_agent_asks),
    };

    return cmocka_run_group_tests_name("nodesync/node", tests, NULL, NULL);
}
