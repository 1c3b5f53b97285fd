// SPDX-License-Identifier: Apache-2.0
#include "node/rebooter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"

/* A rebooter, and all that it asks. The test answers, and lets timers run by run_timers. */
struct bed {
    uv_loop_t loop;
    char folder[64];
    struct gpu gpus[2];
    struct inventory machine;
    struct rebooter *rebooter;
    podresources_list_fn *on_listed;
    hostreboot_done_fn *on_answer;
    void *listed_data, *answer_data;
    const char *granted; /* NULL = nothing is */
    unsigned n_asked, n_changed;
    struct error err; /* of the last question */
};

static bool is_granted(const char *uuid, void *owner)
{
    const struct bed *bed = owner;

    return bed->granted && str_equal(bed->granted, uuid);
}

static int list_pods(podresources_list_fn *on_listed, void *userdata, void *owner)
{
    struct bed *bed = owner;

    assert_null(bed->on_listed);
    bed->on_listed = on_listed;
    bed->listed_data = userdata;
    return 0;
}

static int ask(hostreboot_done_fn *done, void *userdata, void *owner)
{
    struct bed *bed = owner;

    assert_null(bed->on_answer);
    bed->on_answer = done;
    bed->answer_data = userdata;
    bed->n_asked++;
    return 0;
}

static void cancel(void *owner)
{
    struct bed *bed = owner;

    bed->on_answer = NULL;
}

static void on_changed(void *owner)
{
    struct bed *bed = owner;

    bed->n_changed++;
}

static const struct rebooter_backend backend = {
    .is_granted = is_granted,
    .list_pods = list_pods,
    .ask = ask,
    .cancel = cancel,
    .on_changed = on_changed,
};

static void boot(struct bed *bed, const char *id)
{
    rebooter_free(bed->rebooter);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    bed->on_listed = NULL;
    bed->on_answer = NULL;
    assert_int_equal(
        rebooter_new(&bed->loop, &bed->machine, bed->folder, id, &backend, bed, &bed->rebooter), 0);
}

static int setup(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    assert_non_null(bed);
    strcpy(bed->folder, "/tmp/gpuslice-rebooter-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    for (unsigned i = 0; i < 2; i++)
        snprintf(bed->gpus[i].uuid, sizeof(bed->gpus[i].uuid), "GPU-%u", i);
    bed->machine = (struct inventory){.gpus = bed->gpus, .n_gpus = 2};
    uv_loop_init(&bed->loop);
    boot(bed, "first");
    *state = bed;
    return 0;
}

static void memory(const struct bed *bed, char path[128])
{
    snprintf(path, 128, "%s/mig-reboot", bed->folder);
}

static int teardown(void **state)
{
    struct bed *bed = *state;
    char path[128];

    rebooter_free(bed->rebooter);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bed->loop), 0);
    memory(bed, path);
    unlink(path);
    rmdir(bed->folder);
    free(bed);
    return 0;
}

static const struct rebooter_need both_on[] = {{"GPU-0", true}, {"GPU-1", true}};

static int need(struct bed *bed, size_t n)
{
    return rebooter_need(bed->rebooter, both_on, n, &bed->err);
}

/* The kubelet answers, with a pod that has the device, or none. */
static void answer_kubelet(struct bed *bed, const char *device)
{
    const struct podresources_device devices[] = {
        {.id = device, .pod = {.namespace_ = "default", .name = "train"}}};
    const struct podresources_list list = {
        .is_complete = true, .devices = devices, .n_devices = device ? 1 : 0};
    podresources_list_fn *on_listed = bed->on_listed;

    assert_non_null(on_listed);
    bed->on_listed = NULL;
    on_listed(&list, bed->listed_data);
}

/* Until the host was asked once more. */
static void go_on_until_asked(struct bed *bed)
{
    const unsigned n_asked = bed->n_asked;

    assert_int_equal(need(bed, 2), REBOOTER_LOOKS);
    answer_kubelet(bed, NULL);
    assert_int_equal(need(bed, 2), REBOOTER_QUIET);
    answer_kubelet(bed, NULL);
    assert_int_equal(need(bed, 2), 0);
    while (bed->n_asked == n_asked) /* the timer of the grace */
        uv_run(&bed->loop, UV_RUN_ONCE);
    assert_int_equal(need(bed, 2), 0);
}

static void answer_host(struct bed *bed, int outcome, const char *sentence)
{
    assert_non_null(bed->on_answer);
    bed->on_answer(outcome, sentence, bed->answer_data);
}

static void the_host_is_asked_once_nobody_has_a_gpu(void **state)
{
    struct bed *bed = *state;
    unsigned n_changed;

    go_on_until_asked(bed);
    n_changed = bed->n_changed;
    answer_host(bed, 0, "");
    assert_int_equal(bed->n_changed, n_changed + 1);
    assert_int_equal(need(bed, 2), 0);
    assert_int_equal(bed->n_asked, 1);
}

