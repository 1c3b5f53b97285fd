// SPDX-License-Identifier: Apache-2.0
#include "catalog/model.h"

#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"
#include "base/yamlmap.h"
#include "catalog/migboard.h"

static const struct yamlmap_choice brands[] = {
    {"tesla", GPU_BRAND_TESLA},
    {"quadro", GPU_BRAND_QUADRO},
    {"geforce", GPU_BRAND_GEFORCE},
    {"titan", GPU_BRAND_TITAN},
    {"quadro-rtx", GPU_BRAND_QUADRO_RTX},
    {"nvidia-rtx", GPU_BRAND_NVIDIA_RTX},
    {"nvidia", GPU_BRAND_NVIDIA},
    {"geforce-rtx", GPU_BRAND_GEFORCE_RTX},
    {NULL, 0},
};

static const struct yamlmap_choice architectures[] = {
    {"kepler", GPU_ARCHITECTURE_KEPLER},
    {"maxwell", GPU_ARCHITECTURE_MAXWELL},
    {"pascal", GPU_ARCHITECTURE_PASCAL},
    {"volta", GPU_ARCHITECTURE_VOLTA},
    {"turing", GPU_ARCHITECTURE_TURING},
    {"ampere", GPU_ARCHITECTURE_AMPERE},
    {"ada", GPU_ARCHITECTURE_ADA},
    {"hopper", GPU_ARCHITECTURE_HOPPER},
    {"blackwell", GPU_ARCHITECTURE_BLACKWELL},
    {NULL, 0},
};

/* Those that NVML has a number for. */
static const struct yamlmap_choice nvlink_versions[] = {
    {"1.0", 10}, {"2.0", 20}, {"2.2", 22}, {"3.0", 30},
    {"3.1", 31}, {"4.0", 40}, {"5.0", 50}, {NULL, 0},
};

#define WATTS(member) .kind = YAMLMAP_MILLI, YAMLMAP_AT(gpu_model, member), .max = 10000

static const struct yamlmap_field power_fields[] = {
    {"idle", WATTS(power_idle_mw), .required = true},
    {"limit", WATTS(power_limit_mw), .required = true},
    {"min", WATTS(power_min_mw), .required = true},
    {"max", WATTS(power_max_mw), .required = true},
    {NULL},
};

static const struct yamlmap_field clock_fields[] = {
    {"graphics", YAMLMAP_NUMBER_AT(gpu_model, graphics_mhz, 1, 10000), .required = true},
    {"memory", YAMLMAP_NUMBER_AT(gpu_model, memory_mhz, 1, 50000), .required = true},
    {"video", YAMLMAP_NUMBER_AT(gpu_model, video_mhz, 1, 10000), .required = true},
    {"idle", YAMLMAP_NUMBER_AT(gpu_model, idle_mhz, 1, 10000), .required = true},
    {NULL},
};

static const struct yamlmap_field temperature_fields[] = {
    {"idle", YAMLMAP_NUMBER_AT(gpu_model, idle_celsius, 0, 150), .required = true},
    {"max", YAMLMAP_NUMBER_AT(gpu_model, max_celsius, 0, 150), .required = true},
    {"slowdown", YAMLMAP_NUMBER_AT(gpu_model, slowdown_celsius, 0, 150), .required = true},
    {"shutdown", YAMLMAP_NUMBER_AT(gpu_model, shutdown_celsius, 0, 150), .required = true},
    {"memoryMax", YAMLMAP_NUMBER_AT(gpu_model, memory_max_celsius, 0, 150)},
    {NULL},
};

static const struct yamlmap_field pcie_fields[] = {
    {"generation", YAMLMAP_NUMBER_AT(gpu_model, pcie_generation, 1, 6), .required = true},
    {"width", YAMLMAP_NUMBER_AT(gpu_model, pcie_width, 1, 16), .required = true},
    {NULL},
};

static const struct yamlmap_field nvlink_fields[] = {
    {"count", YAMLMAP_NUMBER_AT(gpu_model, nvlink_count, 0, GPU_MODEL_MAX_NVLINKS),
     .required = true},
    {"version", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(gpu_model, nvlink_version),
     .choices = nvlink_versions, .required = true},
    {"mbps", YAMLMAP_NUMBER_AT(gpu_model, nvlink_mbps, 1, 1000000), .required = true},
    {NULL},
};

static const struct yamlmap_field engine_fields[] = {
    {"encoder", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, encoder)},
    {"decoder", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, decoder)},
    {"jpeg", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, jpeg)},
    {"ofa", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, ofa)},
    {NULL},
};

