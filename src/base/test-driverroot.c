// SPDX-License-Identifier: Apache-2.0
#include "base/driverroot.h"

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

/* A folder of the test's own, with the files that a row names; a name that ends in '/' is a folder,
 * "NAME -> TARGET" a link. */
static char folder[64];

static void make_entry(const char *entry)
{
    char path[PATH_MAX], *arrow;

    snprintf(path, sizeof(path), "%s%s", folder, entry);
    arrow = strstr(path, " -> ");
    if (arrow)
        *arrow = '\0';
    *strrchr(path, '/') = '\0';
    assert_int_equal(file_make_directory(path, NULL), 0);
    snprintf(path, sizeof(path), "%s%.*s", folder, (int)strcspn(entry, " "), entry);
    if (arrow)
        assert_int_equal(symlink(strstr(entry, " -> ") + strlen(" -> "), path), 0);
    else if (!str_ends_with(entry, "/"))
        assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
}

static void make_tree(const char *const *entries, size_t n)
{
    strcpy(folder, "/tmp/gpuslice-root-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < n && entries[i]; i++)
        make_entry(entries[i]);
}

static void drop_tree(void)
{
    char command[96];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

/* '@' is the test's folder. */
static void expand(char to[PATH_MAX], const char *from)
{
    if (from && *from == '@')
        snprintf(to, PATH_MAX, "%s%s", folder, from + 1);
    else
        snprintf(to, PATH_MAX, "%s", from ? from : "");
}

static void init(struct driverroot *root, const char *container, const char *host, const char *dev)
{
    char c[PATH_MAX], h[PATH_MAX], d[PATH_MAX];

    expand(c, container);
    expand(h, host);
    expand(d, dev);
    driverroot_init(root, c, h, d);
}

/* Where a node is looked for, and what the host calls it. */
static const struct {
    const char *name, *entries[4];
    const char *container, *host, *dev;
    const char *ours, *named;
} node_rows[] = {
    {"the container's driver root has them",
     {"/driver-root/dev/"},
     "@/driver-root",
     "/run/nvidia/driver",
     NULL,
     "@/driver-root",
     "/run/nvidia/driver/dev/x"},
    {"it has no dev folder: /dev",
     {"/driver-root/lib64/"},
     "@/driver-root",
     "/opt/kubernetes/nvidia",
     "/",
     "",
     "/dev/x"},
    {"slashes at the end change nothing",
     {"/driver-root/dev/"},
     "@/driver-root//",
     "/run/nvidia/driver/",
     "/run/nvidia/driver/",
     "@/driver-root",
     "/run/nvidia/driver/dev/x"},
    {"a dev root may name its dev folder",
     {"/driver-root/dev/"},
     "@/driver-root",
     "/run/nvidia/driver",
     "/run/nvidia/driver/dev",
     "@/driver-root",
     "/run/nvidia/driver/dev/x"},
    {"the host's root, mounted",
     {"/driver-root/dev/"},
     "@/driver-root",
     "/",
     NULL,
     "@/driver-root",
     "/dev/x"},
    {"a dev root outside of the driver root",
     {"/driver-root/dev/"},
     "@/driver-root",
     "/run/nvidia/driver",
     "/",
     "@/driver-root",
     "/dev/x"},
    {"a dev root in the driver root",
     {"/driver-root/dev/", "/driver-root/run/nvidia/driver/dev/"},
     "@/driver-root",
     "/",
     "/run/nvidia/driver",
     "@/driver-root/run/nvidia/driver",
     "/run/nvidia/driver/dev/x"},
    {"a process of the host",
     {"/opt/driver/dev/"},
     "@/driver-root",
     "@/opt/driver",
     NULL,
     "@/opt/driver",
     "@/opt/driver/dev/x"},
    {"a process of the host, with a dev root elsewhere",
     {"/opt/driver/dev/", "/nodes/dev/"},
     "@/driver-root",
     "@/opt/driver",
     "@/nodes",
     "@/nodes",
     "@/nodes/dev/x"},
    {"nothing is mounted",
     {NULL},
     "@/driver-root",
     "/run/nvidia/none",
     NULL,
     "",
     "/run/nvidia/none/dev/x"},
    {"no option at all", {NULL}, "@/driver-root", "/", "", "", "/dev/x"},
};

static void finds_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(node_rows); i++) {
        char ours[PATH_MAX], named[PATH_MAX], host[PATH_MAX];
        struct driverroot root;

        make_tree(node_rows[i].entries, ARRAY_SIZE(node_rows[i].entries));
        init(&root, node_rows[i].container, node_rows[i].host, node_rows[i].dev);
        expand(ours, node_rows[i].ours);
        expand(named, node_rows[i].named);
        driverroot_name_node(&root, "/dev/x", host);
        if (!str_equal(root.our_nodes, ours) || !str_equal(host, named))
            fail_msg("%s: looked below '%s' and named it %s", node_rows[i].name, root.our_nodes,
                     host);
        drop_tree();
    }
}

