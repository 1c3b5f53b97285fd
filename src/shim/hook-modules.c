// SPDX-License-Identifier: Apache-2.0

/*
 * Modules: their variables take memory. How much is in most images (moduleimage.h): that is charged
 * before the driver is called, as every allocation. For the rest, what is free on the device is
 * read before and after, which is a guess, since neighbours allocate as well: no more is taken from
 * it than the image leaves open. The arbiter charges it until the driver has shown it what is true.
 * If that is beyond the limit, the module is unloaded again, and the program gets error 2.
 *
 * Programs make their images, and drivers read them: what the device has less beyond all that the
 * image leaves open is suspected to be the module's, and so is what others gave back meanwhile.
 *
 * A library is in a context from its first use there on. What is found there to be too much, beyond
 * what its image told, cannot be unloaded for the program: it gets error 2, and stays charged. A
 * launch of a kernel that nobody asked for before is such a use, and is left alone: readings charge
 * it.
 */

#include "shim/devices.h"
#include "shim/hook.h"
#include "shim/moduleimage.h"
#include "shim/session.h"

/* Of an image that does not tell, nothing is taken ahead, and all that is found is believed. */
static const struct moduleimage unknown = {.rest_bytes = UINT64_MAX};

/* Less is shared by what is there already, until that grows by as much. */
#define LEAST_BYTES (UINT64_C(2) << 20)

/* More is on no device. */
#define MOST_BYTES (UINT64_C(1) << 48)

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

struct load {
    struct charge ahead; /* of the variables; slot SESSION_NO_SLOT: it is not counted */
    struct moduleimage image;
    struct moduleimage later; /* of a library, which is not used yet */
    uint64_t free_bytes;      /* on the device, before */
    uint64_t returned_bytes;  /* by others until then; 0 = not known, or of no interest */
};

/* While a stream is captured as well: nothing here belongs to one. */
static CUresult relaxed(const struct cuda_functions *driver, CUresult (*call)(void *), void *what)
{
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    CUresult r;

    if (!driver->cuThreadExchangeStreamCaptureMode ||
        driver->cuThreadExchangeStreamCaptureMode(&mode) != CUDA_SUCCESS)
        return call(what);
    r = call(what);
    driver->cuThreadExchangeStreamCaptureMode(&mode);
    return r;
}

static CUresult read_free(void *free_bytes)
{
    size_t total;

    return driver_get()->cuMemGetInfo_v2(free_bytes, &total);
}

/* UINT64_MAX: it is not told. */
static uint64_t free_now(const struct cuda_functions *driver)
{
    size_t free_bytes = 0;

    if (!driver->cuMemGetInfo_v2 || relaxed(driver, read_free, &free_bytes) != CUDA_SUCCESS)
        return UINT64_MAX;
    return free_bytes;
}

static struct load find(const struct cuda_functions *driver)
{
    struct load load = {.ahead = {.slot = SESSION_NO_SLOT}, .image = unknown, .later = unknown};

    if (session_start() && devices_current(driver, &load.ahead.device, &load.ahead.context))
        load.ahead.slot = devices_slot(driver, load.ahead.device);
    return load;
}

/* How much it takes. Of others, what their kernels take is not worth to be asked for. */
static bool leaves_open(const struct moduleimage *image)
{
    return image->rest_bytes == UINT64_MAX || image->least_bytes < image->most_bytes;
}

/* Charges what the image tells, and reads what is free. */
static void begin(const struct cuda_functions *driver, struct load *load)
{
    load->ahead = charge_current(driver, load->image.most_bytes);
    if (load->ahead.slot == SESSION_NO_SLOT || load->ahead.is_denied)
        return;
    if (leaves_open(&load->image))
        load->returned_bytes = session_returned(load->ahead.slot);
    load->free_bytes = free_now(driver);
}

/* What was given back meanwhile is free, and hides as much of what was taken: no more than the
 * image leaves open. */
