// SPDX-License-Identifier: Apache-2.0

/* Answers, as the process has them that reads them, or does not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/limitsanswer.h"
#include "arbiter/test-limitsanswer.h"

static int ours, theirs;

static int set_up(void **state)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    ours = ends[0];
    theirs = ends[1];
    return 0;
}

static int tear_down(void **state)
{
    close(ours);
    return close(theirs);
}

static void test_an_answer_is_what_was_sent(void **state)
{
    const struct limits_answer answer = {
        .kind = LIMITS_GRANTED, .mode = LIMITS_ENFORCED, .sequence = 7, .bytes = 4096};
    struct limits_answer got;
    int page;

    assert_true(limitsanswer_send(ours, &answer, -1));
    assert_true(limitsanswer_receive(theirs, &got, &page));
    assert_memory_equal(&got, &answer, sizeof(got));
    assert_int_equal(page, -1);
}

static void test_a_page_goes_along(void **state)
{
    const struct limits_answer answer = {.kind = LIMITS_WELCOME};
    const int fd = memfd_create("page", MFD_CLOEXEC);
    struct limits_answer got;
    struct stat sent, received;
    int page;

    assert_true(limitsanswer_send(ours, &answer, fd));
    assert_true(limitsanswer_receive(theirs, &got, &page));
    assert_int_equal(fstat(fd, &sent), 0);
    assert_int_equal(fstat(page, &received), 0);
    assert_int_equal(received.st_ino, sent.st_ino);
    close(fd);
    close(page);
}

static void test_who_does_not_read_is_not_waited_for(void **state)
{
    const struct limits_answer answer = {.kind = LIMITS_DENIED};
    struct limits_answer got;
    unsigned n_sent = 0, n_read = 0;
    int page;

    while (limitsanswer_send(ours, &answer, -1))
        n_sent++;
    while (limitsanswer_receive(theirs, &got, &page))
        n_read++;
    assert_true(n_sent > 0);
    assert_int_equal(n_read, n_sent);
}

static void test_who_is_gone_is_no_signal(void **state)
{
    const struct limits_answer answer = {.kind = LIMITS_DENIED};

    shutdown(theirs, SHUT_RDWR);
    assert_false(limitsanswer_send(ours, &answer, -1));
}

static void test_a_long_text_is_cut(void **state)
{
    struct limits_answer answer = {.kind = LIMITS_REFUSED};
    char text[100];

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    limitsanswer_set_text(&answer, text);
    assert_int_equal(strlen(answer.text), sizeof(answer.text) - 1);
    limitsanswer_set_text(&answer, "short");
    assert_string_equal(answer.text, "short");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer_is_what_was_sent),
        TEST(test_a_page_goes_along),
        TEST(test_who_does_not_read_is_not_waited_for),
        TEST(test_who_is_gone_is_no_signal),
        TEST(test_a_long_text_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
