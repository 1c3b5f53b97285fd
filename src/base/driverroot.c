// SPDX-License-Identifier: Apache-2.0
#include "base/driverroot.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"

#ifdef __aarch64__
#define TRIPLET         "aarch64-linux-gnu"
#define FOREIGN_TRIPLET "x86_64-linux-gnu"
#else
#define TRIPLET         "x86_64-linux-gnu"
#define FOREIGN_TRIPLET "aarch64-linux-gnu"
#endif

/* As NVIDIA's plugin and its toolkit search them; nvidia/current is Debian's, /usr/local/nvidia
 * that of images made for a driver elsewhere, /glibc Talos'. */
static const char *const library_folders[] = {
    "/usr/lib64",
    "/usr/lib/" TRIPLET,
    "/usr/lib/" TRIPLET "/nvidia/current",
    "/usr/local/nvidia/lib64",
    "/lib64",
    "/lib/" TRIPLET,
    "/glibc/lib",
    "/usr/lib/" FOREIGN_TRIPLET,
    "/lib/" FOREIGN_TRIPLET,
};

enum { LINKS_MAX = 40 /* as the kernel has it */ };

static void drop_slashes(char *path)
{
    size_t length = strlen(path);

    while (length && path[length - 1] == '/')
        path[--length] = '\0';
}

static void set_root(char to[PATH_MAX], const char *root)
{
    snprintf(to, PATH_MAX, "%s", root);
    drop_slashes(to);
}

static bool join(char to[PATH_MAX], const char *root, const char *path)
{
    return snprintf(to, PATH_MAX, "%s%s", root, path) < PATH_MAX;
}

static bool is_folder(const char *root, const char *path)
{
    char whole[PATH_MAX];
    struct stat status;

    return join(whole, root, path) && stat(whole, &status) == 0 && S_ISDIR(status.st_mode);
}

/* "/run/nvidia/driver/dev" means the same as "/run/nvidia/driver", as for NVIDIA's plugin. */
static void drop_dev(char root[PATH_MAX])
{
    if (str_ends_with(root, "/dev"))
        root[strlen(root) - strlen("/dev")] = '\0';
    drop_slashes(root);
}

static bool is_below(const char *path, const char *root)
{
    const size_t length = strlen(root);

    return str_starts_with(path, root) && (path[length] == '/' || path[length] == '\0');
}

static void find_nodes(struct driverroot *root)
{
    if (is_below(root->host_nodes, root->host) &&
        join(root->our_nodes, root->ours, root->host_nodes + strlen(root->host)) &&
        is_folder(root->our_nodes, "/dev"))
        return;
    if (str_equal(root->ours, root->host) && is_folder(root->host_nodes, "/dev")) {
        set_root(root->our_nodes, root->host_nodes); /* we are on the host */
        return;
    }
    set_root(root->our_nodes, is_folder(root->ours, "/dev") ? root->ours : "");
}

void driverroot_init(struct driverroot *root, const char *container, const char *host,
                     const char *dev)
{
    set_root(root->host, host ? host : "");
    set_root(root->ours, container ? container : "");
    if (!is_folder(root->ours, "/"))
        set_root(root->ours, root->host);
    set_root(root->host_nodes, dev && *dev ? dev : root->host);
    drop_dev(root->host_nodes);
    find_nodes(root);
}

/* Takes the last name off a path of ours. */
static void go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        *slash = '\0';
}

/* Puts what a link names before the rest of the way. */
static int follow(const char *target, char *done, char rest[PATH_MAX])
{
    char whole[PATH_MAX];

    if (snprintf(whole, sizeof(whole), "%s/%s", target, rest) >= (int)sizeof(whole))
        return -ENAMETOOLONG;
    memcpy(rest, whole, sizeof(whole));
    if (*target == '/')
        *done = '\0';
    else
        go_up(done);
    return 0;
}

/* The first name of the way, and the way without it; "" = there is none, or a slash too many. */
static void take_name(char rest[PATH_MAX], char ret_name[PATH_MAX])
{
    const size_t slashes = strspn(rest, "/"), size = strcspn(rest + slashes, "/");

    memcpy(ret_name, rest + slashes, size);
    ret_name[size] = '\0';
    memmove(rest, rest + slashes + size, strlen(rest + slashes + size) + 1);
}

