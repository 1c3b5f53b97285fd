// SPDX-License-Identifier: Apache-2.0
#include "config/load.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"

struct loaded {
    struct problems problems;
    struct config *config; /* NULL if rejected */
    struct error err;
    int r;
};

static void release(struct loaded *loaded)
{
    config_free(loaded->config);
    problems_deinit(&loaded->problems);
}

static struct loaded load(const char *name, const char *key, enum config_strictness strictness)
{
    struct loaded loaded = {.problems = PROBLEMS_INIT, .err = ERROR_INIT};
    char path[512];

    snprintf(path, sizeof(path), "%s/config/good/%s", TEST_DATA, name);
    loaded.r =
        config_load(&(struct config_request){.source = path, .key = key, .strictness = strictness},
                    &loaded.problems, &loaded.config, &loaded.err);
    return loaded;
}

static struct loaded parse(const char *text)
{
    struct loaded loaded = {.problems = PROBLEMS_INIT, .err = ERROR_INIT};

    loaded.r =
        config_parse(text, strlen(text),
                     &(struct config_request){.source = "x.yaml", .strictness = CONFIG_AGENT},
                     &loaded.problems, &loaded.config, &loaded.err);
    return loaded;
}

/* --- tests/data/config/bad.cases: what is reported for bad and odd files --- */

/*
 * A case is a line "##== name | options", the file, a line "##--", and the problems that `gpuslice
 * check` (option agent: the agent) must report, all of them, in order. Options: key=K; bytes: \xHH
 * stands for a byte; cut: the file has no line feed at its end.
 */
struct file_case {
    char name[128], options[64];
    char *content; /* points into the case file */
    size_t size;
    const char *expected;
};

static char *end_of_line(char *line)
{
    char *end = strchr(line, '\n');

    assert_non_null(end);
    *end = '\0';
    return end + 1;
}

static size_t unescape(char *content, size_t size)
{
    char *to = content;

    for (char *from = content; from < content + size; to++) {
        char digits[3] = "";

        if (strncmp(from, "\\x", 2) != 0) {
            *to = *from++;
            continue;
        }
        memcpy(digits, from + 2, 2);
        *to = (char)strtol(digits, NULL, 16);
        from += 4;
    }
    return (size_t)(to - content);
}

/* Splits off the case at *rest, in place; false at the end. */
static bool next_case(char **rest, struct file_case *ret_case)
{
    char *header = *rest, *content, *marker, *end, *bar;

    if (!*header)
        return false;
    content = end_of_line(header);
    assert_true(str_starts_with(header, "##== "));
    bar = strstr(header, " | ");
    snprintf(ret_case->options, sizeof(ret_case->options), "%s", bar ? bar + 3 : "");
    snprintf(ret_case->name, sizeof(ret_case->name), "%.*s",
             bar ? (int)(bar - header - 5) : (int)strlen(header + 5), header + 5);
    marker = strstr(content, "##--\n");
    assert_non_null(marker);
    ret_case->content = content;
    ret_case->size = (size_t)(marker - content);
    if (strstr(ret_case->options, "cut"))
        ret_case->size--;
    if (strstr(ret_case->options, "bytes"))
        ret_case->size = unescape(content, ret_case->size);
    ret_case->expected = marker + strlen("##--\n");
    end = strstr(ret_case->expected, "\n##== ");
    if (str_starts_with(ret_case->expected, "##== ")) {
        *rest = marker + strlen("##--\n");
        ret_case->expected = "";
    } else if (end) {
        *end = '\0';
        *rest = end + 1;
    } else {
        *rest = marker + strlen("##--\n") + strlen(ret_case->expected);
    }
    return true;
}

static void list_problems(const struct problems *problems, struct text *list)
{
    for (size_t i = 0; i < problems->n_items; i++) {
        const struct problem *p = &problems->items[i];

        text_addf(list, "%s%s %u:%u: %s%s%s", i ? "\n" : "", problem_severity_name(p->severity),
                  p->at.line, p->at.column, p->path, *p->path ? ": " : "", p->text);
    }
}

