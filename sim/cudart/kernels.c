// SPDX-License-Identifier: Apache-2.0

/*
 * Kernels and variables of a program's own code. What a compiler makes of <<<>>> registers each
 * under the address of a function or variable of the host, before main.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cudart/runtime.h"

#define cu     runtime_driver
#define EXPORT __attribute__((visibility("default")))

struct binary {
    const void *image;
    CUlibrary library; /* once a kernel of it is used */
};

struct symbol {
    const void *host;
    const char *name; /* borrowed from the program */
    struct binary *binary;
    CUkernel kernel; /* once it is used */
    CUdeviceptr memory;
    size_t size; /* of a variable */
};

static struct {
    struct symbol *items;
    size_t n, capacity;
    bool is_sorted;
} symbols;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static _Thread_local struct {
    struct cudart_dim grid, block;
    size_t shared_bytes;
    CUstream stream;
} pushed;

static void add(const struct symbol *symbol)
{
    pthread_mutex_lock(&lock);
    if (symbols.n == symbols.capacity) {
        size_t capacity = symbols.capacity ? 2 * symbols.capacity : 1024;
        struct symbol *more = realloc(symbols.items, capacity * sizeof(*more));

        if (!more)
            abort();
        symbols.items = more;
        symbols.capacity = capacity;
    }
    symbols.items[symbols.n++] = *symbol;
    symbols.is_sorted = false;
    pthread_mutex_unlock(&lock);
}

static int compare(const void *a, const void *b)
{
    const struct symbol *one = a, *other = b;

    return one->host < other->host ? -1 : one->host > other->host;
}

/* Locked. NULL: nobody registered it. */
static struct symbol *find(const void *host)
{
    const struct symbol wanted = {.host = host};

    if (!symbols.is_sorted)
        qsort(symbols.items, symbols.n, sizeof(*symbols.items), compare);
    symbols.is_sorted = true;
    return symbols.n ? bsearch(&wanted, symbols.items, symbols.n, sizeof(wanted), compare) : NULL;
}

static CUresult load(struct symbol *symbol)
{
    CUresult r = CUDA_SUCCESS;

    if (!symbol)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!symbol->binary->library)
        r = cu.cuLibraryLoadData(&symbol->binary->library, symbol->binary->image, NULL, NULL, 0,
                                 NULL, NULL, 0);
    if (r == CUDA_SUCCESS && !symbol->kernel)
        r = cu.cuLibraryGetKernel(&symbol->kernel, symbol->binary->library, symbol->name);
    return r;
}

/* A kernel's own handle counts as its function. */
static CUresult kernel_of(const void *function, CUkernel *ret_kernel)
{
    struct symbol *symbol;
    CUresult r = runtime_enter();

    if (r != CUDA_SUCCESS)
        return r;
    pthread_mutex_lock(&lock);
    symbol = find(function);
    r = symbol ? load(symbol) : CUDA_SUCCESS;
    if (r == CUDA_SUCCESS)
        *ret_kernel = symbol ? symbol->kernel : (CUkernel)(uintptr_t)function;
    pthread_mutex_unlock(&lock);
    return r;
}

static CUresult launch(CUkernel kernel, struct cudart_dim grid, struct cudart_dim block,
                       void **arguments, size_t shared_bytes, CUstream stream)
{
    return runtime_leave(cu.cuLaunchKernel((CUfunction)(void *)kernel, grid.x, grid.y, grid.z,
                                           block.x, block.y, block.z, (unsigned)shared_bytes,
                                           stream, arguments, NULL));
}

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wmissing-declarations"
#pragma GCC visibility push(default)

CUresult cudaLaunchKernel(const void *function, struct cudart_dim grid, struct cudart_dim block,
                          void **arguments, size_t shared_bytes, CUstream stream)
{
    CUkernel kernel;
    CUresult r = kernel_of(function, &kernel);

    return r == CUDA_SUCCESS ? launch(kernel, grid, block, arguments, shared_bytes, stream)
                             : runtime_leave(r);
}

CUresult cudaLaunchKernelExC(const struct cudart_launch *wanted, const void *function,
                             void **arguments)
{
    return cudaLaunchKernel(function, wanted->grid, wanted->block, arguments, wanted->shared_bytes,
                            wanted->stream);
}

CUresult __cudaLaunchKernel(CUkernel kernel, struct cudart_dim grid, struct cudart_dim block,
                            void **arguments, size_t shared_bytes, CUstream stream)
{
    CUresult r = runtime_enter();

    return r == CUDA_SUCCESS ? launch(kernel, grid, block, arguments, shared_bytes, stream)
                             : runtime_leave(r);
}

CUresult __cudaGetKernel(CUkernel *kernel, const void *function)
{
    return runtime_leave(kernel_of(function, kernel));
}

