// SPDX-License-Identifier: Apache-2.0
#include "catalog/catalog.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"

static struct catalog catalog = CATALOG_INIT;

static int load_ours(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r = catalog_load(getenv("GPUSLICE_TEST_CATALOG"), &problems, &catalog);

    for (size_t i = 0; i < problems.n_items; i++)
        print_error("%s\n", problems.items[i].text);
    return r;
}

static int forget_ours(void **state)
{
    catalog_deinit(&catalog);
    return 0;
}

/*
 * What AWS publishes, taken from other places than share/catalog: kubernetes/autoscaler's table
 * made from AWS's price list (g4dn, g5, p3, p3dn, p4d, p4de), and Amazon's page of accelerated
 * computing instances as people print it (the rest). GiB of memory; the GPU's name as
 * DescribeInstanceTypes gives it, and its memory in GiB as NVIDIA markets it.
 */
static const struct {
    const char *type;
    unsigned n_gpus, vcpus, mem_gib;
    const char *gpu;
    unsigned gpu_gb;
} aws[] = {
    {"g4dn.xlarge", 1, 4, 16, "T4", 16},
    {"g4dn.2xlarge", 1, 8, 32, "T4", 16},
    {"g4dn.4xlarge", 1, 16, 64, "T4", 16},
    {"g4dn.8xlarge", 1, 32, 128, "T4", 16},
    {"g4dn.12xlarge", 4, 48, 192, "T4", 16},
    {"g4dn.16xlarge", 1, 64, 256, "T4", 16},
    {"g4dn.metal", 8, 96, 384, "T4", 16},
    {"g5.xlarge", 1, 4, 16, "A10G", 24},
    {"g5.2xlarge", 1, 8, 32, "A10G", 24},
    {"g5.4xlarge", 1, 16, 64, "A10G", 24},
    {"g5.8xlarge", 1, 32, 128, "A10G", 24},
    {"g5.12xlarge", 4, 48, 192, "A10G", 24},
    {"g5.16xlarge", 1, 64, 256, "A10G", 24},
    {"g5.24xlarge", 4, 96, 384, "A10G", 24},
    {"g5.48xlarge", 8, 192, 768, "A10G", 24},
    {"g6.xlarge", 1, 4, 16, "L4", 24},
    {"g6.2xlarge", 1, 8, 32, "L4", 24},
    {"g6.4xlarge", 1, 16, 64, "L4", 24},
    {"g6.8xlarge", 1, 32, 128, "L4", 24},
    {"g6.12xlarge", 4, 48, 192, "L4", 24},
    {"g6.16xlarge", 1, 64, 256, "L4", 24},
    {"g6.24xlarge", 4, 96, 384, "L4", 24},
    {"g6.48xlarge", 8, 192, 768, "L4", 24},
    {"gr6.4xlarge", 1, 16, 128, "L4", 24},
    {"gr6.8xlarge", 1, 32, 256, "L4", 24},
    {"g6e.xlarge", 1, 4, 32, "L40S", 48},
    {"g6e.2xlarge", 1, 8, 64, "L40S", 48},
    {"g6e.4xlarge", 1, 16, 128, "L40S", 48},
    {"g6e.8xlarge", 1, 32, 256, "L40S", 48},
    {"g6e.12xlarge", 4, 48, 384, "L40S", 48},
    {"g6e.16xlarge", 1, 64, 512, "L40S", 48},
    {"g6e.24xlarge", 4, 96, 768, "L40S", 48},
    {"g6e.48xlarge", 8, 192, 1536, "L40S", 48},
    {"p3.2xlarge", 1, 8, 61, "V100", 16},
    {"p3.8xlarge", 4, 32, 244, "V100", 16},
    {"p3.16xlarge", 8, 64, 488, "V100", 16},
    {"p3dn.24xlarge", 8, 96, 768, "V100", 32},
    {"p4d.24xlarge", 8, 96, 1152, "A100", 40},
    {"p4de.24xlarge", 8, 96, 1152, "A100", 80},
    {"p5.4xlarge", 1, 16, 256, "H100", 80},
    {"p5.48xlarge", 8, 192, 2048, "H100", 80},
    {"p5e.48xlarge", 8, 192, 2048, "H200", 141},
    {"p5en.48xlarge", 8, 192, 2048, "H200", 141},
    {"g5g.xlarge", 1, 4, 8, "T4G", 16},
    {"g5g.2xlarge", 1, 8, 16, "T4G", 16},
    {"g5g.4xlarge", 1, 16, 32, "T4G", 16},
    {"g5g.8xlarge", 1, 32, 64, "T4G", 16},
    {"g5g.16xlarge", 2, 64, 128, "T4G", 16},
    {"g5g.metal", 2, 64, 128, "T4G", 16},
    {"g7.2xlarge", 1, 8, 32, "4500", 32},
    {"g7.4xlarge", 1, 16, 64, "4500", 32},
    {"g7.8xlarge", 1, 32, 128, "4500", 32},
    {"g7.12xlarge", 2, 48, 192, "4500", 32},
    {"g7.24xlarge", 4, 96, 384, "4500", 32},
    {"g7.48xlarge", 8, 192, 768, "4500", 32},
    {"g7e.2xlarge", 1, 8, 64, "6000", 96},
    {"g7e.4xlarge", 1, 16, 128, "6000", 96},
    {"g7e.8xlarge", 1, 32, 256, "6000", 96},
    {"g7e.12xlarge", 2, 48, 512, "6000", 96},
    {"g7e.24xlarge", 4, 96, 1024, "6000", 96},
    {"g7e.48xlarge", 8, 192, 2048, "6000", 96},
    {"p6-b200.48xlarge", 8, 192, 2048, "B200", 180},
    {"p6-b300.48xlarge", 8, 192, 4096, "B300", 288},
    {"p6e-gb200.36xlarge", 4, 144, 960, "GB200", 186},
};

