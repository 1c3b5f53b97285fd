// SPDX-License-Identifier: Apache-2.0
#include "config/sharing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "config/load.h"
#include "slice/planner.h"

#define UUID_0 "GPU-00000000-0000-0000-0000-000000000000"
#define UUID_1 "GPU-00000000-0000-0000-0000-000000000001"

#define ENTRY(devices) "{name: nvidia.com/gpu, replicas: 2, devices: " devices "}"
#define TIME(entries)  "timeSlicing: {resources: [" entries "]}"
#define MPS(entries)   "mps: {resources: [" entries "]}"
#define SHARING(parts) "flags: {mpsRoot: /mps}\nsharing: {" parts "}\n"
#define SLICES         "gpuslice: {slices: [{name: half, share: 50%, count: 2}]}\n"

/* Fragments of all messages of config/ and of the plan for the same mistakes. */
static const char *const sentences[] = {"shares too",
                                        "is shared by",
                                        "empty list",
                                        "shares no GPU",
                                        "twice",
                                        "no GPU is left",
                                        "no such slice is offered"};

/* The only problem that contains any of the fragments; fails if there is none or more than one. */
static const struct problem *find_only(const struct problems *problems, const char *file)
{
    const struct problem *found = NULL;

    for (size_t i = 0; i < problems->n_items; i++) {
        bool about = false;

        for (size_t k = 0; k < ARRAY_SIZE(sentences); k++)
            about |= strstr(problems->items[i].text, sentences[k]) != NULL;
        if (about && found)
            fail_msg("%ssays both '%s' and '%s'", file, found->text, problems->items[i].text);
        if (about)
            found = &problems->items[i];
    }
    if (!found)
        fail_msg("%ssays nothing", file);
    return found;
}

/* Reads the file as the agent does (which must accept it) or as `check`, then plans for two
 * GPUs. */
static void read_and_plan(const char *file, enum config_strictness strictness,
                          struct problems *problems)
{
    struct gpu gpus[] = {{.index = 0, .uuid = UUID_0}, {.index = 1, .uuid = UUID_1}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 2};
    struct config *config = NULL, *refused = NULL;
    struct plan *plan = NULL;

    assert_int_equal(
        config_parse(file, strlen(file),
                     &(struct config_request){.source = "x.yaml", .strictness = CONFIG_AGENT},
                     strictness == CONFIG_AGENT ? problems : NULL, &config, NULL),
        0);
    if (strictness == CONFIG_CHECK)
        config_parse(file, strlen(file),
                     &(struct config_request){.source = "x.yaml", .strictness = CONFIG_CHECK},
                     problems, &refused, NULL);
    assert_int_equal(plan_make(&machine, &config->policy, problems, &plan), 0);
    plan_free(plan);
    config_free(config);
    config_free(refused);
}

/* What the file alone shows is reported by the parser; what needs the machine, by the plan. */
static void test_each_fact_is_said_once(void **state)
{
    static const struct {
        const char *file, *words;
        enum problem_severity for_agent, for_check;
    } table[] = {
        {SHARING(TIME(ENTRY("all") ", " ENTRY("[1]"))), "shares too", PROBLEM_WARNING,
         PROBLEM_ERROR},
        {SHARING(TIME(ENTRY("all")) ", " MPS(ENTRY("all"))), "shares too", PROBLEM_WARNING,
         PROBLEM_ERROR},
        {SHARING(TIME(ENTRY("[0]")) ", " MPS(ENTRY("1"))), "shares too", PROBLEM_WARNING,
         PROBLEM_ERROR},
        {SHARING(TIME(ENTRY("2") ", " ENTRY("[" UUID_1 "]"))), "is shared by", PROBLEM_ERROR,
         PROBLEM_ERROR},
        {SHARING(TIME(ENTRY("[1]")) ", " MPS(ENTRY("[" UUID_1 "]"))), "is shared by", PROBLEM_ERROR,
         PROBLEM_ERROR},
        {SHARING(TIME(ENTRY("[]"))), "empty list", PROBLEM_WARNING, PROBLEM_WARNING},
        {SHARING(TIME(ENTRY("[1, 1]"))), "is listed twice", PROBLEM_WARNING, PROBLEM_WARNING},
        {SHARING(TIME(ENTRY("[1, " UUID_1 "]"))), "is named twice", PROBLEM_NOTE, PROBLEM_NOTE},
        {SHARING(TIME(ENTRY("all"))) SLICES, "no GPU is left", PROBLEM_WARNING, PROBLEM_WARNING},
        {SHARING(TIME(ENTRY("2"))) SLICES, "no such slice is offered", PROBLEM_WARNING,
         PROBLEM_WARNING},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems agent = PROBLEMS_INIT, check = PROBLEMS_INIT;

        read_and_plan(table[i].file, CONFIG_AGENT, &agent);
        assert_non_null(strstr(find_only(&agent, table[i].file)->text, table[i].words));
        assert_int_equal(find_only(&agent, table[i].file)->severity, table[i].for_agent);
        read_and_plan(table[i].file, CONFIG_CHECK, &check);
        assert_non_null(strstr(find_only(&check, table[i].file)->text, table[i].words));
        assert_int_equal(find_only(&check, table[i].file)->severity, table[i].for_check);
    }
}

/* An entry loses GPUs to several others: each pair is a separate mistake. */
static void test_every_pair_is_named(void **state)
{
    static const char file[] =
        SHARING(TIME(ENTRY("[0]") ", " ENTRY("[1]") ", " ENTRY("[0, 1, 2]")));
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct config *config = NULL;

    assert_int_equal(
        config_parse(file, strlen(file),
                     &(struct config_request){.source = "x.yaml", .strictness = CONFIG_AGENT},
                     &problems, &config, NULL),
        0);
    assert_int_equal(problems.n_items, 2);
    assert_non_null(strstr(problems.items[0].text, "timeSlicing.resources[0]"));
    assert_non_null(strstr(problems.items[1].text, "timeSlicing.resources[1]"));
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_fact_is_said_once),
        cmocka_unit_test(test_every_pair_is_named),
    };

    return cmocka_run_group_tests_name("config/sharing", tests, NULL, NULL);
}
