// SPDX-License-Identifier: Apache-2.0
#include "nodefiles.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"

enum { KERNEL_PID = 2, ID_PARTS = 4 };

/* --- files and links --- */

/* The folder is made if need be. */
static int store(const char *root, pid_t pid, const char *name, const char *content,
                 struct error *err)
{
    char folder[PATH_MAX], path[PATH_MAX + 16];
    int r;

    if (snprintf(folder, sizeof(folder), "%s/proc/%d", root, (int)pid) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot write below %s", root);
    r = file_make_directory(folder, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return file_write_atomic(path, content, strlen(content), 0644, err);
}

/* One that is there already is kept. */
static int make_link(const char *root, const char *name, const char *target, struct error *err)
{
    cleanup_text struct text path = TEXT_INIT;

    text_addf(&path, "%s/var/log/%s", root, name);
    if (text_failed(&path))
        return error_set_errno(err, -ENOMEM, "cannot link to %s", target);
    if (symlink(target, text_string(&path)) < 0 && errno != EEXIST)
        return error_set_errno(err, -errno, "cannot make the link %s", text_string(&path));
    return 0;
}

int nodefiles_make(const char *root, const char *pods, struct error *err)
{
    cleanup_text struct text folder = TEXT_INIT;
    int r;

    if (!root)
        return 0;
    text_addf(&folder, "%s/var/log/containers", root);
    if (text_failed(&folder))
        return error_set_errno(err, -ENOMEM, "cannot write below %s", root);
    r = file_make_directory(text_string(&folder), err);
    if (r == 0)
        r = store(root, KERNEL_PID, "comm", "kthreadd\n", err);
    return r < 0 ? r : make_link(root, "pods", pods, err);
}

/* --- a container --- */

/* 64 digits, as a runtime gives them; the same after a restart. */
static void add_id(const struct nodefiles_container *container, struct text *out)
{
    uint64_t hash = hash_text(hash_text(HASH_INIT, container->pod_uid), container->name);

    for (int i = 0; i < ID_PARTS; i++) {
        text_addf(out, "%016" PRIx64, hash);
        hash = hash_text(hash, container->name);
    }
}

static int link_log(const char *root, const struct nodefiles_container *container,
                    struct error *err)
{
    cleanup_text struct text name = TEXT_INIT, target = TEXT_INIT;

    text_addf(&name, "containers/%s_%s_%s-", container->pod, container->namespace_,
              container->name);
    add_id(container, &name);
    text_add(&name, ".log");
    text_addf(&target, "/var/log/pods/%s_%s_%s/%s/0.log", container->namespace_, container->pod,
              container->pod_uid, container->name);
    if (text_failed(&name) || text_failed(&target))
        return error_set_errno(err, -ENOMEM, "cannot name a container");
    return make_link(root, text_string(&name), text_string(&target), err);
}

int nodefiles_add(const char *root, const struct nodefiles_container *container, struct error *err)
{
    cleanup_text struct text cgroup = TEXT_INIT;
    int r;

    if (!root)
        return 0;
    text_addf(&cgroup, "0::/kubepods/besteffort/pod%s/", container->pod_uid);
    add_id(container, &cgroup);
    text_add(&cgroup, "\n");
    if (text_failed(&cgroup))
        return error_set_errno(err, -ENOMEM, "cannot name a container");
    r = link_log(root, container, err);
    return r < 0 ? r : store(root, container->pid, "cgroup", text_string(&cgroup), err);
}

void nodefiles_remove(const char *root, pid_t pid)
{
    char folder[PATH_MAX], path[PATH_MAX + 16];

    if (!root || snprintf(folder, sizeof(folder), "%s/proc/%d", root, (int)pid) >= PATH_MAX)
        return;
    snprintf(path, sizeof(path), "%s/cgroup", folder);
    unlink(path);
    rmdir(folder);
}