/* "V100" stands in "Tesla V100-SXM2-16GB" as a word of its own. */
static bool has_word(const char *text, const char *word)
{
    const char *at = strstr(text, word);

    return at && at > text && strchr(" -", at[-1]) && strchr(" -", at[strlen(word)]);
}

static void has_every_type_as_aws_publishes_it(void **state)
{
    assert_int_equal(catalog.n_types, ARRAY_SIZE(aws));
    for (size_t i = 0; i < ARRAY_SIZE(aws); i++) {
        const struct instance_type *type = catalog_find_type(&catalog, aws[i].type);
        const struct gpu_model *model;
        double gib;

        if (!type)
            fail_msg("no %s", aws[i].type);
        model = &catalog.models[type->model];
        gib = (double)model->memory_bytes / (1 << 30);
        if (type->n_gpus != aws[i].n_gpus || type->vcpus != aws[i].vcpus ||
            type->mem_bytes != (uint64_t)aws[i].mem_gib << 30 || !has_word(model->name, aws[i].gpu))
            fail_msg("%s is not as AWS has it", aws[i].type);
        assert_int_equal(type->arch == CPU_ARM64, strncmp(aws[i].type, "g5g.", 4) == 0 ||
                                                      strncmp(aws[i].type, "p6e-", 4) == 0);
        /* Less what ECC takes of GDDR6, and marketing's gigabytes. */
        if (gib > aws[i].gpu_gb || gib < aws[i].gpu_gb * 0.9)
            fail_msg("%s: %f GiB of GPU memory", aws[i].type, gib);
    }
}

/* What NVIDIA's data sheets say of each architecture. */
static void has_models_that_fit_their_architecture(void **state)
{
    static const struct {
        unsigned major, minor, cores_each;
        bool mig;
    } of[] = {
        [GPU_ARCHITECTURE_VOLTA] = {7, 0, 64, false},
        [GPU_ARCHITECTURE_TURING] = {7, 5, 64, false},
        [GPU_ARCHITECTURE_AMPERE] = {8, 0, 64, true},
        [GPU_ARCHITECTURE_ADA] = {8, 9, 128, false},
        [GPU_ARCHITECTURE_HOPPER] = {9, 0, 128, true},
        [GPU_ARCHITECTURE_BLACKWELL] = {10, 0, 128, true},
    };

    assert_int_equal(catalog.n_models, 21);
    for (size_t i = 0; i < catalog.n_models; i++) {
        const struct gpu_model *m = &catalog.models[i];
        bool is_ga102 = has_word(m->name, "A10G"); /* Ampere's smaller chip */

        assert_true(m->architecture < ARRAY_SIZE(of));
        assert_int_equal(m->compute_major,
                         has_word(m->name, "RTX") ? 12 : of[m->architecture].major);
        assert_int_equal(m->compute_minor, is_ga102                    ? 6
                                           : has_word(m->name, "B300") ? 3
                                                                       : of[m->architecture].minor);
        assert_int_equal(m->cores,
                         m->multiprocessors * (is_ga102 ? 128 : of[m->architecture].cores_each));
        assert_int_equal(m->mig.n_slots > 0, of[m->architecture].mig && !is_ga102);
        assert_int_equal(m->pci_device & 0xffff, 0x10de);
        assert_true(m->reserved_bytes * 50 < m->memory_bytes);
    }
}

