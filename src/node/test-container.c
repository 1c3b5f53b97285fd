// SPDX-License-Identifier: Apache-2.0
#include "node/container.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"

#define BARE "pid:[4026531836]"

static const struct {
    const char *variable, *file, *namespace; /* NULL = there is none */
    bool is_around;
} rows[] = {
    {NULL, NULL, NULL, false},
    {NULL, NULL, BARE, false},
    {"NODE_NAME=gpu-1", NULL, BARE, false},
    {"MY_container=x", NULL, BARE, false},
    {"KUBERNETES_SERVICE_HOST=10.96.0.1", NULL, BARE, true},
    {"container=podman", NULL, BARE, true},
    {NULL, ".dockerenv", BARE, true},
    {NULL, "run/.containerenv", BARE, true},
    {NULL, NULL, "pid:[4026532198]", true},
};

static void any_sign_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char root[] = "/tmp/gpuslice-root-XXXXXX", folder[80], path[80], link[100];
        char *environment[] = {(char *)(uintptr_t)rows[i].variable, NULL};

        assert_non_null(mkdtemp(root));
        snprintf(folder, sizeof(folder), "%s/proc/self/ns", root);
        snprintf(link, sizeof(link), "%s/pid", folder);
        snprintf(path, sizeof(path), "%s/run", root);
        assert_int_equal(file_make_directory(folder, NULL), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof(path), "%s/%s", root, rows[i].file ? rows[i].file : "");
        if (rows[i].file)
            assert_int_equal(file_write_atomic(path, "", 0, 0600, NULL), 0);
        if (rows[i].namespace)
            assert_int_equal(symlink(rows[i].namespace, link), 0);
        if (container_is_around(root, environment) != rows[i].is_around)
            fail_msg("row %zu", i);
        if (rows[i].file)
            assert_int_equal(unlink(path), 0);
        if (rows[i].namespace)
            assert_int_equal(unlink(link), 0);
        for (const char *const *name =
                 (const char *const[]){"proc/self/ns", "proc/self", "proc", "run", "", NULL};
             *name; name++) {
            snprintf(path, sizeof(path), "%s/%s", root, *name);
            assert_int_equal(rmdir(path), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_sign_counts),
    };

    return cmocka_run_group_tests_name("node/container", tests, NULL, NULL);
}