static void check_case(const struct file_case *c, const struct problems *problems)
{
    cleanup_text struct text reported = TEXT_INIT;
    size_t length = strlen(c->expected);

    list_problems(problems, &reported);
    while (length && c->expected[length - 1] == '\n')
        length--;
    if (strlen(text_string(&reported)) != length ||
        strncmp(text_string(&reported), c->expected, length) != 0)
        fail_msg("%s: reported\n%s\nnot\n%s", c->name, text_string(&reported), c->expected);
}

static void run_case(const struct file_case *c)
{
    const char *key = strstr(c->options, "key=");
    bool agent = strstr(c->options, "agent");
    struct loaded loaded = {.problems = PROBLEMS_INIT, .err = ERROR_INIT};
    size_t n_errors;

    loaded.r =
        config_parse(c->content, c->size,
                     &(struct config_request){.source = "x.yaml",
                                              .key = key ? key + 4 : NULL,
                                              .strictness = agent ? CONFIG_AGENT : CONFIG_CHECK},
                     &loaded.problems, &loaded.config, &loaded.err);
    n_errors = problems_count(&loaded.problems, PROBLEM_ERROR);
    check_case(c, &loaded.problems);
    assert_int_equal(loaded.r, n_errors ? -EBADMSG : 0);
    assert_int_equal(!loaded.config, n_errors > 0);
    release(&loaded);
}

static void run_mig_case(const struct file_case *c)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct migconfig *config = NULL;
    struct error err = ERROR_INIT;
    int r = config_parse_mig(c->content, c->size, &(struct config_request){.source = "x.yaml"},
                             &problems, &config, &err);
    size_t n_errors = problems_count(&problems, PROBLEM_ERROR);

    check_case(c, &problems);
    assert_int_equal(r, n_errors ? -EBADMSG : 0);
    assert_int_equal(!config, n_errors > 0);
    migconfig_free(config);
}

static size_t run_cases(const char *path, void (*run)(const struct file_case *c))
{
    cleanup_free char *cases = NULL;
    struct file_case c;
    size_t size, n_refused = 0;
    char *rest;

    assert_int_equal(file_read(path, 1 << 20, &cases, &size, NULL), 0);
    for (rest = cases; next_case(&rest, &c);) {
        run(&c);
        n_refused += strstr(c.expected, "error ") != NULL;
    }
    return n_refused;
}

static void test_every_fault_is_named_with_its_place(void **state)
{
    assert_true(run_cases(TEST_DATA "/config/bad.cases", run_case) >= 100);
    assert_true(run_cases(TEST_DATA "/config/mig.cases", run_mig_case) >= 25);
}

/* --- valid files --- */

static void test_guide_unchanged(void **state)
{
    struct loaded l = load("guide-time-slicing.yaml", NULL, CONFIG_CHECK);
    const struct sharing_entry *entry;

    assert_int_equal(l.r, 0);
    assert_int_equal(l.problems.n_items, 0);
    assert_int_equal(l.config->policy.n_sharing, 1);
    entry = &l.config->policy.sharing[0];
    assert_int_equal(entry->strategy, SHARING_TIME_SLICING);
    assert_string_equal(entry->name, "nvidia.com/gpu");
    assert_string_equal(entry->rename, "");
    assert_int_equal(entry->replicas, 4);
    assert_int_equal(entry->devices.kind, DEVICES_ALL);
    assert_string_equal(entry->path, "sharing.timeSlicing.resources[0]");
    assert_int_equal(entry->at.line, 14); /* of the manifest, not of the inner text */
    assert_int_equal(entry->at.column, 11);
    release(&l);
}

