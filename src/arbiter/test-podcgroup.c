// SPDX-License-Identifier: Apache-2.0
#include "arbiter/podcgroup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#define GUARANTEED_A "kubepods-pod06d44939_d15e_491f_84a3_2dbba9fc0440.slice"
#define SESSION      "/user.slice/user-1000.slice/user@1000.service"
#define ID_A         "279f883734e4a78ea025dd9adaff94ffff3a843e4b6b2664eee495475543597b"
#define ID_B         "acb62391578595ec849d87d8556369cee7f935f0425097fd5f870df0e8aabd3c"
#define UID_A        "06d44939-d15e-491f-84a3-2dbba9fc0440"
#define UID_B        "dde1244b-5bb5-4297-b544-85f3bc0d80bf"
#define POD_A        "/kubepods/burstable/pod" UID_A
#define POD_B        "/kubepods/burstable/pod" UID_B
#define SLICE_B                                 \
    "/kubepods.slice/kubepods-burstable.slice/" \
    "kubepods-burstable-poddde1244b_5bb5_4297_b544_85f3bc0d80bf.slice"

static int parse(const char *text, struct podcgroup *ret_pod, struct error *err)
{
    return podcgroup_parse(text, strlen(text), ret_pod, err);
}

/* --- tests/data/cgroup/README.md --- */

enum { FILE_NAME, OUTCOME, POD_UID, CONTAINER, RUNTIME, QOS, NESTED, N_COLUMNS };

/* "| a | b | ..." into its cells; false for what is no row of samples. */
static bool split_row(char *line, char *cells[N_COLUMNS])
{
    if (strncmp(line, "| ", 2) != 0 || str_starts_with(line, "| file "))
        return false;
    line += 2;
    for (size_t i = 0; i < N_COLUMNS; i++) {
        char *end = strstr(line, " | ");

        assert_non_null(end);
        *end = '\0';
        cells[i] = str_equal(line, "-") ? end : line;
        line = end + 3;
    }
    return true;
}

static const char *outcome_name(int r)
{
    if (r < 0)
        return "error";
    return r == 0 ? "pod" : r == PODCGROUP_NO_POD ? "no pod" : "hidden";
}

static void check_sample(char *cells[N_COLUMNS])
{
    struct podcgroup pod = {.pod_uid = ""};
    struct error err = ERROR_INIT;
    cleanup_free char *text = NULL;
    const char *qos;
    char path[512];
    size_t size;
    int r;

    snprintf(path, sizeof(path), "%s/cgroup/%s", TEST_DATA, cells[FILE_NAME]);
    assert_int_equal(file_read(path, PODCGROUP_TEXT_MAX, &text, &size, NULL), 0);
    r = podcgroup_parse(text, size, &pod, &err);
    if (strcmp(outcome_name(r), cells[OUTCOME]) != 0)
        fail_msg("%s: %s, %s", cells[FILE_NAME], outcome_name(r), error_text(&err));
    print_message("# %s\n", cells[FILE_NAME]);
    assert_string_equal(pod.pod_uid, cells[POD_UID]);
    assert_string_equal(pod.container_id, cells[CONTAINER]);
    assert_string_equal(pod.runtime, cells[RUNTIME]);
    qos = podcgroup_qos_name(pod.qos);
    assert_string_equal(qos ? qos : "", cells[QOS]);
    assert_string_equal(pod.is_nested ? "yes" : "no", cells[NESTED]);
}

static void test_recorded_cgroups(void **state)
{
    cleanup_free char *table = NULL;
    char *rest, *line, *cells[N_COLUMNS];
    size_t size, n_samples = 0;

    assert_int_equal(file_read(TEST_DATA "/cgroup/README.md", 1 << 20, &table, &size, NULL), 0);
    for (rest = table; (line = strsep(&rest, "\n"));) {
        if (!split_row(line, cells))
            continue;
        check_sample(cells);
        n_samples++;
    }
    assert_in_range(n_samples, 40, 1000);
}

/* --- what a container makes below itself, and what contradicts --- */

