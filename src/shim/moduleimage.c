// SPDX-License-Identifier: Apache-2.0
#include "shim/moduleimage.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/amount.h"
#include "shim/ptx.h"

#define SIZE_BYTES (UINT64_C(1) << 32)   /* no image is as large */
#define FILE_BYTES (UINT64_C(256) << 20) /* more is not read to find out */

#define ELF_MAGIC     "\177ELF"
#define FATBIN_MAGIC  "\x50\xed\x55\xba"
#define WRAPPER_MAGIC "\xb1\x43\x62\x46"

enum {
    MAGIC_SIZE = 4,
    PTX_GROWTH = 4, /* kernels are smaller than their text, even with loops unrolled */
};

/* A text may be shorter. */
static bool has_magic(const struct bytes *image, const char *magic)
{
    return image->size >= MAGIC_SIZE && bytes_are_readable(image->at, MAGIC_SIZE) &&
           strncmp(image->at, magic, MAGIC_SIZE) == 0;
}

/* --- texts --- */

static int read_text(const struct bytes *image, struct moduleimage *ret_image)
{
    struct ptx ptx;

    if (ptx_read(image, &ptx) != 0)
        return MODULEIMAGE_UNKNOWN;
    *ret_image = (struct moduleimage){ptx.variables_bytes, ptx.variables_bytes,
                                      amount_multiply(ptx.length, PTX_GROWTH)};
    return 0;
}

/* --- cubins --- */

#define MACHINE_CUDA 190

/* Its header says where its tables are, and all else of it is before the end of those. */
static bool read_extent(const struct bytes *image, Elf64_Ehdr *ret_header, size_t *ret_size)
{
    uint64_t sections_end, segments_end;

    if (!bytes_copy(image, ret_header, sizeof(*ret_header)))
        return false;
    if (ret_header->e_ident[EI_CLASS] != ELFCLASS64 ||
        ret_header->e_ident[EI_DATA] != ELFDATA2LSB || ret_header->e_machine != MACHINE_CUDA ||
        ret_header->e_shentsize != sizeof(Elf64_Shdr) ||
        ret_header->e_shoff < sizeof(*ret_header) || ret_header->e_shoff > SIZE_BYTES ||
        ret_header->e_phoff > SIZE_BYTES)
        return false;
    sections_end = ret_header->e_shoff + ret_header->e_shnum * sizeof(Elf64_Shdr);
    segments_end = ret_header->e_phoff + ret_header->e_phnum * sizeof(Elf64_Phdr);
    *ret_size = image->size;
    if (image->size == BYTES_UNTOLD)
        *ret_size = amount_larger(sections_end, segments_end);
    return ret_header->e_shnum > 0 && sections_end <= *ret_size &&
           bytes_are_readable(image->at + ret_header->e_shoff, sections_end - ret_header->e_shoff);
}

static Elf64_Shdr section_of(const struct bytes *image, const Elf64_Ehdr *header, size_t i)
{
    Elf64_Shdr section;

    memcpy(&section, image->at + header->e_shoff + i * sizeof(section), sizeof(section));
    return section;
}

/* ".nv.global", ".nv.global.init" */
static bool is_of_variables(const struct bytes *names, const Elf64_Shdr *section)
{
    static const char begin[] = ".nv.global";
    const size_t length = sizeof(begin) - 1;
    const char *name;

    if (!(section->sh_flags & SHF_ALLOC) || section->sh_name >= names->size ||
        names->size - section->sh_name <= length)
        return false;
    name = names->at + section->sh_name;
    return memcmp(name, begin, length) == 0 && (name[length] == '\0' || name[length] == '.');
}

static int read_elf(const struct bytes *image, struct moduleimage *ret_image)
{
    Elf64_Ehdr header;
    Elf64_Shdr section;
    struct bytes names;
    uint64_t bytes = 0;
    size_t size;

    if (!read_extent(image, &header, &size) || header.e_shstrndx >= header.e_shnum)
        return MODULEIMAGE_UNKNOWN;
    section = section_of(image, &header, header.e_shstrndx);
    if (section.sh_offset > size || section.sh_size > size - section.sh_offset ||
        !bytes_are_readable(image->at + section.sh_offset, section.sh_size))
        return MODULEIMAGE_UNKNOWN;
    names = (struct bytes){image->at + section.sh_offset, section.sh_size};
    for (size_t i = 0; i < header.e_shnum; i++) {
        section = section_of(image, &header, i);
        if (is_of_variables(&names, &section))
            bytes = amount_add(bytes, section.sh_size);
    }
    *ret_image = (struct moduleimage){bytes, bytes, amount_add(size, 0)};
    return 0;
}

/* --- fatbins --- */

struct fatbin_header {
    uint32_t magic;
    uint16_t version, header_size;
    uint64_t size; /* of what is behind it */
};

struct fatbin_entry {
    uint16_t kind, version;
    uint32_t header_size;
    uint64_t size;
    uint32_t compressed_size, options;
    uint16_t minor, major;
    uint32_t sm;
    uint32_t name, name_size;
    uint64_t flags;
};

enum {
    ENTRY_PTX = 1,
    ENTRY_ELF = 2,
    ENTRY_COMPRESSED = 0x2000 | 0x8000, /* by LZ4, by Zstandard */
};

