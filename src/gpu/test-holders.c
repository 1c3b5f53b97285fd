// SPDX-License-Identifier: Apache-2.0
#include "gpu/holders.h"

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
#include "base/text.h"
#include "gpu/test-seen.h"

static const char *const paths[] = {"/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia0"};
static char folder[64];

static void process(unsigned pid, const char *name, const char *node)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%u", folder, pid);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/%u/comm", folder, pid);
    assert_int_equal(file_write_atomic(path, name, strlen(name), 0644, NULL), 0);
    snprintf(path, sizeof(path), "%s/%u/fd", folder, pid);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/%u/fd/3", folder, pid);
    assert_int_equal(symlink("/dev/null", path), 0);
    snprintf(path, sizeof(path), "%s/%u/fd/4", folder, pid);
    assert_int_equal(symlink(node, path), 0);
}

static void also_open(unsigned pid, const char *node)
{
    static unsigned fd = 5;
    char path[160];

    snprintf(path, sizeof(path), "%s/%u/fd/%u", folder, pid, fd++);
    assert_int_equal(symlink(node, path), 0);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/gpuslice-holders-XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("GPUSLICE_PROC", folder, 1);
    process(100, "dcgm\n", "/dev/nvidia0");
    process(101, "train\n", "/dev/nvidia-caps/nvidia-cap12");
    process(102, "other\n", "/dev/nvidia1");
    process(103, "gpuslice-node\n", "/dev/nvidia0");
    also_open(101, "/dev/nvidia0");
    also_open(101, "/dev/nvidia0");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    seen_remove_tree(folder);
    return 0;
}

static void note(uint32_t pid, size_t node, void *userdata)
{
    struct text *text = userdata;
    char name[64];

    holders_name(pid, name, sizeof(name));
    text_addf(text, "%u %s %zu;", pid, name, node);
}

static void who_has_a_node_open_is_found(void **state)
{
    cleanup_text struct text text = TEXT_INIT;

    (void)state;
    assert_int_equal(holders_find(paths, 2, 103, 1, note, &text), 0);
    assert_int_equal(strlen(text_string(&text)), strlen("100 dcgm 1;101 train 0;101 train 1;"));
    assert_non_null(strstr(text_string(&text), "100 dcgm 1;"));
    assert_non_null(strstr(text_string(&text), "101 train 0;101 train 1;"));
}

static void a_process_that_is_gone_has_no_name(void **state)
{
    char name[64] = "x";

    (void)state;
    holders_name(999, name, sizeof(name));
    assert_string_equal(name, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_a_node_open_is_found),
        cmocka_unit_test(a_process_that_is_gone_has_no_name),
    };

    return cmocka_run_group_tests_name("gpu/holders", tests, set_up, tear_down);
}
