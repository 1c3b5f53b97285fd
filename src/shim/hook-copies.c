// SPDX-License-Identifier: Apache-2.0

/*
 * Copies from and to memory of the host (await.h). Those to the host return when they are done;
 * into a stream, too, where the memory is none that the driver allocated. Of the others it depends
 * on how long they are.
 *
 * Copies within devices, and memory that is set, return at once.
 */

#include "shim/await.h"
#include "shim/hook.h"

#define COPY(name, stream, is_per_thread, bytes, copy, arguments, values) \
    CUresult name arguments                                               \
    {                                                                     \
        const struct cuda_functions *driver;                              \
        struct await wait;                                                \
                                                                          \
        HOOK_DRIVER(driver, name);                                        \
        wait = await_copy(driver, stream, is_per_thread, bytes, copy);    \
        return await_end(&wait, driver->name values);                     \
    }

#define LIST(...) __VA_ARGS__

/* Into the default stream, and into one that is given. The oldest have addresses of 32 bits, and
 * copy little. */
#define VERSIONS(name, bytes, copy, old_arguments, arguments, values) \
    COPY(name, NULL, false, 0, AWAIT_MAYBE, old_arguments, values)    \
    COPY(name##_v2, NULL, false, bytes, copy, arguments, values)      \
    COPY(name##_v2_ptds, NULL, true, bytes, copy, arguments, values)

#define ASYNC_VERSIONS(name, bytes, copy, old_arguments, arguments, values)              \
    COPY(name, hStream, false, 0, AWAIT_MAYBE, (LIST old_arguments, CUstream hStream),   \
         (LIST values, hStream))                                                         \
    COPY(name##_v2, hStream, false, bytes, copy, (LIST arguments, CUstream hStream),     \
         (LIST values, hStream))                                                         \
    COPY(name##_v2_ptsz, hStream, true, bytes, copy, (LIST arguments, CUstream hStream), \
         (LIST values, hStream))

#define LINE(name, copy, async_copy, old_arguments, arguments, values) \
    VERSIONS(name, ByteCount, copy, old_arguments, arguments, values)  \
    ASYNC_VERSIONS(name##Async, ByteCount, async_copy, old_arguments, arguments, values)

LINE(cuMemcpyHtoD, AWAIT_MAYBE, AWAIT_SENT,
     (unsigned dstDevice, const void *srcHost, unsigned ByteCount),
     (CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount),
     (dstDevice, srcHost, ByteCount))
LINE(cuMemcpyDtoH, AWAIT_DONE, AWAIT_MAYBE, (void *dstHost, unsigned srcDevice, unsigned ByteCount),
     (void *dstHost, CUdeviceptr srcDevice, size_t ByteCount), (dstHost, srcDevice, ByteCount))
LINE(cuMemcpyHtoA, AWAIT_MAYBE, AWAIT_SENT,
     (CUarray dstArray, unsigned dstOffset, const void *srcHost, unsigned ByteCount),
     (CUarray dstArray, size_t dstOffset, const void *srcHost, size_t ByteCount),
     (dstArray, dstOffset, srcHost, ByteCount))
LINE(cuMemcpyAtoH, AWAIT_DONE, AWAIT_MAYBE,
     (void *dstHost, CUarray srcArray, unsigned srcOffset, unsigned ByteCount),
     (void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount),
     (dstHost, srcArray, srcOffset, ByteCount))

/* From wherever to wherever. */

#define ADDRESSES (CUdeviceptr dst, CUdeviceptr src, size_t ByteCount)

COPY(cuMemcpy, NULL, false, ByteCount, AWAIT_MAYBE, ADDRESSES, (dst, src, ByteCount))
COPY(cuMemcpy_ptds, NULL, true, ByteCount, AWAIT_MAYBE, ADDRESSES, (dst, src, ByteCount))
COPY(cuMemcpyAsync, hStream, false, ByteCount, AWAIT_MAYBE, (LIST ADDRESSES, CUstream hStream),
     (dst, src, ByteCount, hStream))
COPY(cuMemcpyAsync_ptsz, hStream, true, ByteCount, AWAIT_MAYBE, (LIST ADDRESSES, CUstream hStream),
     (dst, src, ByteCount, hStream))

/* Many at once, of which each may be from wherever to wherever. */

static uint64_t batch_bytes(const size_t *sizes, size_t count)
{
    uint64_t bytes = 0;

    for (size_t i = 0; sizes && i < count && bytes <= AWAIT_COPY_BYTES; i++)
        bytes += sizes[i];
    return bytes;
}

#define BATCH(name, is_per_thread, arguments, values)                                       \
    COPY(name, hStream, is_per_thread, batch_bytes(sizes, count), AWAIT_MAYBE,              \
         (CUdeviceptr * dsts, CUdeviceptr * srcs, size_t * sizes, size_t count,             \
          CUmemcpyAttributes * attrs, size_t * attrsIdxs, size_t numAttrs, LIST arguments), \
         (dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, LIST values))

BATCH(cuMemcpyBatchAsync, false, (size_t * failIdx, CUstream hStream), (failIdx, hStream))
BATCH(cuMemcpyBatchAsync_ptsz, true, (size_t * failIdx, CUstream hStream), (failIdx, hStream))
BATCH(cuMemcpyBatchAsync_v2, false, (CUstream hStream), (hStream))
BATCH(cuMemcpyBatchAsync_v2_ptsz, true, (CUstream hStream), (hStream))

/* Of those with shapes only the driver knows how much they are. */
#define BATCH_3D(name, is_per_thread, arguments, values)                   \
    COPY(name, hStream, is_per_thread, UINT64_MAX, AWAIT_MAYBE,            \
         (size_t numOps, CUDA_MEMCPY3D_BATCH_OP * opList, LIST arguments), \
         (numOps, opList, LIST values))

BATCH_3D(cuMemcpy3DBatchAsync, false,
         (size_t * failIdx, unsigned long long flags, CUstream hStream), (failIdx, flags, hStream))
BATCH_3D(cuMemcpy3DBatchAsync_ptsz, true,
         (size_t * failIdx, unsigned long long flags, CUstream hStream), (failIdx, flags, hStream))
BATCH_3D(cuMemcpy3DBatchAsync_v2, false, (unsigned long long flags, CUstream hStream),
         (flags, hStream))
BATCH_3D(cuMemcpy3DBatchAsync_v2_ptsz, true, (unsigned long long flags, CUstream hStream),
         (flags, hStream))

#define BYTES_2D (pCopy ? pCopy->WidthInBytes * pCopy->Height : 0)
#define BYTES_3D (pCopy ? pCopy->WidthInBytes * pCopy->Height * pCopy->Depth : 0)

/* CUDA specifies of copies from a device to the host alone that they wait; memory that is unified
 * may be of either. */
static enum await_copy copy_of(CUmemorytype from, CUmemorytype to, enum await_copy to_host,
                               enum await_copy otherwise)
{
    if (to == CU_MEMORYTYPE_HOST && (from == CU_MEMORYTYPE_DEVICE || from == CU_MEMORYTYPE_ARRAY))
        return to_host;
    return to == CU_MEMORYTYPE_HOST || to == CU_MEMORYTYPE_UNIFIED ? AWAIT_MAYBE : otherwise;
}

#define TO_HOST(then, otherwise) \
    (pCopy ? copy_of(pCopy->srcMemoryType, pCopy->dstMemoryType, (then), (otherwise)) : (otherwise))

#define SHAPE(name, bytes, type)                                                      \
    VERSIONS(name, bytes, TO_HOST(AWAIT_DONE, AWAIT_MAYBE), (const type##_v1 *pCopy), \
             (const type *pCopy), (pCopy))
#define ASYNC_SHAPE(name, bytes, type)                                                      \
    ASYNC_VERSIONS(name, bytes, TO_HOST(AWAIT_MAYBE, AWAIT_SENT), (const type##_v1 *pCopy), \
                   (const type *pCopy), (pCopy))

SHAPE(cuMemcpy2D, BYTES_2D, CUDA_MEMCPY2D)
SHAPE(cuMemcpy2DUnaligned, BYTES_2D, CUDA_MEMCPY2D)
SHAPE(cuMemcpy3D, BYTES_3D, CUDA_MEMCPY3D)
ASYNC_SHAPE(cuMemcpy2DAsync, BYTES_2D, CUDA_MEMCPY2D)
ASYNC_SHAPE(cuMemcpy3DAsync, BYTES_3D, CUDA_MEMCPY3D)