static const struct yamlmap_field model_fields[] = {
    {"like", .kind = YAMLMAP_OTHER}, /* read by the code that knows the other models */
    {"name", YAMLMAP_TEXT_AT(gpu_model, name), .required = true},
    {"brand", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(gpu_model, brand), .choices = brands,
     .required = true},
    {"architecture", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(gpu_model, architecture),
     .choices = architectures, .required = true},
    {"compute", .kind = YAMLMAP_VERSION, YAMLMAP_AT(gpu_model, compute_major), .required = true},
    {"multiprocessors", YAMLMAP_NUMBER_AT(gpu_model, multiprocessors, 1, 10000)},
    {"cores", YAMLMAP_NUMBER_AT(gpu_model, cores, 1, 1000000), .required = true},
    {"memory", .kind = YAMLMAP_SIZE, YAMLMAP_AT(gpu_model, memory_bytes), .required = true},
    {"reserved", .kind = YAMLMAP_SIZE, YAMLMAP_AT(gpu_model, reserved_bytes), .required = true},
    {"bar1", .kind = YAMLMAP_SIZE, YAMLMAP_AT(gpu_model, bar1_bytes), .required = true},
    {"memoryBus", YAMLMAP_NUMBER_AT(gpu_model, memory_bus_bits, 1, 65536), .required = true},
    {"pciDevice", YAMLMAP_NUMBER_AT(gpu_model, pci_device, 1, UINT32_MAX), .required = true},
    {"pciSubsystem", YAMLMAP_NUMBER_AT(gpu_model, pci_subsystem, 0, UINT32_MAX), .required = true},
    {"pciClass", YAMLMAP_NUMBER_AT(gpu_model, pci_class, 0, 0xffff), .required = true},
    {"pcie", .kind = YAMLMAP_MAP, .fields = pcie_fields, .required = true},
    {"power", .kind = YAMLMAP_MAP, .fields = power_fields, .required = true},
    {"clocks", .kind = YAMLMAP_MAP, .fields = clock_fields, .required = true},
    {"temperature", .kind = YAMLMAP_MAP, .fields = temperature_fields, .required = true},
    {"nvlink", .kind = YAMLMAP_MAP, .fields = nvlink_fields},
    {"engines", .kind = YAMLMAP_MAP, .fields = engine_fields},
    {"ecc", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, ecc)},
    {"rowRemapping", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, row_remapping)},
    {"gsp", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, gsp)},
    {"fabric", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, fabric)},
    {"idleP8", .kind = YAMLMAP_BOOL, YAMLMAP_AT(gpu_model, idle_p8)},
    {"mig", .kind = YAMLMAP_OTHER},       /* catalog/migboard.h */
    {"migSlices", .kind = YAMLMAP_OTHER}, /* before there was 'mig' */
    {"fans", YAMLMAP_NUMBER_AT(gpu_model, fans, 0, 4)},
    {"vbios", YAMLMAP_TEXT_AT(gpu_model, vbios)},
    {"part", YAMLMAP_TEXT_AT(gpu_model, part)},
    {NULL},
};

static void check(struct problems *problems, struct position at, const char *path,
                  const struct gpu_model *m)
{
    if (m->reserved_bytes >= m->memory_bytes)
        yamlmap_refuse(problems, at, path, "'reserved' must be less than 'memory'");
    if (m->power_min_mw > m->power_limit_mw || m->power_limit_mw > m->power_max_mw)
        yamlmap_refuse(problems, at, path, "power must be ordered min <= limit <= max");
    if (m->multiprocessors && m->cores % m->multiprocessors)
        yamlmap_refuse(problems, at, path, "'cores' must be a multiple of 'multiprocessors'");
    for (uint32_t i = 0; i < m->mig.n_profiles; i++)
        if (m->mig.profiles[i].mem_bytes > m->memory_bytes)
            yamlmap_refuse(problems, at, path, "the profile %s of 'mig' has more than 'memory'",
                           m->mig.profiles[i].name);
}

static void read_mig(struct problems *problems, const struct yaml *map, const char *path,
                     struct gpu_model *model)
{
    const struct yaml *board = yaml_get(map, "mig"), *slices = yaml_get(map, "migSlices");
    char where[YAMLMAP_PATH];

    yamlmap_join(where, path, board ? "mig" : "migSlices");
    if (board)
        (void)migboard_read(problems, board, where, &model->mig);
    else if (slices)
        yamlmap_refuse(problems, slices->key_at, where,
                       "write 'mig' instead, the profiles, or 'like', a model that has them");
}

bool gpu_model_read(struct problems *problems, const struct yaml *map, const char *path,
                    bool is_like, struct gpu_model *model)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);

    if (is_like)
        yamlmap_read_over(problems, model_fields, map, path, model);
    else
        yamlmap_read(problems, model_fields, map, path, model);
    read_mig(problems, map, path, model);
    if (problems_count(problems, PROBLEM_ERROR) == before)
        check(problems, map->at, path, model);
    return problems_count(problems, PROBLEM_ERROR) == before;
}

static bool is_separator(char c)
{
    return c == ' ' || c == '-';
}

/* Behind the words that a product's name may begin with. */
static const char *skip_maker(const char *name)
{
    static const char *const makers[] = {"nvidia", "tesla"};

    for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
        size_t length = strlen(makers[i]);

        if (strncasecmp(name, makers[i], length) == 0 && is_separator(name[length]) &&
            name[length + 1])
            name += length + 1;
    }
    return name;
}

void gpu_model_short_name(const struct gpu_model *model, char to[GPU_MODEL_NAME])
{
    (void)str_copy(to, GPU_MODEL_NAME, skip_maker(model->name));
    for (; *to; to++)
        if (*to == ' ')
            *to = '-';
}

bool gpu_model_is_named(const struct gpu_model *model, const char *name)
{
    char own[GPU_MODEL_NAME], given[GPU_MODEL_NAME];

    gpu_model_short_name(model, own);
    if (str_copy(given, sizeof(given), skip_maker(name)) < 0)
        return false;
    for (char *p = given; *p; p++)
        if (*p == ' ')
            *p = '-';
    return strcasecmp(own, given) == 0;
}
