// SPDX-License-Identifier: Apache-2.0
#include "gpu/zeropages.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, PAGES = 1000 };

static char *map(int flags, int fd)
{
    char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

static int resident(char *memory)
{
    unsigned char pages[PAGES];
    int n = 0;

    assert_int_equal(mincore(memory, PAGES * PAGE, pages), 0);
    for (int i = 0; i < PAGES; i++)
        n += pages[i] & 1;
    return n;
}

static void drops_zeros_and_keeps_the_rest(void **state)
{
    char *memory = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);

    if (sysconf(_SC_PAGESIZE) != PAGE)
        skip();
    for (int i = 0; i < PAGES; i++)
        ((volatile char *)memory)[i * PAGE] = 0;
    memory[3 * PAGE] = 1;
    memory[500 * PAGE + 4095] = 2;
    memory[999 * PAGE + 77] = 3;
    assert_int_equal(resident(memory), PAGES);
    assert_true(zero_pages_give_back() >= (PAGES - 3) * PAGE);
    assert_int_equal(resident(memory), 3);
    assert_int_equal(memory[3 * PAGE], 1);
    assert_int_equal(memory[500 * PAGE + 4095], 2);
    assert_int_equal(memory[999 * PAGE + 77], 3);
    assert_int_equal(memory[4 * PAGE], 0);
    munmap(memory, PAGES * PAGE);
}

/* What was cleared there would come back as the file has it. */
static void leaves_files_alone(void **state)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    char *memory;

    assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
    assert_int_equal(pwrite(fd, "x", 1, 7 * PAGE), 1);
    memory = map(MAP_PRIVATE, fd);
    memory[7 * PAGE] = 0;
    zero_pages_give_back();
    assert_int_equal(memory[7 * PAGE], 0);
    munmap(memory, PAGES * PAGE);
    close(fd);
}

static void *wait_for_the_end(void *end)
{
    sem_wait(end);
    return NULL;
}

static void does_nothing_beside_a_thread(void **state)
{
    char *memory = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    pthread_t thread;
    sem_t end;

    ((volatile char *)memory)[0] = 0;
    sem_init(&end, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_the_end, &end), 0);
    assert_int_equal(zero_pages_give_back(), 0);
    assert_int_equal(resident(memory), 1);
    sem_post(&end);
    pthread_join(thread, NULL);
    munmap(memory, PAGES * PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_zeros_and_keeps_the_rest),
        cmocka_unit_test(leaves_files_alone),
        cmocka_unit_test(does_nothing_beside_a_thread),
    };

    return cmocka_run_group_tests_name("zeropages", tests, NULL, NULL);
}