static void finds_types_and_counts_of_models(void **state)
{
    static const struct {
        const char *word, *name;
        unsigned n_gpus;
        const char *model;
        bool is_type;
    } table[] = {
        {"g5.12xlarge", "g5.12xlarge", 4, "NVIDIA A10G", true},
        {"G5.12XLarge", "g5.12xlarge", 4, "NVIDIA A10G", true},
        {"p5.4xlarge", "p5.4xlarge", 1, "NVIDIA H100 80GB HBM3", true},
        {"4xA10G", "4xA10G", 4, "NVIDIA A10G", false},
        {"4Xa10g", "4xA10G", 4, "NVIDIA A10G", false},
        {"016xTesla-T4", "16xT4", 16, "Tesla T4", false},
        {"2xNVIDIA H100 80GB HBM3", "2xH100-80GB-HBM3", 2, "NVIDIA H100 80GB HBM3", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct catalog_machine machine;

        assert_int_equal(catalog_find_machine(&catalog, table[i].word, &machine, NULL), 0);
        assert_string_equal(machine.name, table[i].name);
        assert_int_equal(machine.n_gpus, table[i].n_gpus);
        assert_string_equal(machine.model->name, table[i].model);
        assert_int_equal(machine.type != NULL, table[i].is_type);
    }
}

static void says_what_is_near(void **state)
{
    static const struct {
        const char *word;
        int r;
        const char *sentence;
    } table[] = {
        {"0xA10G", -EINVAL, "a machine has 1 to 16 GPUs, such as 4xA10G"},
        {"17xA10G", -EINVAL, "a machine has 1 to 16 GPUs, such as 4xA10G"},
        {"99999999999999999999xT4", -EINVAL, "a machine has 1 to 16 GPUs, such as 4xT4"},
        {"8xH100", -ENOENT,
         "there is no model 'H100'; did you mean one of H100-80GB-HBM3, H100-96GB-HBM3, H100-NVL?"},
        {"8xa100", -ENOENT,
         "there is no model 'a100'; did you mean one of A100-SXM4-40GB, A100-SXM4-80GB?"},
        {"8xK80", -ENOENT,
         "there is no model 'K80'; the models are A10G, A30, A100-SXM4-40GB, A100-SXM4-80GB, B200, "
         "B300-SXM6-AC, GB200, GH200-144G-HBM3e, GH200-480GB, H100-80GB-HBM3, H100-96GB-HBM3, "
         "H100-NVL, H200, L4, L40S, RTX-PRO-4500-Blackwell-Server-Edition, "
         "RTX-PRO-6000-Blackwell-Server-Edition, T4, T4G, V100-SXM2-16GB, V100-SXM2-32GB"},
    };
    static const char *const unknown[] = {"", "x", "4x", "xA10G", "-1xA10G", "g5", "g5.3xlarge"};
    struct catalog_machine machine;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct error err = ERROR_INIT;

        assert_int_equal(catalog_find_machine(&catalog, table[i].word, &machine, &err), table[i].r);
        assert_string_equal(error_text(&err), table[i].sentence);
    }
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
        assert_int_equal(catalog_find_machine(&catalog, unknown[i], &machine, NULL),
                         CATALOG_UNKNOWN);
}