static uint64_t hidden_by_others(const struct load *load)
{
    const uint64_t now = load->returned_bytes ? session_returned(load->ahead.slot) : 0;
    const uint64_t returned = now > load->returned_bytes ? now - load->returned_bytes : 0;

    return load->image.rest_bytes == UINT64_MAX
               ? returned
               : smaller(returned, minus(load->image.most_bytes, load->ahead.bytes));
}

/* What it took: the variables as their image told, and *ret_beyond more. What the device has less
 * beyond that is a neighbour's, unless the image is not as the driver understands it. */
static void find_taken(const struct cuda_functions *driver, struct load *load, uint64_t *ret_beyond,
                       uint64_t *ret_unexplained)
{
    const struct moduleimage *image = &load->image;
    const uint64_t after = free_now(driver);
    const bool is_known = load->free_bytes != UINT64_MAX && after != UINT64_MAX;
    const uint64_t bytes = is_known && load->free_bytes > after ? load->free_bytes - after : 0;
    uint64_t more, beyond;

    if (bytes < image->most_bytes && image->least_bytes < image->most_bytes)
        charge_correct(&load->ahead, bytes > image->least_bytes ? bytes : image->least_bytes);
    more = beyond = minus(bytes, load->ahead.bytes);
    if (beyond > image->rest_bytes)
        beyond = smaller(more, (image->rest_bytes + LEAST_BYTES - 1) / LEAST_BYTES * LEAST_BYTES);
    *ret_beyond = beyond < LEAST_BYTES ? 0 : beyond;
    *ret_unexplained = more - beyond;
}

/* It is charged, beside what the entry has. False: it is too much. */
static bool charge(const struct cuda_functions *driver, struct load *load, struct allocated *entry)
{
    uint64_t beyond, hidden;
    int r = 0;

    find_taken(driver, load, &beyond, &hidden);
    hidden = smaller(hidden + smaller(hidden_by_others(load), MOST_BYTES), MOST_BYTES);
    if (hidden < LEAST_BYTES)
        hidden = 0;
    if (beyond + hidden > 0 && !session_has(load->ahead.slot, beyond + hidden))
        charge_reclaim(driver, load->ahead.slot);
    if (beyond + hidden > 0)
        r = session_grew(load->ahead.slot, &beyond, hidden);
    entry->bytes += load->ahead.bytes;
    entry->grown_bytes += beyond;
    return r == 0;
}

static struct allocated entry_of(const struct load *load, const void *key)
{
    return (struct allocated){.kind = ALLOCATION_MODULE,
                              .slot = load->ahead.slot,
                              .device = load->ahead.device,
                              .key = (uintptr_t)key,
                              .owner = (uintptr_t)load->ahead.context};
}

/* --- images --- */

/* 0: there is no context, which would be of a device. */
static unsigned sm_of(const struct cuda_functions *driver, const struct charge *at)
{
    int major = 0, minor = 0;

    if (!at->context || !driver->cuDeviceGetAttribute ||
        driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                     at->device) != CUDA_SUCCESS ||
        driver->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                     at->device) != CUDA_SUCCESS)
        return 0;
    return (unsigned)(10 * major + minor);
}

typedef struct moduleimage read_fn(const struct cuda_functions *driver, const struct charge *at,
                                   const void *from);

static struct moduleimage read_image(const struct cuda_functions *driver, const struct charge *at,
                                     const void *image)
{
    struct moduleimage read = unknown;

    moduleimage_read(image, BYTES_UNTOLD, sm_of(driver, at), &read);
    return read;
}

static struct moduleimage read_file(const struct cuda_functions *driver, const struct charge *at,
                                    const void *path)
{
    struct moduleimage read = unknown;

    moduleimage_read_file(path, sm_of(driver, at), &read);
    return read;
}

/* --- what is there when it is loaded --- */

