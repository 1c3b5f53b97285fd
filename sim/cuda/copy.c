// SPDX-License-Identifier: Apache-2.0
#include "cuda/copy.h"

#include <string.h>

#include "cuda/address.h"
#include "cuda/array.h"
#include "cuda/stream.h"

/* Rows of one memory to another. */
struct copy {
    CUdeviceptr to, from;
    uint64_t to_pitch, from_pitch;
    uint64_t width, height;
};

static void run_copy(const void *arguments)
{
    const struct copy *copy = arguments;

    for (uint64_t row = 0; row < copy->height; row++)
        memmove((void *)(uintptr_t)(copy->to + row * copy->to_pitch),
                (const void *)(uintptr_t)(copy->from + row * copy->from_pitch), copy->width);
}

/* Does an allocation have so many bytes from an address? */
static bool is_device(CUdeviceptr address, uint64_t bytes)
{
    const struct range *range;

    while ((range = address_find(address))) {
        uint64_t rest = range->base + range->size - address;

        if (range->kind == RANGE_VIRTUAL && !range->is_readable)
            return false;
        if (bytes <= rest)
            return true;
        if (range->kind != RANGE_VIRTUAL) /* others end where they end */
            return false;
        address += rest;
        bytes -= rest;
    }
    return false;
}

static CUresult do_copy(CUstream stream, const struct copy *copy)
{
    const struct work work = stream_work(CU_GRAPH_NODE_TYPE_MEMCPY, run_copy, copy, sizeof(*copy));

    return stream_do(stream, &work, NULL);
}

static CUresult copy_rows(const struct copy *copy, CUstream handle, bool waits)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r == CUDA_SUCCESS && copy->width > 0 && copy->height > 0)
        r = do_copy(stream, copy);
    if (r == CUDA_SUCCESS && waits)
        stream_drain(stream);
    return r;
}

enum side { SIDE_HOST, SIDE_DEVICE, SIDE_ANY };

static CUresult copy_line(CUdeviceptr to, enum side to_side, CUdeviceptr from, enum side from_side,
                          uint64_t bytes, CUstream handle, bool waits)
{
    const struct copy copy = {.to = to, .from = from, .width = bytes, .height = 1};

    if (bytes > 0 && ((to_side == SIDE_DEVICE && !is_device(to, bytes)) ||
                      (from_side == SIDE_DEVICE && !is_device(from, bytes)) || !to || !from))
        return CUDA_ERROR_INVALID_VALUE;
    return copy_rows(&copy, handle, waits);
}

static CUdeviceptr host(const void *memory)
{
    return (uintptr_t)memory;
}

CUresult sim_cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t n)
{
    return copy_line(to, SIDE_ANY, from, SIDE_ANY, n, NULL, true);
}

CUresult sim_cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n)
{
    return copy_line(to, SIDE_DEVICE, host(from), SIDE_HOST, n, NULL, true);
}

CUresult sim_cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n)
{
    return copy_line(host(to), SIDE_HOST, from, SIDE_DEVICE, n, NULL, true);
}

CUresult sim_cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t n)
{
    return copy_line(to, SIDE_DEVICE, from, SIDE_DEVICE, n, NULL, false);
}

/* Each copy has attributes: those of the last entry that begins at it or before. */
static bool are_attributes(const CUmemcpyAttributes *attributes, const size_t *begins, size_t n,
                           size_t n_copies)
{
    if (!attributes || !begins || n == 0 || begins[0] != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (begins[i] >= n_copies || (i > 0 && begins[i] <= begins[i - 1]) ||
            attributes[i].srcAccessOrder < CU_MEMCPY_SRC_ACCESS_ORDER_STREAM ||
            attributes[i].srcAccessOrder > CU_MEMCPY_SRC_ACCESS_ORDER_ANY)
            return false;
    return true;
}

/* All in the order of the stream, which no access order forbids but that of a source that may end
 * with the call: it is read then, after what is in the stream. */
CUresult sim_cuMemcpyBatchAsync_v2(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t n,
                                   CUmemcpyAttributes *attributes, size_t *begins,
                                   size_t n_attributes, CUstream handle)
{
    CUstream stream;
    bool waits = false;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to || !from || !sizes || stream->kind == STREAM_LEGACY ||
        !are_attributes(attributes, begins, n_attributes, n))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < n_attributes; i++)
        waits |= attributes[i].srcAccessOrder == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL;
    for (size_t i = 0; i < n && r == CUDA_SUCCESS; i++)
        r = copy_line(to[i], SIDE_ANY, from[i], SIDE_ANY, sizes[i], handle, waits);
    return r;
}

