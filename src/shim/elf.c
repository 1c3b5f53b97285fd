// SPDX-License-Identifier: Apache-2.0
#include "shim/elf.h"

#include <stddef.h>

enum { VERSION_HIDDEN = 0x8000 }; /* not the default version of its name */

bool elf_is_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* The loader adds the base to these addresses on all processors of ours; not in every loader's
 * read-only libraries (vDSO). */
static const void *at(uintptr_t base, ElfW(Addr) address)
{
    return (const void *)(address < base ? base + address : address);
}

void elf_read(const struct link_map *map, struct elf_library *ret_library)
{
    struct elf_library library = {.base = map->l_addr, .soname = ""};
    ElfW(Xword) soname = 0;
    bool has_soname = false;

    for (const ElfW(Dyn) *entry = map->l_ld; entry && entry->d_tag != DT_NULL; entry++) {
        const void *table = at(library.base, entry->d_un.d_ptr);

        if (entry->d_tag == DT_SYMTAB)
            library.symbols = table;
        else if (entry->d_tag == DT_STRTAB)
            library.strings = table;
        else if (entry->d_tag == DT_GNU_HASH)
            library.gnu_hash = table;
        else if (entry->d_tag == DT_HASH)
            library.hash = table;
        else if (entry->d_tag == DT_VERSYM)
            library.versym = table;
        else if (entry->d_tag == DT_SONAME) {
            soname = entry->d_un.d_val;
            has_soname = true;
        }
    }
    if (has_soname && library.strings)
        library.soname = library.strings + soname;
    *ret_library = library;
}

bool elf_find_loaded(const char *soname, struct elf_library *ret_library)
{
    for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
        struct elf_library library;

        elf_read(map, &library);
        if (elf_is_same(library.soname, soname)) {
            *ret_library = library;
            return true;
        }
    }
    return false;
}

static void *address_if(const struct elf_library *library, uint32_t index, const char *name)
{
    const ElfW(Sym) *symbol = &library->symbols[index];

    if (symbol->st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC ||
        !elf_is_same(library->strings + symbol->st_name, name))
        return NULL;
    if (library->versym && library->versym[index] & VERSION_HIDDEN)
        return NULL;
    return (void *)(library->base + symbol->st_value);
}

static void *find_by_gnu_hash(const struct elf_library *library, const char *name)
{
    const uint32_t n_buckets = library->gnu_hash[0], first = library->gnu_hash[1];
    const uint32_t n_words = library->gnu_hash[2];
    const uint32_t *buckets = library->gnu_hash + 4 + n_words * (sizeof(ElfW(Addr)) / 4);
    const uint32_t *chain = buckets + n_buckets;
    uint32_t hash = 5381, index;

    for (const char *c = name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    if (n_buckets == 0 || (index = buckets[hash % n_buckets]) < first)
        return NULL;
    for (;; index++) {
        const uint32_t link = chain[index - first];
        void *address = (link | 1) == (hash | 1) ? address_if(library, index, name) : NULL;

        if (address || link & 1)
            return address;
    }
}

static void *find_by_hash(const struct elf_library *library, const char *name)
{
    const uint32_t n_buckets = library->hash[0];
    const uint32_t *buckets = library->hash + 2, *chain = buckets + n_buckets;
    uint32_t hash = 0;

    for (const char *c = name; *c; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
    }
    for (uint32_t i = n_buckets ? buckets[hash % n_buckets] : 0; i != 0; i = chain[i]) {
        void *address = address_if(library, i, name);

        if (address)
            return address;
    }
    return NULL;
}

void *elf_find(const struct elf_library *library, const char *name)
{
    if (!library->symbols || !library->strings)
        return NULL;
    if (library->gnu_hash)
        return find_by_gnu_hash(library, name);
    return library->hash ? find_by_hash(library, name) : NULL;
}
