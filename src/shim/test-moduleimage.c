// SPDX-License-Identifier: Apache-2.0

/* What ptxas 13.5 does with each kind of declaration stands in its cubins, in the symbols of
 * .nv.global and .nv.global.init; tests/fuzz/corpus/moduleimage has such. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/moduleimage.h"

#define HEAD    ".version 8.0\n.target sm_80\n.address_size 64\n"
#define UNKNOWN UINT64_MAX
#define MOST    (UINT64_C(1) << 48)

static void check(const void *image, size_t size, unsigned sm, uint64_t least, uint64_t most,
                  const char *what)
{
    struct moduleimage read = {1, 2, 3};
    const int r = moduleimage_read(image, size, sm, &read);
    const bool is_known = least != UNKNOWN;

    if (r != (is_known ? 0 : MODULEIMAGE_UNKNOWN) || read.least_bytes != (is_known ? least : 1) ||
        read.most_bytes != (is_known ? most : 2))
        fail_msg("%s: %d, %llu to %llu", what, r, (unsigned long long)read.least_bytes,
                 (unsigned long long)read.most_bytes);
}

/* --- PTX --- */

static void test_texts(void **state)
{
    static const char text[] = HEAD ".global .b8 a[7];";

    (void)state;
    check(text, BYTES_UNTOLD, 80, 7, 7, text);
    check(text, sizeof(text) - 1, 0, 7, 7, text);
    check(HEAD ".global a[7];", BYTES_UNTOLD, 80, UNKNOWN, 0, "PTX that does not tell");
    check("@nvvm = global [9 x i8]", BYTES_UNTOLD, 80, UNKNOWN, 0, "of another kind");
    check("\177EL", BYTES_UNTOLD, 80, UNKNOWN, 0, "the begin of a cubin");
    check("", BYTES_UNTOLD, 80, UNKNOWN, 0, "nothing");
}

/* --- cubins --- */

enum { EHDR = 64, SHDR = 64, NOBITS = 8, PROGBITS = 1, STRTAB = 3, ALLOC = 2 };

struct image {
    uint8_t bytes[4096];
    size_t size;
};

static void put(struct image *image, size_t at, uint64_t value, size_t size)
{
    assert_true(at + size <= sizeof(image->bytes));
    memcpy(&image->bytes[at], &value, size); /* little-endian */
    if (image->size < at + size)
        image->size = at + size;
}

struct section {
    const char *name;
    uint32_t type;
    uint64_t flags, size;
};

/* Header, names, sections; as ptxas has them in front of what is loaded. */
static struct image make_elf(const struct section *sections, size_t n)
{
    struct image image = {.size = 0};
    const size_t names = EHDR, table = 1024;
    size_t name = 1;

    put(&image, 0, 0x464c457f, 4);
    put(&image, 4, 2, 1);
    put(&image, 5, 1, 1);
    put(&image, 18, 190, 2);
    put(&image, 40, table, 8);
    put(&image, 58, SHDR, 2);
    put(&image, 60, n + 1, 2);
    put(&image, 62, 0, 2);
    put(&image, table + 4, STRTAB, 4);
    put(&image, table + 24, names, 8);
    put(&image, table + 32, 512, 8);
    put(&image, table + SHDR - 1, 0, 1);
    for (size_t i = 0; i < n; i++) {
        const size_t at = table + (i + 1) * SHDR;

        memcpy(&image.bytes[names + name], sections[i].name, strlen(sections[i].name));
        put(&image, at, name, 4);
        put(&image, at + 4, sections[i].type, 4);
        put(&image, at + 8, sections[i].flags, 8);
        put(&image, at + 24, UINT32_MAX, 8);
        put(&image, at + 32, sections[i].size, 8);
        put(&image, at + SHDR - 1, 0, 1);
        name += strlen(sections[i].name) + 1;
    }
    return image;
}

static const struct section sections[] = {
    {".nv.global", NOBITS, ALLOC | 1, 12448},  {".nv.global.init", PROGBITS, ALLOC | 1, 60},
    {".nv.globally", NOBITS, ALLOC | 1, 1000}, {".rel.nv.global.init", 9, 0, 16},
    {".nv.constant3", PROGBITS, ALLOC, 256},   {".nv.shared.k", NOBITS, ALLOC | 1, 64},
    {".text.k", PROGBITS, ALLOC | 4, 384},     {".nv.global", NOBITS, 0, 1000},
};