/* One that the driver may choose: a cubin is of one generation, PTX of all later ones. */
static bool may_be_chosen(const struct fatbin_entry *entry, unsigned sm)
{
    return sm == 0 || (entry->sm <= sm && (entry->kind == ENTRY_PTX || entry->sm / 10 == sm / 10));
}

static int read_entry(const struct fatbin_entry *entry, const struct bytes *image,
                      struct moduleimage *ret_image)
{
    if (entry->flags & ENTRY_COMPRESSED)
        return MODULEIMAGE_UNKNOWN;
    if (entry->kind == ENTRY_PTX)
        return read_text(image, ret_image);
    return entry->kind == ENTRY_ELF ? read_elf(image, ret_image) : MODULEIMAGE_UNKNOWN;
}

static int read_fatbin(const struct bytes *image, unsigned sm, struct moduleimage *ret_image)
{
    struct moduleimage all = {.least_bytes = UINT64_MAX}, one;
    struct fatbin_header header;
    struct fatbin_entry entry;
    struct bytes rest;

    if (!bytes_copy(image, &header, sizeof(header)))
        return MODULEIMAGE_UNKNOWN;
    if (header.version != 1 || header.header_size < sizeof(header) || header.size > SIZE_BYTES ||
        image->size - sizeof(header) < header.header_size - sizeof(header) + header.size)
        return MODULEIMAGE_UNKNOWN;
    rest = (struct bytes){image->at + header.header_size, header.size};
    for (size_t step; rest.size >= sizeof(entry); rest.at += step, rest.size -= step) {
        if (!bytes_copy(&rest, &entry, sizeof(entry)))
            return MODULEIMAGE_UNKNOWN;
        if (entry.header_size < sizeof(entry) || entry.header_size > rest.size ||
            entry.size > rest.size - entry.header_size)
            return MODULEIMAGE_UNKNOWN;
        step = entry.header_size + entry.size;
        if (!may_be_chosen(&entry, sm))
            continue;
        if (read_entry(&entry, &(struct bytes){rest.at + entry.header_size, entry.size}, &one) != 0)
            return MODULEIMAGE_UNKNOWN;
        all.least_bytes = one.least_bytes < all.least_bytes ? one.least_bytes : all.least_bytes;
        all.most_bytes = amount_larger(one.most_bytes, all.most_bytes);
        all.rest_bytes = amount_larger(one.rest_bytes, all.rest_bytes);
    }
    if (all.least_bytes > all.most_bytes)
        return MODULEIMAGE_UNKNOWN;
    *ret_image = all;
    return 0;
}

/* What compilers put into programs: the address of a fatbin. */
struct wrapper {
    uint32_t magic, version;
    const void *fatbin;
};

static int read_wrapper(const struct bytes *image, unsigned sm, struct moduleimage *ret_image)
{
    struct wrapper wrapper;
    struct bytes inner = {.size = BYTES_UNTOLD};

    if (image->size != BYTES_UNTOLD) /* in a file: an address of another process */
        return MODULEIMAGE_UNKNOWN;
    if (!bytes_copy(image, &wrapper, sizeof(wrapper)))
        return MODULEIMAGE_UNKNOWN;
    inner.at = wrapper.fatbin;
    if (wrapper.version != 1 || !inner.at || !has_magic(&inner, FATBIN_MAGIC))
        return MODULEIMAGE_UNKNOWN;
    return read_fatbin(&inner, sm, ret_image);
}

/* --- images --- */

int moduleimage_read(const void *image, size_t size, unsigned sm, struct moduleimage *ret_image)
{
    const struct bytes bytes = {image, size};

    if (!image || !bytes_are_readable(image, 1))
        return MODULEIMAGE_UNKNOWN;
    if (has_magic(&bytes, ELF_MAGIC))
        return read_elf(&bytes, ret_image);
    if (has_magic(&bytes, FATBIN_MAGIC))
        return read_fatbin(&bytes, sm, ret_image);
    if (has_magic(&bytes, WRAPPER_MAGIC))
        return read_wrapper(&bytes, sm, ret_image);
    return read_text(&bytes, ret_image);
}

static bool read_all(int fd, char *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n = read(fd, to + done, size - done);

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* 0: it is no regular file, or has none. libc's stat is a symbol of glibc 2.33. Nothing else is
 * opened: what is in a pipe would be lost to the driver. */
static size_t size_of_file(const char *path)
{
    struct stat status;

    if (syscall(SYS_newfstatat, AT_FDCWD, path, &status, 0) != 0 || !S_ISREG(status.st_mode) ||
        (uint64_t)status.st_size > FILE_BYTES)
        return 0;
    return (size_t)status.st_size;
}

int moduleimage_read_file(const char *path, unsigned sm, struct moduleimage *ret_image)
{
    const size_t size = path ? size_of_file(path) : 0;
    const int fd = size > 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    char *image = fd >= 0 ? malloc(size) : NULL;
    int r = MODULEIMAGE_UNKNOWN;

    if (image && read_all(fd, image, size))
        r = moduleimage_read(image, size, sm, ret_image);
    free(image);
    if (fd >= 0)
        close(fd);
    return r;
}
