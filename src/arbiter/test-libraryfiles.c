// SPDX-License-Identifier: Apache-2.0

/* Versions of the library: complete or absent, unchanged while a pod may need them, then removed.
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/libraryfiles.h"
#include "base/file.h"
#include "grant/test-tempdir.h"

#define PRELOAD "/opt/gpuslice/lib/libgpuslice.so\n"

static char folder[128], source[128];

static int make(void **state)
{
    int r = tempdir_make(state);

    snprintf(folder, sizeof(folder), "%s/lib", tempdir);
    snprintf(source, sizeof(source), "%s/built.so", tempdir);
    return r;
}

static void put(const char *path, const char *content)
{
    assert_int_equal(file_write_atomic(path, content, strlen(content), 0644, NULL), 0);
}

static void assert_content(const char *name, const char *wanted)
{
    cleanup_free char *content = NULL;
    char path[256];
    size_t size;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(file_read(path, 4096, &content, &size, NULL), 0);
    assert_string_equal(content, wanted);
}

static bool exists(const char *name)
{
    char path[256];
    struct stat status;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return lstat(path, &status) == 0;
}

/* Returns the name that new containers get; valid until the next call. */
static const char *install(const char *content, const char *version)
{
    static char name[LIBRARYFILES_NAME_SIZE];
    struct error err = ERROR_INIT;

    put(source, content);
    if (libraryfiles_install(folder, source, version, name, &err) < 0)
        fail_msg("%s", error_text(&err));
    return name;
}

static void test_a_version_is_installed_and_current(void **state)
{
    struct stat status;
    char path[256];

    assert_string_equal(install("one", "1.0"), "1.0");
    assert_content("1.0/libgpuslice.so", "one");
    assert_content("1.0/ld.so.preload", PRELOAD);
    assert_content("current/libgpuslice.so", "one");
    snprintf(path, sizeof(path), "%s/1.0/libgpuslice.so", folder);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0755);
    snprintf(path, sizeof(path), "%s/1.0", folder);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0755); /* programs of any user look into it */
}

static ino_t inode_of(const char *name)
{
    struct stat status;
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(stat(path, &status), 0);
    return status.st_ino;
}

static void test_the_same_again_changes_nothing(void **state)
{
    ino_t library, link;

    install("one", "1.0");
    library = inode_of("1.0/libgpuslice.so");
    link = inode_of("current");
    assert_string_equal(install("one", "1.0"), "1.0");
    assert_int_equal(inode_of("1.0/libgpuslice.so"), library);
    assert_int_equal(inode_of("current"), link);
}

/* A process that has it mapped keeps what it has: the file is not replaced. */
static void test_another_build_of_a_version_lies_beside_it(void **state)
{
    const ino_t before = (install("one", "1.0"), inode_of("1.0/libgpuslice.so"));
    const char *name = install("other", "1.0");

    assert_int_equal(strncmp(name, "1.0-", 4), 0);
    assert_int_equal(strlen(name), 4 + 16);
    assert_content("current/libgpuslice.so", "other");
    assert_content("1.0/libgpuslice.so", "one");
    assert_int_equal(inode_of("1.0/libgpuslice.so"), before);
    assert_string_equal(install("one", "1.0"), "1.0");
    assert_content("current/libgpuslice.so", "one");
}

static void test_upgrade_and_downgrade(void **state)
{
    install("one", "1.0");
    assert_string_equal(install("two", "2.0"), "2.0");
    assert_content("current/libgpuslice.so", "two");
    assert_content("1.0/libgpuslice.so", "one");
    assert_string_equal(install("one", "1.0"), "1.0");
    assert_content("current/libgpuslice.so", "one");
    assert_content("2.0/libgpuslice.so", "two");
}

/* As a killed arbiter, or a power failure, may leave it. */
static void test_half_an_installation_is_not_used(void **state)
{
    const char *name;
    char path[256];

    assert_int_equal(mkdir(folder, 0755), 0);
    snprintf(path, sizeof(path), "%s/.new-abcdef", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/1.0", folder);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/1.0/libgpuslice.so", folder);
    put(path, "on");
    snprintf(path, sizeof(path), "%s/.current", folder);
    assert_int_equal(symlink("1.0", path), 0);
    name = install("one", "1.0");
    assert_int_equal(strncmp(name, "1.0-", 4), 0);
    assert_content("current/libgpuslice.so", "one");
    assert_content("current/ld.so.preload", PRELOAD);
    assert_content("1.0/libgpuslice.so", "on"); /* nobody knows whether it is mapped */
}

static void test_a_folder_that_cannot_be_written(void **state)
{
    char name[LIBRARYFILES_NAME_SIZE] = "x";
    struct error err = ERROR_INIT;

    put(source, "one");
    put(folder, "a file where the folder should be");
    assert_true(libraryfiles_install(folder, source, "1.0", name, &err) < 0);
    assert_string_equal(name, "");
    assert_non_null(strstr(error_text(&err), folder));
}

/* Where writing fails, what is installed already is used: by the same release, or by another. */
static void test_a_read_only_disk(void **state)
{
    char name[LIBRARYFILES_NAME_SIZE], link[256];
    struct error err = ERROR_INIT;

    install("one", "1.0");
    snprintf(link, sizeof(link), "%s/.current", folder);
    /* Stands for the disk also where the test may write everywhere: the link cannot be made. */
    assert_int_equal(mkdir(link, 0755), 0);
    assert_string_equal(install("one", "1.0"), "1.0");
    put(source, "two");
    assert_true(libraryfiles_install(folder, source, "2.0", name, &err) < 0);
    assert_non_null(strstr(error_text(&err), "current"));
    assert_string_equal(name, "1.0");
    assert_content("current/libgpuslice.so", "one");
}

