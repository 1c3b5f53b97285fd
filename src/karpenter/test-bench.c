// SPDX-License-Identifier: Apache-2.0
#include "karpenter/test-bench.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct catalog bench_catalog = CATALOG_INIT;

int bench_setup(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    return catalog_load(getenv("GPUSLICE_TEST_CATALOG"), &problems, &bench_catalog);
}

int bench_teardown(void **state)
{
    catalog_deinit(&bench_catalog);
    return 0;
}

static int parse(const char *spec, struct problems *problems, struct sliceprofiles *profiles)
{
    cleanup_text struct text text = TEXT_INIT;

    text_addf(&text,
              "{apiVersion: gpuslice.dev/v1alpha1, kind: SliceProfile, metadata: {name: p}, spec: "
              "{%s}}",
              spec);
    return sliceprofiles_parse(text_string(&text), text.length, problems, profiles);
}

struct sliceprofile bench_profile(const char *spec)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct sliceprofiles profiles = SLICEPROFILES_INIT;
    struct sliceprofile profile;
    int r = parse(spec, &problems, &profiles);

    for (size_t i = 0; i < problems.n_items; i++)
        print_error("%s: %s\n", problems.items[i].path, problems.items[i].text);
    assert_int_equal(r, 0);
    assert_int_equal(profiles.n_items, 1);
    profile = profiles.items[0];
    free(profiles.items);
    return profile;
}

void bench_assert_refused(const char *spec, const char *words)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
    char line[1024];

    assert_int_equal(parse(spec, &problems, &profiles), -EBADMSG);
    problems_describe(&problems, line, sizeof(line));
    if (!strstr(line, words))
        fail_msg("'%s' is not in: %s", words, line);
    for (size_t i = 0; i < problems.n_items; i++)
        assert_int_not_equal(problems.items[i].at.line, 0);
}

struct promises bench_promises(const struct sliceprofile *profile)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct promises promises;
    int r = promises_make(profile, &bench_catalog, NULL, &problems, &promises);

    for (size_t i = 0; r < 0 && i < problems.n_items; i++)
        print_error("%s: %s\n", problems.items[i].path, problems.items[i].text);
    assert_int_equal(r, 0);
    return promises;
}
