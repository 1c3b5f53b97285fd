// SPDX-License-Identifier: Apache-2.0
#include "nvml/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "gpu/nvml-abi.h"
#include "nvml/schema.h"

static const struct choice brands[] = {
    {"tesla", NVML_BRAND_TESLA},
    {"quadro", NVML_BRAND_QUADRO},
    {"geforce", NVML_BRAND_GEFORCE},
    {"titan", NVML_BRAND_TITAN},
    {"quadro-rtx", NVML_BRAND_QUADRO_RTX},
    {"nvidia-rtx", NVML_BRAND_NVIDIA_RTX},
    {"nvidia", NVML_BRAND_NVIDIA},
    {"geforce-rtx", NVML_BRAND_GEFORCE_RTX},
    {NULL, 0},
};

static const struct choice architectures[] = {
    {"kepler", NVML_DEVICE_ARCH_KEPLER},
    {"maxwell", NVML_DEVICE_ARCH_MAXWELL},
    {"pascal", NVML_DEVICE_ARCH_PASCAL},
    {"volta", NVML_DEVICE_ARCH_VOLTA},
    {"turing", NVML_DEVICE_ARCH_TURING},
    {"ampere", NVML_DEVICE_ARCH_AMPERE},
    {"ada", NVML_DEVICE_ARCH_ADA},
    {"hopper", NVML_DEVICE_ARCH_HOPPER},
    {"blackwell", NVML_DEVICE_ARCH_BLACKWELL},
    {NULL, 0},
};

static const struct choice nvlink_versions[] = {
    {"1.0", NVML_NVLINK_VERSION_1_0}, {"2.0", NVML_NVLINK_VERSION_2_0},
    {"2.2", NVML_NVLINK_VERSION_2_2}, {"3.0", NVML_NVLINK_VERSION_3_0},
    {"3.1", NVML_NVLINK_VERSION_3_1}, {"4.0", NVML_NVLINK_VERSION_4_0},
    {"5.0", NVML_NVLINK_VERSION_5_0}, {NULL, 0},
};

static const struct field power_fields[] = {
    {"idle", .kind = F_MILLI, AT(gpu_model, power_idle_mw), .max = 10000, .required = true},
    {"limit", .kind = F_MILLI, AT(gpu_model, power_limit_mw), .max = 10000, .required = true},
    {"min", .kind = F_MILLI, AT(gpu_model, power_min_mw), .max = 10000, .required = true},
    {"max", .kind = F_MILLI, AT(gpu_model, power_max_mw), .max = 10000, .required = true},
    {NULL},
};

static const struct field clock_fields[] = {
    {"graphics", NUMBER(gpu_model, graphics_mhz, 1, 10000), .required = true},
    {"memory", NUMBER(gpu_model, memory_mhz, 1, 50000), .required = true},
    {"video", NUMBER(gpu_model, video_mhz, 1, 10000), .required = true},
    {"idle", NUMBER(gpu_model, idle_mhz, 1, 10000), .required = true},
    {NULL},
};

static const struct field temperature_fields[] = {
    {"idle", NUMBER(gpu_model, idle_celsius, 0, 150), .required = true},
    {"max", NUMBER(gpu_model, max_celsius, 0, 150), .required = true},
    {"slowdown", NUMBER(gpu_model, slowdown_celsius, 0, 150), .required = true},
    {"shutdown", NUMBER(gpu_model, shutdown_celsius, 0, 150), .required = true},
    {"memoryMax", NUMBER(gpu_model, memory_max_celsius, 0, 150)},
    {NULL},
};

static const struct field pcie_fields[] = {
    {"generation", NUMBER(gpu_model, pcie_generation, 1, 6), .required = true},
    {"width", NUMBER(gpu_model, pcie_width, 1, 16), .required = true},
    {NULL},
};

static const struct field model_nvlink_fields[] = {
    {"count", NUMBER(gpu_model, nvlink_count, 0, MACHINE_MAX_LINKS), .required = true},
    {"version", .kind = F_CHOICE, AT(gpu_model, nvlink_version), .choices = nvlink_versions,
     .required = true},
    {"mbps", NUMBER(gpu_model, nvlink_mbps, 1, 1000000), .required = true},
    {NULL},
};

static const struct field engine_fields[] = {
    {"encoder", .kind = F_BOOL, AT(gpu_model, encoder)},
    {"decoder", .kind = F_BOOL, AT(gpu_model, decoder)},
    {"jpeg", .kind = F_BOOL, AT(gpu_model, jpeg)},
    {"ofa", .kind = F_BOOL, AT(gpu_model, ofa)},
    {NULL},
};

