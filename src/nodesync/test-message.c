// SPDX-License-Identifier: Apache-2.0
#include "nodesync/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void read_line(const char *line, struct sync_message *message)
{
    struct error err = ERROR_INIT;

    if (sync_message_read(line, strlen(line), message, &err) < 0)
        fail_msg("%s: %s", line, error_text(&err));
}

/* What one end writes the other reads, and writes again byte for byte. */
static void crosses_unchanged(void **state)
{
    static const char *const lines[] = {
        "{\"node\":\"gpu-1\",\"kubeconfig\":\"\",\"namespace\":\"gpus\",\"pod\":\"agent-x\","
        "\"lease\":\"c\","
        "\"watchedLabels\":[\"nvidia.com/device-plugin.config\"],\"watchedAnnotations\":[],"
        "\"kind\":\"setup\"}",
        "{\"keepsLabels\":false,\"labelsBy\":\"auto\",\"labels\":[{\"key\":\"nvidia.com/"
        "gpu.count\",\"value\":\"4\"},"
        "{\"key\":\"nvidia.com/gpu.sharing-strategy\",\"value\":\"\"}],"
        "\"extraLabels\":[{\"key\":\"team\",\"value\":\"a\"}],"
        "\"taints\":[{\"key\":\"nvidia.com/gpu\",\"value\":\"\",\"effect\":\"NoSchedule\"}],"
        "\"promise\":[{\"name\":\"nvidia.com/"
        "gpu\",\"count\":0}],\"handlesClients\":true,\"pausesClients\":true,\"hasCondition\":true,"
        "\"ready\":false,"
        "\"reason\":\"ConfigurationRefused\","
        "\"message\":\"line 1\\nline "
        "2\",\"migWaits\":\"{}\",\"advertises\":\"a=1\",\"migNames\":\"b=1\",\"kind\":\"state\"}",
        "{\"keepsLabels\":true,\"labelsBy\":\"none\",\"labels\":[],\"extraLabels\":[],\"taints\":[]"
        ",\"promise\":[],"
        "\"handlesClients\":false,\"pausesClients\":false,\"hasCondition\":false,\"ready\":true,"
        "\"reason\":\"\",\"message\":\"\",\"migWaits\":\"\",\"advertises\":\"\",\"migNames\":\"\","
        "\"kind\":"
        "\"state\"}",
        "{\"warning\":true,\"reason\":\"DeviceUnhealthy\",\"message\":\"Xid 79 \xc3\xa4\","
        "\"pods\":[{\"namespace\":\"default\",\"name\":\"p\"}],\"ofPods\":false,\"kind\":"
        "\"event\"}",
        "{\"heard\":true,\"gone\":false,\"labels\":[{\"key\":\"a\",\"value\":\"\"}],"
        "\"annotations\":[{\"key\":\"b\",\"value\":\"c\"}],\"resources\":[{\"name\":"
        "\"nvidia.com/gpu\",\"capacity\":16,"
        "\"allocatable\":-1}],\"labelsHeldByOthers\":[\"a/b (nfd-master)\"],\"kind\":\"news\"}",
        "{\"heard\":false,\"gone\":true,\"labels\":[],\"annotations\":[],\"resources\":[],"
        "\"labelsHeldByOthers\":[],\"kind\":"
        "\"news\"}",
        "{\"kind\":\"bye\"}",
        "{\"kind\":\"uninstall\"}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        cleanup_sync_message struct sync_message message;
        cleanup_text struct text again = TEXT_INIT;

        read_line(lines[i], &message);
        assert_int_equal(sync_message_write(&message, &again), 0);
        assert_memory_equal(again.data, lines[i], strlen(lines[i]));
        assert_string_equal(again.data + strlen(lines[i]), "");
    }
}

/* A neighbouring version knows more, or less. */
static void bears_other_versions(void **state)
{
    cleanup_sync_message struct sync_message setup, state_, news;

    read_line("{\"kind\":\"setup\",\"node\":\"n\",\"colour\":{\"deep\":[1]}}", &setup);
    assert_string_equal(setup.setup.node, "n");
    assert_string_equal(setup.setup.kubeconfig, "");
    read_line("{\"kind\":\"state\"}", &state_);
    assert_int_equal(state_.state.labels_by, SYNC_LABELS_AUTO);
    assert_int_equal(state_.state.n_labels, 0);
    assert_false(state_.state.has_condition);
    assert_string_equal(state_.state.reason, "");
    read_line("{\"kind\":\"news\"}", &news);
    assert_int_equal(news.news.n_labels, 0);
}