/* Goes one step down. Returns the length of a link's target, 0 for what is no link. */
static ssize_t go_down(const char *root, char done[PATH_MAX], const char *name,
                       char target[PATH_MAX])
{
    const size_t length = strlen(done);
    char whole[PATH_MAX];
    ssize_t n;

    if (snprintf(done + length, PATH_MAX - length, "/%s", name) >= (int)(PATH_MAX - length) ||
        !join(whole, root, done))
        return -ENAMETOOLONG;
    n = readlink(whole, target, PATH_MAX - 1);
    if (n < 0)
        return errno == EINVAL ? 0 : -errno; /* EINVAL: it is there, and is not a link */
    target[n] = '\0';
    return n;
}

/*
 * 0 and what `path` leads to below the root, as a process whose root that is would find it; or a
 * negative errno. Not by openat2(RESOLVE_IN_ROOT): kernels before 5.6 do not have it, and some
 * seccomp profiles refuse it.
 */
static int resolve(const char *root, const char *path, char ret_path[PATH_MAX])
{
    char rest[PATH_MAX], name[PATH_MAX], target[PATH_MAX], done[PATH_MAX] = "";
    unsigned n_links = 0;
    ssize_t r = 0;

    if (snprintf(rest, sizeof(rest), "%s", path) >= (int)sizeof(rest))
        return -ENAMETOOLONG;
    while (r >= 0 && *rest) {
        take_name(rest, name);
        if (str_equal(name, ".."))
            go_up(done);
        else if (*name && !str_equal(name, "."))
            r = go_down(root, done, name, target);
        else
            continue;
        if (r > 0)
            r = ++n_links > LINKS_MAX ? -ELOOP : follow(target, done, rest);
    }
    if (r < 0)
        return (int)r;
    memcpy(ret_path, done, sizeof(done));
    return 0;
}

bool driverroot_find_file(const struct driverroot *root, const char *path,
                          struct driverroot_file *ret_file)
{
    char found[PATH_MAX];

    if (resolve(root->ours, path, found) < 0)
        return false;
    return !ret_file ||
           (join(ret_file->ours, root->ours, found) && join(ret_file->host, root->host, found));
}

/* The folder is looked up as any other path, so that a link in it stays below the root. */
static int each_match(const char *root, const char *pattern,
                      int (*each)(const char *path, void *userdata), void *userdata)
{
    const char *name = strrchr(pattern, '/') + 1;
    char folder[PATH_MAX], found[PATH_MAX], path[PATH_MAX];
    struct dirent **entries;
    int n, r = 0;

    snprintf(folder, sizeof(folder), "%.*s", (int)(name - pattern), pattern);
    if (resolve(root, folder, found) < 0 || !join(path, root, found))
        return 0;
    n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return errno == ENOMEM ? -ENOMEM : 0;
    for (int i = 0; i < n; i++) {
        if (r == 0 && fnmatch(name, entries[i]->d_name, FNM_PERIOD) == 0 &&
            join(path, folder, entries[i]->d_name))
            r = each(path, userdata);
        free(entries[i]);
    }
    free(entries);
    return r;
}

int driverroot_each_file(const struct driverroot *root, const char *pattern,
                         int (*each)(const char *path, void *userdata), void *userdata)
{
    return each_match(root->ours, pattern, each, userdata);
}

const char *driverroot_library_folder(size_t position)
{
    return position < ARRAY_SIZE(library_folders) ? library_folders[position] : NULL;
}

bool driverroot_find_library(const struct driverroot *root, const char *name,
                             struct driverroot_file *ret_file)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(library_folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", library_folders[i], name);
        if (driverroot_find_file(root, path, ret_file))
            return true;
    }
    return false;
}

void driverroot_list_library_folders(struct text *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(library_folders); i++)
        if (!strstr(library_folders[i], FOREIGN_TRIPLET))
            text_addf(text, "%s%s", i ? ", " : "", library_folders[i] + 1);
}

bool driverroot_has_node(const struct driverroot *root, const char *path)
{
    char whole[PATH_MAX];

    return join(whole, root->our_nodes, path) && access(whole, F_OK) == 0;
}

int driverroot_each_node(const struct driverroot *root, const char *pattern,
                         int (*each)(const char *path, void *userdata), void *userdata)
{
    return each_match(root->our_nodes, pattern, each, userdata);
}

void driverroot_name_node(const struct driverroot *root, const char *path, char ret_host[PATH_MAX])
{
    if (!join(ret_host, root->host_nodes, path))
        snprintf(ret_host, PATH_MAX, "%s", path);
}