static void assert_defaults(const struct config *c)
{
    assert_true(c->fail_on_init_error);
    assert_true(c->use_node_feature_api);
    assert_false(c->gdrcopy_enabled || c->gds_enabled || c->mofed_enabled);
    assert_string_equal(c->mps_root, "");
    assert_string_equal(c->driver_root, "/");
    assert_string_equal(c->dev_root, "/");
    assert_int_equal(c->discovery_strategy, DISCOVERY_AUTO);
    assert_false(c->plugin.pass_device_specs);
    assert_int_equal(c->plugin.device_list_strategies, LIST_STRATEGY_ENVVAR);
    assert_int_equal(c->plugin.device_id_strategy, DEVICE_ID_UUID);
    assert_int_equal(c->plugin.allocation_policy, ALLOCATION_DISTRIBUTED);
    assert_string_equal(c->plugin.cdi_annotation_prefix, "cdi.k8s.io/");
    assert_string_equal(c->plugin.nvidia_cdi_hook_path, "/usr/bin/nvidia-ctk");
    assert_string_equal(c->plugin.container_driver_root, "/driver-root");
    assert_false(c->gfd.oneshot);
    assert_int_equal(c->gfd.no_timestamp, TRISTATE_UNSET);
    assert_int_equal(c->gfd.sleep_interval_ns, 60000000000);
    assert_null(c->gfd.output_file);
    assert_string_equal(c->gfd.machine_type_file, "/sys/class/dmi/id/product_name");
    assert_int_equal(c->policy.mig_strategy, MIG_STRATEGY_NONE);
    assert_int_equal(c->policy.mig_strategy_at.line, 0);
    assert_int_equal(c->policy.isolation, ISOLATION_BY_SHARING);
    assert_int_equal(c->policy.memory, MEMORY_ENFORCED);
    assert_int_equal(c->policy.compute, COMPUTE_NONE);
    assert_int_equal(c->policy.n_sharing + c->policy.n_slices, 0);
    assert_int_equal(c->n_imex_channel_ids, 0);
    assert_false(c->imex_required || c->policy.mig_on_demand);
    assert_int_equal(c->policy.mig_names, MIG_NAMES_STRATEGY);
    assert_int_equal(c->policy.mig_split_permille, 500);
}

/* No file is a decision, a file with nothing in it often an accident: the agent takes both, and
 * `check` warns of the second. */
static void test_empty_configuration_is_all_defaults(void **state)
{
    static const struct {
        const char *path;
        size_t n_warnings;
    } table[] = {{NULL, 0},
                 {"", 0},
                 {"/dev/null", 1},
                 {TEST_DATA "/config/good/empty.yaml", 1},
                 {TEST_DATA "/config/good/nulls.yaml", 4}}; /* one for each section */

    for (size_t i = 0; i < 2 * ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        const enum config_strictness strictness = i % 2 ? CONFIG_AGENT : CONFIG_CHECK;
        struct config *config = NULL;

        assert_int_equal(config_load(&(struct config_request){.source = table[i / 2].path,
                                                              .strictness = strictness},
                                     &problems, &config, NULL),
                         0);
        assert_int_equal(problems_count(&problems, PROBLEM_WARNING),
                         strictness == CONFIG_CHECK ? table[i / 2].n_warnings : 0);
        assert_int_equal(problems_count(&problems, PROBLEM_NOTE), 0);
        assert_defaults(config);
        config_free(config);
    }
}

static void test_a_file_that_cannot_be_read(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;
    struct config *config = NULL;

    assert_int_equal(config_load(&(struct config_request){.source = "/nowhere/x.yaml",
                                                          .strictness = CONFIG_AGENT},
                                 &problems, &config, &err),
                     -ENOENT);
    assert_non_null(strstr(error_text(&err), "/nowhere/x.yaml"));
    assert_null(config);
    assert_int_equal(
        config_load(&(struct config_request){.source = "/", .strictness = CONFIG_AGENT}, &problems,
                    &config, &err),
        -EISDIR);
}