static void refuses_nonsense(void **state)
{
    static const struct {
        const char *line, *reason;
    } rows[] = {
        {"", "column"},
        {"[]", "kind should be"},
        {"\"state\"", "column"},
        {"{\"kind\":\"news\"", "column"},
        {"{\"kind\":\"news\"}{}", "column"},
        {"{\"kind\":\"news\",\"kind\":\"bye\"}", "column"},
        {"{\"kind\":\"gossip\"}", "kind should be"},
        {"{\"kind\":7}", "kind should be"},
        {"{\"kind\":\"setup\"}", "node is missing"},
        {"{\"kind\":\"setup\",\"node\":\"\"}", "node is missing"},
        {"{\"kind\":\"setup\",\"node\":[]}", "node should be a text"},
        {"{\"kind\":\"setup\",\"node\":\"a\\u0000b\"}", "column"},
        {"{\"kind\":\"state\",\"labelsBy\":\"me\"}", "labelsBy should be auto, node or none"},
        {"{\"kind\":\"state\",\"labelsBy\":1}", "labelsBy should be auto, node or none"},
        {"{\"kind\":\"state\",\"labels\":{}}", "labels should be a list"},
        {"{\"kind\":\"state\",\"labels\":[1]}", "labels should contain objects"},
        {"{\"kind\":\"state\",\"labels\":[{\"key\":\"a\"},{\"value\":\"b\"}]}", "key is missing"},
        {"{\"kind\":\"state\",\"taints\":[{\"key\":\"a\"}]}", "effect is missing"},
        {"{\"kind\":\"state\",\"ready\":1}", "ready should be true or false"},
        {"{\"kind\":\"event\",\"reason\":\"R\",\"pods\":[{\"name\":\"p\"}]}",
         "namespace is missing"},
        {"{\"kind\":\"news\",\"resources\":[{\"name\":\"r\",\"capacity\":1.5}]}",
         "capacity should be a whole number"},
        {"{\"kind\":\"news\",\"labelsHeldByOthers\":[\"a\",null]}",
         "labelsHeldByOthers should be a text"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct sync_message message;
        struct error err = ERROR_INIT;

        assert_int_equal(sync_message_read(rows[i].line, strlen(rows[i].line), &message, &err),
                         -EBADMSG);
        if (!strstr(error_text(&err), rows[i].reason))
            fail_msg("%s: says \"%s\"", rows[i].line, error_text(&err));
    }
}

static void bounds_a_line(void **state)
{
    cleanup_free char *line = malloc(SYNC_MESSAGE_MAX + 2);
    cleanup_text struct text out = TEXT_INIT;
    struct sync_message message = {.kind = SYNC_EVENT};
    struct error err = ERROR_INIT;

    assert_non_null(line);
    memset(line, ' ', SYNC_MESSAGE_MAX + 1);
    line[SYNC_MESSAGE_MAX + 1] = '\0';
    assert_int_equal(sync_message_read(line, SYNC_MESSAGE_MAX + 1, &message, &err), -EBADMSG);
    message.event.reason = line;
    assert_int_equal(sync_message_write(&message, &out), -EMSGSIZE);
    assert_int_equal(out.length, 0);
}

/* A product name from a driver, or a sentence about a file, may hold any byte. */
static void writes_any_bytes(void **state)
{
    char odd[] = "caf\xe9 \x01\"\n";
    cleanup_sync_message struct sync_message back;
    struct sync_message message = {.kind = SYNC_EVENT, .event = {.reason = odd}};
    cleanup_text struct text out = TEXT_INIT;

    assert_int_equal(sync_message_write(&message, &out), 0);
    assert_null(strchr(out.data, '\n'));
    read_line(out.data, &back);
    assert_string_equal(back.event.reason, "caf? \x01\"\n");
    assert_string_equal(back.event.message, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crosses_unchanged), cmocka_unit_test(bears_other_versions),
        cmocka_unit_test(refuses_nonsense),  cmocka_unit_test(bounds_a_line),
        cmocka_unit_test(writes_any_bytes),
    };

    return cmocka_run_group_tests_name("nodesync/message", tests, NULL, NULL);
}