CUresult sim_cuMemcpyBatchAsync(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t n,
                                CUmemcpyAttributes *attributes, size_t *begins, size_t n_attributes,
                                size_t *ret_failed, CUstream handle)
{
    CUresult r =
        sim_cuMemcpyBatchAsync_v2(to, from, sizes, n, attributes, begins, n_attributes, handle);

    if (r != CUDA_SUCCESS && ret_failed)
        *ret_failed = SIZE_MAX;
    return r;
}

CUresult sim_cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream stream)
{
    return copy_line(to, SIDE_ANY, from, SIDE_ANY, n, stream, false);
}

CUresult sim_cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream stream)
{
    return copy_line(to, SIDE_DEVICE, host(from), SIDE_HOST, n, stream, false);
}

CUresult sim_cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, CUstream stream)
{
    return copy_line(host(to), SIDE_HOST, from, SIDE_DEVICE, n, stream, false);
}

CUresult sim_cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream stream)
{
    return copy_line(to, SIDE_DEVICE, from, SIDE_DEVICE, n, stream, false);
}

/* One end of a copy: where its first byte is, and how far apart rows and layers are. */
struct end {
    CUmemorytype type;
    const void *host;
    CUdeviceptr device;
    CUarray array;
    uint64_t x, y, z, pitch, height;
};

static bool resolve(struct end *end, CUdeviceptr *ret_address)
{
    CUdeviceptr base = end->type == CU_MEMORYTYPE_HOST ? host(end->host) : end->device;

    if (end->type == CU_MEMORYTYPE_ARRAY)
        base = array_elements(end->array, &end->pitch, &end->height);
    *ret_address = base + (end->z * end->height + end->y) * end->pitch + end->x;
    return base && (end->type != CU_MEMORYTYPE_DEVICE || is_device(*ret_address, 1));
}

static CUresult copy_3d(const CUDA_MEMCPY3D *c, CUstream stream, bool waits)
{
    struct end to, from;
    struct copy copy;
    CUresult r = CUDA_SUCCESS;

    if (!c)
        return CUDA_ERROR_INVALID_VALUE;
    to = (struct end){c->dstMemoryType,
                      c->dstHost,
                      c->dstDevice,
                      c->dstArray,
                      c->dstXInBytes,
                      c->dstY,
                      c->dstZ,
                      c->dstPitch ? c->dstPitch : c->WidthInBytes,
                      c->dstHeight ? c->dstHeight : c->Height};
    from = (struct end){c->srcMemoryType,
                        c->srcHost,
                        c->srcDevice,
                        c->srcArray,
                        c->srcXInBytes,
                        c->srcY,
                        c->srcZ,
                        c->srcPitch ? c->srcPitch : c->WidthInBytes,
                        c->srcHeight ? c->srcHeight : c->Height};
    for (size_t layer = 0; layer < c->Depth && r == CUDA_SUCCESS; layer++, to.z++, from.z++) {
        copy = (struct copy){.width = c->WidthInBytes, .height = c->Height};
        if (!resolve(&to, &copy.to) || !resolve(&from, &copy.from) || to.pitch < c->WidthInBytes ||
            from.pitch < c->WidthInBytes)
            return CUDA_ERROR_INVALID_VALUE;
        copy.to_pitch = to.pitch;
        copy.from_pitch = from.pitch;
        r = copy_rows(&copy, stream, waits);
    }
    return r;
}

static CUresult copy_2d(const CUDA_MEMCPY2D *c, CUstream stream, bool waits)
{
    if (!c)
        return CUDA_ERROR_INVALID_VALUE;
    return copy_3d(&(CUDA_MEMCPY3D){.srcXInBytes = c->srcXInBytes,
                                    .srcY = c->srcY,
                                    .srcMemoryType = c->srcMemoryType,
                                    .srcHost = c->srcHost,
                                    .srcDevice = c->srcDevice,
                                    .srcArray = c->srcArray,
                                    .srcPitch = c->srcPitch,
                                    .dstXInBytes = c->dstXInBytes,
                                    .dstY = c->dstY,
                                    .dstMemoryType = c->dstMemoryType,
                                    .dstHost = c->dstHost,
                                    .dstDevice = c->dstDevice,
                                    .dstArray = c->dstArray,
                                    .dstPitch = c->dstPitch,
                                    .WidthInBytes = c->WidthInBytes,
                                    .Height = c->Height,
                                    .Depth = 1},
                   stream, waits);
}

