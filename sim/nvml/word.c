// SPDX-License-Identifier: Apache-2.0
#include "nvml/word.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"
#include "gpu/nvml-abi.h"
#include "shim/cuda-abi.h"

/* The messages are those of driver 580.159.04. */
static const struct {
    nvmlReturn_t code;
    const char *name, *sentence;
} errors[] = {
    {NVML_SUCCESS, "SUCCESS", "Success"},
    {NVML_ERROR_UNINITIALIZED, "UNINITIALIZED", "Uninitialized"},
    {NVML_ERROR_INVALID_ARGUMENT, "INVALID_ARGUMENT", "Invalid Argument"},
    {NVML_ERROR_NOT_SUPPORTED, "NOT_SUPPORTED", "Not Supported"},
    {NVML_ERROR_NO_PERMISSION, "NO_PERMISSION", "Insufficient Permissions"},
    {NVML_ERROR_ALREADY_INITIALIZED, "ALREADY_INITIALIZED", "Already Initialized"},
    {NVML_ERROR_NOT_FOUND, "NOT_FOUND", "Not Found"},
    {NVML_ERROR_INSUFFICIENT_SIZE, "INSUFFICIENT_SIZE", "Insufficient Size"},
    {NVML_ERROR_INSUFFICIENT_POWER, "INSUFFICIENT_POWER", "Insufficient External Power"},
    {NVML_ERROR_DRIVER_NOT_LOADED, "DRIVER_NOT_LOADED", "Driver Not Loaded"},
    {NVML_ERROR_TIMEOUT, "TIMEOUT", "Timeout"},
    {NVML_ERROR_IRQ_ISSUE, "IRQ_ISSUE", "Interrupt Request Issue"},
    {NVML_ERROR_LIBRARY_NOT_FOUND, "LIBRARY_NOT_FOUND", "NVML Shared Library Not Found"},
    {NVML_ERROR_FUNCTION_NOT_FOUND, "FUNCTION_NOT_FOUND", "Function Not Found"},
    {NVML_ERROR_CORRUPTED_INFOROM, "CORRUPTED_INFOROM", "Corrupted infoROM"},
    {NVML_ERROR_GPU_IS_LOST, "GPU_IS_LOST", "GPU is lost"},
    {NVML_ERROR_RESET_REQUIRED, "RESET_REQUIRED", "GPU requires reset"},
    {NVML_ERROR_OPERATING_SYSTEM, "OPERATING_SYSTEM", "GPU access blocked by the operating system"},
    {NVML_ERROR_LIB_RM_VERSION_MISMATCH, "LIB_RM_VERSION_MISMATCH",
     "Driver/library version mismatch"},
    {NVML_ERROR_IN_USE, "IN_USE", "In use by another client"},
    {NVML_ERROR_MEMORY, "MEMORY", "Insufficient Memory"},
    {NVML_ERROR_NO_DATA, "NO_DATA", "No data"},
    {NVML_ERROR_VGPU_ECC_NOT_SUPPORTED, "VGPU_ECC_NOT_SUPPORTED", "vGPU ECC not supported"},
    {NVML_ERROR_INSUFFICIENT_RESOURCES, "INSUFFICIENT_RESOURCES", "Insufficient Resources"},
    {NVML_ERROR_FREQ_NOT_SUPPORTED, "FREQ_NOT_SUPPORTED", "Invalid Frequency"},
    {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "ARGUMENT_VERSION_MISMATCH",
     "Argument version mismatch"},
    {NVML_ERROR_DEPRECATED, "DEPRECATED", "Requested functionality has been deprecated"},
    {NVML_ERROR_NOT_READY, "NOT_READY", "System is not in ready state"},
    {NVML_ERROR_GPU_NOT_FOUND, "GPU_NOT_FOUND", "No supported GPUs were found"},
    {NVML_ERROR_INVALID_STATE, "INVALID_STATE",
     "Resource not in correct state to perform requested operation"},
    {NVML_ERROR_UNKNOWN, "UNKNOWN", "Unknown Error"},
};

static const char *const calls[] = {
#define NVML_CALL(name, arguments) #name,
#include "gpu/nvml-calls.def"
#define PLAIN(name, ...)        #name,
#define PLAIN_SYSTEM(name, ...) #name,
#include "nvml/plain.def"
#define UNSUPPORTED(name) #name,
#include "nvml/unsupported.def"
#define CUDA_CALL(name, asked, since, variant, arguments, values)        #name,
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) #name,
#include "shim/cuda-calls.def"
};