unsigned __cudaPushCallConfiguration(struct cudart_dim grid, struct cudart_dim block,
                                     size_t shared_bytes, CUstream stream)
{
    pushed.grid = grid;
    pushed.block = block;
    pushed.shared_bytes = shared_bytes;
    pushed.stream = stream;
    return 0;
}

CUresult __cudaPopCallConfiguration(struct cudart_dim *grid, struct cudart_dim *block,
                                    size_t *shared_bytes, void *stream)
{
    *grid = pushed.grid;
    *block = pushed.block;
    *shared_bytes = pushed.shared_bytes;
    *(CUstream *)stream = pushed.stream;
    return CUDA_SUCCESS;
}

void **__cudaRegisterFatBinary(void *image)
{
    struct binary *binary = calloc(1, sizeof(*binary));

    if (!binary)
        abort();
    binary->image = image;
    return (void **)binary;
}

void __cudaRegisterFatBinaryEnd(void **binary)
{
}

/* At the end of the process: what it registered goes with it. */
void __cudaUnregisterFatBinary(void **binary)
{
}

void __cudaRegisterFunction(void **binary, const char *host, char *device, const char *name,
                            int threads, void *tid, void *bid, void *block, void *grid, int *warp)
{
    const struct symbol symbol = {.host = host, .name = name, .binary = (struct binary *)binary};

    add(&symbol);
}

void __cudaRegisterVar(void **binary, char *host, char *device, const char *name, int is_extern,
                       size_t size, int is_constant, int is_global)
{
    const struct symbol symbol = {
        .host = host, .name = name, .binary = (struct binary *)binary, .size = size};

    add(&symbol);
}

/* The first use gives a variable memory. */
CUresult cudaGetSymbolAddress(void **address, const void *host)
{
    struct symbol *symbol;
    CUresult r = runtime_enter();

    if (r != CUDA_SUCCESS)
        return runtime_leave(r);
    pthread_mutex_lock(&lock);
    symbol = find(host);
    r = symbol && symbol->size ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (r == CUDA_SUCCESS && !symbol->memory)
        r = cu.cuMemAlloc(&symbol->memory, symbol->size);
    if (r == CUDA_SUCCESS)
        *address = (void *)(uintptr_t)symbol->memory;
    pthread_mutex_unlock(&lock);
    return runtime_leave(r);
}

CUresult cudaMemcpyToSymbol(const void *host, const void *from, size_t size, size_t offset,
                            enum cudart_copy kind)
{
    void *address = NULL;
    CUresult r = cudaGetSymbolAddress(&address, host);

    if (r != CUDA_SUCCESS)
        return r;
    return runtime_leave(cu.cuMemcpyHtoD((uintptr_t)address + offset, from, size));
}

CUresult cudaFuncGetAttributes(struct cudart_function *facts, const void *function)
{
    int major = 0, minor = 0;
    CUkernel kernel;
    CUresult r = kernel_of(function, &kernel);

    memset(facts, 0, sizeof(*facts));
    if (r == CUDA_SUCCESS)
        r = cu.cuKernelGetAttribute(&facts->max_threads_per_block,
                                    CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel,
                                    runtime_device());
    if (r == CUDA_SUCCESS)
        r = cu.cuKernelGetAttribute(&facts->registers, CU_FUNC_ATTRIBUTE_NUM_REGS, kernel,
                                    runtime_device());
    (void)cu.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                  runtime_device());
    (void)cu.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                  runtime_device());
    facts->ptx_version = facts->binary_version = 10 * major + minor;
    return runtime_leave(r);
}

CUresult cudaFuncSetAttribute(const void *function, int attribute, int value)
{
    CUkernel kernel;
    CUresult r = kernel_of(function, &kernel);

    if (r == CUDA_SUCCESS)
        r = cu.cuKernelSetAttribute((CUfunction_attribute)attribute, value, kernel,
                                    runtime_device());
    return runtime_leave(r);
}

/* As many as there is room for threads: registers and shared memory are not counted. */
CUresult cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *function,
                                                                int block, size_t shared_bytes,
                                                                unsigned flags)
{
    int threads = 0;
    CUresult r = runtime_enter();

    if (r == CUDA_SUCCESS && (!n || block <= 0))
        r = CUDA_ERROR_INVALID_VALUE;
    if (r == CUDA_SUCCESS)
        r = cu.cuDeviceGetAttribute(&threads, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
                                    runtime_device());
    if (r == CUDA_SUCCESS)
        *n = threads / block;
    return runtime_leave(r);
}

CUresult cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *function, int block,
                                                       size_t shared_bytes)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, function, block, shared_bytes,
                                                                  0);
}
#pragma GCC visibility pop