CUresult sim_cuMemcpy3D_v2(const CUDA_MEMCPY3D *copy)
{
    return copy_3d(copy, NULL, true);
}

CUresult sim_cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return copy_3d(copy, stream, false);
}

CUresult sim_cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                          CUcontext from_context, size_t n)
{
    return copy_line(to, SIDE_DEVICE, from, SIDE_DEVICE, n, NULL, false);
}

CUresult sim_cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                               CUcontext from_context, size_t n, CUstream stream)
{
    return copy_line(to, SIDE_DEVICE, from, SIDE_DEVICE, n, stream, false);
}

CUresult sim_cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy)
{
    return copy_2d(copy, NULL, true);
}

CUresult sim_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return copy_2d(copy, stream, false);
}

static void run_fill(const void *arguments)
{
    const CUDA_MEMSET_NODE_PARAMS *fill = arguments;

    for (size_t row = 0; row < fill->height; row++) {
        char *to = (char *)(uintptr_t)(fill->dst + row * fill->pitch);

        if (fill->elementSize == 1)
            memset(to, (int)fill->value, fill->width);
        for (size_t i = 0; fill->elementSize > 1 && i < fill->width; i++)
            memcpy(to + i * fill->elementSize, &fill->value, fill->elementSize);
    }
}

CUresult copy_fill_work(const CUDA_MEMSET_NODE_PARAMS *fill, struct work *ret_work)
{
    uint64_t row_bytes;

    if ((fill->elementSize != 1 && fill->elementSize != 2 && fill->elementSize != 4) ||
        __builtin_mul_overflow(fill->width, fill->elementSize, &row_bytes) ||
        fill->dst % fill->elementSize || (fill->height > 1 && fill->pitch < row_bytes) ||
        !is_device(fill->dst, (fill->height - 1) * fill->pitch + row_bytes))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_work = stream_work(CU_GRAPH_NODE_TYPE_MEMSET, run_fill, fill, sizeof(*fill));
    return CUDA_SUCCESS;
}

static CUresult fill_rows(const CUDA_MEMSET_NODE_PARAMS *fill, CUstream handle)
{
    struct work work;
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS || fill->width == 0 || fill->height == 0)
        return r;
    r = copy_fill_work(fill, &work);
    return r == CUDA_SUCCESS ? stream_do(stream, &work, NULL) : r;
}

#define FILL(bits, type)                                                                          \
    CUresult sim_cuMemsetD##bits##Async(CUdeviceptr to, type value, size_t n, CUstream stream)    \
    {                                                                                             \
        return fill_rows(                                                                         \
            &(CUDA_MEMSET_NODE_PARAMS){                                                           \
                .dst = to, .width = n, .height = 1, .value = value, .elementSize = (bits) / 8},   \
            stream);                                                                              \
    }                                                                                             \
    CUresult sim_cuMemsetD##bits##_v2(CUdeviceptr to, type value, size_t n)                       \
    {                                                                                             \
        return sim_cuMemsetD##bits##Async(to, value, n, NULL);                                    \
    }                                                                                             \
    CUresult sim_cuMemsetD2D##bits##Async(CUdeviceptr to, size_t pitch, type value, size_t width, \
                                          size_t height, CUstream stream)                         \
    {                                                                                             \
        return fill_rows(&(CUDA_MEMSET_NODE_PARAMS){.dst = to,                                    \
                                                    .pitch = pitch,                               \
                                                    .width = width,                               \
                                                    .height = height,                             \
                                                    .value = value,                               \
                                                    .elementSize = (bits) / 8},                   \
                         stream);                                                                 \
    }                                                                                             \
    CUresult sim_cuMemsetD2D##bits##_v2(CUdeviceptr to, size_t pitch, type value, size_t width,   \
                                        size_t height)                                            \
    {                                                                                             \
        return sim_cuMemsetD2D##bits##Async(to, pitch, value, width, height, NULL);               \
    }

FILL(8, unsigned char)
FILL(16, unsigned short)
FILL(32, unsigned)
