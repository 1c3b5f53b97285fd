// SPDX-License-Identifier: Apache-2.0

/* The arbiter's document as a table for people. */

#include "cli/topview.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

static char *show(const char *document, size_t max_width)
{
    json_t *status = json_loads(document, 0, NULL);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(status);
    topview_print(status, max_width, out);
    fclose(out);
    json_decref(status);
    return text;
}

static void assert_shown(const char *document, const char *expected)
{
    cleanup_free char *text = show(document, 0);

    assert_string_equal(text, expected);
}

static void test_a_node_with_limits(void **state)
{
    assert_shown(
        "{\"has_limits\": true, \"mode\": \"enforced\", \"configured\": \"enforced\", \"library\": "
        "\"/lib/1\", \"age_seconds\": 0.4, \"devices\": [{\"uuid\": \"GPU-a\", \"index\": \"0\", "
        "\"memory_bytes\": 17179869184, \"reserved_bytes\": 419430400, \"not_ours_bytes\": "
        "31457280, \"idle_bytes\": 12533628928, \"is_complete\": true, \"containers\": ["
        "{\"namespace\": \"ml\", \"pod\": \"train\", \"container\": \"main\", \"limit_bytes\": "
        "4294967296, \"charged_bytes\": 4194304000, \"overhead_bytes\": 471859200, "
        "\"peak_bytes\": 4294967296, \"used_bytes\": 4194304000, \"denials\": 3, \"verdict\": "
        "\"within\", \"is_unenforced\": false}, {\"pod_uid\": \"u-1\", \"verdict\": "
        "\"asked-nothing\", \"used_bytes\": 1048576, \"is_unenforced\": true, \"is_starved\": "
        "true}]}]}",
        "Memory limits: enforced\n"
        "GPU  POD         CONTAINER     LIMIT   CHARGED  OVERHEAD      PEAK       USED  DENIED  "
        "STATE\n"
        "0    ml/train    main       4096 MiB  4000 MiB   450 MiB  4096 MiB   4000 MiB       3  -\n"
        "0    pod u-1     -                 -         -         -         -      1 MiB       -  "
        "asked-nothing, unenforced, starved\n"
        "0    [not ours]  -                 -         -         -         -     30 MiB       -  -\n"
        "0    [driver]    -                 -         -         -         -    400 MiB       -  -\n"
        "0    [idle]      -                 -         -         -         -  11953 MiB       -  -\n"
        "0    [all]       -                 -         -         -         -  16384 MiB       -  "
        "-\n");
}

/* What nobody read is not known to be idle. */
static void test_a_device_that_was_not_read_whole(void **state)
{
    cleanup_free char *text = show("{\"devices\": [{\"index\": \"0\", \"is_complete\": false, "
                                   "\"memory_bytes\": 1048576, \"containers\": []}]}",
                                   0);

    assert_non_null(strstr(text, "  1 MiB       -  incomplete\n"));
    assert_non_null(strstr(text, "[idle]"));
}

/* Containers that take no part are listed where processes of theirs do not. */
static void test_a_node_with_turns(void **state)
{
    cleanup_free char *text = show(
        "{\"has_limits\": true, \"mode\": \"none\", \"configured\": \"none\", \"compute\": "
        "\"elastic\", \"compute_configured\": \"strict\", \"library\": \"/lib/1\", \"devices\": "
        "[{\"index\": \"0\", \"turns\": {\"plan\": \"bounded\", \"why\": \"the best by "
        "measured progress\", \"active\": 3, \"heavy\": 2}, \"containers\": [{\"namespace\": "
        "\"ml\", \"pod\": \"train\", \"container\": \"main\", \"share_ppm\": 125000, "
        "\"unenforced_compute\": 0, \"turns\": {\"weight\": \"heavy\", \"entitled_ns\": "
        "2500000000, \"received_ns\": 4000000000, \"borrowed_ns\": 1500000000, \"lent_ns\": 0, "
        "\"wait_p50_us\": 64, \"wait_p99_us\": 8192, \"is_capped\": true, \"is_suspect\": "
        "true, \"group\": 3}}, {\"namespace\": \"ml\", \"pod\": \"old\", \"container\": \"main\", "
        "\"unenforced_compute\": 2, \"turns\": null}, {\"namespace\": \"ml\", \"pod\": "
        "\"idle\", \"unenforced_compute\": 0, \"turns\": null}]}]}",
        0);

    assert_non_null(strstr(text, "Compute: elastic (configured: strict)\n"));
    assert_string_equal(strstr(text, "GPU 0:"), "GPU 0: heavy ones take turns and queue little: "
                                                "the best by measured progress; 3 with work, "
                                                "2 of them heavy\n"
                                                "GPU  POD       CONTAINER   SHARE  ENTITLED  "
                                                "RECEIVED  BORROWED   LENT  WAIT P50  WAIT P99  "
                                                "WEIGHT  STATE\n"
                                                "0    ml/train  main       12.5 %     2.5 s     "
                                                "4.0 s     1.5 s  0.0 s  < 0.1 ms  < 8.2 ms  "
                                                "heavy   capped, suspect, group 3\n"
                                                "0    ml/old    main            -         -        "
                                                " -         -      -         -         -  "
                                                "-       unenforced compute\n");
}

