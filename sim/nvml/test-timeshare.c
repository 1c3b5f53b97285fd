// SPDX-License-Identifier: Apache-2.0

/* One record, many processes that change it, some of which are killed while they do. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nvml/timeshare.h"

enum { DEAD = 1000 /* clients from here on do not exist */ };

static struct timeshare *share;

static bool exist(const void *data, uint64_t client)
{
    return client < DEAD;
}

static bool publish(uint64_t self, uint64_t number, const struct timeslices *record)
{
    return timeshare_publish(share, number, record, &(struct timeshare_clients){self, exist, NULL});
}

static int setup(void **state)
{
    share = mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return share == MAP_FAILED;
}

static int teardown(void **state)
{
    return munmap(share, sizeof(*share));
}

static void test_only_one_of_two_changes_is_published(void **state)
{
    struct timeslices a, b;
    uint64_t first = timeshare_read(share, &a), second = timeshare_read(share, &b);

    assert_int_equal(first, second);
    (void)timeslice_join(&a, &(struct timeslice_context){.client = 1});
    (void)timeslice_join(&b, &(struct timeslice_context){.client = 2});
    assert_true(publish(1, first, &a));
    assert_false(publish(2, second, &b));
    second = timeshare_read(share, &b);
    assert_int_not_equal(first, second);
    assert_int_equal(b.n_contexts, 1);
    assert_int_equal(b.contexts[0].client, 1);
    assert_true(publish(2, second, &b));
}

/* Buffers of who was killed are used again; one that lives keeps its own. */
static void test_buffers_of_the_dead_are_taken(void **state)
{
    struct timeslices record;

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < TIMESHARE_BUFFERS; i++)
            if (!atomic_load(&share->owners[i]))
                atomic_store(&share->owners[i], i == 5 ? 3 : DEAD + i);
        for (unsigned i = 0; i < 20; i++) {
            uint64_t number = timeshare_read(share, &record);

            assert_true(publish(1, number, &record));
            assert_int_not_equal(atomic_load(&share->current) & 0xff, 5);
        }
    }
    assert_int_equal(atomic_load(&share->owners[5]), 3);
}

/* Adds one to what the record says of its context; a record that is half of one process's and half
 * of another's would be seen here. */
static void count(unsigned self, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct timeslices record;
        uint64_t number, sum;

        do {
            number = timeshare_read(share, &record);
            sum = 0;
            for (unsigned k = 0; k < record.n_contexts; k++)
                sum += record.contexts[k].n_before;
            if (sum != record.last_place)
                _exit(1);
            record.contexts[self].n_before++;
            record.last_place++;
        } while (!publish(self + 1, number, &record));
    }
    _exit(0);
}

static void test_no_change_is_lost(void **state)
{
    enum { PROCESSES = 6, CHANGES = 3000, KILLED = 2 };
    struct timeslices record;
    pid_t pids[PROCESSES];
    uint64_t number = timeshare_read(share, &record);
    int status;

    for (unsigned i = 0; i < PROCESSES; i++)
        (void)timeslice_join(&record, &(struct timeslice_context){.client = i + 1});
    assert_true(publish(1, number, &record));
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            count(i, i < KILLED ? UINT32_MAX : CHANGES);
    }
    for (unsigned i = KILLED; i < PROCESSES; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (unsigned i = 0; i < KILLED; i++) {
        kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFSIGNALED(status));
    }
    (void)timeshare_read(share, &record);
    for (unsigned i = KILLED; i < PROCESSES; i++)
        assert_int_equal(record.contexts[i].n_before, CHANGES);
}

static void test_kernels_of_a_client(void **state)
{
    uint64_t received_ns, n_kernels, number;
    struct timeslices record;
    unsigned first, second;

    number = timeshare_read(share, &record);
    atomic_store(&share->n_kernels[0], 7); /* of one that was there before */
    first = timeslice_join(&record, &(struct timeslice_context){.client = 9, .n_before = 7});
    second = timeslice_join(&record, &(struct timeslice_context){.client = 9, .origin_ns = 100});
    record.contexts[first].received_ns = record.contexts[first].wanted_ns = 50;
    record.contexts[second].received_ns = record.contexts[second].wanted_ns = 130;
    (void)timeslice_join(&record, &(struct timeslice_context){.client = 8});
    assert_true(publish(1, number, &record));
    atomic_fetch_add(&share->n_kernels[0], 3);
    atomic_fetch_add(&share->n_kernels[1], 2);
    timeshare_of_client(share, 9, &received_ns, &n_kernels);
    assert_int_equal(received_ns, 80);
    assert_int_equal(n_kernels, 5);
    timeshare_of_client(share, 0, &received_ns, &n_kernels); /* no client */
    assert_int_equal(received_ns + n_kernels, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_one_of_two_changes_is_published, setup, teardown),
        cmocka_unit_test_setup_teardown(test_buffers_of_the_dead_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_change_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kernels_of_a_client, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
