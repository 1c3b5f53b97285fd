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

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define SIZE_BYTES (UINT64_C(1) << 32)   /* no image is as large */
#define FILE_BYTES (UINT64_C(256) << 20) /* more is not read to find out */
#define MOST_ALIGN (UINT64_C(1) << 20)

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

/* --- PTX: words of a text --- */

struct text {
    const char *at, *end;
};

struct word {
    const char *at;
    size_t length; /* 0: the end */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '$' || c == '%';
}

static bool begins(const struct text *text, const char *with)
{
    const size_t length = strlen(with);

    return (size_t)(text->end - text->at) >= length && memcmp(text->at, with, length) == 0;
}

/* To behind the next one of these, or to the end. */
static void skip_behind(struct text *text, const char *what)
{
    while (text->at < text->end && !begins(text, what))
        text->at++;
    text->at += text->at < text->end ? strlen(what) : 0;
}

static void skip_string(struct text *text)
{
    for (text->at++; text->at < text->end && *text->at != '"'; text->at++)
        if (*text->at == '\\' && text->end - text->at > 1)
            text->at++;
    text->at += text->at < text->end;
}

static void skip_blanks(struct text *text)
{
    while (text->at < text->end) {
        if (is_space(*text->at))
            text->at++;
        else if (begins(text, "//"))
            skip_behind(text, "\n");
        else if (begins(text, "/*"))
            skip_behind(text, "*/");
        else
            return;
    }
}

/* A directive, which ends where another begins; a name, an instruction with all that belongs to it,
 * a number; a string; or one character of any other kind. */
static struct word next(struct text *text)
{
    struct word word;

    skip_blanks(text);
    word.at = text->at;
    if (text->at < text->end && *text->at == '"')
        skip_string(text);
    else
        while (text->at < text->end && is_in_word(*text->at) &&
               (text->at == word.at || *word.at != '.' || *text->at != '.'))
            text->at++;
    if (text->at == word.at && text->at < text->end)
        text->at++;
    word.length = (size_t)(text->at - word.at);
    return word;
}

static bool is_word(struct word word, const char *wanted)
{
    return word.length == strlen(wanted) && memcmp(word.at, wanted, word.length) == 0;
}

/* Digits of C, which may end with U. False: it is not a number. */
static bool read_number(struct word word, uint64_t *ret_number)
{
    char digits[32], *end;

    if (word.length == 0 || word.length >= sizeof(digits) || *word.at < '0' || *word.at > '9')
        return false;
    memcpy(digits, word.at, word.length);
    digits[word.length] = '\0';
    *ret_number = strtoull(digits, &end, 0);
    return *end == '\0' || strcmp(end, "U") == 0;
}

/* --- PTX: declarations --- */

static const struct {
    const char *name;
    unsigned bytes;
} types[] =
    {
        {".b8", 1},     {".u8", 1},      {".s8", 1},         {".b16", 2},    {".u16", 2},
        {".s16", 2},    {".f16", 2},     {".bf16", 2},       {".b32", 4},    {".u32", 4},
        {".s32", 4},    {".f32", 4},     {".f16x2", 4},      {".bf16x2", 4}, {".tf32", 4},
        {".b64", 8},    {".u64", 8},     {".s64", 8},        {".f64", 8},    {".b128", 16},
        {".texref", 0}, {".surfref", 0}, {".samplerref", 0}, /* no variables in the end */
};

static bool find_type(struct word word, uint64_t *ret_bytes)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (is_word(word, types[i].name)) {
            *ret_bytes = types[i].bytes;
            return true;
        }
    return false;
}

/* Of all names of one declaration. */
struct kind {
    uint64_t element_bytes, align;
};

