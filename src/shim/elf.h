// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Finds functions in libraries that are loaded, by their ELF symbol tables.
 *
 * Used where dlsym cannot be: to find libc's own dlsym behind the one that we export, and to look
 * up the driver's functions without touching what dlerror will say to the program. Calls no
 * function of libc: a program may look up its own malloc before anything in it is ready.
 */

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

/* The tables of a loaded library. */
struct elf_library {
    uintptr_t base;
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *gnu_hash;  /* NULL: it has the older table */
    const uint32_t *hash;      /* NULL: it has only the newer one */
    const ElfW(Half) * versym; /* NULL: its symbols have no versions */
    const char *soname;        /* "" = it has none */
};

bool elf_is_same(const char *a, const char *b);

void elf_read(const struct link_map *map, struct elf_library *ret_library);

/* A library that was loaded when the program started; false: there is none. Libraries that come
 * and go later stand behind those in the loader's list, so it is read without a lock. */
bool elf_find_loaded(const char *soname, struct elf_library *ret_library);

/* The function of that name, in its default version; NULL: there is none. */
void *elf_find(const struct elf_library *library, const char *name);