/* Each is of pod A, container A, whatever the names below say. */
static void test_the_outermost_pod_wins(void **state)
{
    static const char *const texts[] = {
        "0::" POD_A "/" ID_A POD_B "/" ID_B,
        "0::" POD_A "/" ID_A SLICE_B "/cri-containerd-" ID_B ".scope",
        "0::" POD_A "/" ID_A "/../.." POD_B "/" ID_B,
        "0::" POD_A "/" ID_A "/pod" UID_B "/" ID_B,
        "0::" POD_A "/" ID_A "/kubepods-pod" UID_B ".slice:cri-containerd:" ID_B,
        "0::" POD_A "/" ID_A "/init.scope",
        "0::" POD_A "/" ID_A "/system.slice/docker-" ID_B ".scope",
        "0::" POD_A "/" ID_A "/0::" POD_B "/" ID_B,
        "0::" POD_A "/" ID_A " (deleted)\n",
        "4:memory:" POD_A "/" ID_A "\n3:rdma:/\n0::/system.slice/containerd.service\n",
        "4:memory:" POD_A "\n2:cpu:" POD_A "/" ID_A,
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct podcgroup pod;
        struct error err = ERROR_INIT;

        if (parse(texts[i], &pod, &err) != 0)
            fail_msg("%s: %s", texts[i], error_text(&err));
        assert_string_equal(pod.pod_uid, UID_A);
        assert_string_equal(pod.container_id, ID_A);
        assert_int_equal(pod.qos, PODCGROUP_QOS_BURSTABLE);
        assert_false(pod.is_nested);
    }
}

static void test_only_the_cgroup_below_the_pod_is_its_container(void **state)
{
    static const char *const texts[] = {
        "0::" POD_A,
        "0::" POD_A "/init/" ID_A,
        "0::" POD_A "/kata_" ID_A,
        "0::" POD_A "/\xff-" ID_A,
        "0::" POD_A "/a-name-much-too-long-for-a-runtime-" ID_A,
        "0::" POD_A "/" ID_A "0",
        "0::" POD_A "/crio-conmon-" ID_A ".scope/crio-" ID_B ".scope",
        "0::/" GUARANTEED_A ":runsc:x/" ID_A,
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct podcgroup pod;

        assert_int_equal(parse(texts[i], &pod, NULL), 0);
        assert_string_equal(pod.pod_uid, UID_A);
        assert_string_equal(pod.container_id, "");
        assert_string_equal(pod.runtime, "");
    }
}

/* Names like the kubelet's where somebody else could have made them. */
static void test_a_tree_below_something_else_is_told(void **state)
{
    static const char *const texts[] = {
        "0::/docker/" ID_A POD_B "/" ID_B,
        "0::" SESSION SLICE_B "/" ID_B,
        "0::" SESSION "/a-kubepods-burstable-poddde1244b_5bb5_4297_b544_85f3bc0d80bf.slice/" ID_B,
        "0::/../../../user.slice" POD_B "/" ID_B,
        "0::/../kata_x" POD_B "/" ID_B,
        "4:memory:" POD_B "/" ID_B "\n2:cpu:/x" POD_B "/" ID_B,
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct podcgroup pod;

        assert_int_equal(parse(texts[i], &pod, NULL), 0);
        assert_string_equal(pod.pod_uid, UID_B);
        assert_true(pod.is_nested);
    }
}

static void test_no_pod(void **state)
{
    static const char *const texts[] = {
        "0::/",
        "0::/../../../..",
        "0::/../../../../system.slice/kubelet.service",
        "0::/pod" UID_A "/" ID_A,
        "0::/burstable/pod" UID_A "/" ID_A,
        "0::/something/pod" UID_A "/" ID_A,
        "0::/kubepods/burstable",
        "0::/kubepods.slice/kubepods-burstable.slice",
        "0::/machine.slice/machine-libpod_pod_" ID_A ".slice/libpod-" ID_A ".scope",
        "0::/../../../podruntime.slice/containerd.service",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct podcgroup pod = {.runtime = "untouched"};

        if (parse(texts[i], &pod, NULL) != PODCGROUP_NO_POD)
            fail_msg("%s", texts[i]);
        assert_string_equal(pod.runtime, "untouched");
    }
}

/* Beside the reader's own container stands one of its own pod, whatever that one made below itself.
 */