static void test_every_option_of_the_file(void **state)
{
    struct loaded l = load("full.yaml", NULL, CONFIG_AGENT);
    const struct config *c = l.config;

    assert_int_equal(l.r, 0);
    assert_false(c->fail_on_init_error);
    assert_false(c->use_node_feature_api);
    assert_true(c->gdrcopy_enabled && c->gds_enabled && c->mofed_enabled);
    assert_string_equal(c->mps_root, "/srv/mps");
    assert_string_equal(c->driver_root, "/run/nvidia/driver");
    assert_string_equal(c->dev_root, "/run/nvidia/dev");
    assert_int_equal(c->discovery_strategy, DISCOVERY_NVML);
    assert_true(c->plugin.pass_device_specs);
    assert_int_equal(c->plugin.device_list_strategies,
                     LIST_STRATEGY_VOLUME_MOUNTS | LIST_STRATEGY_CDI_CRI);
    assert_int_equal(c->plugin.device_id_strategy, DEVICE_ID_INDEX);
    assert_int_equal(c->plugin.allocation_policy, ALLOCATION_PACKED);
    assert_string_equal(c->plugin.cdi_annotation_prefix, "cdi.example.com/");
    assert_string_equal(c->plugin.nvidia_cdi_hook_path, "/opt/nvidia-ctk");
    assert_string_equal(c->plugin.container_driver_root, "/host");
    assert_true(c->gfd.oneshot);
    assert_int_equal(c->gfd.no_timestamp, TRISTATE_TRUE);
    assert_int_equal(c->gfd.sleep_interval_ns, 90000000000);
    assert_string_equal(c->gfd.output_file, "");
    assert_string_equal(c->gfd.machine_type_file, "/etc/machine-type");
    assert_int_equal(c->n_imex_channel_ids, 1);
    assert_int_equal(c->imex_channel_ids[0], 0);
    assert_true(c->imex_required);
    assert_int_equal(c->n_labels, 2);
    assert_string_equal(c->labels[0].key, "nvidia.com/gpu");
    assert_string_equal(c->labels[0].value, "a100");
    assert_string_equal(c->labels[1].value, "");
    assert_int_equal(c->n_taints, 2);
    assert_string_equal(c->taints[0].key, "nvidia.com/gpu-shared");
    assert_string_equal(c->taints[0].value, "true");
    assert_string_equal(c->taints[0].effect, "NoSchedule");
    assert_string_equal(c->taints[1].value, "");
    release(&l);
}

static void test_policy_of_the_full_file(void **state)
{
    struct loaded l = load("full.yaml", NULL, CONFIG_AGENT);
    const struct policy *p = &l.config->policy;
    const struct device_ref *refs;

    assert_int_equal(l.r, 0);
    assert_int_equal(p->mig_strategy, MIG_STRATEGY_SINGLE);
    assert_int_equal(p->mig_strategy_at.line, 4);
    assert_int_equal(p->mig_strategy_at.column, 16);
    assert_int_equal(p->isolation, ISOLATION_COOPERATIVE);
    assert_int_equal(p->memory, MEMORY_OBSERVE);
    assert_int_equal(p->compute, COMPUTE_STRICT);
    assert_true(p->mig_on_demand);
    assert_int_equal(p->n_gpu_rules, 2);
    assert_string_equal(p->gpu_rules[0].pattern, "*V100*");
    assert_string_equal(p->gpu_rules[0].name, "nvidia.com/v100");
    assert_int_equal(p->n_mig_rules, 1);
    assert_string_equal(p->mig_rules[0].name, "nvidia.com/mig-small");
    assert_true(p->time_slicing_fail_multi);
    assert_false(p->mps_fail_multi);

    /* Time slicing comes first, even if the file has MPS first. */
    assert_int_equal(p->n_sharing, 3);
    assert_string_equal(p->sharing[0].rename, "nvidia.com/gpu.big");
    assert_int_equal(p->sharing[0].devices.kind, DEVICES_COUNT);
    assert_int_equal(p->sharing[0].devices.count, 2);
    assert_string_equal(p->sharing[1].rename, "");
    assert_string_equal(p->sharing[1].path, "sharing.timeSlicing.resources[1]");
    assert_int_equal(p->sharing[2].strategy, SHARING_MPS);
    assert_string_equal(p->sharing[2].name, "nvidia.com/v100");
    assert_string_equal(p->sharing[2].rename, "nvidia.com/v100.shared");
    assert_int_equal(p->sharing[2].devices.n_refs, 4);
    refs = p->sharing[2].devices.refs;
    assert_int_equal(refs[0].kind, DEVICE_REF_UUID);
    assert_string_equal(refs[0].uuid, "GPU-8dcd427f-483b-b48f-d7e5-75fb19a52b76");
    assert_int_equal(refs[1].kind, DEVICE_REF_INDEX);
    assert_int_equal(refs[1].index, 3);
    assert_int_equal(refs[2].kind, DEVICE_REF_MIG_INDEX);
    assert_int_equal(refs[2].mig_index, 1);
    assert_string_equal(refs[3].uuid, "MIG-GPU-b43cb902-5eec-9f54-ae95-ffe32b30f4b7/1/0");

    assert_int_equal(p->n_slices, 2);
    assert_string_equal(p->slices[0].name, "nvidia.com/gpu-half");
    assert_int_equal(p->slices[0].share_permille, 500);
    assert_int_equal(p->slices[0].mem_bytes, 0);
    assert_int_equal(p->slices[0].count, 1);
    assert_int_equal(p->slices[1].share_permille, 125);
    assert_int_equal(p->slices[1].mem_bytes, 4ULL << 30);
    assert_int_equal(p->slices[1].count, 4);
    release(&l);
}

