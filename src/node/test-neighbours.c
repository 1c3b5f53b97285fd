// SPDX-License-Identifier: Apache-2.0
#include "node/neighbours.h"

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

static holders_done_fn *asked;
static void *asked_userdata;
static unsigned n_questions;

int holders_ask(struct holders *holders, const char *const *ids, size_t n_ids,
                holders_done_fn *on_done, void *userdata)
{
    (void)holders;
    assert_null(ids);
    assert_int_equal(n_ids, 0);
    assert_null(asked);
    asked = on_done;
    asked_userdata = userdata;
    n_questions++;
    return 0;
}

static void answer(const struct holders_pod *pods, size_t n_pods)
{
    holders_done_fn *on_done = asked;

    assert_non_null(on_done);
    asked = NULL;
    on_done(pods, n_pods, asked_userdata);
}

/* --- the world --- */

struct world {
    uv_loop_t loop;
    struct neighbours *neighbours;
    struct text said; /* the reasons, in order */
    char sentence[1024];
};

static void on_news(const struct neighbour_news *news, void *userdata)
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
    assert_int_equal(neighbours_new(&world->loop, NULL, "gpu", "gpuslice-own", on_news, world,
                                    &world->neighbours, NULL),
                     0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    neighbours_free(world->neighbours);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    text_deinit(&world->said);
    free(world);
    return 0;
}

#define GPU "nvidia.com/gpu"

static void a_rival_is_said_once_with_its_pod(void **state)
{
    static const struct holders_pod pods[] = {{"default", "web"},
                                              {"kube-system", "nvdp-nvidia-device-plugin-x"}};
    struct world *world = *state;

    neighbours_rival(world->neighbours, GPU, "nvidia-gpu.sock");
    neighbours_rival(world->neighbours, GPU, "nvidia-gpu.sock");
    assert_non_null(strstr(neighbours_sentence(world->neighbours, GPU), "uninstall it and"));
    answer(pods, 2);
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin ");
    assert_string_equal(world->sentence,
                        "NVIDIA's device plugin serves nvidia.com/gpu (nvidia-gpu.sock); uninstall "
                        "it (pod kube-system/nvdp-nvidia-device-plugin-x) and gpuslice takes over "
                        "at once, running pods keep their slices");
    assert_string_equal(neighbours_sentence(world->neighbours, GPU), world->sentence);
    neighbours_rival(world->neighbours, GPU, NULL);
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin ForeignDevicePluginGone ");
    assert_null(neighbours_sentence(world->neighbours, GPU));
    assert_int_equal(n_questions, 1);
}

/* Gone before the kubelet told whose pod it is. */
static void a_short_visit_is_not_said(void **state)
{
    struct world *world = *state;

    neighbours_rival(world->neighbours, GPU, "nvidia-gpu.sock");
    neighbours_rival(world->neighbours, GPU, NULL);
    answer(NULL, 0);
    assert_string_equal(text_string(&world->said), "");
}

static void a_flapping_rival_falls_silent(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 20; i++) {
        neighbours_rival(world->neighbours, GPU, "nvidia-gpu.sock");
        answer(NULL, 0);
        assert_non_null(neighbours_sentence(world->neighbours, GPU));
        neighbours_rival(world->neighbours, GPU, NULL);
    }
    assert_string_equal(text_string(&world->said), "!ForeignDevicePlugin ForeignDevicePluginGone "
                                                   "!ForeignDevicePlugin ForeignDevicePluginGone ");
}

static void another_agent_is_no_plugin_of_nvidia(void **state)
{
    static const struct holders_pod pods[] = {{"gpu", "gpuslice-own"}, {"other", "gpuslice-x"}};
    struct world *world = *state;

    neighbours_rival(world->neighbours, GPU, "gpuslice-gpu.sock");
    answer(pods, 2);
    assert_string_equal(world->sentence,
                        "another agent serves nvidia.com/gpu on this node (pod other/gpuslice-x); "
                        "this one takes over when that one ends");
}

static void components_are_said_when_they_are_new(void **state)
{
    static const struct holders_pod pods[] = {{"gpu-operator", "nvidia-mig-manager-4zd8q"},
                                              {"gpu-operator", "gpu-feature-discovery-w8s5x"},
                                              {"gpu", "gpuslice-own"}};
    struct world *world = *state;

    neighbours_look(world->neighbours);
    answer(pods, 3);
    assert_string_equal(text_string(&world->said), "FeatureDiscoveryFound MigManagerFound ");
    neighbours_look(world->neighbours); /* too soon */
    assert_null(asked);
    neighbours_rival(world->neighbours, GPU, "nvidia-gpu.sock");
    answer(pods, 3);
    assert_string_equal(text_string(&world->said),
                        "FeatureDiscoveryFound MigManagerFound !ForeignDevicePlugin ");
    assert_null(strstr(world->sentence, "pod "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rival_is_said_once_with_its_pod, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_short_visit_is_not_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flapping_rival_falls_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_agent_is_no_plugin_of_nvidia, set_up, tear_down),
        cmocka_unit_test_setup_teardown(components_are_said_when_they_are_new, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("neighbours", tests, NULL, NULL);
}
