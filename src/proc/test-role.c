// SPDX-License-Identifier: Apache-2.0
#include "proc/role.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"

/* What the kernel says of a process, its threads alike. */
struct status {
    unsigned uid[4], gid[4];
    uint64_t effective, permitted, bounding, ambient;
    unsigned no_new_privs;
    char groups[64];
};

static struct status read_status(void)
{
    cleanup_fclose FILE *file = fopen("/proc/self/status", "re");
    struct status status = {.no_new_privs = 99};
    char line[256];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        sscanf(line, "Uid: %u %u %u %u", &status.uid[0], &status.uid[1], &status.uid[2],
               &status.uid[3]);
        sscanf(line, "Gid: %u %u %u %u", &status.gid[0], &status.gid[1], &status.gid[2],
               &status.gid[3]);
        sscanf(line, "CapEff: %" SCNx64, &status.effective);
        sscanf(line, "CapPrm: %" SCNx64, &status.permitted);
        sscanf(line, "CapBnd: %" SCNx64, &status.bounding);
        sscanf(line, "CapAmb: %" SCNx64, &status.ambient);
        sscanf(line, "NoNewPrivs: %u", &status.no_new_privs);
        sscanf(line, "Groups: %63[^\n]", status.groups);
    }
    return status;
}

/* Runs one function in a process of its own, as nothing of a role can be undone. */
static void in_child(void (*run)(enum role role), enum role role)
{
    const pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        run(role);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) {                                             \
            fprintf(stderr, "%s: not so: %s\n", row->name, #condition); \
            _exit(1);                                                   \
        }                                                               \
    } while (0)

static void enter(enum role role)
{
    const struct role_rights *row = role_rights(role);
    const struct status before = read_status();
    struct status after;
    struct error err = ERROR_INIT;
    const int r = role_enter(role, &err);

    CHECK(r == 0 || r == ROLE_USER_KEPT);
    CHECK(role_enter(role, &err) >= 0); /* again: a program that executed itself */
    after = read_status();
    CHECK(after.no_new_privs == 1);
    CHECK(after.effective == (before.effective & row->capabilities));
    CHECK(after.permitted == (before.permitted & row->capabilities));
    CHECK(row->capabilities == UINT64_MAX || after.ambient == 0);
    for (int i = 0; i < 4; i++) {
        const bool is_nobody = row->becomes_nobody && before.uid[1] == 0 && r == 0;

        CHECK(after.uid[i] == (is_nobody ? ROLE_NOBODY : before.uid[i]));
        CHECK(after.gid[i] == (is_nobody ? ROLE_NOBODY : before.gid[i]));
        CHECK(!is_nobody || strspn(after.groups, " ") == strlen(after.groups));
    }
    if (before.effective & (1 << 8)) /* CAP_SETPCAP */
        CHECK((after.bounding & ~row->capabilities) == 0);
}

static void each_role_keeps_what_its_row_says(void **state)
{
    (void)state;
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        in_child(enter, (enum role)role);
}

static char roots_file[64]; /* removed by the parent: a role that gave root up could not */

static void try_files(enum role role)
{
    const struct role_rights *row = role_rights(role);
    const char *path = roots_file;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    CHECK(fd >= 0);
    CHECK(fchmod(fd, 0600) == 0);
    CHECK(role_check_readable(path) == -EACCES);
    CHECK(open(path, O_RDONLY | O_CLOEXEC) >= 0); /* that was only a question */
    CHECK(fchmod(fd, 0644) == 0);
    CHECK(role_check_readable(path) == 0);
    CHECK(role_check_readable("/nonexistent") == -ENOENT);
    CHECK(fchmod(fd, 0600) == 0);
    if (role_enter(role, NULL) == 0)
        CHECK(open(path, O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
    close(fd);
}

static void nobody_reads_what_is_for_root(void **state)
{
    int fd;

    (void)state;
    if (geteuid() != 0)
        skip();
    snprintf(roots_file, sizeof(roots_file), "/tmp/gpuslice-role-XXXXXX");
    fd = mkstemp(roots_file);
    assert_true(fd >= 0);
    close(fd);
    in_child(try_files, ROLE_HTTP);
    in_child(try_files, ROLE_NODESYNC);
    assert_int_equal(unlink(roots_file), 0);
}

/* Two steps: what is read by root comes first. */
static void enter_twice(enum role role)
{
    const struct role_rights *row = role_rights(role);
    struct error err = ERROR_INIT;

    CHECK(role_enter(ROLE_NODESYNC_START, &err) == 0);
    CHECK(geteuid() == 0);
    CHECK(role_enter(role, &err) == 0);
    CHECK(geteuid() == (row->becomes_nobody ? ROLE_NOBODY : 0));
    CHECK(read_status().permitted == 0);
}

static void nodesync_reads_its_credentials_first(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    in_child(enter_twice, ROLE_NODESYNC);
    in_child(enter_twice, ROLE_NODESYNC_AS_ROOT);
}

/* `test-proc-role try ROLE PATH...`: enters the role and says what it can open, or connect to. For
 * the integration tests, which know what lies on a node. */
static int try_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0 || errno != ENXIO) /* as for a socket */
        return fd < 0 ? errno : 0;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (str_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
        return ENAMETOOLONG;
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
}

static int try_paths(const char *name, int n_paths, char *paths[])
{
    unsigned role = 0;

    while (role < ROLE_COUNT && !str_equal(role_rights((enum role)role)->name, name))
        role++;
    if (role == ROLE_COUNT || role_enter((enum role)role, NULL) < 0)
        return 1;
    for (int i = 0; i < n_paths; i++) {
        const int r = try_path(paths[i]);

        printf("%s: %s\n", paths[i], r ? strerrorname_np(r) : "opened");
    }
    return 0;
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_role_keeps_what_its_row_says),
        cmocka_unit_test(nobody_reads_what_is_for_root),
        cmocka_unit_test(nodesync_reads_its_credentials_first),
    };

    if (argc > 2 && str_equal(argv[1], "try"))
        return try_paths(argv[2], argc - 3, argv + 3);
    return cmocka_run_group_tests_name("proc/role", tests, NULL, NULL);
}
