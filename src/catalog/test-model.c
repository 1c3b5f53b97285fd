// SPDX-License-Identifier: Apache-2.0
#include "catalog/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "base/yamlmap.h"

#define WHOLE                                                                                \
    "name: NVIDIA X1\nbrand: nvidia\narchitecture: ada\ncompute: 8.9\nmultiprocessors: 10\n" \
    "cores: 1280\nmemory: 8Gi\nreserved: 1Gi\nbar1: 1Gi\nmemoryBus: 64\npciDevice: 0x1\n"    \
    "pciSubsystem: 0x2\npciClass: 0x0302\npcie: {generation: 4, width: 16}\n"                \
    "power: {idle: 1, limit: 3, min: 2, max: 4}\n"                                           \
    "clocks: {graphics: 1, memory: 1, video: 1, idle: 1}\n"                                  \
    "temperature: {idle: 1, max: 2, slowdown: 3, shutdown: 4}\n"

static bool read_text(const char *text, bool is_like, struct gpu_model *model, char line[200])
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct yaml *document;
    bool done;

    assert_int_equal(yamlmap_parse_document(text, strlen(text), &problems, &document), 0);
    done = gpu_model_read(&problems, document, "", is_like, model);
    yaml_free(document, 1);
    line[0] = '\0';
    if (problems.n_items)
        problem_format(&problems, &problems.items[0], line, 200);
    return done;
}

static void reads_a_model(void **state)
{
    struct gpu_model model = {.name = ""};
    char line[200];

    assert_true(read_text(WHOLE, false, &model, line));
    assert_string_equal(model.name, "NVIDIA X1");
    assert_int_equal(model.architecture, GPU_ARCHITECTURE_ADA);
    assert_int_equal(model.multiprocessors, 10);
    assert_int_equal(model.memory_bytes, 8ull << 30);
    assert_int_equal(model.power_limit_mw, 3000);
    assert_int_equal(model.mig.n_slots, 0);
}

static void refuses_what_cannot_be(void **state)
{
    static const struct {
        const char *text, *line;
    } table[] = {
        {WHOLE "migSlices: 7\n",
         "migSlices: write 'mig' instead, the profiles, or 'like', a model that has them"},
        {WHOLE "mig: {memorySlices: 17}\n", "mig.memorySlices: expected a number from 0 to 16"},
        {WHOLE "mig: {memorySlices: 8, profiles: [{name: 1g.9gb, index: 0, id: 19, count: 7, "
               "placements: \"{0}:1\", memory: 9Gi, multiprocessors: 14}]}\n",
         "the profile 1g.9gb of 'mig' has more than 'memory'"},
        {WHOLE "nvlink: {count: 1, version: 9.9, mbps: 1}\n",
         "nvlink.version: expected one of 1.0, 2.0, 2.2, 3.0, 3.1, 4.0, 5.0"},
        {WHOLE "migg: {}\n", "migg: unknown key; did you mean 'mig'?"},
        {"name: NVIDIA X1\n", "'brand' is missing"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct gpu_model model = {.name = ""};
        char line[200];

        assert_false(read_text(table[i].text, false, &model, line));
        assert_non_null(strstr(line, table[i].line));
    }
}

static void is_like_another_but_for(void **state)
{
    static const struct {
        const char *text, *line; /* NULL = fine */
    } table[] = {
        {"memory: 16Gi", NULL},
        {"memory: 512Mi", "'reserved' must be less than 'memory'"},
        {"power: {max: 2}", "power must be ordered min <= limit <= max"},
        {"cores: 1281", "'cores' must be a multiple of 'multiprocessors'"},
        {"memoryy: 16Gi", "unknown key; did you mean 'memory'?"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct gpu_model model = {.name = ""};
        char line[200];

        assert_true(read_text(WHOLE, false, &model, line));
        assert_int_equal(read_text(table[i].text, true, &model, line), !table[i].line);
        assert_string_equal(model.name, "NVIDIA X1");
        if (table[i].line)
            assert_non_null(strstr(line, table[i].line));
        else
            assert_int_equal(model.memory_bytes, 16ull << 30);
    }
}

static void has_names(void **state)
{
    static const struct {
        const char *name, *short_name;
        const char *right[6], *wrong[4];
    } table[] = {
        {"NVIDIA A100-SXM4-40GB",
         "A100-SXM4-40GB",
         {"NVIDIA A100-SXM4-40GB", "NVIDIA-A100-SXM4-40GB", "nvidia-a100-sxm4-40gb",
          "a100-sxm4-40gb"},
         {"A100", "a100-sxm4-80gb", "nvidia", ""}},
        {"Tesla T4", "T4", {"Tesla T4", "tesla-t4", "Tesla-T4", "t4", "NVIDIA T4"}, {"T40", "4"}},
        {"NVIDIA H100 80GB HBM3",
         "H100-80GB-HBM3",
         {"NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3", "h100 80gb-hbm3"},
         {"H100-80GB", "nvidiah100-80gb-hbm3"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct gpu_model model = {.name = ""};
        char short_name[GPU_MODEL_NAME];

        assert_int_equal(str_copy(model.name, sizeof(model.name), table[i].name), 0);
        gpu_model_short_name(&model, short_name);
        assert_string_equal(short_name, table[i].short_name);
        for (const char *const *name = table[i].right; *name; name++)
            assert_true(gpu_model_is_named(&model, *name));
        for (const char *const *name = table[i].wrong; *name; name++)
            assert_false(gpu_model_is_named(&model, *name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_model),
        cmocka_unit_test(refuses_what_cannot_be),
        cmocka_unit_test(is_like_another_but_for),
        cmocka_unit_test(has_names),
    };

    return cmocka_run_group_tests_name("catalog/model", tests, NULL, NULL);
}