static const struct field model_fields[] = {
    {"name", TEXT(gpu_model, name), .required = true},
    {"brand", .kind = F_CHOICE, AT(gpu_model, brand), .choices = brands, .required = true},
    {"architecture", .kind = F_CHOICE, AT(gpu_model, architecture), .choices = architectures,
     .required = true},
    {"compute", .kind = F_VERSION, AT(gpu_model, compute_major), .required = true},
    {"cores", NUMBER(gpu_model, cores, 1, 1000000), .required = true},
    {"memory", .kind = F_SIZE, AT(gpu_model, memory_bytes), .required = true},
    {"reserved", .kind = F_SIZE, AT(gpu_model, reserved_bytes), .required = true},
    {"bar1", .kind = F_SIZE, AT(gpu_model, bar1_bytes), .required = true},
    {"memoryBus", NUMBER(gpu_model, memory_bus_bits, 1, 65536), .required = true},
    {"pciDevice", NUMBER(gpu_model, pci_device, 1, UINT32_MAX), .required = true},
    {"pciSubsystem", NUMBER(gpu_model, pci_subsystem, 0, UINT32_MAX), .required = true},
    {"pciClass", NUMBER(gpu_model, pci_class, 0, 0xffff), .required = true},
    {"pcie", .kind = F_MAP, .fields = pcie_fields, .required = true},
    {"power", .kind = F_MAP, .fields = power_fields, .required = true},
    {"clocks", .kind = F_MAP, .fields = clock_fields, .required = true},
    {"temperature", .kind = F_MAP, .fields = temperature_fields, .required = true},
    {"nvlink", .kind = F_MAP, .fields = model_nvlink_fields},
    {"engines", .kind = F_MAP, .fields = engine_fields},
    {"ecc", .kind = F_BOOL, AT(gpu_model, ecc)},
    {"rowRemapping", .kind = F_BOOL, AT(gpu_model, row_remapping)},
    {"gsp", .kind = F_BOOL, AT(gpu_model, gsp)},
    {"fabric", .kind = F_BOOL, AT(gpu_model, fabric)},
    {"idleP8", .kind = F_BOOL, AT(gpu_model, idle_p8)},
    {"migSlices", NUMBER(gpu_model, mig_slices, 0, 7)},
    {"fans", NUMBER(gpu_model, fans, 0, 4)},
    {"vbios", TEXT(gpu_model, vbios)},
    {"part", TEXT(gpu_model, part)},
    {NULL},
};

static void check_model(struct problems *problems, struct position at, const char *path,
                        const struct gpu_model *model)
{
    if (model->reserved_bytes >= model->memory_bytes)
        refuse(problems, at, path, "'reserved' must be less than 'memory'");
    if (model->power_min_mw > model->power_limit_mw || model->power_limit_mw > model->power_max_mw)
        refuse(problems, at, path, "power must be ordered min <= limit <= max");
}

/* A model's file has problems of its own; they are told as its file's, not as the machine's. */
static int load_model_file(const char *path, struct problems *problems, struct gpu_model *model)
{
    cleanup_problems struct problems own = PROBLEMS_INIT;
    cleanup_free char *text = NULL;
    struct error err = ERROR_INIT;
    struct yaml *document;
    char line[512];
    size_t size;
    int result = file_read(path, YAML_MAX_BYTES, &text, &size, &err);

    if (result < 0) {
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", error_text(&err));
        return -EBADMSG;
    }
    problems_set_source(&own, path);
    result = machine_parse_yaml(text, size, &own, &document);
    if (result == 0) {
        schema_read(&own, model_fields, document, "", model);
        check_model(&own, document->at, "", model);
        yaml_free(document, 1);
    }
    for (size_t i = 0; i < own.n_items; i++) {
        problem_format(&own, &own.items[i], line, sizeof(line));
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", line);
    }
    return own.n_items ? -EBADMSG : result;
}

static bool find_model(const char *directory, const char *name, struct text *file)
{
    text_clear(file);
    text_addf(file, "%s/models/%s.yaml", directory, name);
    return !text_failed(file) && access(text_string(file), R_OK) == 0;
}

/* Beside the machine's file, then where machines are looked for. */
static bool read_named_model(const struct model_source *source, const struct yaml *node,
                             const char *path, struct gpu_model *model)
{
    cleanup_free char *directories = machine_search_path();
    cleanup_text struct text file = TEXT_INIT;
    char *rest = directories, *directory;

    if (strchr(node->text, '/') || node->text[0] == '.') {
        refuse(source->problems, node->at, path,
               "expected the name of a file in models/, without its .yaml");
        return false;
    }
    if (source->directory && find_model(source->directory, node->text, &file))
        return load_model_file(text_string(&file), source->problems, model) == 0;
    while (source->directory && directories && (directory = strsep(&rest, ":")))
        if (*directory && find_model(directory, node->text, &file))
            return load_model_file(text_string(&file), source->problems, model) == 0;
    refuse(source->problems, node->at, path, "there is no model '%s': no models/%s.yaml",
           node->text, node->text);
    return false;
}

bool model_read(const struct model_source *source, const struct yaml *node, const char *path,
                struct gpu_model *model)
{
    size_t before = problems_count(source->problems, PROBLEM_ERROR);

    if (node->kind == YAML_SCALAR)
        return read_named_model(source, node, path, model);
    if (node->kind != YAML_MAP) {
        refuse(source->problems, node->at, path,
               "expected the name of a model, or a model written out");
        return false;
    }
    schema_read(source->problems, model_fields, node, path, model);
    if (problems_count(source->problems, PROBLEM_ERROR) == before)
        check_model(source->problems, node->at, path, model);
    return problems_count(source->problems, PROBLEM_ERROR) == before;
}