/* "FOUND" for each of what is looked for; links lead where they do on the host. */
static const struct {
    const char *name, *entries[3], *path, *found;
} file_rows[] = {
    {"a file", {"/r/usr/bin/nvidia-smi"}, "/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi"},
    {"none", {"/r/usr/bin/nvidia-smi"}, "/usr/bin/nvidia-debugdump", NULL},
    {"an absolute link, as Debian's alternatives are",
     {"/r/usr/lib/nvidia/libnvidia-ml.so.1", "/r/usr/lib/libnvidia-ml.so.1 -> /etc/alternatives/ml",
      "/r/etc/alternatives/ml -> /usr/lib/nvidia/libnvidia-ml.so.1"},
     "/usr/lib/libnvidia-ml.so.1",
     "/usr/lib/nvidia/libnvidia-ml.so.1"},
    {"a folder that is a link",
     {"/r/usr/lib64/libcuda.so.1", "/r/lib64 -> usr/lib64"},
     "/lib64/libcuda.so.1",
     "/usr/lib64/libcuda.so.1"},
    {"a link to what only our own root has", {"/r/passwd -> /etc/passwd"}, "/passwd", NULL},
    {"links in a circle", {"/r/a -> b", "/r/b -> /a"}, "/a", NULL},
    {"a link through another, and back up",
     {"/r/opt/x/lib.so", "/r/usr/x -> ../opt/x", "/r/lib -> usr/x/../x"},
     "/lib/lib.so",
     "/opt/x/lib.so"},
    {"a file where a folder must be", {"/r/lib64"}, "/lib64/libcuda.so", NULL},
    {"a link that leads out of the root", {"/secret", "/r/out -> ../secret"}, "/out", NULL},
};

static void follows_links_below_the_root(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(file_rows); i++) {
        struct driverroot_file file = {.host = ""};
        char wanted[PATH_MAX];
        struct driverroot root;
        bool found;

        make_tree(file_rows[i].entries, ARRAY_SIZE(file_rows[i].entries));
        init(&root, "@/r", "/host", NULL);
        found = driverroot_find_file(&root, file_rows[i].path, &file);
        snprintf(wanted, sizeof(wanted), "/host%s", file_rows[i].found ? file_rows[i].found : "");
        if (found != !!file_rows[i].found || (found && !str_equal(file.host, wanted)))
            fail_msg("%s: got '%s'", file_rows[i].name, file.host);
        drop_tree();
    }
}

static int add_path(const char *path, void *userdata)
{
    text_addf(userdata, "%s ", path);
    return 0;
}

static int stop_at_first(const char *path, void *userdata)
{
    text_add(userdata, path);
    return 1;
}

static void lists_what_matches(void **state)
{
    static const char *const entries[] = {"/r/dev/nvidia-fs1",   "/r/dev/nvidia-fs0",
                                          "/r/dev/other",        "/r/usr/lib64/b.so.5",
                                          "/r/usr/lib64/a.so.5", "/r/lib64 -> /usr/lib64"};
    cleanup_text struct text nodes = TEXT_INIT, files = TEXT_INIT, first = TEXT_INIT;
    struct driverroot root;

    (void)state;
    make_tree(entries, ARRAY_SIZE(entries));
    init(&root, "@/r", "/host", NULL);
    assert_int_equal(driverroot_each_node(&root, "/dev/nvidia-fs*", add_path, &nodes), 0);
    assert_string_equal(text_string(&nodes), "/dev/nvidia-fs0 /dev/nvidia-fs1 ");
    assert_true(driverroot_has_node(&root, "/dev/other"));
    assert_false(driverroot_has_node(&root, "/dev/null"));
    assert_int_equal(driverroot_each_file(&root, "/lib64/*.so.5", add_path, &files), 0);
    assert_string_equal(text_string(&files), "/lib64/a.so.5 /lib64/b.so.5 ");
    assert_int_equal(driverroot_each_file(&root, "/lib64/*", stop_at_first, &first), 1);
    assert_string_equal(text_string(&first), "/lib64/a.so.5");
    assert_int_equal(driverroot_each_file(&root, "/nowhere/*", add_path, &files), 0);
    drop_tree();
}

/* In each of the folders, one after the other. */
static void finds_a_library_in_every_folder(void **state)
{
    const char *library;

    (void)state;
    for (size_t i = 0; (library = driverroot_library_folder(i)); i++) {
        struct driverroot_file file;
        struct driverroot root;
        char entry[PATH_MAX], wanted[PATH_MAX];
        const char *const entries[] = {entry};

        snprintf(entry, sizeof(entry), "/r%s/libnvidia-ml.so.1", library);
        make_tree(entries, 1);
        init(&root, "@/r", "/host", NULL);
        assert_true(driverroot_find_library(&root, "libnvidia-ml.so.1", &file));
        snprintf(wanted, sizeof(wanted), "%s%s", folder, entry);
        assert_string_equal(file.ours, wanted);
        assert_false(driverroot_find_library(&root, "libcuda.so.1", &file));
        drop_tree();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_nodes),
        cmocka_unit_test(follows_links_below_the_root),
        cmocka_unit_test(lists_what_matches),
        cmocka_unit_test(finds_a_library_in_every_folder),
    };

    return cmocka_run_group_tests_name("base/driverroot", tests, NULL, NULL);
}