bool word_pci(const char *text, struct pci_address *ret_address)
{
    unsigned domain = 0, bus, device, function = 0;
    int n = 0;
    size_t length = strlen(text);

    if (length == 0 || length > 16 || strspn(text, "0123456789abcdefABCDEF:.") != length)
        return false;
    if (sscanf(text, "%x:%x:%x%n.%x%n", &domain, &bus, &device, &n, &function, &n) < 3) {
        domain = 0;
        if (sscanf(text, "%x:%x%n.%x%n", &bus, &device, &n, &function, &n) < 2)
            return false;
    }
    if ((size_t)n != length || bus > 0xff || device > 0x1f || function > 7)
        return false;
    *ret_address = (struct pci_address){domain, bus, device};
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit *find_unit(const struct unit *units, size_t n_units, const char *text,
                                    size_t length)
{
    for (size_t i = 0; i < n_units; i++)
        if (strlen(units[i].name) == length && strncmp(units[i].name, text, length) == 0)
            return &units[i];
    return NULL;
}

bool word_duration(const char *text, uint64_t *ret_ns)
{
    static const struct unit units[] = {{"ns", 1},           {"us", 1000},
                                        {"ms", 1000000},     {"s", 1000000000},
                                        {"m", 60000000000u}, {"h", 3600000000000u}};
    uint64_t sum = 0;

    do {
        const struct unit *unit;
        uint64_t value;
        size_t length;

        if (!number_digits(&text, &value))
            return false;
        length = strspn(text, "nusmh");
        unit = find_unit(units, ARRAY_SIZE(units), text, length);
        if (!unit || __builtin_mul_overflow(value, unit->factor, &value) ||
            __builtin_add_overflow(sum, value, &sum))
            return false;
        text += length;
    } while (*text);
    *ret_ns = sum;
    return true;
}

bool word_cpus(const char *text, uint64_t *bits, unsigned n_bits)
{
    for (;;) {
        uint64_t first, last;

        if (!number_digits(&text, &first))
            return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!number_digits(&text, &last))
                return false;
        }
        if (first > last || last >= n_bits)
            return false;
        for (uint64_t i = first; i <= last; i++)
            bits[i / 64] |= 1ull << (i % 64);
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
}

/* What programs have an answer for. Others by number. */
static const struct {
    CUresult code;
    const char *name;
} cuda_errors[] = {
#define CUDA_ERROR(code) \
    {                    \
        code, #code      \
    }
    CUDA_ERROR(CUDA_ERROR_INVALID_VALUE),  CUDA_ERROR(CUDA_ERROR_OUT_OF_MEMORY),
    CUDA_ERROR(CUDA_ERROR_NO_DEVICE),      CUDA_ERROR(CUDA_ERROR_INVALID_CONTEXT),
    CUDA_ERROR(CUDA_ERROR_INVALID_HANDLE), CUDA_ERROR(CUDA_ERROR_ILLEGAL_ADDRESS),
    CUDA_ERROR(CUDA_ERROR_LAUNCH_FAILED),  CUDA_ERROR(CUDA_ERROR_NOT_PERMITTED),
    CUDA_ERROR(CUDA_ERROR_NOT_SUPPORTED),  CUDA_ERROR(CUDA_ERROR_SYSTEM_NOT_READY),
    CUDA_ERROR(CUDA_ERROR_UNKNOWN),
};

static bool is_of_cuda(const char *call)
{
    return str_starts_with(call, "cu");
}

const char *word_library(const char *call)
{
    return is_of_cuda(call) ? "CUDA" : "NVML";
}

const char *word_error_example(const char *call)
{
    return is_of_cuda(call) ? "CUDA_ERROR_OUT_OF_MEMORY" : "GPU_IS_LOST";
}

static bool cuda_error(const char *text, uint32_t *ret_code)
{
    const size_t prefix = strlen("CUDA_ERROR_");

    if (number_parse(text, ret_code))
        return *ret_code > CUDA_SUCCESS && *ret_code <= CUDA_ERROR_UNKNOWN;
    for (size_t i = 0; i < ARRAY_SIZE(cuda_errors); i++) {
        const char *name = cuda_errors[i].name;

        if (str_equal(text, name) || str_equal(text, name + prefix)) {
            *ret_code = (uint32_t)cuda_errors[i].code;
            return true;
        }
    }
    return false;
}

bool word_error(const char *call, const char *text, uint32_t *ret_code)
{
    uint32_t number;
    bool is_number = number_parse(text, &number);

    if (is_of_cuda(call))
        return cuda_error(text, ret_code);
    if (str_starts_with(text, "NVML_ERROR_"))
        text += strlen("NVML_ERROR_");
    for (size_t i = 1; i < ARRAY_SIZE(errors); i++) {
        if (is_number ? number == (uint32_t)errors[i].code : str_equal(text, errors[i].name)) {
            *ret_code = (uint32_t)errors[i].code;
            return true;
        }
    }
    return false;
}

const char *word_error_name(const char *call, uint32_t code)
{
    for (size_t i = 0; is_of_cuda(call) && i < ARRAY_SIZE(cuda_errors); i++)
        if ((uint32_t)cuda_errors[i].code == code)
            return cuda_errors[i].name;
    for (size_t i = 0; !is_of_cuda(call) && i < ARRAY_SIZE(errors); i++)
        if ((uint32_t)errors[i].code == code)
            return errors[i].name;
    return "UNKNOWN";
}

const char *word_error_sentence(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
        if ((uint32_t)errors[i].code == code)
            return errors[i].sentence;
    return "Unknown Error";
}

bool word_is_call(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (str_equal(calls[i], name))
            return true;
    return false;
}

const char *word_suggest_call(const char *name)
{
    return str_suggest(name, calls, ARRAY_SIZE(calls));
}
