// SPDX-License-Identifier: Apache-2.0
#include "plugin/cdihooks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "config/config.h"

#define ELF         "\177ELF\2\1\1 text\0more\0"
#define OLD         "create-symlinks\0update-ldcache\0chmod\0"
#define PATH        "/usr/bin/nvidia-ctk"
#define BYTES(text) text, sizeof(text) - 1

static char folder[] = "/tmp/gpuslice-cdihooks-XXXXXX";

static int set_up(void **state)
{
    char path[128];

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/usr/bin", folder);
    return file_make_directory(path, NULL);
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static unsigned missing_with(unsigned strategies, unsigned disabled, const char *host_root,
                             const char *path, struct problems *problems)
{
    const struct config config = {.plugin = {.device_list_strategies = strategies,
                                             .nvidia_cdi_hook_path = (char *)path,
                                             .disabled_hooks = disabled,
                                             .container_driver_root = folder},
                                  .driver_root = (char *)host_root};

    return cdihooks_missing(&config, problems);
}

static unsigned missing(const char *host_root, const char *path)
{
    return missing_with(LIST_STRATEGY_CDI_CRI, 0, host_root, path, NULL);
}

static void by_the_bytes_of_the_program(void **state)
{
    static const struct {
        const char *data;
        size_t size;
        unsigned missing;
    } rows[] = {
        {BYTES(ELF OLD), CDI_HOOK_COMPAT | CDI_HOOK_NO_NODES},
        {BYTES(ELF OLD "enable-cuda-compat"), CDI_HOOK_NO_NODES},
        {BYTES(ELF OLD "enable-cuda-compat\0disable-device-node-modification\0"), 0},
        {BYTES(ELF "update-ldcache"), CDI_HOOK_LINKS | CDI_HOOK_COMPAT | CDI_HOOK_NO_NODES},
        /* None of NVIDIA's: a script that starts it, something else, nothing. */
        {BYTES("#!/bin/sh\nexec nvidia-ctk.real \"$@\" # update-ldcache\n"), 0},
        {BYTES(ELF "create-symlinks"), 0},
        {BYTES("\177E"), 0},
        {BYTES(""), 0},
    };
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s" PATH, folder);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(file_write_atomic(path, rows[i].data, rows[i].size, 0755, NULL), 0);
        assert_int_equal(missing("/", PATH), rows[i].missing);
    }
}

/* Programs are tens of megabytes, read in pieces: a name may lie across two. */
static void names_anywhere(void **state)
{
    static const char name[] = "enable-cuda-compat";
    enum { SIZE = 200000, PIECE = 1 << 16 };
    char path[128], *data = malloc(SIZE);

    (void)state;
    assert_non_null(data);
    snprintf(path, sizeof(path), "%s" PATH, folder);
    for (size_t at = PIECE - 30; at < PIECE + 10; at++) {
        memset(data, 'x', SIZE);
        memcpy(data, ELF OLD, sizeof(ELF OLD));
        memcpy(data + at, name, strlen(name));
        memcpy(data + at + PIECE, "disable-device-node-modification", 32);
        assert_int_equal(file_write_atomic(path, data, SIZE, 0755, NULL), 0);
        assert_int_equal(missing("/", PATH), 0);
    }
    free(data);
}

/* Nothing is known of what cannot be seen from here. */
static void elsewhere(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s" PATH, folder);
    assert_int_equal(file_write_atomic(path, BYTES(ELF OLD), 0755, NULL), 0);
    assert_int_equal(missing("/", "/usr/bin/nvidia-cdi-hook"), 0);
    assert_int_equal(missing("/run/nvidia/driver", PATH), 0);
    assert_int_equal(missing("/run/nvidia", "/run/nvidia" PATH),
                     CDI_HOOK_COMPAT | CDI_HOOK_NO_NODES);
    assert_int_equal(missing("/", "/usr/bin"), 0);
    assert_int_equal(missing("/", "nvidia-ctk"), 0);
}

/* What the configuration leaves out already needs no warning, and without CDI nothing does. */
static void one_warning(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s" PATH, folder);
    assert_int_equal(file_write_atomic(path, BYTES(ELF OLD), 0755, NULL), 0);
    assert_int_equal(missing_with(LIST_STRATEGY_ENVVAR, 0, "/", PATH, &problems), 0);
    assert_int_equal(missing_with(LIST_STRATEGY_CDI_ANNOTATIONS,
                                  CDI_HOOK_COMPAT | CDI_HOOK_NO_NODES, "/", PATH, &problems),
                     0);
    assert_int_equal(problems.n_items, 0);
    assert_int_equal(
        missing_with(LIST_STRATEGY_CDI_ANNOTATIONS, CDI_HOOK_COMPAT, "/", PATH, &problems),
        CDI_HOOK_NO_NODES);
    assert_int_equal(problems.n_items, 1);
    assert_string_equal(problems.items[0].text,
                        PATH " on this host is too old for the CDI hooks "
                             "disable-device-node-modification, which are left out; a newer "
                             "container toolkit has them");
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(cdihooks_name(CDI_HOOK_NO_NODES), "disable-device-node-modification");
    assert_null(cdihooks_name(CDI_HOOK_OTHER));
    assert_null(cdihooks_name(CDI_HOOK_LINKS | CDI_HOOK_COMPAT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_the_bytes_of_the_program),
        cmocka_unit_test(names_anywhere),
        cmocka_unit_test(elsewhere),
        cmocka_unit_test(one_warning),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests_name("plugin/cdihooks", tests, set_up, tear_down);
}