static void test_configuration_is_found_in_all_manifest_shapes(void **state)
{
    static const struct {
        const char *file, *key;
        unsigned replicas, line;
        const char *rename;
    } table[] = {
        {"time-slicing.json", NULL, 10, 1, "nvidia.com/gpu.shared"},
        {"configmap.json", NULL, 3, 6, ""},
        {"configmap.json", "any", 3, 6, ""},
        {"list.yaml", NULL, 5, 16, ""},
        {"documents.yaml", "v100", 2, 18, ""},
        {"documents.yaml", "a100", 7, 24, ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct loaded l = load(table[i].file, table[i].key, CONFIG_CHECK);
        const struct sharing_entry *entry;

        if (l.r < 0)
            fail_msg("%s", error_text(&l.err));
        assert_int_equal(l.config->policy.n_sharing, 1);
        entry = &l.config->policy.sharing[0];
        assert_int_equal(entry->replicas, table[i].replicas);
        assert_int_equal(entry->at.line, table[i].line);
        assert_string_equal(entry->rename, table[i].rename);
        release(&l);
    }
}

static void test_single_slices_by_default_under_mps_only(void **state)
{
    struct loaded l = parse("sharing:\n"
                            "  mps: {resources: [{name: a, replicas: 2}]}\n"
                            "  timeSlicing: {resources: [{name: b, replicas: 2}]}\n");

    assert_int_equal(l.r, 0);
    assert_true(l.config->policy.mps_fail_multi);
    assert_false(l.config->policy.time_slicing_fail_multi);
    assert_string_equal(l.config->mps_root, "/run/nvidia/mps");
    release(&l);
}

static void test_renames(void **state)
{
    struct loaded l = parse("sharing:\n"
                            "  timeSlicing:\n"
                            "    renameByDefault: true\n"
                            "    resources:\n"
                            "    - {name: a, replicas: 2}\n"
                            "    - {name: b, replicas: 2, rename: own}\n"
                            "    - {name: c, replicas: 2, rename: nvidia.com/c}\n");
    const struct sharing_entry *e = l.config->policy.sharing;

    assert_int_equal(l.r, 0);
    assert_string_equal(e[0].rename, "nvidia.com/a.shared");
    assert_string_equal(e[1].rename, "nvidia.com/own");
    assert_string_equal(e[2].rename, "nvidia.com/c.shared"); /* the same name renames nothing */
    release(&l);
}

static const char several_keys[] = "apiVersion: v1\n"
                                   "kind: ConfigMap\n"
                                   "metadata: {name: plugin, namespace: gpu}\n"
                                   "data:\n"
                                   "  any: 'version: v1'\n"
                                   "  bad: |\n"
                                   "    flags: {migStrategy: non, failOnInitError: false}\n"
                                   "    sharing:\n"
                                   "      timeSlicing:\n"
                                   "        resources:\n"
                                   "        - {name: nvidia.com/gpu, replicas: ten}\n"
                                   "        - {name: nvidia.com/gpu, replicas: 3, devices: [9]}\n"
                                   "  any2: 'version: v2'\n";

static void test_every_key_is_read_and_what_is_refused_left_out(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_config_list struct config_list list = CONFIG_LIST_INIT;
    const struct policy *policy;

    assert_int_equal(
        config_parse_every(several_keys, strlen(several_keys),
                           &(struct config_request){.source = "x.yaml", .strictness = CONFIG_AGENT},
                           &problems, &list, NULL),
        0);
    assert_int_equal(list.n_items, 3);
    assert_string_equal(list.items[0].name, "any of gpu/plugin");
    assert_string_equal(list.items[1].name, "bad of gpu/plugin");
    assert_int_equal(problems_count(&problems, PROBLEM_ERROR), 3);
    assert_false(list.items[1].config->fail_on_init_error);
    policy = &list.items[1].config->policy;
    assert_int_equal(policy->mig_strategy, MIG_STRATEGY_NONE);
    assert_int_equal(policy->n_sharing, 1);
    assert_int_equal(policy->sharing[0].replicas, 3);
}

static void test_a_key_narrows_what_is_read(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_config_list struct config_list list = CONFIG_LIST_INIT;

    assert_int_equal(config_parse_every(several_keys, strlen(several_keys),
                                        &(struct config_request){.source = "x.yaml", .key = "any"},
                                        &problems, &list, NULL),
                     0);
    assert_int_equal(list.n_items, 1);
    assert_int_equal(problems.n_items, 0);
}

static void test_keys_are_listed_once(void **state)
{
    cleanup_text struct text keys = TEXT_INIT, twice = TEXT_INIT;

    assert_int_equal(config_list_keys(several_keys, strlen(several_keys), &keys), 0);
    assert_string_equal(text_string(&keys), "any\nbad\nany2\n");
    text_addf(&twice, "%s---\n%s", several_keys, several_keys);
    text_clear(&keys);
    assert_int_equal(config_list_keys(twice.data, twice.length, &keys), 0);
    assert_string_equal(text_string(&keys), "any\nbad\nany2\n");
    text_clear(&keys);
    assert_int_equal(config_list_keys("version: v1", 11, &keys), 0);
    assert_string_equal(text_string(&keys), "");
}

static void test_first_error_is_shown_and_the_rest_counted(void **state)
{
    struct loaded l = parse("flags: {migStrategy: x, gdsEnabled: maybe}\nversion: v3\n");

    assert_int_equal(l.r, -EBADMSG);
    assert_string_equal(error_text(&l.err),
                        "x.yaml:1:22: flags.migStrategy: 'x' is not one of: none, single, mixed "
                        "(and 2 more problems)");
    release(&l);
}

static void test_a_flood_of_problems_is_cut(void **state)
{
    cleanup_text struct text file = TEXT_INIT;
    struct loaded l;

    for (int i = 0; i < 20000; i++)
        text_addf(&file, "unknown%d: 1\n", i);
    l = parse(text_string(&file));
    assert_int_equal(l.r, 0); /* the agent accepts a file with unknown keys, however many */
    assert_int_equal(l.problems.n_items, 501);
    assert_string_equal(l.problems.items[500].text,
                        "more than 500 problems; the rest is not shown");
    release(&l);
    text_add(&file, "flags: {migStrategy: x}\n");
    l = parse(text_string(&file));
    assert_int_equal(l.r, -EBADMSG); /* an error beyond the limit still counts */
    assert_int_equal(l.problems.n_items, 502);
    assert_int_equal(problems_count(&l.problems, PROBLEM_ERROR), 1);
    release(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault_is_named_with_its_place),
        cmocka_unit_test(test_guide_unchanged),
        cmocka_unit_test(test_empty_configuration_is_all_defaults),
        cmocka_unit_test(test_a_file_that_cannot_be_read),
        cmocka_unit_test(test_every_option_of_the_file),
        cmocka_unit_test(test_policy_of_the_full_file),
        cmocka_unit_test(test_configuration_is_found_in_all_manifest_shapes),
        cmocka_unit_test(test_single_slices_by_default_under_mps_only),
        cmocka_unit_test(test_renames),
        cmocka_unit_test(test_every_key_is_read_and_what_is_refused_left_out),
        cmocka_unit_test(test_a_key_narrows_what_is_read),
        cmocka_unit_test(test_keys_are_listed_once),
        cmocka_unit_test(test_first_error_is_shown_and_the_rest_counted),
        cmocka_unit_test(test_a_flood_of_problems_is_cut),
    };

    return cmocka_run_group_tests_name("config/config", tests, NULL, NULL);
}
