// SPDX-License-Identifier: Apache-2.0
#include "cuda/array.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "cuda/address.h"
#include "cuda/context.h"
#include "cuda/memory.h"

struct CUarray_st {
    CUDA_ARRAY3D_DESCRIPTOR descriptor;
    CUdeviceptr elements;
    bool is_level; /* of a mipmapped array, which frees it */
    CUarray next;
};

struct CUmipmappedArray_st {
    unsigned n_levels;
    CUarray *levels;
    CUmipmappedArray next;
};

static CUarray arrays;
static CUmipmappedArray mipmaps;

static unsigned format_bytes(CUarray_format format)
{
    static const struct {
        CUarray_format format;
        unsigned bytes;
    } widths[] = {
        {CU_AD_FORMAT_UNSIGNED_INT8, 1},  {CU_AD_FORMAT_UNSIGNED_INT16, 2},
        {CU_AD_FORMAT_UNSIGNED_INT32, 4}, {CU_AD_FORMAT_SIGNED_INT8, 1},
        {CU_AD_FORMAT_SIGNED_INT16, 2},   {CU_AD_FORMAT_SIGNED_INT32, 4},
        {CU_AD_FORMAT_HALF, 2},           {CU_AD_FORMAT_FLOAT, 4},
    };

    for (size_t i = 0; i < ARRAY_SIZE(widths); i++)
        if (widths[i].format == format)
            return widths[i].bytes;
    return 0;
}

static uint64_t at_least_one(uint64_t n)
{
    return n ? n : 1;
}

static uint64_t pitch_of(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    return d->Width * d->NumChannels * format_bytes(d->Format);
}

static bool is_sound(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    const uint64_t most = 1u << 17;

    return d->Width && d->Width <= most && d->Height <= most && d->Depth <= most &&
           (d->NumChannels == 1 || d->NumChannels == 2 || d->NumChannels == 4) &&
           format_bytes(d->Format) > 0;
}

static CUresult new_array(const CUDA_ARRAY3D_DESCRIPTOR *d, bool is_level, CUarray *to)
{
    cleanup_free struct CUarray_st *array = calloc(1, sizeof(*array));
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!array)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *array = (struct CUarray_st){.descriptor = *d, .is_level = is_level};
    r = memory_allocate(context, pitch_of(d) * at_least_one(d->Height) * at_least_one(d->Depth),
                        &array->elements);
    if (r != CUDA_SUCCESS)
        return r;
    array->next = arrays;
    arrays = array;
    *to = TAKE_PTR(array);
    return CUDA_SUCCESS;
}

static CUarray find(CUarray array)
{
    for (CUarray a = arrays; a; a = a->next)
        if (a == array)
            return a;
    return NULL;
}

/* Its memory may have ended before, with the context. */
static void free_array(CUarray array)
{
    struct range *range = address_find_begin(array->elements);
    CUarray *link = &arrays;

    while (*link != array)
        link = &(*link)->next;
    *link = array->next;
    if (range)
        address_free(range);
    free(array);
}

CUdeviceptr array_elements(CUarray array, uint64_t *ret_pitch, uint64_t *ret_height)
{
    if (!find(array))
        return 0;
    *ret_pitch = pitch_of(&array->descriptor);
    *ret_height = at_least_one(array->descriptor.Height);
    return array->elements;
}

CUresult sim_cuArray3DCreate_v2(CUarray *to, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
    if (!to || !descriptor || !is_sound(descriptor))
        return CUDA_ERROR_INVALID_VALUE;
    return new_array(descriptor, false, to);
}

CUresult sim_cuArrayCreate_v2(CUarray *to, const CUDA_ARRAY_DESCRIPTOR *d)
{
    CUDA_ARRAY3D_DESCRIPTOR descriptor;

    if (!d)
        return CUDA_ERROR_INVALID_VALUE;
    descriptor = (CUDA_ARRAY3D_DESCRIPTOR){
        .Width = d->Width, .Height = d->Height, .Format = d->Format, .NumChannels = d->NumChannels};
    return sim_cuArray3DCreate_v2(to, &descriptor);
}