/* In a block of its own, so that nothing behind it is read. */
static void check_image(const struct image *image, bool is_told, unsigned sm, uint64_t least,
                        uint64_t most, const char *what)
{
    void *exact = malloc(image->size);

    assert_non_null(exact);
    memcpy(exact, image->bytes, image->size);
    check(exact, is_told ? image->size : BYTES_UNTOLD, sm, least, most, what);
    free(exact);
}

static void test_cubins(void **state)
{
    static const struct section huge[] = {{".nv.global", NOBITS, ALLOC, UINT64_MAX},
                                          {".nv.global.init", PROGBITS, ALLOC, UINT64_MAX}};
    struct image image = make_elf(sections, sizeof(sections) / sizeof(sections[0]));

    (void)state;
    check_image(&image, false, 0, 12508, 12508, "in memory");
    check_image(&image, true, 0, 12508, 12508, "in a file");
    image = make_elf(huge, 2);
    check_image(&image, false, 0, MOST, MOST, "huge");
    image = make_elf(NULL, 0);
    check_image(&image, false, 0, 0, 0, "nothing");
}

/* One field is wrong. */
static void test_cubins_that_do_not_tell(void **state)
{
    static const struct {
        const char *what;
        size_t at, size;
        uint64_t value;
    } faults[] = {
        {"32 bits", 4, 1, 1},
        {"big-endian", 5, 1, 2},
        {"another machine", 18, 2, 62},
        {"other sections", 58, 2, 40},
        {"no sections", 60, 2, 0},
        {"sections in the header", 40, 8, 8},
        {"sections far away", 40, 8, UINT64_MAX - 63},
        {"segments far away", 32, 8, UINT64_MAX - 63},
        {"names are no section", 62, 2, 9},
        {"names far away", 1024 + 24, 8, UINT64_MAX - 511},
        {"names behind the end", 1024 + 24, 8, 1536},
        {"names that do not end", 1024 + 32, 8, UINT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct image image = make_elf(sections, 8);

        put(&image, faults[i].at, faults[i].value, faults[i].size);
        check_image(&image, false, 0, UNKNOWN, 0, faults[i].what);
        check_image(&image, true, 0, UNKNOWN, 0, faults[i].what);
    }
    for (size_t size = 0; size < 1024 + 9 * SHDR; size++) {
        struct image image = make_elf(sections, 8);

        image.size = size;
        check_image(&image, true, 0, UNKNOWN, 0, "cut off");
    }
}

/* A name at the end of the table. */
static void test_names_are_within_their_table(void **state)
{
    struct image image = make_elf(sections, 1);

    (void)state;
    put(&image, 1024 + 32, 1 + strlen(".nv.global"), 8); /* its NUL is outside */
    check_image(&image, false, 0, 0, 0, "cut off");
    put(&image, 1024 + SHDR, UINT32_MAX, 4);
    check_image(&image, false, 0, 0, 0, "far away");
}

/* --- fatbins --- */

enum { PTX = 1, ELF = 2, LTO = 8, PLAIN = 0x11, LZ4 = 0x2011, ZSTD = 0x8011 };

struct entry {
    uint16_t kind;
    unsigned sm;
    uint64_t flags, bytes; /* of a variable */
};

static struct image make_fatbin(const struct entry *entries, size_t n)
{
    struct image image = {.size = 16};

    put(&image, 0, 0xba55ed50, 4);
    put(&image, 4, 1, 2);
    put(&image, 6, 16, 2);
    for (size_t i = 0; i < n; i++) {
        const struct section variable = {".nv.global", NOBITS, ALLOC, entries[i].bytes};
        struct image inner = make_elf(&variable, 1);
        const size_t at = image.size;

        if (entries[i].kind != ELF)
            inner.size =
                (size_t)snprintf((char *)inner.bytes, sizeof(inner.bytes),
                                 HEAD ".global .b8 a[%llu];", (unsigned long long)entries[i].bytes);
        put(&image, at, entries[i].kind, 2);
        put(&image, at + 2, 0x101, 2);
        put(&image, at + 4, 64, 4);
        put(&image, at + 8, (inner.size + 7) / 8 * 8, 8);
        put(&image, at + 28, entries[i].sm, 4);
        put(&image, at + 40, entries[i].flags, 8);
        put(&image, at + 63, 0, 1);
        memcpy(&image.bytes[image.size], inner.bytes, inner.size);
        image.size += (inner.size + 7) / 8 * 8;
    }
    put(&image, 8, image.size - 16, 8);
    return image;
}

static void check_fatbin(const struct entry *entries, size_t n, unsigned sm, uint64_t least,
                         uint64_t most, const char *what)
{
    struct image image = make_fatbin(entries, n);
    struct {
        uint32_t magic, version;
        const void *fatbin, *file;
    } wrapper = {0x466243b1, 1, image.bytes, NULL};

    check_image(&image, false, sm, least, most, what);
    check_image(&image, true, sm, least, most, what);
    check(&wrapper, BYTES_UNTOLD, sm, least, most, what);
    check(&wrapper, sizeof(wrapper), sm, UNKNOWN, 0, "a wrapper in a file");
    wrapper.version = 2;
    check(&wrapper, BYTES_UNTOLD, sm, UNKNOWN, 0, "a wrapper of several");
}

static void test_fatbins(void **state)
{
    static const struct entry plain[] = {
        {ELF, 70, PLAIN, 100}, {ELF, 80, PLAIN, 200}, {ELF, 86, PLAIN, 300}, {PTX, 80, PLAIN, 400}};
    static const struct entry compressed[] = {
        {ELF, 70, LZ4, 0}, {ELF, 80, PLAIN, 200}, {PTX, 90, ZSTD, 0}, {LTO, 90, PLAIN, 0}};

    (void)state;
    check_fatbin(plain, 4, 0, 100, 400, "any");
    check_fatbin(plain, 4, 80, 200, 400, "8.0");
    check_fatbin(plain, 4, 86, 200, 400, "8.6");
    check_fatbin(plain, 4, 90, 400, 400, "9.0: PTX alone");
    check_fatbin(plain, 4, 75, 100, 100, "7.5: the cubin of 7.0");
    check_fatbin(plain, 4, 60, UNKNOWN, 0, "6.0: nothing");
    check_fatbin(plain, 0, 0, UNKNOWN, 0, "empty");
    check_fatbin(compressed, 4, 80, 200, 200, "8.0: what is compressed is for others");
    check_fatbin(compressed, 4, 70, UNKNOWN, 0, "7.0: LZ4");
    check_fatbin(compressed, 4, 90, UNKNOWN, 0, "9.0: Zstandard, and another kind");
    check_fatbin(compressed + 3, 1, 90, UNKNOWN, 0, "another kind");
}

static void test_fatbins_that_do_not_tell(void **state)
{
    static const struct entry entry = {PTX, 80, PLAIN, 400};
    static const struct {
        const char *what;
        size_t at, size;
        uint64_t value;
    } faults[] = {
        {"another version", 4, 2, 2},
        {"a small header", 6, 2, 8},
        {"huge", 8, 8, UINT64_MAX},
        {"a small header of an entry", 16 + 4, 4, 8},
        {"no header of an entry", 16 + 4, 4, 0},
        {"a huge header of an entry", 16 + 4, 4, UINT32_MAX},
        {"a huge entry", 16 + 8, 8, UINT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct image image = make_fatbin(&entry, 1);

        put(&image, faults[i].at, faults[i].value, faults[i].size);
        check_image(&image, false, 0, UNKNOWN, 0, faults[i].what);
        check_image(&image, true, 0, UNKNOWN, 0, faults[i].what);
    }
    for (size_t size = 0; size < make_fatbin(&entry, 1).size; size++) {
        struct image image = make_fatbin(&entry, 1);

        image.size = size;
        check_image(&image, true, 0, UNKNOWN, 0, "cut off");
    }
}

/* --- the rest --- */

static void test_a_bound_of_the_rest(void **state)
{
    static const char text[] = HEAD ".global .b8 a[1000000];";
    static const struct entry entry = {PTX, 80, PLAIN, 400};
    const struct image elf = make_elf(sections, 8), fatbin = make_fatbin(&entry, 1);
    struct moduleimage read;

    (void)state;
    assert_int_equal(moduleimage_read(text, BYTES_UNTOLD, 80, &read), 0);
    assert_in_range(read.rest_bytes, sizeof(text) - 1, 4 * sizeof(text));
    assert_int_equal(moduleimage_read(elf.bytes, BYTES_UNTOLD, 80, &read), 0);
    assert_int_equal(read.rest_bytes, elf.size);
    assert_int_equal(moduleimage_read(fatbin.bytes, BYTES_UNTOLD, 80, &read), 0);
    assert_in_range(read.rest_bytes, sizeof(HEAD), 4 * fatbin.size);
}

/* --- memory --- */

/* At the end of what can be read; behind it is nothing, or what must not be read. */
static char *put_at_end(char *pages, const struct image *image, size_t size)
{
    char *at = pages + sysconf(_SC_PAGESIZE) - size;

    memcpy(at, image->bytes, size);
    return at;
}

/* Their headers say that there is more. */
static void check_cut_off(char *pages)
{
    static const struct entry entries[] = {{ELF, 80, PLAIN, 400}, {PTX, 80, PLAIN, 400}};
    const struct image elf = make_elf(sections, 8), fatbin = make_fatbin(entries, 2);
    struct {
        uint32_t magic, version;
        const void *fatbin;
    } wrapper = {0x466243b1, 1, NULL};
    struct image wrapped = {.size = sizeof(wrapper)}, text = {.size = sizeof(HEAD) - 1};

    for (size_t size = 4; size < elf.size; size++)
        check(put_at_end(pages, &elf, size), BYTES_UNTOLD, 80, UNKNOWN, 0, "a cubin");
    for (size_t size = 4; size < fatbin.size; size++) {
        wrapper.fatbin = put_at_end(pages, &fatbin, size);
        check(wrapper.fatbin, BYTES_UNTOLD, 80, UNKNOWN, 0, "a fatbin");
        check(&wrapper, BYTES_UNTOLD, 80, UNKNOWN, 0, "a wrapped fatbin");
    }
    memcpy(wrapped.bytes, &wrapper, sizeof(wrapper));
    for (size_t size = 4; size < sizeof(wrapper); size++)
        check(put_at_end(pages, &wrapped, size), BYTES_UNTOLD, 80, UNKNOWN, 0, "a wrapper");
    wrapper.fatbin = pages + sysconf(_SC_PAGESIZE);
    check(&wrapper, BYTES_UNTOLD, 80, UNKNOWN, 0, "a wrapper of nothing");
    check(wrapper.fatbin, BYTES_UNTOLD, 80, UNKNOWN, 0, "nothing");
    check(put_at_end(pages, &elf, elf.size), BYTES_UNTOLD, 80, 12508, 12508, "a whole one");
    for (size_t size = 1; size < 4; size++)
        check(put_at_end(pages, &elf, size), BYTES_UNTOLD, 80, UNKNOWN, 0, "a magic number");
    memcpy(text.bytes, HEAD, text.size);
    check(put_at_end(pages, &text, text.size), BYTES_UNTOLD, 80, UNKNOWN, 0,
          "a text that nothing ends");
}

static void test_images_that_end_where_memory_does(void **state)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    check_cut_off(pages);
    assert_int_equal(munmap(pages + page, page), 0);
    check_cut_off(pages);
    munmap(pages, page);
}

/* --- files --- */

static void test_files(void **state)
{
    static const char text[] = HEAD ".global .b8 a[7];";
    struct moduleimage read;
    char path[] = "/tmp/gpuslice-image-XXXXXX";
    const int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(moduleimage_read_file(path, 80, &read), MODULEIMAGE_UNKNOWN);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_int_equal(moduleimage_read_file(path, 80, &read), 0);
    assert_int_equal(read.most_bytes, 7);
    close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(moduleimage_read_file(path, 80, &read), MODULEIMAGE_UNKNOWN);
    assert_int_equal(moduleimage_read_file("/tmp", 80, &read), MODULEIMAGE_UNKNOWN);
    assert_int_equal(moduleimage_read_file(NULL, 80, &read), MODULEIMAGE_UNKNOWN);
    assert_int_equal(moduleimage_read(NULL, BYTES_UNTOLD, 80, &read), MODULEIMAGE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_cubins),
        cmocka_unit_test(test_cubins_that_do_not_tell),
        cmocka_unit_test(test_names_are_within_their_table),
        cmocka_unit_test(test_fatbins),
        cmocka_unit_test(test_fatbins_that_do_not_tell),
        cmocka_unit_test(test_a_bound_of_the_rest),
        cmocka_unit_test(test_images_that_end_where_memory_does),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