static void test_what_is_not_as_configured_is_said(void **state)
{
    assert_shown("{\"has_limits\": true, \"mode\": \"none\", \"configured\": \"enforced\", "
                 "\"is_off\": true, \"is_overcommitted\": true, \"unverified\": \"volta with "
                 "driver 550\", \"trouble\": \"the disk is full\", "
                 "\"no_driver\": \"no library\", \"devices\": []}",
                 "Memory limits: none (configured: enforced), switched off on this node (gpuslice "
                 "enforcement on)\n"
                 "Limits may add up to more than a device has: an allocation within its limit may "
                 "fail.\n"
                 "There is no library for new containers: none of them can be limited.\n"
                 "Never verified on volta with driver 550: gpuslice verify does it.\n"
                 "Trouble: the disk is full\n"
                 "There is no driver to ask: no library\n");
}

static void test_an_audit_alone(void **state)
{
    assert_shown("{\"has_limits\": false, \"age_seconds\": 31, \"devices\": []}",
                 "This node is audited; no memory limit is enforced.\n"
                 "Nothing is known of this node's GPUs yet.\n"
                 "These figures are 31 s old.\n");
}

/* Of another release, or of a stranger: nothing is taken for granted. */
static void test_members_of_any_type(void **state)
{
    static const char *const documents[] = {
        "{}",
        "[]",
        "{\"devices\": 7}",
        "{\"devices\": [1, null, {\"containers\": {}}, {\"containers\": [4, {\"pod\": 9}]}]}",
        "{\"has_limits\": true, \"mode\": [], \"age_seconds\": \"old\"}",
        "{\"compute\": 3, \"devices\": [{\"turns\": [], \"containers\": [{\"turns\": {\"weight\": "
        "4, \"lent_ns\": {}}, \"share_ppm\": \"all\", \"unenforced_compute\": \"x\"}]}, "
        "{\"turns\": {\"plan\": \"later\"}, \"containers\": [{\"unenforced_compute\": 1}]}]}",
    };

    for (size_t i = 0; i < sizeof(documents) / sizeof(*documents); i++) {
        cleanup_free char *text = show(documents[i], 0);

        assert_true(strlen(text) > 0);
    }
}

static void test_a_narrow_screen(void **state)
{
    cleanup_free char *text = show(
        "{\"devices\": [{\"index\": \"0\", \"containers\": [{\"namespace\": \"a-namespace-with-"
        "a-long-name\", \"pod\": \"a-pod-with-a-long-name-5d8f7c9b6-x2x7q\", \"container\": "
        "\"main\"}]}]}",
        100);

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_node_with_limits),
        cmocka_unit_test(test_a_device_that_was_not_read_whole),
        cmocka_unit_test(test_a_node_with_turns),
        cmocka_unit_test(test_what_is_not_as_configured_is_said),
        cmocka_unit_test(test_an_audit_alone),
        cmocka_unit_test(test_members_of_any_type),
        cmocka_unit_test(test_a_narrow_screen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