static void pods_are_waited_for_by_name(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(need(bed, 1), REBOOTER_LOOKS);
    answer_kubelet(bed, "GPU-1::2"); /* also of a GPU that needs no reboot */
    assert_int_equal(need(bed, 1), REBOOTER_WAITS);
    assert_string_equal(error_text(&bed->err), "pod default/train");
    while (!bed->on_listed)
        uv_run(&bed->loop, UV_RUN_ONCE);
    assert_int_equal(need(bed, 1), REBOOTER_WAITS); /* until it is known better */
    bed->granted = "GPU-0";
    answer_kubelet(bed, NULL);
    assert_int_equal(need(bed, 1), REBOOTER_WAITS);
    assert_string_equal(error_text(&bed->err), "a pod that begins or has just ended");
    assert_int_equal(bed->n_asked, 0);
}

/* It began between the first look and the moment when nothing was given out any more. */
static void a_pod_that_begins_late_is_waited_for(void **state)
{
    struct bed *bed = *state;

    need(bed, 1);
    answer_kubelet(bed, NULL);
    assert_int_equal(need(bed, 1), REBOOTER_QUIET);
    answer_kubelet(bed, "GPU-0");
    assert_int_equal(need(bed, 1), REBOOTER_WAITS);
    assert_int_equal(bed->n_asked, 0);
}

static void there_is_no_second_reboot_for_the_same_change(void **state)
{
    struct bed *bed = *state;

    go_on_until_asked(bed);
    boot(bed, "second");
    assert_int_equal(need(bed, 2), -EALREADY);
    assert_int_equal(need(bed, 1), -EALREADY); /* one of them is as it should be now */
    assert_non_null(strstr(error_text(&bed->err), "did not help"));
    boot(bed, "third");
    assert_int_equal(need(bed, 2), -EALREADY);
    assert_int_equal(bed->n_asked, 1);
}

/* The agent was killed before the host went down, or the host refused. */
static void in_the_same_boot_it_is_asked_again(void **state)
{
    struct bed *bed = *state;

    go_on_until_asked(bed);
    boot(bed, "first");
    go_on_until_asked(bed);
    answer_host(bed, -EIO, "not authorized");
    assert_int_equal(need(bed, 2), -EIO);
    assert_string_equal(error_text(&bed->err), "the host does not reboot: not authorized");
}

static void another_change_is_another_reboot(void **state)
{
    const struct rebooter_need off = {"GPU-0", false};
    struct bed *bed = *state;

    go_on_until_asked(bed);
    boot(bed, "second");
    assert_int_equal(rebooter_need(bed->rebooter, &off, 1, NULL), REBOOTER_LOOKS);

    rebooter_settle(bed->rebooter, "GPU-0"); /* the modes came, and are lost long after */
    rebooter_settle(bed->rebooter, "GPU-1");
    boot(bed, "third");
    assert_int_equal(need(bed, 2), REBOOTER_LOOKS);
}

static void without_a_memory_there_is_no_reboot(void **state)
{
    static const char *const texts[] = {"", "x", "gpuslice-mig-reboot 1 first",
                                        "gpuslice-mig-reboot 1 first\nGPU-0 maybe\n",
                                        "gpuslice-mig-reboot 2 first\nGPU-0 on\n"};
    struct bed *bed = *state;
    char path[128];

    memory(bed, path);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(file_write_atomic(path, texts[i], strlen(texts[i]), 0600, NULL), 0);
        boot(bed, "second");
        assert_int_equal(need(bed, 1), -EBADMSG);
        assert_non_null(strstr(error_text(&bed->err), path));
    }
    unlink(path); /* as the sentence says */
    assert_int_equal(need(bed, 1), REBOOTER_LOOKS);
    boot(bed, "");
    assert_int_equal(need(bed, 1), -ENODATA);

    boot(bed, "first");
    need(bed, 1);
    answer_kubelet(bed, NULL);
    need(bed, 1);
    answer_kubelet(bed, NULL);
    rmdir(bed->folder); /* it cannot be written */
    while (need(bed, 1) == 0)
        uv_run(&bed->loop, UV_RUN_ONCE);
    assert_int_equal(bed->n_asked, 0);
}

static void what_is_no_longer_needed_is_given_up(void **state)
{
    struct bed *bed = *state;

    go_on_until_asked(bed);
    assert_int_equal(need(bed, 0), 0);
    assert_null(bed->on_answer); /* the process was ended */
    need(bed, 1);
    assert_int_equal(need(bed, 0), 0);
    answer_kubelet(bed, NULL); /* too late to matter */
    assert_int_equal(need(bed, 1), REBOOTER_LOOKS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_host_is_asked_once_nobody_has_a_gpu),
        TEST(pods_are_waited_for_by_name),
        TEST(a_pod_that_begins_late_is_waited_for),
        TEST(there_is_no_second_reboot_for_the_same_change),
        TEST(in_the_same_boot_it_is_asked_again),
        TEST(another_change_is_another_reboot),
        TEST(without_a_memory_there_is_no_reboot),
        TEST(what_is_no_longer_needed_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