static void says_which_machines_are_near(void **state)
{
    static const struct {
        const char *word, *sentence;
    } table[] = {
        {"P3.9xlarge", "the family p3 has p3.2xlarge, p3.8xlarge, p3.16xlarge"},
        {"nothing",
         "known are the instance types of g4dn, g5, g5g, g6, g6e, g7, g7e, gr6, p3, p3dn, p4d, "
         "p4de, p5, p5e, p5en, p6-b200, p6-b300, p6e-gb200, such as p3.8xlarge, and a count of a "
         "model, such as 4xA10G"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_text struct text text = TEXT_INIT;

        catalog_add_near_machines(&catalog, table[i].word, &text);
        assert_string_equal(text_string(&text), table[i].sentence);
    }
}

#define FAMILY "family: g9\nmodel: a10g\nnvlink: none\n"

static void refuses_a_family_with_place_and_sentence(void **state)
{
    static const struct {
        const char *text, *line;
    } table[] = {
        {"family: g9\nmodel: A1O0\nnvlink: none\ntypes: {}\n",
         "2:8: model: no such model; the models are A10G"},
        {"family: g9\nmodel: a10g\ntypes: {}\n", "1:1: 'nvlink' is missing"},
        {FAMILY, "1:1: 'types' is missing"},
        {FAMILY "types: []\n", "4:8: types: expected a map"},
        {FAMILY "types: {g5.xlarge: {gpus: 1, vcpus: 4, memory: 1Gi}}\n",
         "4:9: types.g5.xlarge: expected a name such as g9.xlarge"},
        {FAMILY "types: {g9.: {gpus: 1, vcpus: 4, memory: 1Gi}}\n",
         "4:9: types.g9.: expected a name such as g9.xlarge"},
        {FAMILY "types: {g9.xlarge: {gpus: 17, vcpus: 4, memory: 1Gi}}\n",
         "4:27: types.g9.xlarge.gpus: expected a number from 1 to 16"},
        {FAMILY "types: {g9.xlarge: {gpus: 2, vcpus: 4, memory: 1Gi, nvlink: peers}}\n",
         "4:9: types.g9.xlarge: NVLinks take two GPUs of a model that has them; write 'nvlink: "
         "none'"},
        {FAMILY "types: {g9.xlarge: {gpus: 2, vcpus: 4, memory: 1Gi, price: 1}}\n",
         "4:53: types.g9.xlarge.price: unknown key"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        cleanup_catalog struct catalog own = CATALOG_INIT;
        char line[300];

        own.models = calloc(1, sizeof(*own.models));
        assert_non_null(own.models);
        own.models[own.n_models++] = *catalog_find_model(&catalog, "A10G");
        assert_int_equal(problems_set_source(&problems, "m"), 0);
        assert_int_equal(catalog_add_family(&own, table[i].text, strlen(table[i].text), &problems),
                         -EBADMSG);
        problem_format(&problems, &problems.items[0], line, sizeof(line));
        assert_non_null(strstr(line + strlen("m:"), table[i].line));
        assert_int_equal(own.n_types, 0);
    }
}

static void refuses_what_is_there_twice(void **state)
{
    static const char family[] = FAMILY "types: {g9.xlarge: {gpus: 1, vcpus: 4, memory: 1Gi}}\n";
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_catalog struct catalog own = CATALOG_INIT;

    assert_int_equal(catalog_load(getenv("GPUSLICE_TEST_CATALOG"), &problems, &own), 0);
    assert_int_equal(catalog_add_family(&own, family, strlen(family), &problems), 0);
    assert_int_equal(catalog_add_family(&own, family, strlen(family), &problems), -EBADMSG);
    assert_string_equal(problems.items[0].text, "another file has this type, too");
}

/* A problem of one file is reported as that file's, and nothing is loaded. */
static void names_the_file_of_a_problem(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_catalog struct catalog own = CATALOG_INIT;
    char folder[] = "/tmp/catalog-XXXXXX", path[64];

    assert_non_null(mkdtemp(folder));
    assert_int_equal(catalog_load(folder, &problems, &own), -EBADMSG);
    assert_non_null(strstr(problems.items[0].text, "/models cannot be read"));
    problems_deinit(&problems);
    problems = (struct problems)PROBLEMS_INIT;

    snprintf(path, sizeof(path), "%s/models", folder);
    assert_int_equal(file_make_directory(path, NULL), 0);
    snprintf(path, sizeof(path), "%s/models/x.yaml", folder);
    assert_int_equal(file_write_atomic(path, "title: x\n", 9, 0644, NULL), 0);
    assert_int_equal(catalog_load(folder, &problems, &own), -EBADMSG);
    assert_non_null(strstr(problems.items[0].text, "/models/x.yaml:1:1: "));
    assert_int_equal(own.n_models, 0);

    assert_int_equal(remove(path), 0);
    snprintf(path, sizeof(path), "%s/models", folder);
    assert_int_equal(remove(path), 0);
    assert_int_equal(remove(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_every_type_as_aws_publishes_it),
        cmocka_unit_test(has_models_that_fit_their_architecture),
        cmocka_unit_test(finds_types_and_counts_of_models),
        cmocka_unit_test(says_what_is_near),
        cmocka_unit_test(says_which_machines_are_near),
        cmocka_unit_test(refuses_a_family_with_place_and_sentence),
        cmocka_unit_test(refuses_what_is_there_twice),
        cmocka_unit_test(names_the_file_of_a_problem),
    };

    return cmocka_run_group_tests_name("catalog/catalog", tests, load_ours, forget_ours);
}
