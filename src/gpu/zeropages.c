// SPDX-License-Identifier: Apache-2.0
#include "gpu/zeropages.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
    REGION_MAX_BYTES =
        256 << 20,    /* larger ones are no tables: a sanitizer's shadow, a reservation */
    LOOK_PAGES = 256, /* at a time */
};

static bool is_single_threaded(void)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    int n = 0;

    if (!tasks)
        return false;
    while ((entry = readdir(tasks)))
        n += entry->d_name[0] != '.';
    closedir(tasks);
    return n == 1;
}

static bool is_zero(const char *page, size_t size)
{
    return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

/* Drops the run of zero pages before `end`; returns its bytes. */
static size_t drop(char *begin, const char *end)
{
    size_t size = (size_t)(end - begin);

    return size && madvise(begin, size, MADV_DONTNEED) == 0 ? size : 0;
}

/* A page that is not resident is not looked at: that alone would make it so. */
static size_t give_back_pages(char *begin, size_t n, size_t page_size)
{
    unsigned char resident[LOOK_PAGES];
    char *run = begin;
    size_t bytes = 0;

    if (mincore(begin, n * page_size, resident) < 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        char *page = begin + i * page_size;

        if ((resident[i] & 1) && is_zero(page, page_size))
            continue;
        bytes += drop(run, page);
        run = page + page_size;
    }
    return bytes + drop(run, begin + n * page_size);
}

static size_t give_back_region(uintptr_t begin, uintptr_t end, size_t page_size)
{
    size_t bytes = 0;

    while (begin < end) {
        size_t n = (end - begin) / page_size;

        n = n > LOOK_PAGES ? LOOK_PAGES : n;
        bytes += give_back_pages((char *)begin, n, page_size);
        begin += n * page_size;
    }
    return bytes;
}

/*
 * Private and without a file or a name: a page of a file would come back as the file has it.
 * "[heap]" and "[stack]" are in use while we look.
 */
static bool is_candidate(const char *line, uintptr_t *ret_begin, uintptr_t *ret_end)
{
    unsigned long inode;
    char rights[5], name[2] = "";

    return sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*x:%*x %lu %1s", ret_begin, ret_end,
                  rights, &inode, name) >= 4 &&
           strcmp(rights, "rw-p") == 0 && inode == 0 && !name[0] &&
           *ret_end - *ret_begin <= REGION_MAX_BYTES;
}

size_t zero_pages_give_back(void)
{
    cleanup_fclose FILE *maps = fopen("/proc/self/maps", "re");
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE), bytes = 0;
    uintptr_t begin, end;
    char line[512];

    if (!maps || !is_single_threaded())
        return 0;
    while (fgets(line, sizeof(line), maps))
        if (is_candidate(line, &begin, &end))
            bytes += give_back_region(begin, end, page_size);
    return bytes;
}
