// SPDX-License-Identifier: Apache-2.0

/*
 * NVML's entry points without behaviour of their own: see plain.def. They take words, whatever
 * they declare: on the supported processors, these are passed as the pointers and numbers would be.
 */

#include <string.h>

#include "nvml/library.h"

typedef uintptr_t word;

/* An output: a struct of one version, or plain memory if `version` is 0. Ended by no bytes. */
struct output {
    unsigned version, bytes;
};

static const struct output *find_output(const struct output *outputs, const void *to)
{
    unsigned version;

    if (!outputs->version)
        return outputs;
    memcpy(&version, to, sizeof(version));
    while (outputs->bytes && outputs->version != version)
        outputs++;
    return outputs->bytes ? outputs : NULL;
}

/* `to` is the argument that must not be NULL, or any other pointer if none must. */
static nvmlReturn_t give(const struct output *outputs, word to, bool is_supported,
                         nvmlReturn_t status)
{
    const struct output *output = outputs;

    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (outputs->bytes)
        output = find_output(outputs, (const void *)to);
    if (!output)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (!is_supported)
        return NVML_ERROR_NOT_SUPPORTED;
    if (status == NVML_SUCCESS && output->bytes) {
        size_t head = output->version ? sizeof(output->version) : 0;

        memset((char *)to + head, 0, output->bytes - head);
    }
    return status;
}

#pragma GCC visibility push(default)
#define PLAIN(name, ...)        nvmlReturn_t name(nvmlDevice_t device, word a, word b, word c);
#define PLAIN_SYSTEM(name, ...) nvmlReturn_t name(word a, word b, word c);
#include "nvml/plain.def"
#pragma GCC visibility pop

#define OUT(type, size)             {0, size},
#define VERSION(type, number, size) {(number) << 24U | (size), size},

#define PLAIN(name, supported, argument, status, ...)                                \
    nvmlReturn_t name(nvmlDevice_t device, word a, word b, word c)                   \
    {                                                                                \
        static const struct output outputs[] = {__VA_ARGS__{0, 0}};                  \
        const word arguments[] = {1, a, b, c};                                       \
        struct view v;                                                               \
        nvmlReturn_t r = library_enter_device(__func__, device, &v);                 \
                                                                                     \
        return r ? r : give(outputs, arguments[argument], supported, NVML_##status); \
    }
#define PLAIN_SYSTEM(name, argument, status, ...)                               \
    nvmlReturn_t name(word a, word b, word c)                                   \
    {                                                                           \
        static const struct output outputs[] = {__VA_ARGS__{0, 0}};             \
        const word arguments[] = {1, a, b, c};                                  \
        struct state_file *file;                                                \
        nvmlReturn_t r = library_enter(__func__, &file);                        \
                                                                                \
        return r ? r : give(outputs, arguments[argument], true, NVML_##status); \
    }
#include "nvml/plain.def"
