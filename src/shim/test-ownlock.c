// SPDX-License-Identifier: Apache-2.0

/* A lock that a forked child finds open, whatever the threads of its parent were at. */

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/ownlock.h"

enum { CHILDREN = 300, DEADLINE_S = 10 };

static struct ownlock lock;
static atomic_bool is_over;

/* As if each time were the first. */
static void *enter_again_and_again(void *unused)
{
    while (!atomic_load(&is_over)) {
        __atomic_store_n(&lock.owner, 0, __ATOMIC_RELEASE);
        ownlock_enter(&lock);
        ownlock_leave(&lock);
    }
    return unused;
}

static void test_child_of_a_first_entry(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, enter_again_and_again, NULL), 0);
    for (int i = 0; i < CHILDREN; i++) {
        const pid_t child = fork();
        int status;

        if (child == 0) {
            alarm(DEADLINE_S);
            _exit(ownlock_enter(&lock) ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    atomic_store(&is_over, true);
    pthread_join(thread, NULL);
}

static void *be_cancelled_within(void *unused)
{
    ownlock_enter(&lock);
    pthread_cancel(pthread_self());
    poll(NULL, 0, 0);
    ownlock_leave(&lock);
    pthread_testcancel();
    return unused;
}

static void test_a_thread_that_is_cancelled_leaves_first(void **state)
{
    pthread_t thread;
    void *result = NULL;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, be_cancelled_within, NULL), 0);
    pthread_join(thread, &result);
    assert_ptr_equal(result, PTHREAD_CANCELED); /* the program wanted it */
    assert_int_equal(pthread_mutex_trylock(&lock.mutex), 0);
    pthread_mutex_unlock(&lock.mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_of_a_first_entry),
        cmocka_unit_test(test_a_thread_that_is_cancelled_leaves_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
