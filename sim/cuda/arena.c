// SPDX-License-Identifier: Apache-2.0
#include "cuda/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/array.h"
#include "cuda/physical.h"

struct piece {
    uint64_t begin, end; /* in the chunk */
};

struct chunk {
    struct physical *physical;
    CUdeviceptr base;
    struct piece *pieces; /* in use, sorted */
    size_t n_pieces, capacity;
};

static void free_chunk(struct chunk *chunk)
{
    if (!chunk)
        return;
    if (chunk->base)
        physical_unreserve(chunk->base, chunk->physical->size);
    physical_put(chunk->physical);
    free(chunk->pieces);
    free(chunk);
}

/* The first gap of that size: the position that the piece takes among the others, or false. */
static bool find_gap(const struct chunk *chunk, uint64_t bytes, size_t *ret_at, uint64_t *ret_begin)
{
    uint64_t begin = 0;

    for (size_t i = 0; i <= chunk->n_pieces; i++) {
        uint64_t end = i < chunk->n_pieces ? chunk->pieces[i].begin : chunk->physical->size;

        if (end - begin >= bytes) {
            *ret_at = i;
            *ret_begin = begin;
            return true;
        }
        if (i < chunk->n_pieces)
            begin = chunk->pieces[i].end;
    }
    return false;
}

static bool take_from(struct chunk *chunk, uint64_t bytes, CUdeviceptr *ret_address)
{
    uint64_t begin;
    size_t at;

    if (!find_gap(chunk, bytes, &at, &begin) ||
        !array_push(&chunk->pieces, &chunk->n_pieces, &chunk->capacity, sizeof(*chunk->pieces)))
        return false;
    memmove(chunk->pieces + at + 1, chunk->pieces + at,
            (chunk->n_pieces - 1 - at) * sizeof(*chunk->pieces));
    chunk->pieces[at] = (struct piece){begin, begin + bytes};
    *ret_address = chunk->base + begin;
    return true;
}

static CUresult add_chunk(struct arena *arena, uint64_t bytes)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk)), **slot;
    CUresult r;

    if (!chunk)
        return CUDA_ERROR_OUT_OF_MEMORY;
    r = physical_new(arena->device, cuda_round_up(bytes, arena->chunk_bytes), false,
                     &chunk->physical);
    if (r == CUDA_SUCCESS)
        chunk->base =
            physical_map(chunk->physical, 0, chunk->physical->size, 0, PROT_READ | PROT_WRITE);
    slot = chunk->base
               ? array_push(&arena->chunks, &arena->n_chunks, &arena->capacity, sizeof(*slot))
               : NULL;
    if (!slot) {
        free_chunk(chunk);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *slot = chunk;
    arena->reserved += chunk->physical->size;
    if (arena->reserved > arena->reserved_high)
        arena->reserved_high = arena->reserved;
    return CUDA_SUCCESS;
}

static bool take(struct arena *arena, uint64_t bytes, CUdeviceptr *ret_address)
{
    for (size_t i = 0; i < arena->n_chunks; i++)
        if (take_from(arena->chunks[i], bytes, ret_address))
            return true;
    return false;
}

CUresult arena_take(struct arena *arena, uint64_t bytes, CUdeviceptr *ret_address)
{
    CUresult r;

    if (bytes > cuda_total_bytes(arena->device))
        return CUDA_ERROR_OUT_OF_MEMORY;
    bytes = cuda_round_up(bytes, arena->unit);
    if (!take(arena, bytes, ret_address)) {
        r = add_chunk(arena, bytes);
        if (r != CUDA_SUCCESS)
            return r;
        if (!take(arena, bytes, ret_address))
            return CUDA_ERROR_OUT_OF_MEMORY;
    }
    arena->used += bytes;
    if (arena->used > arena->used_high)
        arena->used_high = arena->used;
    return CUDA_SUCCESS;
}

static struct chunk *chunk_of(const struct arena *arena, CUdeviceptr address)
{
    for (size_t i = 0; i < arena->n_chunks; i++)
        if (address >= arena->chunks[i]->base &&
            address - arena->chunks[i]->base < arena->chunks[i]->physical->size)
            return arena->chunks[i];
    return NULL;
}

void arena_give(struct arena *arena, CUdeviceptr address)
{
    struct chunk *chunk = chunk_of(arena, address);

    for (size_t i = 0; chunk && i < chunk->n_pieces; i++) {
        const struct piece *piece = &chunk->pieces[i];

        if (chunk->base + piece->begin != address)
            continue;
        arena->used -= piece->end - piece->begin;
        memmove(chunk->pieces + i, chunk->pieces + i + 1,
                (chunk->n_pieces - 1 - i) * sizeof(*chunk->pieces));
        chunk->n_pieces--;
        return;
    }
}

void arena_trim(struct arena *arena, uint64_t keep_bytes)
{
    for (size_t i = arena->n_chunks; i > 0 && arena->reserved > keep_bytes; i--) {
        struct chunk *chunk = arena->chunks[i - 1];

        if (chunk->n_pieces > 0)
            continue;
        arena->reserved -= chunk->physical->size;
        free_chunk(chunk);
        memmove(arena->chunks + i - 1, arena->chunks + i,
                (arena->n_chunks - i) * sizeof(*arena->chunks));
        arena->n_chunks--;
    }
}

void arena_deinit(struct arena *arena)
{
    for (size_t i = 0; i < arena->n_chunks; i++)
        free_chunk(arena->chunks[i]);
    free(arena->chunks);
    arena->chunks = NULL;
    arena->n_chunks = arena->capacity = 0;
    arena->reserved = arena->used = 0;
}

struct physical *arena_physical(const struct arena *arena, CUdeviceptr address,
                                uint64_t *ret_offset)
{
    struct chunk *chunk = chunk_of(arena, address);

    if (!chunk)
        return NULL;
    *ret_offset = address - chunk->base;
    return chunk->physical;
}
