// SPDX-License-Identifier: Apache-2.0
#include "gpu/reset.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "gpu/test-seen.h"

#define UUID "GPU-00000000-aaaa-bbbb-cccc-000000000000"

/* nvidia-smi, played by a script. */
static struct gpu_changed reset_by(const char *script)
{
    char folder[] = "/tmp/gpuslice-reset-XXXXXX", path[64];
    struct gpu_changed changed;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/nvidia-smi", folder);
    if (script)
        assert_int_equal(file_write_atomic(path, script, strlen(script), 0755, NULL), 0);
    setenv("PATH", folder, 1);
    reset_gpu(UUID, 60000, &changed);
    seen_remove_tree(folder);
    return changed;
}

static void its_statuses_and_words_have_a_meaning(void **state)
{
    static const struct {
        const char *script;
        int outcome;
        const char *words;
    } rows[] = {
        {"#!/bin/sh\n[ \"$*\" = \"--gpu-reset -i " UUID "\" ] || exit 2\n", 0, ""},
        {"#!/bin/sh\necho 'GPU 00000000:10:1C.0 is currently in use by another process.'; exit "
         "255\n",
         GPU_IN_USE, "in use"},
        {"#!/bin/sh\necho 'Resetting GPU is not supported.'; exit 3\n", GPU_UNSUPPORTED,
         "not supported"},
        {"#!/bin/sh\necho 'Insufficient permissions' >&2; exit 4\n", -EPERM, "permissions"},
        {"#!/bin/sh\nexit 1\n", -EIO, "without a word"},
        {NULL, -ENOENT, "PATH"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gpu_changed changed = reset_by(rows[i].script);

        assert_int_equal(changed.outcome, rows[i].outcome);
        assert_non_null(strstr(changed.reason, rows[i].words));
        assert_true((changed.outcome == 0) == (*changed.reason == '\0'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_statuses_and_words_have_a_meaning),
    };

    return cmocka_run_group_tests_name("gpu/reset", tests, NULL, NULL);
}