/* A library's variables are taken where it is used first; it may be loaded without any context. */
static struct load begin_load(const struct cuda_functions *driver, read_fn *read, const void *from,
                              bool is_library)
{
    struct load load = find(driver);

    if (is_library && session_start())
        load.later = read(driver, &load.ahead, from);
    if (load.ahead.slot == SESSION_NO_SLOT)
        return load;
    if (!is_library)
        load.image = read(driver, &load.ahead, from);
    else if (load.later.rest_bytes != UINT64_MAX)
        load.image.rest_bytes = load.later.most_bytes + load.later.rest_bytes;
    begin(driver, &load);
    return load;
}

static void note_later(const struct load *load, const void *library)
{
    const struct allocated entry = {.kind = ALLOCATION_LIBRARY,
                                    .slot = load->ahead.slot,
                                    .device = load->ahead.device,
                                    .key = (uintptr_t)library,
                                    .bytes = load->later.most_bytes,
                                    .grown_bytes = load->later.rest_bytes,
                                    .owner = load->later.least_bytes};

    if (load->later.rest_bytes != UINT64_MAX)
        charge_put(&entry);
}

static CUresult unload_module(void *module)
{
    return cuModuleUnload(module);
}

static CUresult unload_library(void *library)
{
    return cuLibraryUnload(library);
}

/* Returns r, or error 2 with what was loaded given back by `unload`, and its charge with it. */
static CUresult loaded(const struct cuda_functions *driver, struct load *load, CUresult r,
                       void *handle, CUresult (*unload)(void *))
{
    struct allocated entry = entry_of(load, handle);
    bool fits;

    if (r == CUDA_SUCCESS)
        note_later(load, handle);
    if (load->ahead.slot == SESSION_NO_SLOT || load->ahead.is_denied)
        return r;
    if (r != CUDA_SUCCESS) {
        charge_correct(&load->ahead, 0);
        return r;
    }
    fits = charge(driver, load, &entry);
    if (entry.bytes > 0 || entry.grown_bytes > 0)
        charge_put(&entry);
    if (fits)
        return r;
    relaxed(driver, unload, handle);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

/* The whole of a function that loads. */
#define LOAD(name, handle, read, from, unload, values)                                   \
    do {                                                                                 \
        const struct cuda_functions *driver;                                             \
        CUresult r = CUDA_ERROR_OUT_OF_MEMORY;                                           \
        struct load load;                                                                \
                                                                                         \
        HOOK_DRIVER(driver, name);                                                       \
        load = begin_load(driver, read, from, (unload) == unload_library);               \
        if (!load.ahead.is_denied)                                                       \
            r = driver->name values;                                                     \
        return loaded(driver, &load, r, r == CUDA_SUCCESS ? *(handle) : NULL, (unload)); \
    } while (0)

CUresult cuModuleLoad(CUmodule *module, const char *fname)
{
    LOAD(cuModuleLoad, module, read_file, fname, unload_module, (module, fname));
}

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    LOAD(cuModuleLoadData, module, read_image, image, unload_module, (module, image));
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned numOptions,
                            CUjit_option *options, void **optionValues)
{
    LOAD(cuModuleLoadDataEx, module, read_image, image, unload_module,
         (module, image, numOptions, options, optionValues));
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *fatCubin)
{
    LOAD(cuModuleLoadFatBinary, module, read_image, fatCubin, unload_module, (module, fatCubin));
}

CUresult cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
                           void **jitOptionsValues, unsigned numJitOptions,
                           CUlibraryOption *libraryOptions, void **libraryOptionValues,
                           unsigned numLibraryOptions)
{
    LOAD(cuLibraryLoadData, library, read_image, code, unload_library,
         (library, code, jitOptions, jitOptionsValues, numJitOptions, libraryOptions,
          libraryOptionValues, numLibraryOptions));
}

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *fileName, CUjit_option *jitOptions,
                               void **jitOptionsValues, unsigned numJitOptions,
                               CUlibraryOption *libraryOptions, void **libraryOptionValues,
                               unsigned numLibraryOptions)
{
    LOAD(cuLibraryLoadFromFile, library, read_file, fileName, unload_library,
         (library, fileName, jitOptions, jitOptionsValues, numJitOptions, libraryOptions,
          libraryOptionValues, numLibraryOptions));
}