static void test_no_library(void **state)
{
    char name[LIBRARYFILES_NAME_SIZE];
    struct error err = ERROR_INIT;

    assert_int_equal(libraryfiles_install(folder, source, "1.0", name, &err), -ENOENT);
    assert_string_equal(name, "");
    put(source, "");
    assert_int_equal(libraryfiles_install(folder, source, "1.0", name, &err), -ENOEXEC);
    assert_non_null(strstr(error_text(&err), "is empty"));
}

/* Adds a pod whose container mounts that. */
static void add_pod(struct kubeletcheckpoint *checkpoint, struct kubeletcheckpoint_entry *entry,
                    const char *mount)
{
    *entry = (struct kubeletcheckpoint_entry){.pod_uid = "u"};
    assert_int_equal(names_add(&entry->mounts, mount, strlen(mount)), 0);
    *checkpoint = (struct kubeletcheckpoint){.is_there = true, .entries = entry, .n_entries = 1};
}

static void collect(const struct kubeletcheckpoint *checkpoint, int64_t now_s, const char *wanted)
{
    cleanup_names struct names removed = NAMES_INIT;
    struct error err = ERROR_INIT;
    char all[256] = "";

    if (libraryfiles_collect(folder, checkpoint, now_s, &removed, &err) < 0)
        fail_msg("%s", error_text(&err));
    names_sort(&removed);
    for (size_t i = 0; i < removed.n_items; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s ", removed.items[i]);
    assert_string_equal(all, wanted);
}

static void test_a_version_goes_when_no_pod_mounts_it(void **state)
{
    struct kubeletcheckpoint checkpoint, nobody = {.is_there = true};
    struct kubeletcheckpoint_entry entry;
    int64_t later;

    install("one", "1.0");
    install("ten", "1.0.1");
    install("two", "2.0");
    later = time(NULL) + LIBRARYFILES_KEEP_S;
    add_pod(&checkpoint, &entry, "/var/lib/gpuslice/lib/1.0/ld.so.preload");
    collect(&checkpoint, later, "1.0.1 ");
    assert_true(exists("1.0/libgpuslice.so"));
    assert_false(exists("1.0.1"));
    names_deinit(&entry.mounts);
    add_pod(&checkpoint, &entry, "/srv/of/ours/lib/1.0");
    collect(&checkpoint, later, "");
    names_deinit(&entry.mounts);
    collect(&nobody, later, "1.0 ");
    assert_false(exists("1.0"));
    assert_content("current/libgpuslice.so", "two");
    collect(&nobody, later, "");
}

/* The kubelet may not have recorded yet what it was answered a moment ago. */
static void test_the_version_of_before_stays_for_a_while(void **state)
{
    const struct kubeletcheckpoint nobody = {.is_there = true};

    install("one", "1.0");
    install("two", "2.0");
    collect(&nobody, time(NULL) + LIBRARYFILES_KEEP_S - 60, "");
    assert_true(exists("1.0"));
    collect(&nobody, time(NULL) - 10 * LIBRARYFILES_KEEP_S, ""); /* a clock that was set back */
    assert_true(exists("1.0"));
    collect(&nobody, time(NULL) + LIBRARYFILES_KEEP_S, "1.0 ");
}

static void test_what_a_killed_arbiter_left_goes(void **state)
{
    const struct kubeletcheckpoint nobody = {.is_there = true};
    char path[256];

    install("one", "1.0");
    snprintf(path, sizeof(path), "%s/.new-abcdef", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/.new-abcdef/libgpuslice.so", folder);
    put(path, "on");
    snprintf(path, sizeof(path), "%s/.current", folder);
    assert_int_equal(symlink("1.0", path), 0); /* not followed: 1.0 is in use */
    snprintf(path, sizeof(path), "%s/note", folder);
    put(path, "of somebody else");
    collect(&nobody, time(NULL) + LIBRARYFILES_KEEP_S, "");
    assert_false(exists(".new-abcdef"));
    assert_content("current/libgpuslice.so", "one");
    assert_content("note", "of somebody else");
}

static void test_without_a_current_version_nothing_goes(void **state)
{
    const struct kubeletcheckpoint nobody = {.is_there = true};
    char path[256];

    install("one", "1.0");
    snprintf(path, sizeof(path), "%s/current", folder);
    assert_int_equal(unlink(path), 0);
    collect(&nobody, time(NULL) + LIBRARYFILES_KEEP_S, "");
    assert_true(exists("1.0"));
    assert_int_equal(symlink("/etc", path), 0); /* leads nowhere that is ours */
    collect(&nobody, time(NULL) + LIBRARYFILES_KEEP_S, "");
    assert_true(exists("1.0"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_version_is_installed_and_current),
        TEST(test_the_same_again_changes_nothing),
        TEST(test_another_build_of_a_version_lies_beside_it),
        TEST(test_upgrade_and_downgrade),
        TEST(test_half_an_installation_is_not_used),
        TEST(test_a_folder_that_cannot_be_written),
        TEST(test_a_read_only_disk),
        TEST(test_no_library),
        TEST(test_a_version_goes_when_no_pod_mounts_it),
        TEST(test_the_version_of_before_stays_for_a_while),
        TEST(test_what_a_killed_arbiter_left_goes),
        TEST(test_without_a_current_version_nothing_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
