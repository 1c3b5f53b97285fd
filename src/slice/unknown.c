// SPDX-License-Identifier: Apache-2.0
#include "slice/unknown.h"

#include "base/text.h"

/* `query` is the NVML function without versions; of several, the first that is asked. */
static const struct row {
    const char *name;
    const char *what;
    const char *query;
    const char *effect;
    enum problem_severity severity;
} rows[N_FACTS] = {
    [FACT_DRIVER_VERSION] = {"driver-version", "the driver's version", "nvmlSystemGetDriverVersion",
                             "no label tells it", PROBLEM_NOTE},
    [FACT_CUDA_VERSION] = {"cuda-version", "the driver's CUDA version",
                           "nvmlSystemGetCudaDriverVersion", "no label tells it", PROBLEM_NOTE},
    [FACT_MODEL] = {"model", "the model", "nvmlDeviceGetName",
                    "no pattern of resources.gpus but '*' matches it", PROBLEM_WARNING},
    [FACT_MINOR] = {"minor", "the minor number", "nvmlDeviceGetMinorNumber",
                    "passDeviceSpecs and CDI cannot name its device node", PROBLEM_WARNING},
    [FACT_PCI] = {"pci", "the PCI address", "nvmlDeviceGetPciInfo",
                  "its NVLinks to other GPUs cannot be found", PROBLEM_NOTE},
    [FACT_CLASS] = {"pci-class", "the PCI class", "nvmlDeviceGetPciInfoExt",
                    "the label nvidia.com/gpu.mode is 'unknown'", PROBLEM_NOTE},
    [FACT_NUMA] = {"numa-node", "the NUMA node", "nvmlDeviceGetMemoryAffinity",
                   "the kubelet cannot align CPUs with it", PROBLEM_NOTE},
    [FACT_MEMORY] = {"memory", "the memory", "nvmlDeviceGetMemoryInfo",
                     "none is divided among its slices, and no label tells it", PROBLEM_WARNING},
    [FACT_RESERVED] = {"reserved-memory", "the memory that the driver keeps for itself",
                       "nvmlDeviceGetMemoryInfo", "slices divide all of the memory", PROBLEM_NOTE},
    [FACT_CAPABILITY] = {"compute-capability", "the compute capability",
                         "nvmlDeviceGetCudaComputeCapability", "no label tells it or its family",
                         PROBLEM_NOTE},
    [FACT_MIG] = {"mig", "the MIG mode", "nvmlDeviceGetMigMode", "it is treated as not partitioned",
                  PROBLEM_WARNING},
    [FACT_MIG_PROFILES] = {"mig-profiles", "the list of MIG profiles",
                           "nvmlDeviceGetGpuInstanceProfileInfo", "it is not partitioned",
                           PROBLEM_NOTE},
    [FACT_MIG_DEVICES] = {"mig-devices", "the list of MIG devices",
                          "nvmlDeviceGetMigDeviceHandleByIndex", "those not listed are not offered",
                          PROBLEM_WARNING},
    [FACT_MIG_SHAPES] = {"mig-shapes", "the profile of some MIG device", "nvmlDeviceGetAttributes",
                         "no label tells what it consists of", PROBLEM_NOTE},
    [FACT_MIG_INSTANCES] = {"mig-instances", "the list of GPU instances",
                            "a query of them (nvmlDeviceGetGpuInstances and others)",
                            "instances without a MIG device are not seen", PROBLEM_NOTE},
    [FACT_MIG_NODES] = {"mig-nodes", "the capability node of some MIG device",
                        "/proc/driver/nvidia-caps/mig-minors",
                        "passDeviceSpecs and CDI cannot name it", PROBLEM_WARNING},
    [FACT_FABRIC] = {"fabric", "the NVLink fabric", "nvmlDeviceGetGpuFabricInfo",
                     "the label nvidia.com/gpu.clique is left out", PROBLEM_NOTE},
    [FACT_VIRTUALIZATION] = {"virtualization", "the virtualization mode",
                             "nvmlDeviceGetVirtualizationMode",
                             "the label nvidia.com/vgpu.present is left out", PROBLEM_NOTE},
    [FACT_PATHS] = {"pcie-paths", "the PCIe distance to other GPUs",
                    "nvmlDeviceGetTopologyCommonAncestor", "it does not count when GPUs are chosen",
                    PROBLEM_NOTE},
    [FACT_NVLINKS] = {"nvlinks", "the NVLinks", "nvmlDeviceGetNvLinkState",
                      "they do not count when GPUs are chosen", PROBLEM_NOTE},
    [FACT_LINK_ENDS] = {"nvlink-ends", "the far end of NVLinks", "nvmlDeviceGetNvLinkRemotePciInfo",
                        "those links do not count when GPUs are chosen", PROBLEM_NOTE},
    [FACT_NVSWITCHES] = {"nvswitches", "whether there are NVSwitches at the NVLinks",
                         "nvmlDeviceGetNvLinkRemoteDeviceType",
                         "those links do not count when GPUs are chosen", PROBLEM_NOTE},
};

