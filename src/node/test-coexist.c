// SPDX-License-Identifier: Apache-2.0
#include "node/coexist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/text.h"

/* --- the holders, played: the answer comes when the test says so --- */

static podresources_done_fn *asked;
static void *asked_userdata;
static unsigned n_questions;

int podresources_ask(struct podresources *podresources, const char *const *ids, size_t n_ids,
                     podresources_done_fn *on_done, void *userdata)
{
    (void)podresources;
    assert_null(ids);
    assert_int_equal(n_ids, 0);
    assert_null(asked);
    asked = on_done;
    asked_userdata = userdata;
    n_questions++;
    return 0;
}

static void answer(const struct podresources_pod *pods, size_t n_pods)
{
    podresources_done_fn *on_done = asked;

    assert_non_null(on_done);
    asked = NULL;
    on_done(pods, n_pods, asked_userdata);
}

/* --- the world --- */

struct world {
    uv_loop_t loop;
    struct coexist *coexist;
    struct text said; /* the reasons, in order */
    char sentence[1024];
};

static void on_news(const struct coexist_news *news, void *userdata)
{
    struct world *world = userdata;

    text_addf(&world->said, "%s%s ", news->warning ? "!" : "", news->reason);
    snprintf(world->sentence, sizeof(world->sentence), "%s", news->sentence);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    log_setup(LOG_ERROR, LOG_LOGFMT);
    asked = NULL;
    n_questions = 0;
    assert_int_equal(uv_loop_init(&world->loop), 0);
    assert_int_equal(coexist_new(&(struct coexist_setup){.loop = &world->loop,
                                                         .own_namespace = "gpu",
                                                         .own_pod = "gpuslice-own",
                                                         .on_news = on_news,
                                                         .userdata = world},
                                 &world->coexist, NULL),
                     0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    coexist_free(world->coexist);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    text_deinit(&world->said);
    free(world);
    return 0;
}

#define GPU "nvidia.com/gpu"

static void a_foreign_plugin_is_reported_once_with_its_pod(void **state)
{
    static const struct podresources_pod pods[] = {{"default", "web"},
                                                   {"kube-system", "nvdp-nvidia-device-plugin-x"}};
    struct world *world = *state;

    coexist_foreign_plugin(world->coexist, GPU, "nvidia-gpu.sock");
    coexist_foreign_plugin(world->coexist, GPU, "nvidia-gpu.sock");
    assert_non_null(strstr(coexist_message(world->coexist, GPU), "uninstall it and"));
    answer(pods, 2);
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin ");
    assert_string_equal(world->sentence,
                        "NVIDIA's device plugin serves nvidia.com/gpu (nvidia-gpu.sock); uninstall "
                        "it (pod kube-system/nvdp-nvidia-device-plugin-x) and gpuslice takes over "
                        "immediately, running pods keep their slices");
    assert_string_equal(coexist_message(world->coexist, GPU), world->sentence);
    coexist_foreign_plugin(world->coexist, GPU, NULL);
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin ForeignDevicePluginGone ");
    assert_null(coexist_message(world->coexist, GPU));
    assert_int_equal(n_questions, 1);
}

/* A kubelet under load does not answer at first, then lists the pod late. */
static void a_pod_that_is_listed_late_is_named(void **state)
{
    static const struct podresources_pod pods[] = {{"default", "web"},
                                                   {"kube-system", "nvdp-nvidia-device-plugin-x"}};
    struct world *world = *state;

    coexist_foreign_plugin(world->coexist, GPU, "nvidia-gpu.sock");
    answer(NULL, 0);
    assert_null(strstr(world->sentence, "pod "));
    uv_run(&world->loop, UV_RUN_ONCE);
    answer(pods, 1);
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin ");
    uv_run(&world->loop, UV_RUN_ONCE);
    answer(pods, 2);
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin !ForeignDevicePlugin ");
    assert_non_null(strstr(world->sentence, "(pod kube-system/nvdp-nvidia-device-plugin-x)"));
    coexist_sync(world->coexist); /* nothing is missing any more */
    assert_null(asked);
    assert_int_equal(uv_run(&world->loop, UV_RUN_NOWAIT), 0);
}

/* Gone before the kubelet told whose pod it is. */
static void a_short_visit_is_not_reported(void **state)
{
    struct world *world = *state;

    coexist_foreign_plugin(world->coexist, GPU, "nvidia-gpu.sock");
    coexist_foreign_plugin(world->coexist, GPU, NULL);
    answer(NULL, 0);
    assert_string_equal(text_string(&world->said), "");
}

static void a_flapping_foreign_plugin_is_rate_limited(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 20; i++) {
        coexist_foreign_plugin(world->coexist, GPU, "nvidia-gpu.sock");
        answer(NULL, 0);
        assert_non_null(coexist_message(world->coexist, GPU));
        coexist_foreign_plugin(world->coexist, GPU, NULL);
    }
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin ForeignDevicePluginGone "
                                                   "!ForeignDevicePlugin ForeignDevicePluginGone ");
}

static void another_agent_is_no_plugin_of_nvidia(void **state)
{
    static const struct podresources_pod pods[] = {{"gpu", "gpuslice-own"},
                                                   {"other", "gpuslice-x"}};
    struct world *world = *state;

    coexist_foreign_plugin(world->coexist, GPU, "gpuslice-gpu.sock");
    answer(pods, 2);
    assert_string_equal(world->sentence,
                        "another agent serves nvidia.com/gpu on this node (pod other/gpuslice-x); "
                        "this one takes over when that one exits");
}

static void new_components_are_reported(void **state)
{
    static const struct podresources_pod pods[] = {{"gpu-operator", "nvidia-mig-manager-4zd8q"},
                                                   {"gpu-operator", "gpu-feature-discovery-w8s5x"},
                                                   {"gpu", "gpuslice-own"}};
    struct world *world = *state;

    coexist_sync(world->coexist);
    answer(pods, 3);
    assert_string_equal(text_string(&world->said), "FeatureDiscoveryFound MigManagerFound ");
    coexist_sync(world->coexist); /* too soon */
    assert_null(asked);
    coexist_foreign_plugin(world->coexist, GPU, "nvidia-gpu.sock");
    answer(pods, 3);
    assert_string_equal(text_string(&world->said),
                        "FeatureDiscoveryFound MigManagerFound !ForeignDevicePlugin ");
    assert_null(strstr(world->sentence, "pod "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_foreign_plugin_is_reported_once_with_its_pod, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_pod_that_is_listed_late_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_short_visit_is_not_reported, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flapping_foreign_plugin_is_rate_limited, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_agent_is_no_plugin_of_nvidia, set_up, tear_down),
        cmocka_unit_test_setup_teardown(new_components_are_reported, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("node/coexist", tests, NULL, NULL);
}
