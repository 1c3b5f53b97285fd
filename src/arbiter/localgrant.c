// SPDX-License-Identifier: Apache-2.0
#include "arbiter/localgrant.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arbiter/procfs.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"

enum { FILE_MAX = 64 << 10, OPEN_FOLDERS = 8, SHARE_MAX = 1000 };

#define MEMBERS    "members"
#define LIMITS     "limits"
#define SHARES     "shares"
#define UID_PREFIX "command-"
#define CGROUP     "0::" /* version 2, in /proc/PID/cgroup */

/* --- on disk --- */

/* name: of a file in its directory; "" = that itself. */
static int format_path(const char *folder, const char *id, const char *name, char path[PATH_MAX],
                       struct error *err)
{
    if (snprintf(path, PATH_MAX, "%s/" LOCALGRANT_FOLDER "/%s%s%s", folder, id, *name ? "/" : "",
                 name) < PATH_MAX)
        return 0;
    return error_set_errno(err, -ENAMETOOLONG, "cannot use %s", folder);
}

static int store_file(const char *folder, const char *id, const char *name, const struct text *text,
                      struct error *err)
{
    char path[PATH_MAX];
    int r = format_path(folder, id, name, path, err);

    if (r < 0)
        return r;
    if (text_failed(text))
        return error_set_errno(err, -ENOMEM, "cannot write %s", path);
    return file_write_atomic(path, text_string(text), text->length, 0644, err);
}

int localgrant_store(const char *folder, const struct localgrant *grant, struct error *err)
{
    cleanup_text struct text members = TEXT_INIT, limits = TEXT_INIT, shares = TEXT_INIT;
    char path[PATH_MAX];
    int r;

    if (*grant->cgroup)
        text_addf(&members, "cgroup %s\n", grant->cgroup);
    else
        text_addf(&members, "tree %d\n", (int)grant->tree);
    if (grant->owner)
        text_addf(&members, "owner %d %" PRIu64 "\n", (int)grant->owner, grant->owner_start);
    text_add(&limits, "mode enforced\n");
    for (size_t i = 0; i < grant->n_limits; i++) {
        text_addf(&limits, "%s %" PRIu64 "\n", grant->limits[i].uuid, grant->limits[i].bytes);
        text_addf(&shares, "%s %" PRIu32 "\n", grant->limits[i].uuid,
                  grant->limits[i].share_permille);
    }
    r = format_path(folder, grant->id, "", path, err);
    if (r == 0)
        r = file_make_directory(path, err);
    if (r == 0)
        r = store_file(folder, grant->id, LIMITS, &limits, err);
    if (r == 0)
        r = store_file(folder, grant->id, SHARES, &shares, err);
    return r < 0 ? r : store_file(folder, grant->id, MEMBERS, &members, err);
}

static int read_owner(const char *at, struct localgrant *grant)
{
    uint64_t pid;

    if (!number_digits(&at, &pid) || !pid || pid > INT_MAX || *at++ != ' ' ||
        !number_digits(&at, &grant->owner_start) || *at)
        return -EBADMSG;
    grant->owner = (pid_t)pid;
    return 0;
}

static int read_members(char *line, struct localgrant *grant)
{
    uint32_t pid;

    if (str_starts_with(line, "owner "))
        return read_owner(line + strlen("owner "), grant);
    if (str_starts_with(line, "cgroup /"))
        return str_copy(grant->cgroup, sizeof(grant->cgroup), line + strlen("cgroup "));
    if (!str_starts_with(line, "tree ") || !number_parse(line + strlen("tree "), &pid) || !pid)
        return -EBADMSG;
    grant->tree = (pid_t)pid;
    return 0;
}

static int read_limit(const char *line, struct localgrant *grant)
{
    const size_t length = strcspn(line, " ");
    struct localgrant_limit *limit = &grant->limits[grant->n_limits];
    const char *at = line + length + 1;

    if (str_equal(line, "mode enforced"))
        return 0;
    if (grant->n_limits == LIMITS_DEVICES_MAX || length >= sizeof(limit->uuid) || !line[length] ||
        !number_digits(&at, &limit->bytes) || *at)
        return -EBADMSG;
    snprintf(limit->uuid, sizeof(limit->uuid), "%.*s", (int)length, line);
    grant->n_limits++;
    return 0;
}

/* Behind the limits; of other devices nothing is known. */
static int read_share(const char *line, struct localgrant *grant)
{
    const size_t length = strcspn(line, " ");
    uint32_t permille;

    if (!line[length] || !number_parse(line + length + 1, &permille) || permille > SHARE_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < grant->n_limits; i++)
        if (strlen(grant->limits[i].uuid) == length &&
            strncmp(grant->limits[i].uuid, line, length) == 0)
            grant->limits[i].share_permille = permille;
    return 0;
}

static int read_line(const char *name, char *line, struct localgrant *grant)
{
    if (str_equal(name, MEMBERS))
        return read_members(line, grant);
    return str_equal(name, LIMITS) ? read_limit(line, grant) : read_share(line, grant);
}

static int load_file(const char *folder, const char *name, struct localgrant *grant,
                     struct error *err)
{
    cleanup_free char *data = NULL;
    char path[PATH_MAX], *save = NULL;
    size_t size;
    int r = format_path(folder, grant->id, name, path, err);

