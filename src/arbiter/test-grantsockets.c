// SPDX-License-Identifier: Apache-2.0

/* A socket in the directory of each grant, whatever becomes of directories and files. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/grantsockets.h"
#include "base/array.h"
#include "base/file.h"
#include "grant/test-tempdir.h"
#include "limits/message.h"

#define FIRST  "0123456789abcdef"
#define SECOND "fedcba9876543210"

static uv_loop_t loop;
static struct grantsockets *sockets;
static char folder[128], accepted[64];
static unsigned n_accepted;

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(30);                      \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

static void on_accept(int fd, const char *grant_id, void *userdata)
{
    (void)userdata;
    snprintf(accepted, sizeof(accepted), "%s", grant_id);
    n_accepted++;
    close(fd);
}

static int set_up(void **state)
{
    n_accepted = 0;
    if (tempdir_make(state) < 0 || uv_loop_init(&loop) < 0)
        return -1;
    snprintf(folder, sizeof(folder), "%s/grants", tempdir);
    sockets = grantsockets_new(&loop, on_accept, NULL);
    return sockets ? 0 : -1;
}

static int tear_down(void **state)
{
    grantsockets_free(sockets);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? tempdir_remove(state) : -1;
}

/* Below the folder of grants; valid until the next call. */
static const char *below(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void make_directory(const char *name)
{
    assert_int_equal(file_make_directory(below(name), NULL), 0);
}

static int try_to_connect(const char *grant)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    int r;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/" LIMITS_SOCKET, folder, grant);
    r = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static void assert_serves(const char *grant)
{
    const unsigned n_before = n_accepted;

    assert_int_equal(try_to_connect(grant), 0);
    WAIT_FOR(n_accepted > n_before);
    assert_string_equal(accepted, grant);
}

static void test_each_grant_has_one_that_anybody_may_connect_to(void **state)
{
    struct stat st;

    (void)state;
    make_directory(FIRST);
    make_directory(SECOND);
    grantsockets_check(sockets, folder);
    assert_int_equal(grantsockets_count(sockets), 2);
    assert_serves(FIRST);
    assert_serves(SECOND);
    assert_int_equal(stat(below(FIRST "/" LIMITS_SOCKET), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
}

static void test_without_a_folder_there_is_none(void **state)
{
    (void)state;
    grantsockets_check(sockets, folder);
    assert_int_equal(grantsockets_count(sockets), 0);
    make_directory(FIRST);
    grantsockets_check(sockets, folder);
    assert_serves(FIRST);
}

/* Nobody calls grantsockets_check meanwhile. */
static void test_a_grant_is_seen_when_it_comes_and_when_it_goes(void **state)
{
    (void)state;
    assert_int_equal(file_make_directory(folder, NULL), 0);
    grantsockets_check(sockets, folder);
    make_directory(FIRST);
    WAIT_FOR(grantsockets_count(sockets) == 1);
    assert_serves(FIRST);
    assert_int_equal(unlink(below(FIRST "/" LIMITS_SOCKET)), 0);
    assert_int_equal(rmdir(below(FIRST)), 0);
    WAIT_FOR(grantsockets_count(sockets) == 0);
}

static void test_what_is_no_grant_has_none(void **state)
{
    static const char *const names[] = {"0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF",
                                        "lib"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        make_directory(names[i]);
    make_directory("elsewhere");
    assert_int_equal(symlink("elsewhere", below(FIRST)), 0);
    assert_int_equal(file_write_atomic(below(SECOND), "", 0, 0644, NULL), 0);
    grantsockets_check(sockets, folder);
    assert_int_equal(grantsockets_count(sockets), 0);
    assert_int_equal(access(below("elsewhere/" LIMITS_SOCKET), F_OK), -1);
}

static void test_what_an_earlier_arbiter_left_is_replaced(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int earlier = socket(AF_UNIX, SOCK_SEQPACKET, 0);

    (void)state;
    make_directory(FIRST);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", below(FIRST "/" LIMITS_SOCKET));
    assert_int_equal(bind(earlier, (struct sockaddr *)&address, sizeof(address)), 0);
    close(earlier);
    assert_int_equal(try_to_connect(FIRST), -ECONNREFUSED);
    grantsockets_check(sockets, folder);
    assert_serves(FIRST);
}

static void test_a_file_that_was_removed_is_made_again(void **state)
{
    (void)state;
    make_directory(FIRST);
    grantsockets_check(sockets, folder);
    assert_int_equal(unlink(below(FIRST "/" LIMITS_SOCKET)), 0);
    assert_int_equal(try_to_connect(FIRST), -ENOENT);
    grantsockets_check(sockets, folder);
    assert_int_equal(grantsockets_count(sockets), 1);
    assert_serves(FIRST);
}

/* The same grant in another folder, as after the agent's folder was replaced. */
static void test_a_directory_that_was_replaced_has_one(void **state)
{
    (void)state;
    make_directory(FIRST);
    grantsockets_check(sockets, folder);
    assert_int_equal(rename(folder, tempdir_path("aside")), 0);
    make_directory(FIRST);
    grantsockets_check(sockets, folder);
    assert_int_equal(grantsockets_count(sockets), 1);
    assert_serves(FIRST);
}

static void test_the_end_removes_what_is_ours(void **state)
{
    (void)state;
    make_directory(FIRST);
    make_directory(SECOND);
    grantsockets_check(sockets, folder);
    assert_int_equal(unlink(below(SECOND "/" LIMITS_SOCKET)), 0);
    assert_int_equal(file_write_atomic(below(SECOND "/" LIMITS_SOCKET), "", 0, 0644, NULL), 0);
    grantsockets_free(sockets);
    sockets = NULL;
    assert_int_equal(access(below(FIRST "/" LIMITS_SOCKET), F_OK), -1);
    assert_int_equal(access(below(SECOND "/" LIMITS_SOCKET), F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_each_grant_has_one_that_anybody_may_connect_to),
        TEST(test_without_a_folder_there_is_none),
        TEST(test_a_grant_is_seen_when_it_comes_and_when_it_goes),
        TEST(test_what_is_no_grant_has_none),
        TEST(test_what_an_earlier_arbiter_left_is_replaced),
        TEST(test_a_file_that_was_removed_is_made_again),
        TEST(test_a_directory_that_was_replaced_has_one),
        TEST(test_the_end_removes_what_is_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
