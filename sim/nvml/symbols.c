// SPDX-License-Identifier: Apache-2.0
#include "nvml/symbols.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"

static const struct since {
    const char *name;
    unsigned branch; /* of the first driver that has it */
} sinces[] = {
#define SINCE(name, branch) {#name, branch},
#include "nvml/since.def"
};

/* This library's dynamic symbols, and the addresses they have when they are not hidden. */
static struct table {
    ElfW(Sym) * symbols;
    size_t n_symbols;
    const char *names;
    ElfW(Addr) * addresses;
} table;

static int compare(const void *name, const void *since)
{
    return strcmp(name, ((const struct since *)since)->name);
}

bool symbols_is_too_new(const char *name, unsigned branch)
{
    const struct since *since = bsearch(name, sinces, ARRAY_SIZE(sinces), sizeof(*sinces), compare);

    return since && branch < since->branch;
}

/* The highest index that a chain of the hash table reaches; the table itself does not say how many
 * symbols there are. */
static size_t count_symbols(const uint32_t *hash)
{
    const uint32_t n_buckets = hash[0], first = hash[1], bloom_words = hash[2];
    const uint32_t *buckets = hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
    const uint32_t *chains = buckets + n_buckets;
    uint32_t last = 0;

    for (uint32_t i = 0; i < n_buckets; i++)
        if (buckets[i] > last)
            last = buckets[i];
    if (last < first)
        return first;
    while (!(chains[last - first] & 1)) /* the lowest bit ends a chain */
        last++;
    return last + 1;
}

/* glibc keeps relocated addresses in the dynamic section; elsewhere they are offsets. */
static const void *at(const struct link_map *map, ElfW(Addr) address)
{
    return (const void *)(address < map->l_addr ? map->l_addr + address : address);
}

static bool find_table(void)
{
    const struct link_map *map = NULL;
    const uint32_t *hash = NULL;
    Dl_info info;

    if (table.addresses)
        return true;
    if (!dladdr1((void *)(uintptr_t)symbols_apply, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
        return false;
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            table.symbols = (ElfW(Sym) *)(uintptr_t)at(map, entry->d_un.d_ptr);
        else if (entry->d_tag == DT_STRTAB)
            table.names = at(map, entry->d_un.d_ptr);
        else if (entry->d_tag == DT_GNU_HASH)
            hash = at(map, entry->d_un.d_ptr);
    }
    if (!table.symbols || !table.names || !hash)
        return false;
    table.n_symbols = count_symbols(hash);
    table.addresses = calloc(table.n_symbols, sizeof(*table.addresses));
    for (size_t i = 0; table.addresses && i < table.n_symbols; i++)
        table.addresses[i] = table.symbols[i].st_value;
    return table.addresses != NULL;
}

static bool protect(int protection)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = (uintptr_t)table.symbols & ~(page - 1);
    const uintptr_t end = (uintptr_t)(table.symbols + table.n_symbols);

    return mprotect((void *)begin, end - begin, protection) == 0;
}

/* A symbol without an address is passed over by dlsym. */
void symbols_apply(const struct state *state, unsigned branch)
{
    if (!find_table() || !protect(PROT_READ | PROT_WRITE))
        return;
    for (size_t i = 0; i < table.n_symbols; i++) {
        const char *name = table.names + table.symbols[i].st_name;
        const bool is_hidden = strncmp(name, "nvml", 4) == 0 && table.addresses[i] &&
                               (symbols_is_too_new(name, branch) || state_is_missing(state, name));

        table.symbols[i].st_value = is_hidden ? 0 : table.addresses[i];
    }
    (void)protect(PROT_READ);
}

__attribute__((destructor)) static void forget_table(void)
{
    free(table.addresses);
    table.addresses = NULL;
}