/* Around the query. */
static const struct {
    const char *before, *after;
} reasons[] = {
    [FACT_MISSING] = {"the driver does not have ", ""},
    [FACT_UNSUPPORTED] = {"", " is not supported here"},
    [FACT_FAILED] = {"", " failed"},
    [FACT_ABSURD] = {"", " returned a value that cannot be true"},
};

const char *unknown_fact_name(enum fact fact)
{
    return rows[fact].name;
}

static bool lacks(const struct gpu *gpu, enum fact fact, enum fact_gap gap)
{
    return !*gpu->unusable && gpu->gaps[fact] == gap && !(fact == FACT_MINOR && gpu->is_dxg);
}

/* " of GPU 3", " of GPUs 0-3, 6"; nothing if the GPUs concerned are none. */
static void add_gpus(const struct inventory *inventory, enum fact fact, enum fact_gap gap,
                     struct text *out)
{
    cleanup_text struct text list = TEXT_INIT;
    size_t n = 0;

    for (size_t i = 0; i < inventory->n_gpus; i++) {
        size_t last = i;

        if (!lacks(&inventory->gpus[i], fact, gap))
            continue;
        while (last + 1 < inventory->n_gpus && lacks(&inventory->gpus[last + 1], fact, gap) &&
               inventory->gpus[last + 1].index == inventory->gpus[last].index + 1)
            last++;
        text_addf(&list, "%s%u", n ? ", " : "", inventory->gpus[i].index);
        if (last > i)
            text_addf(&list, "%s%u", last > i + 1 ? "-" : ", ", inventory->gpus[last].index);
        n += last - i + 1;
        i = last;
    }
    if (n)
        text_addf(out, " of GPU%s %s", n > 1 ? "s" : "", text_string(&list));
}

static void report(const struct row *row, enum fact_gap gap, const char *gpus,
                   struct problems *problems)
{
    problem_add(problems, row->severity, (struct position){0, 0}, "", "%s%s %s unknown: %s%s%s; %s",
                row->what, gpus, str_ends_with(row->what, "NVLinks") ? "are" : "is",
                reasons[gap].before, row->query, reasons[gap].after, row->effect);
}

void unknown_report(const struct inventory *inventory, struct problems *problems)
{
    for (unsigned fact = 0; fact < N_FACTS; fact++)
        for (unsigned gap = FACT_MISSING; gap <= FACT_ABSURD; gap++) {
            cleanup_text struct text gpus = TEXT_INIT;

            add_gpus(inventory, (enum fact)fact, (enum fact_gap)gap, &gpus);
            if (gpus.length || inventory->gaps[fact] == gap)
                report(&rows[fact], (enum fact_gap)gap, text_string(&gpus), problems);
        }
}
