// SPDX-License-Identifier: Apache-2.0

/*
 * GPU performance monitoring, which Hopper and later have: metrics computed from two samples of a
 * device. Numbers, names, units and statuses are those of an H200 under 580.159.04. Here, a metric
 * is the mean of the loads at both samples; what has no load in the simulator is 0.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "nvml/library.h"

#define SAMPLE_MAGIC 0x6d7067u /* "gpm" */

/* What samples hold; of a metric, where its value comes from. */
enum source { NOTHING, GRAPHICS, OCCUPANCY, MEMORY, PCIE, DECODER, ENCODER, N_SOURCES };

struct nvmlGpmSample_st {
    unsigned magic;
    bool is_taken;
    unsigned gpu;
    double values[N_SOURCES];
};

/* A group of metrics with consecutive numbers: `n_kinds` for each of `n_units` engines or links. */
static const struct group {
    unsigned first, n_units, n_kinds;
    enum source source;      /* of the first engine's; the others are idle */
    const char *units[6];    /* one, or one for each kind */
    const char *names[6][2]; /* short and long; %u is the number of the engine or link */
} groups[] = {
    /* clang-format off */
    {  1,  1, 1, GRAPHICS,  {"%"},     {{"gract",    "GRAPHICS_UTIL"}}},
    {  2,  1, 1, GRAPHICS,  {"%"},     {{"smutil",   "SM_UTIL"}}},
    {  3,  1, 1, OCCUPANCY, {"%"},     {{"smocc",    "SM_OCCUPANCY"}}},
    {  4,  1, 1, NOTHING,   {"%"},     {{"intutil",  "INTEGER_UTIL"}}},
    {  5,  1, 1, NOTHING,   {"%"},     {{"mmaact",   "ANY_TENSOR_UTIL"}}},
    {  6,  1, 1, NOTHING,   {"%"},     {{"dfmat",    "DFMA_TENSOR_UTIL"}}},
    {  7,  1, 1, NOTHING,   {"%"},     {{"hmmat",    "HMMA_TENSOR_UTIL"}}},
    {  9,  1, 1, NOTHING,   {"%"},     {{"immat",    "IMMA_TENSOR_UTIL"}}},
    { 10,  1, 1, MEMORY,    {"%"},     {{"dram",     "DRAM_BW_UTIL"}}},
    { 11,  1, 1, NOTHING,   {"%"},     {{"fp64",     "FP64_UTIL"}}},
    { 12,  1, 1, NOTHING,   {"%"},     {{"fp32",     "FP32_UTIL"}}},
    { 13,  1, 1, NOTHING,   {"%"},     {{"fp16",     "FP16_UTIL"}}},
    { 20,  1, 1, PCIE,      {"MiB/s"}, {{"pcitx",    "PCIE_TX_PER_SEC"}}},
    { 21,  1, 1, PCIE,      {"MiB/s"}, {{"pcirx",    "PCIE_RX_PER_SEC"}}},
    { 30,  8, 1, DECODER,   {"%"},     {{"nvdec%u",  "NVDEC_%u_UTIL"}}},
    { 40,  8, 1, NOTHING,   {"%"},     {{"nvjpg%u",  "NVJPG_%u_UTIL"}}},
    { 50,  2, 1, NOTHING,   {"%"},     {{"nvofa%u",  "NVOFA_%u_UTIL"}}},
    { 60,  1, 2, NOTHING,   {"MiB/s"}, {{"nvlrx",    "NVLINK_TOTAL_RX_PER_SEC"},
                                        {"nvltx",    "NVLINK_TOTAL_TX_PER_SEC"}}},
    { 62, 18, 2, NOTHING,   {"MiB/s"}, {{"nvl%urx",  "NVLINK_L%u_RX_PER_SEC"},
                                        {"nvl%utx",  "NVLINK_L%u_TX_PER_SEC"}}},
    {100,  1, 4, NOTHING,   {"MiB/s"}, {{"c2cttx",   "C2C_TOTAL_TX_PER_SEC"},
                                        {"c2ctrx",   "C2C_TOTAL_RX_PER_SEC"},
                                        {"c2cdtx",   "C2C_DATA_TX_PER_SEC"},
                                        {"c2cdrx",   "C2C_DATA_RX_PER_SEC"}}},
    {104, 14, 4, NOTHING,   {"MiB/s"}, {{"c2c%uttx", "C2C_LINK%u_TOTAL_TX_PER_SEC"},
                                        {"c2c%utrx", "C2C_LINK%u_TOTAL_RX_PER_SEC"},
                                        {"c2c%udtx", "C2C_LINK%u_DATA_TX_PER_SEC"},
                                        {"c2c%udrx", "C2C_LINK%u_DATA_RX_PER_SEC"}}},
    {160,  1, 6, NOTHING,   {"%"},     {{"hmhit",    "HOSTMEM_CACHE_HIT"},
                                        {"hmmiss",   "HOSTMEM_CACHE_MISS"},
                                        {"pmhit",    "PEERMEM_CACHE_HIT"},
                                        {"pmmiss",   "PEERMEM_CACHE_MISS"},
                                        {"dmhit",    "DRAM_CACHE_HIT"},
                                        {"dmmiss",   "DRAM_CACHE_MISS"}}},
    {166,  4, 1, ENCODER,   {"%"},     {{"nvenc%u",  "NVENC_%u_UTIL"}}},
    {170,  8, 5, NOTHING,   {"#", "#", "#", "C/R", "%"},
                                       {{"cs%uelp",   "GR%u_CTXSW_CYCLES_ELAPSED"},
                                        {"cs%uact",   "GR%u_CTXSW_CYCLES_ACTIVE"},
                                        {"cs%ureq",   "GR%u_CTXSW_REQUESTS"},
                                        {"cs%ucperq", "GR%u_CTXSW_CYCLES_PER_REQ"},
                                        {"cs%uactpt", "GR%u_CTXSW_ACTIVE_PCT"}}},
    /* clang-format on */
};

