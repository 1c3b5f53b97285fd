// SPDX-License-Identifier: Apache-2.0
#include "gpu/librarysearch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

/* A backend that notes which library it should load, and answers as a row says. */
static struct {
    int root, loader; /* answers */
    struct text asked;
} fake;

static int open_fake(const char *library, struct gpu_driver **ret_driver, struct error *err)
{
    const int r = library ? fake.root : fake.loader;

    (void)ret_driver;
    text_addf(&fake.asked, "%s ", library ? strrchr(library, '/') : "loader");
    if (r == -ENOENT && !library)
        return error_set(err, r,
                         "libnvidia-ml.so.1: cannot open shared object file: No such file "
                         "or directory");
    return r < 0 ? error_set(err, r, "%s answered %d", library ? "the root's" : "the loader's", r)
                 : r;
}

static const struct gpu_backend backend = {.name = "fake", .open = open_fake};

static const struct row {
    const char *name;
    bool has_root, has_library;
    int root, loader;
    const char *asked;
    int outcome;
    const char *sentence; /* a part of it; NULL = none */
} rows[] = {
    {"the root's comes first", true, true, 0, 0, "/libnvidia-ml.so.1 ", 0, NULL},
    {"the root has none", true, false, 0, 0, "loader ", 0, NULL},
    {"no root", false, false, 0, 0, "loader ", 0, NULL},
    {"the root's is of another machine", true, true, -ENOENT, 0, "/libnvidia-ml.so.1 loader ", 0,
     NULL},
    {"the root's is no NVML", true, true, -ELIBBAD, 0, "/libnvidia-ml.so.1 loader ", 0, NULL},
    {"the root's finds no driver", true, true, -ENODEV, 0, "/libnvidia-ml.so.1 ", -ENODEV,
     "the root's answered"},
    {"neither can be loaded", true, true, -ENOENT, -ENOENT, "/libnvidia-ml.so.1 loader ", -ENOENT,
     "the root's answered"},
    {"none anywhere", true, false, 0, -ENOENT, "loader ", -ENOENT,
     "neither on the loader's path nor below"},
    {"none anywhere, by folder", true, false, 0, -ENOENT, "loader ", -ENOENT,
     "usr/lib64, usr/lib/"},
    {"the loader's is no NVML, and the root has none", true, false, 0, -ELIBBAD, "loader ",
     -ELIBBAD, "the loader's answered"},
    {"the loader's finds no driver", true, false, 0, -ENODEV, "loader ", -ENODEV,
     "the loader's answered"},
    {"none without a root", false, false, 0, -ENOENT, "loader ", -ENOENT, "cannot open shared"},
};

static void make_root(char *folder, bool has_library)
{
    char path[128];

    strcpy(folder, "/tmp/gpuslice-library-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/lib64", folder);
    assert_int_equal(file_make_directory(path, NULL), 0);
    snprintf(path, sizeof(path), "%s/lib64/libnvidia-ml.so.1", folder);
    if (has_library)
        assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
}

static void check_row(const struct row *row)
{
    char folder[64], command[96];
    struct error err = ERROR_INIT;
    struct gpu_driver *driver = NULL;
    struct driverroot root;
    int r;

    make_root(folder, row->has_library);
    driverroot_init(&root, row->has_root ? folder : "/", "/", NULL);
    fake.root = row->root;
    fake.loader = row->loader;
    text_clear(&fake.asked);
    r = librarysearch_open(&backend, &root, &driver, &err);
    if (r != row->outcome || !str_equal(text_string(&fake.asked), row->asked))
        fail_msg("%s: %d after '%s'", row->name, r, text_string(&fake.asked));
    if (row->sentence && !strstr(error_text(&err), row->sentence))
        fail_msg("%s: '%s'", row->name, error_text(&err));
    if (r == -ENOENT)
        assert_true(strlen(error_text(&err)) < 256); /* the helper passes on no more */
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void asks_the_root_then_the_loader(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i]);
    text_deinit(&fake.asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_the_root_then_the_loader),
    };

    return cmocka_run_group_tests_name("gpu/librarysearch", tests, NULL, NULL);
}