CUresult sim_cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *to, CUarray array)
{
    if (!find(array))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    *to = array->descriptor;
    return CUDA_SUCCESS;
}

CUresult sim_cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *to, CUarray array)
{
    CUDA_ARRAY3D_DESCRIPTOR d;
    CUresult r = sim_cuArray3DGetDescriptor_v2(&d, array);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    *to = (CUDA_ARRAY_DESCRIPTOR){d.Width, d.Height, d.Format, d.NumChannels};
    return CUDA_SUCCESS;
}

static void wait_for(CUarray array)
{
    struct range *range = address_find_begin(array->elements);

    if (range)
        (void)memory_await(range);
}

CUresult sim_cuArrayDestroy(CUarray array)
{
    if (!find(array) || array->is_level)
        return CUDA_ERROR_INVALID_HANDLE;
    wait_for(array);
    if (!find(array))
        return CUDA_ERROR_INVALID_HANDLE;
    free_array(array);
    return CUDA_SUCCESS;
}

static void free_mipmap(CUmipmappedArray mipmap)
{
    for (unsigned i = 0; i < mipmap->n_levels; i++)
        free_array(mipmap->levels[i]);
    free(mipmap->levels);
    free(mipmap);
}

static uint64_t halved(uint64_t size, unsigned level)
{
    return size ? at_least_one(size >> level) : 0;
}

static CUresult add_levels(CUmipmappedArray mipmap, const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned n)
{
    CUresult r = CUDA_SUCCESS;

    for (unsigned i = 0; i < n && r == CUDA_SUCCESS; i++) {
        CUDA_ARRAY3D_DESCRIPTOR level = *d;

        level.Width = halved(d->Width, i);
        level.Height = halved(d->Height, i);
        level.Depth = halved(d->Depth, i);
        r = new_array(&level, true, &mipmap->levels[i]);
        if (r == CUDA_SUCCESS)
            mipmap->n_levels++;
    }
    return r;
}

CUresult sim_cuMipmappedArrayCreate(CUmipmappedArray *to, const CUDA_ARRAY3D_DESCRIPTOR *descriptor,
                                    unsigned n_levels)
{
    CUmipmappedArray mipmap;
    CUresult r;

    if (!to || !descriptor || !is_sound(descriptor) || !n_levels || n_levels > 17)
        return CUDA_ERROR_INVALID_VALUE;
    mipmap = calloc(1, sizeof(*mipmap));
    if (!mipmap || !(mipmap->levels = calloc(n_levels, sizeof(*mipmap->levels)))) {
        free(mipmap);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    r = add_levels(mipmap, descriptor, n_levels);
    if (r != CUDA_SUCCESS) {
        free_mipmap(mipmap);
        return r;
    }
    mipmap->next = mipmaps;
    mipmaps = mipmap;
    *to = mipmap;
    return CUDA_SUCCESS;
}

static CUmipmappedArray *find_mipmap(CUmipmappedArray mipmap)
{
    for (CUmipmappedArray *link = &mipmaps; *link; link = &(*link)->next)
        if (*link == mipmap)
            return link;
    return NULL;
}

CUresult sim_cuMipmappedArrayGetLevel(CUarray *to, CUmipmappedArray mipmap, unsigned level)
{
    if (!find_mipmap(mipmap))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!to || level >= mipmap->n_levels)
        return CUDA_ERROR_INVALID_VALUE;
    *to = mipmap->levels[level];
    return CUDA_SUCCESS;
}

CUresult sim_cuMipmappedArrayDestroy(CUmipmappedArray mipmap)
{
    CUmipmappedArray *link = find_mipmap(mipmap);

    if (!link)
        return CUDA_ERROR_INVALID_HANDLE;
    wait_for(mipmap->levels[0]);
    link = find_mipmap(mipmap);
    if (!link)
        return CUDA_ERROR_INVALID_HANDLE;
    *link = mipmap->next;
    free_mipmap(mipmap);
    return CUDA_SUCCESS;
}