/* What a caller may keep a pointer to. Numbers without a name are reserved, and answered. */
static struct metric {
    char short_name[16], long_name[48];
    const char *unit;
    enum source source;
} metrics[NVML_GPM_METRIC_MAX];

static void put_unit(const struct group *group, unsigned unit)
{
    for (unsigned kind = 0; kind < group->n_kinds; kind++) {
        struct metric *metric = &metrics[group->first + unit * group->n_kinds + kind];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(metric->short_name, sizeof(metric->short_name), group->names[kind][0], unit);
        snprintf(metric->long_name, sizeof(metric->long_name), group->names[kind][1], unit);
#pragma GCC diagnostic pop
        metric->unit = group->units[kind] ? group->units[kind] : group->units[0];
        metric->source = unit == 0 ? group->source : NOTHING;
    }
}

static void name_metrics(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        for (unsigned unit = 0; unit < groups[i].n_units; unit++)
            put_unit(&groups[i], unit);
}

static bool is_supported(const struct view *v)
{
    return v->model->architecture >= GPU_ARCHITECTURE_HOPPER;
}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *gpmSupport)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!gpmSupport)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (gpmSupport->version != NVML_GPM_SUPPORT_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    gpmSupport->isSupportedDevice = is_supported(&v);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmQueryIfStreamingEnabled(nvmlDevice_t device, unsigned int *state)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!state)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!is_supported(&v))
        return NVML_ERROR_NOT_SUPPORTED;
    *state = NVML_FEATURE_DISABLED;
    return NVML_SUCCESS;
}

static bool is_sample(nvmlGpmSample_t sample)
{
    return sample && sample->magic == SAMPLE_MAGIC;
}

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *gpmSample)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    if (r)
        return r;
    if (!gpmSample)
        return NVML_ERROR_INVALID_ARGUMENT;
    *gpmSample = calloc(1, sizeof(**gpmSample));
    if (!*gpmSample)
        return NVML_ERROR_MEMORY;
    (*gpmSample)->magic = SAMPLE_MAGIC;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t gpmSample)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    if (r)
        return r;
    if (!is_sample(gpmSample))
        return NVML_ERROR_INVALID_ARGUMENT;
    gpmSample->magic = 0;
    free(gpmSample);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t gpmSample)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!gpmSample)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!is_supported(&v))
        return NVML_ERROR_NOT_SUPPORTED;
    *gpmSample = (struct nvmlGpmSample_st){
        .magic = SAMPLE_MAGIC,
        .is_taken = true,
        .gpu = v.index,
        .values = {[GRAPHICS] = load_percent(&v),
                   [OCCUPANCY] = load_percent(&v) / 2.0,
                   [MEMORY] = atomic_load(&v.now->utilization_memory),
                   [PCIE] = load_pcie_kbps(&v) / 1024.0,
                   [DECODER] = atomic_load(&v.now->utilization_decoder),
                   [ENCODER] = atomic_load(&v.now->utilization_encoder)},
    };
    return NVML_SUCCESS;
}

/* No device has a GPU instance whose number could be asked for. */
nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int gpuInstanceId,
                                 nvmlGpmSample_t gpmSample)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    return r ? r : NVML_ERROR_INVALID_ARGUMENT;
}

static void give_metric(const struct nvmlGpmSample_st *a, const struct nvmlGpmSample_st *b,
                        nvmlGpmMetric_t *to)
{
    const struct metric *metric;

    to->value = 0;
    to->nvmlReturn = NVML_ERROR_INVALID_ARGUMENT;
    if (to->metricId == 0 || to->metricId >= NVML_GPM_METRIC_MAX)
        return;
    metric = &metrics[to->metricId];
    to->nvmlReturn = NVML_SUCCESS;
    to->value = (a->values[metric->source] + b->values[metric->source]) / 2;
    if (metric->unit) {
        to->metricInfo[0] = metric->short_name;
        to->metricInfo[1] = metric->long_name;
        to->metricInfo[2] = metric->unit;
    }
}

/* The samples may be given in either order, but not one twice. */
nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *metricsGet)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);
    nvmlGpmSample_t a, b;

    if (r)
        return r;
    if (!metricsGet)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (metricsGet->version != NVML_GPM_METRICS_GET_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    a = metricsGet->sample1;
    b = metricsGet->sample2;
    if (!is_sample(a) || !is_sample(b) || a == b || !a->is_taken || !b->is_taken ||
        a->gpu != b->gpu)
        return NVML_ERROR_INVALID_ARGUMENT;
    pthread_once(&once, name_metrics);
    for (unsigned i = 0; i < metricsGet->numMetrics; i++)
        give_metric(a, b, &metricsGet->metrics[i]);
    return NVML_SUCCESS;
}
