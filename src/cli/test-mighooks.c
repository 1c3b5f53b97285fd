// SPDX-License-Identifier: Apache-2.0
#include "cli/mighooks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

static const char *const no_variables[] = {NULL};

static int parse(const char *text, struct mighooks *hooks, struct text *reported)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    int r = mighooks_parse(text, strlen(text), &problems, hooks);

    for (size_t i = 0; i < problems.n_items; i++)
        text_addf(reported, "%u:%u %s: %s\n", problems.items[i].at.line,
                  problems.items[i].at.column, problems.items[i].path, problems.items[i].text);
    return r;
}

/* In the shape of mig-parted's own (deployments/systemd/hooks.yaml). */
static void test_a_hook_as_written(void **state)
{
    cleanup_mighooks struct mighooks hooks = MIGHOOKS_INIT;
    cleanup_text struct text reported = TEXT_INIT;
    const struct mighook_command *command;

    assert_int_equal(parse("version: v1\n"
                           "hooks:\n"
                           "  apply-exit:\n"
                           "  - workdir: /tmp\n"
                           "    command: /bin/sh\n"
                           "    args: [-x, -c, \"echo $A\"]\n"
                           "    envs: {A: 1, B: \"\"}\n"
                           "  - command: \"true\"\n",
                           &hooks, &reported),
                     0);
    assert_string_equal(text_string(&reported), "");
    assert_int_equal(hooks.lists[MIGHOOK_START].n_items, 0);
    assert_int_equal(hooks.lists[MIGHOOK_EXIT].n_items, 2);
    command = &hooks.lists[MIGHOOK_EXIT].items[0];
    assert_string_equal(command->program, "/bin/sh");
    assert_string_equal(command->arguments[0], "/bin/sh");
    assert_string_equal(command->arguments[3], "echo $A");
    assert_null(command->arguments[4]);
    assert_string_equal(command->variables[0], "A=1");
    assert_string_equal(command->variables[1], "B=");
    assert_string_equal(command->folder, "/tmp");
    assert_null(hooks.lists[MIGHOOK_EXIT].items[1].folder);
}

static void test_each_mistake_has_its_place(void **state)
{
    static const struct {
        const char *text, *reported;
    } cases[] = {
        {"version: v2\n", "1:10 version: only version v1 exists; write version: v1\n"},
        {"- a\n", "1:1 : "},
        {"hooks: {apply-begin: []}\n", "1:9 hooks.apply-begin: unknown key"},
        {"hooks: {apply-start: {}}\n", "1:22 hooks.apply-start: "},
        {"hooks: {apply-start: [{args: [a]}]}\n",
         "1:23 hooks.apply-start[0]: 'command' is missing: add the program to run\n"},
        {"hooks: {apply-start: [{command: a, arg: [a]}]}\n",
         "1:36 hooks.apply-start[0].arg: unknown key"},
        {"hooks: {apply-start: [{command: a, args: b}]}\n", "1:42 hooks.apply-start[0]: "},
        {"hooks: {apply-start: [{command: a, envs: {\"B=\": c}}]}\n",
         "1:43 hooks.apply-start[0]: 'B=' cannot be the name of a variable\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_mighooks struct mighooks hooks = MIGHOOKS_INIT;
        cleanup_text struct text reported = TEXT_INIT;

        assert_int_equal(parse(cases[i].text, &hooks, &reported), -EBADMSG);
        if (!str_starts_with(text_string(&reported), cases[i].reported))
            fail_msg("%s\nreported %s", cases[i].text, text_string(&reported));
    }
}

static void test_nothing_to_run(void **state)
{
    static const char *const texts[] = {"version: v1\n", "hooks:\n", "hooks: {apply-start: }\n"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        cleanup_mighooks struct mighooks hooks = MIGHOOKS_INIT;
        cleanup_text struct text reported = TEXT_INIT;

        assert_int_equal(parse(texts[i], &hooks, &reported), 0);
        for (int when = 0; when < N_MIGHOOKS; when++)
            assert_int_equal(mighooks_run(&hooks, (enum mighook)when, no_variables, false, NULL),
                             0);
    }
}

static void test_a_command_has_these_variables_alone(void **state)
{
    static const char *const outer[] = {"MIG_PARTED_SKIP_RESET=true", "SHARED=outer", NULL};
    char folder[] = "/tmp/gpuslice-hooks-XXXXXX", path[64];
    cleanup_mighooks struct mighooks hooks = MIGHOOKS_INIT;
    cleanup_text struct text file = TEXT_INIT, reported = TEXT_INIT;
    cleanup_free char *seen = NULL;
    size_t size;

    assert_non_null(mkdtemp(folder));
    text_addf(&file,
              "hooks: {apply-start: [{command: sh, args: [-c, 'env | grep -v ^PWD= | grep -v ^_= | "
              "grep -v ^SHLVL= | LC_ALL=C sort > seen'], envs: {HOOK: a, SHARED: b}, workdir: "
              "%s}]}\n",
              folder);
    assert_int_equal(parse(text_string(&file), &hooks, &reported), 0);
    setenv("NOT_INHERITED", "x", 1);
    assert_int_equal(mighooks_run(&hooks, MIGHOOK_START, outer, false, NULL), 0);
    snprintf(path, sizeof(path), "%s/seen", folder);
    assert_int_equal(file_read(path, 4096, &seen, &size, NULL), 0);
    assert_string_equal(seen, "HOOK=a\nMIG_PARTED_SKIP_RESET=true\nSHARED=outer\n");
    unlink(path);
    rmdir(folder);
}

static void test_the_first_failure_ends_the_list(void **state)
{
    static const struct {
        const char *commands, *sentence;
    } cases[] = {
        {"{command: \"false\"}, {command: /nowhere/x}",
         "hook pre-apply-mode: false failed with status 1; --debug shows its output"},
        {"{command: /nowhere/x}",
         "hook pre-apply-mode: cannot start /nowhere/x: No such file or directory"},
        {"{command: sh, args: [-c, \"kill -9 $$\"]}",
         "hook pre-apply-mode: sh was ended by signal 9"},
        {"{command: \"true\", workdir: /nowhere}",
         "hook pre-apply-mode: cannot start true: No such file or directory"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_mighooks struct mighooks hooks = MIGHOOKS_INIT;
        cleanup_text struct text file = TEXT_INIT, reported = TEXT_INIT;
        struct error err = ERROR_INIT;

        text_addf(&file, "hooks: {pre-apply-mode: [%s]}\n", cases[i].commands);
        assert_int_equal(parse(text_string(&file), &hooks, &reported), 0);
        assert_true(mighooks_run(&hooks, MIGHOOK_BEFORE_MODE, no_variables, false, &err) < 0);
        assert_string_equal(error_text(&err), cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hook_as_written),
        cmocka_unit_test(test_each_mistake_has_its_place),
        cmocka_unit_test(test_nothing_to_run),
        cmocka_unit_test(test_a_command_has_these_variables_alone),
        cmocka_unit_test(test_the_first_failure_ends_the_list),
    };

    return cmocka_run_group_tests_name("cli/mighooks", tests, NULL, NULL);
}