CUresult cuModuleUnload(CUmodule hmod)
{
    HOOK_FREE(cuModuleUnload, ALLOCATION_MODULE, hmod, (hmod));
}

static CUresult unload_used(const struct cuda_functions *driver, CUlibrary library)
{
    return CHARGE_FREE(ALLOCATION_MODULE, (uintptr_t)library,
                       AWAIT_PERHAPS_ALL(driver, driver->cuLibraryUnload(library)));
}

CUresult cuLibraryUnload(CUlibrary library)
{
    const struct cuda_functions *driver;

    HOOK_DRIVER(driver, cuLibraryUnload);
    return CHARGE_FREE(ALLOCATION_LIBRARY, (uintptr_t)library, unload_used(driver, library));
}

/* --- where a library is used first --- */

/* Known already, in this context or on another device: nothing is charged. */
static struct load begin_use(const struct cuda_functions *driver, CUlibrary library,
                             struct allocated *older)
{
    struct load load = find(driver);
    struct allocated noted;

    if (load.ahead.slot == SESSION_NO_SLOT)
        return load;
    if (allocations_get(ALLOCATION_MODULE, (uintptr_t)library, older) &&
        (older->owner == (uintptr_t)load.ahead.context || older->slot != load.ahead.slot)) {
        load.ahead.slot = SESSION_NO_SLOT;
        return load;
    }
    if (allocations_get(ALLOCATION_LIBRARY, (uintptr_t)library, &noted))
        load.image = (struct moduleimage){noted.owner, noted.bytes, noted.grown_bytes};
    begin(driver, &load);
    return load;
}

/* Also of what takes nothing, so that it is not looked at again. */
static CUresult used(const struct cuda_functions *driver, struct load *load, CUlibrary library,
                     const struct allocated *older, CUresult r)
{
    struct allocated entry = entry_of(load, library);
    bool fits;

    if (load->ahead.slot == SESSION_NO_SLOT || load->ahead.is_denied)
        return r;
    if (r != CUDA_SUCCESS || (older->kind && !allocations_take_same(older))) {
        charge_correct(&load->ahead, 0); /* or another thread did so at once */
        return r;
    }
    entry.bytes = older->bytes;
    entry.grown_bytes = older->grown_bytes;
    fits = charge(driver, load, &entry);
    charge_put(&entry);
    return fits ? r : CUDA_ERROR_OUT_OF_MEMORY;
}

/* The whole of a function that may be its first use in the current context. */
#define USE(name, library, values)                 \
    do {                                           \
        const struct cuda_functions *driver;       \
        struct allocated older = {.kind = 0};      \
        CUresult r = CUDA_ERROR_OUT_OF_MEMORY;     \
        struct load load;                          \
        CUlibrary of;                              \
                                                   \
        HOOK_DRIVER(driver, name);                 \
        of = library;                              \
        load = begin_use(driver, of, &older);      \
        if (!load.ahead.is_denied)                 \
            r = driver->name values;               \
        return used(driver, &load, of, &older, r); \
    } while (0)

CUresult cuLibraryGetModule(CUmodule *pMod, CUlibrary library)
{
    USE(cuLibraryGetModule, library, (pMod, library));
}

CUresult cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
    USE(cuLibraryGetGlobal, library, (dptr, bytes, library, name));
}

CUresult cuLibraryGetManaged(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
    USE(cuLibraryGetManaged, library, (dptr, bytes, library, name));
}

static CUlibrary library_of(const struct cuda_functions *driver, CUkernel kernel)
{
    CUlibrary library = NULL;

    if (!driver->cuKernelGetLibrary || driver->cuKernelGetLibrary(&library, kernel) != CUDA_SUCCESS)
        return (
            CUlibrary)(void *)kernel; /* then each kernel is looked at, until its context ends */
    return library;
}

CUresult cuKernelGetFunction(CUfunction *pFunc, CUkernel kernel)
{
    USE(cuKernelGetFunction, library_of(driver, kernel), (pFunc, kernel));
}