static void test_a_neighbour_in_the_readers_pod(void **state)
{
    static const char *const texts[] = {
        "0::/../cri-containerd-" ID_A ".scope",
        "0::/../cri-containerd-" ID_A ".scope" SLICE_B "/cri-containerd-" ID_B ".scope",
        "0::/../../cri-containerd-" ID_A ".scope/container" POD_B "/" ID_B,
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct podcgroup pod;

        assert_int_equal(parse(texts[i], &pod, NULL), PODCGROUP_HIDDEN);
        assert_string_equal(pod.pod_uid, "");
        assert_string_equal(pod.container_id, ID_A);
        assert_string_equal(pod.runtime, "cri-containerd");
    }
}

static void test_each_mistake_has_a_sentence(void **state)
{
    static const struct {
        const char *text, *sentence;
    } table[] = {
        {"4:memory:" POD_A "/" ID_A "\n2:cpu:" POD_B "/" ID_A,
         "its cgroups name two pods, " UID_A " and " UID_B},
        {"4:memory:" POD_A "/" ID_A "\n2:cpu:" POD_A "/" ID_B,
         "its cgroups name two containers, " ID_A " and " ID_B},
        {"4:memory:" POD_A "/" ID_A "\n2:cpu:/../" ID_B,
         "its cgroups name two containers, " ID_A " and " ID_B},
        {"2:cpu:" POD_A "/docker-" ID_A "\n1:pids:" POD_A "/crio-" ID_A,
         "its cgroups name two runtimes, docker and crio"},
        {"0::/kubepods/podmine/" ID_A POD_B "/" ID_B,
         "the pod of the cgroup 'podmine' has no UID of a known form"},
        {"0::/kubepods.slice/kubepods-podDDE1244B_5bb5_4297_b544_85f3bc0d80bf.slice",
         "the pod of the cgroup 'podDDE1244B_5bb5_4297_b544_85f3bc0d80bf' has no UID of a known "
         "form"},
        {"0::/kubepods/pod\x1b[2J\xff",
         "the pod of the cgroup 'pod?[2J?' has no UID of a known form"},
        {"", "the text of its cgroups is empty"},
        {"no such process", "'no such process' is no line of /proc/PID/cgroup"},
        {"0:/", "'0:/' is no line of /proc/PID/cgroup"},
        {"0::", "'0::' is no line of /proc/PID/cgroup"},
        {"0::/\n\n", "'' is no line of /proc/PID/cgroup"},
        {":cpu:/", "':cpu:/' is no line of /proc/PID/cgroup"},
        {"1:cpu:x", "'1:cpu:x' is no line of /proc/PID/cgroup"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct error err = ERROR_INIT;
        struct podcgroup pod = {.runtime = "untouched"};

        assert_int_equal(parse(table[i].text, &pod, &err), -EBADMSG);
        assert_string_equal(error_text(&err), table[i].sentence);
        assert_string_equal(pod.runtime, "untouched");
    }
}

static void test_the_text_is_bounded(void **state)
{
    static const char start[] = {'0', ':', ':', '/'};
    cleanup_free char *text = malloc(PODCGROUP_TEXT_MAX + 1);
    struct podcgroup pod;

    assert_non_null(text);
    memset(text, 'x', PODCGROUP_TEXT_MAX + 1);
    memcpy(text, start, sizeof(start));
    assert_int_equal(podcgroup_parse(text, PODCGROUP_TEXT_MAX, &pod, NULL), PODCGROUP_NO_POD);
    assert_int_equal(podcgroup_parse(text, PODCGROUP_TEXT_MAX + 1, &pod, NULL), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_cgroups),
        cmocka_unit_test(test_the_outermost_pod_wins),
        cmocka_unit_test(test_only_the_cgroup_below_the_pod_is_its_container),
        cmocka_unit_test(test_a_tree_below_something_else_is_told),
        cmocka_unit_test(test_no_pod),
        cmocka_unit_test(test_a_neighbour_in_the_readers_pod),
        cmocka_unit_test(test_each_mistake_has_a_sentence),
        cmocka_unit_test(test_the_text_is_bounded),
    };

    return cmocka_run_group_tests_name("podcgroup", tests, NULL, NULL);
}