/* What is behind ".global", up to the first name, which is returned. */
static int read_kind(struct text *text, struct kind *ret_kind, struct word *ret_name)
{
    struct kind kind = {0};
    uint64_t lanes = 1;
    bool has_type = false;
    struct word word;

    while ((word = next(text)).length > 0 && *word.at == '.') {
        if (is_word(word, ".align")) {
            if (!read_number(next(text), &kind.align) || kind.align > MOST_ALIGN)
                return MODULEIMAGE_UNKNOWN;
        } else if (is_word(word, ".attribute"))
            skip_behind(text, ")");
        else if (word.length == 3 && word.at[1] == 'v')
            lanes = (uint64_t)(word.at[2] - '0');
        else if (!(has_type = find_type(word, &kind.element_bytes)))
            return MODULEIMAGE_UNKNOWN;
    }
    if (!has_type || word.length == 0 || (lanes != 1 && lanes != 2 && lanes != 4 && lanes != 8))
        return MODULEIMAGE_UNKNOWN;
    kind.element_bytes *= lanes;
    if (!kind.align)
        kind.align = kind.element_bytes ? kind.element_bytes : 1;
    *ret_kind = kind;
    *ret_name = word;
    return kind.align & (kind.align - 1) ? MODULEIMAGE_UNKNOWN : 0;
}

/* Dimensions behind a name, up to the word behind them. *ret_open: the first one is left to the
 * initialiser. */
static int read_dimensions(struct text *text, uint64_t *ret_n, bool *ret_open, struct word *ret_end)
{
    uint64_t n = 1, one;
    bool is_first = true;
    struct word word;

    *ret_open = false;
    for (word = next(text); is_word(word, "["); word = next(text), is_first = false) {
        word = next(text);
        if (is_first && is_word(word, "]")) {
            *ret_open = true;
            continue;
        }
        if (!read_number(word, &one) || !is_word(next(text), "]"))
            return MODULEIMAGE_UNKNOWN;
        n = amount_multiply(n, one);
    }
    *ret_n = n;
    *ret_end = word;
    return 0;
}

/* Behind "=", up to what ends it. Returns how many elements its braces have. */
static uint64_t count_elements(struct text *text, struct word *ret_end)
{
    uint64_t n = 0;
    unsigned depth = 0;
    bool is_empty = true;
    struct word word;

    while ((word = next(text)).length > 0 &&
           (depth > 0 || !(is_word(word, ",") || is_word(word, ";")))) {
        if (is_word(word, "}") || is_word(word, ")")) {
            n += is_word(word, "}") && depth == 1 && !is_empty;
            depth -= depth > 0;
            continue;
        }
        n += depth == 1 && is_word(word, ",");
        is_empty = is_word(word, ",") || (depth == 0 && is_word(word, "{"));
        depth += is_word(word, "{") || is_word(word, "(");
    }
    *ret_end = word;
    return n;
}

/* Behind ".global": its variables are added to what there is before them. */
static int add_declaration(struct text *text, uint64_t *bytes)
{
    struct word word;
    struct kind kind;
    int r = read_kind(text, &kind, &word);

    if (r != 0)
        return r;
    do {
        uint64_t n, elements = 0;
        bool is_open;

        r = read_dimensions(text, &n, &is_open, &word);
        if (r != 0)
            return r;
        if (is_word(word, "="))
            elements = count_elements(text, &word);
        if (is_open)
            n = amount_multiply(n, elements);
        *bytes = amount_add(*bytes, kind.align - 1) & ~(kind.align - 1);
        *bytes = amount_add(*bytes, amount_multiply(n, kind.element_bytes));
    } while (is_word(word, ",") && next(text).length > 0);
    return is_word(word, ";") ? 0 : MODULEIMAGE_UNKNOWN;
}

/* ".global" is a word of declarations, and of parameters, which are in parentheses; instructions
 * have it within theirs. */
static int read_ptx(const struct bytes *image, struct moduleimage *ret_image)
{
    const size_t length = bytes_text_length(image);
    struct text text = {image->at, image->at + length};
    uint64_t bytes = 0;
    unsigned depth = 0;
    bool is_extern = false;
    struct word word = next(&text);

    if (!is_word(word, ".version"))
        return MODULEIMAGE_UNKNOWN;
    for (; word.length > 0; word = next(&text)) {
        if (depth == 0 && !is_extern && is_word(word, ".global") &&
            add_declaration(&text, &bytes) != 0)
            return MODULEIMAGE_UNKNOWN;
        if (is_word(word, "("))
            depth++;
        else if (is_word(word, ")"))
            depth -= depth > 0;
        is_extern = is_word(word, ".extern");
    }
    *ret_image = (struct moduleimage){bytes, bytes, amount_multiply(length, PTX_GROWTH)};
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
        return read_ptx(image, ret_image);
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
    return read_ptx(&bytes, ret_image);
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
