// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/array.h"

static char variable_name[] = "GREETING", variable_value[] = "$(HOSTNAME) $(NOBODY) $$(HOSTNAME)";
static char pod_name[] = "pod-1", namespace[] = "space", uid[] = "uid-1", name[] = "c",
            image[] = "reg.example/app:v1";

static const char *environment(const struct command *command, const char *key)
{
    for (size_t i = 0; i < command->n_pairs; i++)
        if (!strcmp(command->pairs[i].key, key))
            return command->pairs[i].value;
    return NULL;
}

static struct command build(const struct command_options *options,
                            const struct container_spec *container, const struct answer *answer)
{
    struct pod pod = {.name = pod_name, .namespace = namespace, .uid = uid};
    struct command command;

    assert_int_equal(command_build(options, &pod, container, answer, &command), 0);
    return command;
}

static void test_command_of_the_container(void **state)
{
    static char sh[] = "sh", text[] = "$(HOSTNAME)", arg[] = "x";
    char *words[] = {sh, text, NULL}, *args[] = {arg, NULL};
    struct container_spec container = {
        .name = name, .image = image, .command = words, .args = args};
    struct run_rule rule = {"*", "not this"};
    struct command_options options = {.rules = &rule, .n_rules = 1, .node_name = "n"};
    struct answer answer = ANSWER_INIT;
    struct command command = build(&options, &container, &answer);

    assert_string_equal(command.argv[0], "sh");
    assert_string_equal(command.argv[1], "pod-1");
    assert_string_equal(command.argv[2], "x");
    assert_null(command.argv[3]);
    command_deinit(&command);
}

static void test_rule_for_the_image(void **state)
{
    static char first[] = "other/*=no", second[] = "*/app:*=echo a=b";
    struct run_rule rules[2];
    struct command_options options = {.rules = rules, .n_rules = 2, .node_name = "n"};
    static char arg[] = "x";
    char *args[] = {arg, NULL}, bad[] = "no-equals-sign";
    struct container_spec container = {.name = name, .image = image, .args = args};
    struct answer answer = ANSWER_INIT;
    struct command command;

    assert_true(run_rule_parse(first, &rules[0]));
    assert_true(run_rule_parse(second, &rules[1]));
    assert_false(run_rule_parse(bad, &rules[1]));
    command = build(&options, &container, &answer);
    assert_string_equal(command.argv[0], "/bin/sh");
    assert_string_equal(command.argv[2], "echo a=b");
    assert_string_equal(command.argv[3], "c"); /* $0 */
    assert_string_equal(command.argv[4], "x"); /* $1 */
    command_deinit(&command);
}

static void test_without_any_rule(void **state)
{
    struct command_options options = {.node_name = "n"};
    struct container_spec container = {.name = name, .image = image};
    struct answer answer = ANSWER_INIT;
    struct command command = build(&options, &container, &answer);

    assert_string_equal(command.argv[0], "/proc/self/exe");
    assert_string_equal(command.argv[1], "pause");
    command_deinit(&command);
}

static void test_environment(void **state)
{
    static char all[] = "all", visible[] = "NVIDIA_VISIBLE_DEVICES", gpu[] = "GPU-1",
                share[] = "SHARE", quarter[] = "25%", node_path[] = "spec.nodeName",
                node[] = "NODE", extra[] = "EXTRA=1=2", over[] = "SHARE=none";
    struct variable variables[] = {
        {.name = variable_name, .value = variable_value},
        {.name = visible, .value = all},
        {.name = node, .field_path = node_path},
    };
    struct container_spec container = {
        .name = name, .image = image, .variables = variables, .n_variables = ARRAY_SIZE(variables)};
    struct pair envs[] = {{visible, gpu}, {share, quarter}};
    struct answer answer = {.envs = envs, .n_envs = 2};
    char *more[] = {extra, over};
    struct command_options options = {.variables = more, .n_variables = 2, .node_name = "node-1"};
    struct command command = build(&options, &container, &answer);

    assert_string_equal(environment(&command, "HOSTNAME"), "pod-1");
    assert_string_equal(environment(&command, "EXTRA"), "1=2");
    assert_string_equal(environment(&command, "SHARE"), "25%");
    assert_string_equal(environment(&command, "GREETING"), "pod-1 $(NOBODY) $(HOSTNAME)");
    assert_string_equal(environment(&command, "NVIDIA_VISIBLE_DEVICES"), "all");
    assert_string_equal(environment(&command, "NODE"), "node-1");
    for (size_t i = 0; i < command.n_pairs; i++)
        assert_non_null(strchr(command.environment[i], '='));
    assert_null(command.environment[command.n_pairs]);
    command_deinit(&command);
}

/* What a limit's mounts would do: of a container that runs something, and with all three. */
static void test_mounts_of_a_limit(void **state)
{
    static char preload[] = "/etc/ld.so.preload", library[] = "/opt/gpuslice/lib",
                grant[] = "/opt/gpuslice/nvidia.com.gpu",
                at_preload[] = "/node/lib/1/ld.so.preload", at_library[] = "/node/lib/1",
                at_grant[] = "/node/grants/7", other[] = "/data";
    struct answer_mount mounts[] = {{other, other, false},
                                    {library, at_library, true},
                                    {grant, at_grant, true},
                                    {preload, at_preload, true}};
    struct run_rule rule = {"*", "train"};
    struct command_options with_rule = {.rules = &rule, .n_rules = 1, .node_name = "n"},
                           without_rule = {.node_name = "n"};
    struct container_spec container = {.name = name, .image = image};
    struct answer limited = {.mounts = mounts, .n_mounts = 4},
                  other_mounts = {.mounts = mounts, .n_mounts = 3};
    const struct {
        const struct command_options *options;
        const struct answer *answer;
        bool is_preloaded;
    } cases[] = {{&with_rule, &limited, true},
                 {&with_rule, &other_mounts, false},
                 {&without_rule, &limited, false}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct command command = build(cases[i].options, &container, cases[i].answer);

        if (cases[i].is_preloaded) {
            assert_string_equal(environment(&command, "LD_PRELOAD"), "/node/lib/1/libgpuslice.so");
            assert_string_equal(environment(&command, "GPUSLICE_GRANT"), "/node/grants/7");
        } else {
            assert_null(environment(&command, "LD_PRELOAD"));
            assert_null(environment(&command, "GPUSLICE_GRANT"));
        }
        command_deinit(&command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_of_the_container), cmocka_unit_test(test_rule_for_the_image),
        cmocka_unit_test(test_without_any_rule),         cmocka_unit_test(test_environment),
        cmocka_unit_test(test_mounts_of_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