    if (r == 0)
        r = file_read(path, FILE_MAX, &data, &size, err);
    if (r < 0)
        return r;
    for (char *line = strtok_r(data, "\n", &save); line && r == 0;
         line = strtok_r(NULL, "\n", &save))
        r = read_line(name, line, grant);
    return r < 0 ? error_set_errno(err, r, "cannot understand %s", path) : 0;
}

int localgrant_load(const char *folder, const char *id, struct localgrant *ret_grant,
                    struct error *err)
{
    struct localgrant grant = {.cgroup = ""};
    int r = str_copy(grant.id, sizeof(grant.id), id);

    if (r < 0)
        return error_set_errno(err, r, "cannot read a grant in %s", folder);
    r = load_file(folder, MEMBERS, &grant, err);
    if (r == 0)
        r = load_file(folder, LIMITS, &grant, err);
    if (r == 0) {
        r = load_file(folder, SHARES, &grant, err);
        r = r == -ENOENT ? 0 : r; /* of an arbiter of earlier */
    }
    if (r == 0 && !*grant.cgroup && !grant.tree)
        r = error_set(err, -EBADMSG, MEMBERS " of the grant %s in %s names nobody", id, folder);
    if (r == 0)
        *ret_grant = grant;
    return r;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

void localgrant_remove(const char *folder, const char *id)
{
    char path[PATH_MAX];

    if (format_path(folder, id, "", path, NULL) == 0)
        nftw(path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

/* --- its pod --- */

void localgrant_format_uid(const char *id, char uid[PODCGROUP_UID_SIZE])
{
    snprintf(uid, PODCGROUP_UID_SIZE, UID_PREFIX "%s", id);
}

bool localgrant_is_uid(const char *pod_uid)
{
    return str_starts_with(pod_uid, UID_PREFIX);
}

/* --- who belongs to it --- */

static int read_proc(pid_t pid, const char *name, char **ret_data)
{
    char path[64];
    size_t size;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return file_read(path, FILE_MAX, ret_data, &size, NULL);
}

/* The cgroup itself, or one that was made below it. */
static bool is_below(const char *path, const char *cgroup)
{
    const size_t length = strlen(cgroup);

    return strncmp(path, cgroup, length) == 0 && (!path[length] || path[length] == '/');
}

/* "": it has none of version 2. */
static int read_cgroup(pid_t pid, char ret_path[PATH_MAX])
{
    cleanup_free char *data = NULL;
    char *save = NULL;
    const int r = read_proc(pid, "cgroup", &data);

    if (r < 0)
        return r;
    ret_path[0] = '\0';
    for (char *line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (str_starts_with(line, CGROUP "/"))
            return str_copy(ret_path, PATH_MAX, line + strlen(CGROUP));
    return 0;
}

int localgrant_set_cgroup(struct localgrant *grant, pid_t pid, const char *name, struct error *err)
{
    char own[PATH_MAX];
    int r;

    /* Others than a command's may be there as well: of a process in the root, all of the node. */
    if (!str_starts_with(name, LOCALGRANT_CGROUP) || strpbrk(name, "/\n"))
        return error_set(err, -EINVAL, "'%s' is not the name of a command's cgroup", name);
    r = read_cgroup(pid, own);
    if (r < 0)
        return error_set_errno(err, r, "cannot tell the cgroup of process %d", (int)pid);
    if (!*own)
        return error_set(err, -ENOENT, "process %d has no cgroup of version 2", (int)pid);
    if (snprintf(grant->cgroup, sizeof(grant->cgroup), "%s/%s", str_equal(own, "/") ? "" : own,
                 name) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot name the cgroup %s", name);
    return 0;
}

/* The name of the program may contain anything; it ends with the last ')'. */
static int read_parent(pid_t pid, pid_t *ret_parent)
{
    cleanup_free char *data = NULL;
    const char *at;
    int r = read_proc(pid, "stat", &data), parent;

    if (r < 0)
        return r;
    at = strrchr(data, ')');
    if (!at || sscanf(at, ") %*c %d", &parent) != 1)
        return -EBADMSG;
    *ret_parent = parent;
    return 0;
}

int localgrant_look(pid_t pid, struct localgrant_process *ret_process)
{
    int r = read_cgroup(pid, ret_process->cgroup);

    ret_process->n_above = 0;
    while (r == 0 && pid > 0 && ret_process->n_above < LOCALGRANT_DEPTH_MAX) {
        ret_process->above[ret_process->n_above++] = pid;
        r = read_parent(pid, &pid);
    }
    return ret_process->n_above > 1 ? 0 : r; /* those further up may be hidden from us */
}

/* By its number and, where there is an owner, by its start: one that has ended leaves processes
 * behind, and its number to anybody. */
static bool is_root(const struct localgrant *grant, pid_t pid)
{
    uint64_t start;

    return pid == grant->tree && (!grant->owner || (procfs_read_start("", pid, &start, NULL) == 0 &&
                                                    start == grant->owner_start));
}

bool localgrant_has(const struct localgrant *grant, const struct localgrant_process *process)
{
    if (*grant->cgroup)
        return is_below(process->cgroup, grant->cgroup);
    for (size_t i = 0; i < process->n_above; i++)
        if (is_root(grant, process->above[i]))
            return true;
    return false;
}
