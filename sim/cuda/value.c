// SPDX-License-Identifier: Apache-2.0

/*
 * Values that a stream writes into memory, or waits for, in the order of its work: fences that the
 * host, other streams and other processes see. Memory is the device's or the host's, allocated or
 * registered; managed memory is refused.
 *
 * In a captured stream they are nodes. To wait takes nothing of the device.
 */

#include <string.h>

#include "cuda/address.h"
#include "cuda/stream.h"

struct value {
    CUdeviceptr address;
    uint64_t value;
    unsigned bytes;   /* 4 or 8 */
    unsigned compare; /* of a wait */
};

static bool is_usable(CUdeviceptr address, unsigned bytes, bool is_write)
{
    const struct range *range = address_find(address);

    if (!range || address % bytes || range->kind == RANGE_MANAGED ||
        range->base + range->size - address < bytes)
        return false;
    return range->kind != RANGE_VIRTUAL || (is_write ? range->is_writable : range->is_readable);
}

static CUresult do_value(CUstream handle, const struct work *work)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    return r == CUDA_SUCCESS ? stream_do(stream, work, NULL) : r;
}

/* What was done before is seen by all that see it. */
static void run_write(const void *arguments)
{
    const struct value *value = arguments;

    if (value->bytes == sizeof(uint32_t))
        __atomic_store_n((uint32_t *)(uintptr_t)value->address, (uint32_t)value->value,
                         __ATOMIC_RELEASE);
    else
        __atomic_store_n((uint64_t *)(uintptr_t)value->address, value->value, __ATOMIC_RELEASE);
}

static CUresult write_value(CUstream handle, CUdeviceptr address, uint64_t number, unsigned bytes,
                            unsigned flags)
{
    const struct value value = {.address = address, .value = number, .bytes = bytes};
    const struct work work =
        stream_work(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, run_write, &value, sizeof(value));

    if ((flags & ~(unsigned)CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER) ||
        !is_usable(address, bytes, true))
        return CUDA_ERROR_INVALID_VALUE;
    return do_value(handle, &work);
}

/* What is there and what is wanted have the width of the value. */
static bool holds(uint64_t there, uint64_t wanted, const struct value *value)
{
    const uint64_t mask = value->bytes == sizeof(uint32_t) ? UINT32_MAX : UINT64_MAX;

    switch (value->compare) {
    case CU_STREAM_WAIT_VALUE_EQ:
        return there == wanted;
    case CU_STREAM_WAIT_VALUE_AND:
        return (there & wanted) != 0;
    case CU_STREAM_WAIT_VALUE_NOR:
        return (~(there | wanted) & mask) != 0;
    default: /* CU_STREAM_WAIT_VALUE_GEQ, on a circle */
        return ((there - wanted) & mask) <= mask >> 1;
    }
}

static bool is_met(const void *arguments)
{
    const struct value *value = arguments;

    if (value->bytes == sizeof(uint32_t))
        return holds(__atomic_load_n((uint32_t *)(uintptr_t)value->address, __ATOMIC_ACQUIRE),
                     (uint32_t)value->value, value);
    return holds(__atomic_load_n((uint64_t *)(uintptr_t)value->address, __ATOMIC_ACQUIRE),
                 value->value, value);
}

static CUresult wait_value(CUstream handle, CUdeviceptr address, uint64_t number, unsigned bytes,
                           unsigned flags)
{
    const struct value value = {
        .address = address, .value = number, .bytes = bytes, .compare = flags};
    struct work work = stream_work(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, NULL, &value, sizeof(value));

    if (flags & CU_STREAM_WAIT_VALUE_FLUSH) /* no GPU here can flush what others wrote to it */
        return CUDA_ERROR_NOT_SUPPORTED;
    if (flags > CU_STREAM_WAIT_VALUE_NOR || !is_usable(address, bytes, false))
        return CUDA_ERROR_INVALID_VALUE;
    work.is_met = is_met;
    return do_value(handle, &work);
}

CUresult sim_cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr address, uint32_t value,
                                     unsigned flags)
{
    return write_value(stream, address, value, sizeof(value), flags);
}

CUresult sim_cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr address, uint64_t value,
                                     unsigned flags)
{
    return write_value(stream, address, value, sizeof(value), flags);
}

CUresult sim_cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr address, uint32_t value,
                                    unsigned flags)
{
    return wait_value(stream, address, value, sizeof(value), flags);
}

CUresult sim_cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr address, uint64_t value,
                                    unsigned flags)
{
    return wait_value(stream, address, value, sizeof(value), flags);
}
