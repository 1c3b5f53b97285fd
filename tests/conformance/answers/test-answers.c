// SPDX-License-Identifier: Apache-2.0

/*
 * Every call of ours into the driver, answered in every wrong way, on every machine file: what is
 * offered, and what is reported.
 *
 * The driver is the simulator's library; single calls of it are replaced in the table of symbols
 * (gpu/nvml.h). A row is a call, or several that serve one fact. Each is absent from the library,
 * returns each status that NVML knows, and returns nonsense. A cell expects
 *  - the offer: every device of the healthy machine, or none; with and without CDI alone;
 *  - the sentence, if the machine is asked at all, and none besides those of the healthy machine;
 *  - that a probe finds the GPUs as alive as the offer says;
 *  - a plan without faults, and no label that turns an unknown fact into a value.
 * A call of the table without a row fails, and so does a row that no machine asks.
 */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "gpu/nvml.h"
#include "nvml/state.h"
#include "slice/invariant.h"
#include "slice/planner.h"

enum { REPLICAS = 4, CALLS_MAX = 4, VARIANTS_MAX = 5, MACHINES_MAX = 64, SHOWN_MAX = 10 };

/* --- the calls, and what they may return instead --- */

static nvmlReturn_t refused; /* what refused calls return */
static unsigned n_asked;     /* how often a replaced call was made */

#define NVML_CALL(name, arguments)                                      \
    __attribute__((unused)) static nvmlReturn_t refuse_##name arguments \
    {                                                                   \
        n_asked++;                                                      \
        return refused;                                                 \
    }
#include "gpu/nvml-calls.def"

typedef void any_fn(void);

static const struct call {
    const char *name;
    size_t offset;
    any_fn *refuse;
} calls[] = {
#define CALL_ROW(symbol, older, required) \
    {#symbol, offsetof(struct nvml_library, symbol), (any_fn *)refuse_##symbol},
    NVML_SYMBOLS(CALL_ROW)
#undef CALL_ROW
};

/* A call that succeeds with nonsense: sets its outputs to what `body` says. */
#define NONSENSE(function, arguments, body) \
    static nvmlReturn_t function arguments  \
    {                                       \
        n_asked++;                          \
        body;                               \
        return NVML_SUCCESS;                \
    }

NONSENSE(count_huge, (unsigned *n), *n = UINT32_MAX)
NONSENSE(handle_null, (unsigned index, nvmlDevice_t *device), *device = NULL)
NONSENSE(mig_handle_null, (nvmlDevice_t device, unsigned index, nvmlDevice_t *mig), *mig = NULL)
NONSENSE(text_empty, (nvmlDevice_t device, char *text, unsigned size), *text = '\0')
NONSENSE(text_control, (nvmlDevice_t device, char *text, unsigned size),
         snprintf(text, size, "\x1b\xff\n"))
NONSENSE(text_endless, (nvmlDevice_t device, char *text, unsigned size), memset(text, '?', size))
NONSENSE(uuid_path, (nvmlDevice_t device, char *text, unsigned size),
         snprintf(text, size, "GPU-../../etc,all"))
NONSENSE(uuid_all, (nvmlDevice_t device, char *text, unsigned size), snprintf(text, size, "all"))
NONSENSE(version_empty, (char *text, unsigned size), *text = '\0')
NONSENSE(version_word, (char *text, unsigned size), snprintf(text, size, "%s", "../\x01x"))
NONSENSE(cuda_zero, (int *version), *version = 0)
NONSENSE(cuda_negative, (int *version), *version = INT_MIN)
NONSENSE(cuda_huge, (int *version), *version = INT_MAX)
NONSENSE(minor_huge, (nvmlDevice_t device, unsigned *minor), *minor = UINT32_MAX)
NONSENSE(minor_out_of_range, (nvmlDevice_t device, unsigned *minor), *minor = 1U << 20)
NONSENSE(pci_empty, (nvmlDevice_t device, nvmlPciInfo_t *pci), memset(pci, 0, sizeof(*pci)))
NONSENSE(pci_endless, (nvmlDevice_t device, nvmlPciInfo_t *pci), memset(pci, 'x', sizeof(*pci)))
NONSENSE(class_none, (nvmlDevice_t device, nvmlPciInfoExt_t *pci),
         pci->baseClass = pci->subClass = 0)
NONSENSE(class_huge, (nvmlDevice_t device, nvmlPciInfoExt_t *pci),
         pci->baseClass = pci->subClass = UINT32_MAX)
NONSENSE(memory_none, (nvmlDevice_t device, nvmlMemory_t *memory),
         *memory = (nvmlMemory_t){.total = 0})
NONSENSE(memory_huge, (nvmlDevice_t device, nvmlMemory_t *memory),
         memset(memory, 0xff, sizeof(*memory)))
NONSENSE(memory_v2_none, (nvmlDevice_t device, nvmlMemory_v2_t *memory),
         memory->total = memory->reserved = 0)
NONSENSE(memory_v2_huge, (nvmlDevice_t device, nvmlMemory_v2_t *memory),
         memory->total = memory->reserved = UINT64_MAX)
NONSENSE(memory_v2_all_reserved, (nvmlDevice_t device, nvmlMemory_v2_t *memory),
         memory->total = memory->reserved = UINT64_C(16) << 30)
NONSENSE(capability_none, (nvmlDevice_t device, int *major, int *minor), *major = *minor = 0)
NONSENSE(capability_negative, (nvmlDevice_t device, int *major, int *minor),
         *major = *minor = INT_MIN)
NONSENSE(capability_huge, (nvmlDevice_t device, int *major, int *minor), *major = *minor = INT_MAX)
NONSENSE(mig_mode_seven, (nvmlDevice_t device, unsigned *current, unsigned *pending),
         *current = *pending = 7)
NONSENSE(profile_huge, (nvmlDevice_t device, unsigned profile, nvmlGpuInstanceProfileInfo_t *info),
         memset(info, 0xff, sizeof(*info)))
NONSENSE(profile_none, (nvmlDevice_t device, unsigned profile, nvmlGpuInstanceProfileInfo_t *info),
         memset(info, 0, sizeof(*info)))
NONSENSE(places_huge,
         (nvmlDevice_t device, unsigned id, nvmlGpuInstancePlacement_t *places, unsigned *n),
         memset(places, 0xff, sizeof(*places));
         *n = 1)
NONSENSE(attributes_none, (nvmlDevice_t device, nvmlDeviceAttributes_t *attributes),
         memset(attributes, 0, sizeof(*attributes)))
NONSENSE(attributes_huge, (nvmlDevice_t device, nvmlDeviceAttributes_t *attributes),
         memset(attributes, 0xff, sizeof(*attributes)))
NONSENSE(instance_huge, (nvmlGpuInstance_t instance, nvmlGpuInstanceInfo_t *info),
         memset(info, 0xff, sizeof(*info)))
NONSENSE(compute_huge, (nvmlComputeInstance_t instance, nvmlComputeInstanceInfo_t *info),
         memset(info, 0xff, sizeof(*info)))
NONSENSE(virtualization_odd, (nvmlDevice_t device, nvmlGpuVirtualizationMode_t *mode),
         *mode = (nvmlGpuVirtualizationMode_t)77)
NONSENSE(fabric_state, (nvmlDevice_t device, nvmlGpuFabricInfoV_t *info), info->state = 0xff)
NONSENSE(fabric_old_state, (nvmlDevice_t device, nvmlGpuFabricInfo_t *info), info->state = 0xff)
NONSENSE(node_huge, (nvmlDevice_t device, unsigned *node), *node = UINT32_MAX)
NONSENSE(level_odd, (nvmlDevice_t a, nvmlDevice_t b, nvmlGpuTopologyLevel_t *level),
         *level = (nvmlGpuTopologyLevel_t)77)
NONSENSE(link_state_odd, (nvmlDevice_t device, unsigned link, nvmlEnableState_t *active),
         *active = (nvmlEnableState_t)77)
NONSENSE(link_type_odd, (nvmlDevice_t device, unsigned link, nvmlIntNvLinkDeviceType_t *type),
         *type = (nvmlIntNvLinkDeviceType_t)77)
NONSENSE(link_pci_empty, (nvmlDevice_t device, unsigned link, nvmlPciInfo_t *pci),
         memset(pci, 0, sizeof(*pci)))
NONSENSE(energy_backwards, (nvmlDevice_t device, unsigned long long *energy), *energy = 0)
NONSENSE(field_odd, (nvmlDevice_t device, int n, nvmlFieldValue_t *values),
         memset(values, 0x7f, sizeof(*values));
         values->nvmlReturn = NVML_SUCCESS)
NONSENSE(events_none, (nvmlDevice_t device, unsigned long long *types), *types = 0)
NONSENSE(event_of_no_type, (nvmlEventSet_t set, nvmlEventData_t *data, unsigned timeout_ms),
         memset(data, 0, sizeof(*data)))

/* --- the rows --- */

/* Classes of wrong answers; NVML's statuses fall into the first four. */
enum class { ABSENT, UNSUPPORTED, FAILED, LOST, ABSURD, N_CLASSES };

#define IN(class) (1U << (class))

struct row {
    const char *calls[CALLS_MAX]; /* replaced together */
    const char *what, *query; /* of a fact: "the memory", and the call that its sentence names */
    const char *words;        /* in the sentence, where there is no fact */
    unsigned silent;          /* classes in which there is nothing to say */
    unsigned left_out;        /* classes in which nothing can be offered */
    unsigned cdi_left_out;    /* the same where CDI alone gives devices to containers */
    unsigned hidden;          /* classes in which there is nothing to offer of GPUs that work */
    unsigned contradicts;     /* classes in which no GPU with MIG devices can answer */
    unsigned dead;            /* classes in which a probe must fail; beside those left out */
    bool needs_switches;      /* there is something to say where NVLinks end at NVSwitches */
    bool is_spare;            /* a healthy session never makes the call */
    bool needs_mig;           /* made to partition GPUs, which no session here does */
    nvmlReturn_t answer;      /* a status that is no refusal, */
    nvmlReturn_t answer_too;  /* and another */
    const char *label;        /* in no key of a label, unless its value is "unknown" */
    struct nonsense {
        any_fn *functions[2]; /* by call */
        const char *what;     /* another fact that is unknown instead */
    } nonsense[VARIANTS_MAX];
};

#define EVERY (IN(ABSENT) | IN(UNSUPPORTED) | IN(FAILED) | IN(LOST) | IN(ABSURD))
#define AS(function)             \
    {                            \
        {                        \
            (any_fn *)(function) \
        }                        \
    }

/* That the driver does not know a feature, or its GPU not, says that the GPU has none. */
#define NOT_KNOWN_IS_NONE .silent = IN(ABSENT) | IN(UNSUPPORTED)

static const struct row rows[] = {
    /* A session, and the way to a GPU. */
    {{"nvmlShutdown"}, .silent = EVERY, .is_spare = true},
    {{"nvmlDeviceGetCount_v2"}, .silent = EVERY, .nonsense = {AS(count_huge)}},
    {{"nvmlDeviceGetHandleByIndex_v2"},
     .words = "nvmlDeviceGetHandleByIndex",
     .left_out = EVERY,
     .nonsense = {AS(handle_null)}},
    {{"nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2"},
     .words = "nvmlDeviceGetCount",
     .left_out = EVERY},
    {{"nvmlDeviceGetHandleByUUID"}, .silent = EVERY, .is_spare = true},
    {{"nvmlDeviceGetUUID"},
     .words = "nvmlDeviceGetUUID",
     .left_out = EVERY,
     .nonsense = {AS(text_empty), AS(text_endless), AS(uuid_path), AS(uuid_all)}},
    /* The machine. */
    {{"nvmlSystemGetDriverVersion"},
     "the driver's version",
     "nvmlSystemGetDriverVersion",
     .label = "cuda.driver",
     .nonsense = {AS(version_empty), AS(version_word)}},
    {{"nvmlSystemGetCudaDriverVersion_v2"},
     .silent = EVERY,
     .nonsense = {AS(cuda_zero), AS(cuda_negative), AS(cuda_huge)}},
    {{"nvmlSystemGetCudaDriverVersion"}, .silent = EVERY, .is_spare = true},
    {{"nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"},
     "the driver's CUDA version",
     "nvmlSystemGetCudaDriverVersion",
     .label = "cuda.runtime",
     .nonsense = {{{(any_fn *)cuda_zero, (any_fn *)cuda_zero}},
                  {{(any_fn *)cuda_negative, (any_fn *)cuda_huge}}}},
    /* Facts of a GPU. */
    {{"nvmlDeviceGetName"},
     "the model",
     "nvmlDeviceGetName",
     .label = "gpu.product",
     .left_out = IN(LOST),
     .nonsense = {AS(text_empty), AS(text_control), AS(text_endless)}},
    {{"nvmlDeviceGetMinorNumber"},
     "the minor number",
     "nvmlDeviceGetMinorNumber",
     .left_out = IN(LOST),
     .cdi_left_out = EVERY,
     .nonsense = {AS(minor_huge), AS(minor_out_of_range)}},
    {{"nvmlDeviceGetPciInfo_v3"},
     "the PCI address",
     "nvmlDeviceGetPciInfo",
     .left_out = IN(LOST),
     .nonsense = {AS(pci_empty), AS(pci_endless)}},
    {{"nvmlDeviceGetPciInfoExt"},
     "the PCI class",
     "nvmlDeviceGetPciInfoExt",
     .label = "gpu.mode",
     .nonsense = {AS(class_none), AS(class_huge)}},
    {{"nvmlDeviceGetMemoryInfo_v2"},
     .left_out = IN(LOST),
     .silent = IN(ABSENT) | IN(UNSUPPORTED) | IN(FAILED) | IN(ABSURD),
     .nonsense = {AS(memory_v2_none), AS(memory_v2_huge)}},
    {{"nvmlDeviceGetMemoryInfo_v2"},
     "the memory that the driver keeps",
     "nvmlDeviceGetMemoryInfo",
     .left_out = IN(LOST),
     .silent = IN(ABSENT) | IN(UNSUPPORTED) | IN(FAILED),
     .nonsense = {AS(memory_v2_all_reserved)}},
    {{"nvmlDeviceGetMemoryInfo"},
     .silent = EVERY}, /* of a MIG device, whose attributes have it too */
    {{"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo"},
     "the memory",
     "nvmlDeviceGetMemoryInfo",
     .left_out = IN(LOST),
     .label = "gpu.memory",
     .nonsense = {{{(any_fn *)memory_v2_none, (any_fn *)memory_none}},
                  {{(any_fn *)memory_v2_huge, (any_fn *)memory_huge}}}},
    {{"nvmlDeviceGetCudaComputeCapability"},
     "the compute capability",
     "nvmlDeviceGetCudaComputeCapability",
     .left_out = IN(LOST),
     .label = "gpu.compute",
     .nonsense = {AS(capability_none), AS(capability_negative), AS(capability_huge)}},
    {{"nvmlDeviceGetMigMode"},
     "the MIG mode",
     "nvmlDeviceGetMigMode",
     .left_out = IN(LOST),
     .contradicts = IN(ABSENT) | IN(UNSUPPORTED),
     NOT_KNOWN_IS_NONE,
     .nonsense = {AS(mig_mode_seven)}},
    /* How GPUs are, and can be, partitioned. */
    {{"nvmlDeviceGetGpuInstanceProfileInfo"},
     "the list of MIG profiles",
     "nvmlDeviceGetGpuInstanceProfileInfo",
     .answer = NVML_ERROR_INVALID_ARGUMENT, /* no such profile */
     .left_out = IN(LOST),
     .silent = IN(UNSUPPORTED),
     .contradicts = IN(UNSUPPORTED),
     .nonsense = {AS(profile_none), AS(profile_huge)}},
    {{"nvmlDeviceGetGpuInstanceProfileInfoV"}, .silent = EVERY, .is_spare = true},
    {{"nvmlDeviceGetGpuInstancePossiblePlacements_v2"},
     "the list of MIG profiles",
     "nvmlDeviceGetGpuInstanceProfileInfo",
     .left_out = IN(LOST),
     .nonsense = {AS(places_huge)}},
    {{"nvmlDeviceGetMaxMigDeviceCount"},
     "the list of MIG devices",
     "nvmlDeviceGetMigDeviceHandleByIndex",
     .left_out = IN(LOST),
     .hidden = EVERY},
    {{"nvmlDeviceGetMigDeviceHandleByIndex"},
     "the list of MIG devices",
     "nvmlDeviceGetMigDeviceHandleByIndex",
     .answer = NVML_ERROR_NOT_FOUND, /* no MIG device has that index */
     .answer_too = NVML_ERROR_INVALID_ARGUMENT,
     .left_out = IN(LOST),
     .hidden = EVERY,
     .nonsense = {AS(mig_handle_null)}},
#define OF_DEVICE(call, ...)                                                                       \
    {                                                                                              \
        {call}, "the profile of some MIG device", "nvmlDeviceGetAttributes", .left_out = IN(LOST), \
                                                                             .nonsense = {         \
                                                                                 __VA_ARGS__       \
                                                                             }                     \
    }
    OF_DEVICE("nvmlDeviceGetGpuInstanceId"),
    OF_DEVICE("nvmlDeviceGetComputeInstanceId"),
    OF_DEVICE("nvmlDeviceGetAttributes_v2", AS(attributes_none), AS(attributes_huge)),
#define OF_INSTANCE(call, ...)                                                                  \
    {                                                                                           \
        {call}, "the list of GPU instances", "nvmlDeviceGetGpuInstances", .left_out = IN(LOST), \
                                                                          .nonsense = {         \
                                                                              __VA_ARGS__       \
                                                                          }                     \
    }
    OF_INSTANCE("nvmlDeviceGetGpuInstances"),
    OF_INSTANCE("nvmlDeviceGetGpuInstanceById"),
    OF_INSTANCE("nvmlGpuInstanceGetInfo", AS(instance_huge)),
    OF_INSTANCE("nvmlGpuInstanceGetComputeInstanceById"),
    OF_INSTANCE("nvmlComputeInstanceGetInfo_v2", AS(compute_huge)),
#define OF_MIG(call)                               \
    {                                              \
        {call}, .silent = EVERY, .needs_mig = true \
    }
    OF_MIG("nvmlDeviceSetMigMode"),
    OF_MIG("nvmlDeviceCreateGpuInstance"),
    OF_MIG("nvmlDeviceCreateGpuInstanceWithPlacement"),
    OF_MIG("nvmlGpuInstanceGetComputeInstanceProfileInfo"),
    OF_MIG("nvmlGpuInstanceCreateComputeInstance"),
    OF_MIG("nvmlGpuInstanceCreateComputeInstanceWithPlacement"),
    OF_MIG("nvmlComputeInstanceDestroy"),
    OF_MIG("nvmlGpuInstanceDestroy"),
    OF_MIG("nvmlDeviceGetComputeRunningProcesses_v3"),
    OF_MIG("nvmlDeviceGetGraphicsRunningProcesses_v3"),
    OF_MIG("nvmlDeviceGetMPSComputeRunningProcesses_v3"),
    OF_MIG("nvmlSystemGetProcessName"),
    {{"nvmlDeviceGetVirtualizationMode"},
     "the virtualization mode",
     "nvmlDeviceGetVirtualizationMode",
     .left_out = IN(LOST),
     NOT_KNOWN_IS_NONE,
     .nonsense = {AS(virtualization_odd)}},
    {{"nvmlDeviceGetGpuFabricInfoV"},
     .left_out = IN(LOST),
     .silent = EVERY & ~IN(LOST),
     .nonsense = {{{(any_fn *)fabric_state}, "the NVLink fabric"}}},
    {{"nvmlDeviceGetGpuFabricInfo"},
     .left_out = IN(LOST),
     .silent = EVERY & ~IN(LOST),
     .is_spare = true},
    {{"nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetGpuFabricInfo"},
     "the NVLink fabric",
     "nvmlDeviceGetGpuFabricInfo",
     .left_out = IN(LOST),
     NOT_KNOWN_IS_NONE,
     .label = "gpu.clique",
     .nonsense = {{{(any_fn *)fabric_state, (any_fn *)fabric_old_state}}}},
    {{"nvmlDeviceGetMemoryAffinity"}, "the NUMA node", "nvmlDeviceGetMemoryAffinity"},
    {{"nvmlDeviceGetNumaNodeId"}, .silent = EVERY, .is_spare = true},
    {{"nvmlDeviceGetMemoryAffinity", "nvmlDeviceGetNumaNodeId"},
     "the NUMA node",
     "nvmlDeviceGetMemoryAffinity",
     .nonsense = {{{(any_fn *)refuse_nvmlDeviceGetMemoryAffinity, (any_fn *)node_huge}}}},
    /* What is between GPUs. */
    {{"nvmlDeviceGetTopologyCommonAncestor"},
     "the PCIe distance to other GPUs",
     "nvmlDeviceGetTopologyCommonAncestor",
     .nonsense = {AS(level_odd)}},
    {{"nvmlDeviceGetNvLinkState"},
     "the NVLinks",
     "nvmlDeviceGetNvLinkState",
     .answer = NVML_ERROR_INVALID_ARGUMENT, /* after the last link */
     .silent = IN(UNSUPPORTED),
     .nonsense = {AS(link_state_odd)}},
    {{"nvmlDeviceGetNvLinkRemotePciInfo_v2"},
     "the far end of NVLinks",
     "nvmlDeviceGetNvLinkRemotePciInfo",
     .nonsense = {AS(link_pci_empty)}},
    {{"nvmlDeviceGetNvLinkRemoteDeviceType"},
     "NVSwitches",
     "nvmlDeviceGetNvLinkRemoteDeviceType",
     .needs_switches = true,
     .nonsense = {AS(link_type_odd)}},
    {{"nvmlDeviceGetNvLinkRemoteDeviceType", "nvmlDeviceGetNvLinkRemotePciInfo_v2"},
     "the far end of NVLinks",
     "nvmlDeviceGetNvLinkRemotePciInfo",
     .nonsense = {{{(any_fn *)link_type_odd, (any_fn *)link_pci_empty}}}},
    /* Health. */
    {{"nvmlDeviceGetTotalEnergyConsumption"},
     .silent = EVERY,
     .dead = IN(LOST),
     .nonsense = {AS(energy_backwards)}},
    {{"nvmlDeviceGetFieldValues"},
     .answer = NVML_ERROR_INVALID_ARGUMENT,
     .silent = EVERY,
     .dead = IN(LOST),
     .nonsense = {AS(field_odd)}},
    {{"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo",
      "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues"},
     "the memory",
     "nvmlDeviceGetMemoryInfo",
     .left_out = IN(LOST),
     .dead = IN(FAILED)},
    {{"nvmlDeviceGetSupportedEventTypes"},
     .words = "nvmlDeviceGetSupportedEventTypes",
     .nonsense = {AS(events_none)}},
    {{"nvmlEventSetCreate"}, .words = "nvmlEventSetCreate"},
    {{"nvmlEventSetFree"}, .silent = EVERY},
    {{"nvmlDeviceRegisterEvents"}, .words = "nvmlDeviceRegisterEvents"},
    {{"nvmlEventSetWait_v2"},
     .words = "nvmlEventSetWait",
     .answer = NVML_ERROR_TIMEOUT,
     .silent = IN(ABSURD),
     .nonsense = {AS(event_of_no_type)}},
};

/* --- one machine --- */

struct bed {
    char folder[64], state[96];
    const char *machine;
    struct gpu_driver *driver;
};

static char *machines[MACHINES_MAX];
static char partitioned[] = "/tmp/gpuslice-answers-XXXXXX.yaml";
static char proc[] = "/tmp/gpuslice-answers-XXXXXX";
static size_t n_machines;

/* What came of one inventory. */
struct outcome {
    struct text sentences; /* a line each, sorted by where they come from */
    size_t n_gpus, n_offered, n_offered_by_cdi, n_alive;
    bool has_switches;
    struct text labels; /* "key=value\n" */
};

static void outcome_deinit(struct outcome *outcome)
{
    text_deinit(&outcome->sentences);
    text_deinit(&outcome->labels);
    *outcome = (struct outcome){.n_gpus = 0};
}

static void open_machine(struct bed *bed, const char *machine)
{
    struct error err = ERROR_INIT;

    strcpy(bed->folder, "/tmp/gpuslice-answers-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    snprintf(bed->state, sizeof(bed->state), "%s/state", bed->folder);
    bed->machine = machine;
    setenv("GPUSLICE_MACHINE", machine, 1);
    setenv("GPUSLICE_MACHINE_PATH", getenv("GPUSLICE_TEST_MACHINES"), 1);
    setenv("GPUSLICE_SIM_STATE", bed->state, 1);
    setenv("GPUSLICE_SYSFS", bed->folder, 1); /* what the driver says counts, not this machine */
    if (gpu_nvml.open(getenv("GPUSLICE_TEST_LIBRARY"), &bed->driver, &err) != 0)
        fail_msg("%s: %s", machine, error_text(&err));
}

static void close_machine(struct bed *bed)
{
    char path[128];

    gpu_nvml.close(bed->driver);
    unlink(bed->state);
    snprintf(path, sizeof(path), "%s.lock", bed->state);
    unlink(path);
    rmdir(bed->folder);
}

static size_t count_offered(const struct plan *plan)
{
    size_t n = 0;

    for (size_t i = 0; i < plan->n_devices; i++)
        n += !*plan->devices[i].left_out;
    return n;
}

static struct plan *make_plan(const struct inventory *inventory, bool needs_nodes,
                              struct problems *problems)
{
    struct sharing_entry entry = {.strategy = SHARING_TIME_SLICING,
                                  .name = "nvidia.com/gpu",
                                  .replicas = REPLICAS,
                                  .path = "sharing.timeSlicing.resources[0]"};
    const struct policy policy = {.sharing = &entry,
                                  .n_sharing = 1,
                                  .needs_nodes = needs_nodes,
                                  .mig_strategy = MIG_STRATEGY_MIXED};
    struct plan *plan = NULL;

    assert_int_equal(plan_make(inventory, &policy, problems, &plan), 0);
    if (plan_fault(plan))
        fail_msg("%s", plan_fault(plan));
    return plan;
}

static void take_plans(const struct inventory *inventory, struct outcome *outcome)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct plan *plan = make_plan(inventory, false, &problems);

    outcome->n_gpus = plan->n_gpus;
    outcome->has_switches = plan->n_gpus && plan->gpus[0].n_nvswitch_links;
    outcome->n_offered = count_offered(plan);
    for (size_t i = 0; i < plan->n_labels; i++)
        text_addf(&outcome->labels, "%s=%s\n", plan->labels[i].key, plan->labels[i].value);
    plan_free(plan);
    for (size_t i = 0; i < problems.n_items; i++)
        text_addf(&outcome->sentences, "%s\n", problems.items[i].text);
    plan = make_plan(inventory, true, NULL);
    outcome->n_offered_by_cdi = count_offered(plan);
    plan_free(plan);
}

static void add_reason(struct outcome *outcome, const struct error *err)
{
    text_addf(&outcome->sentences, "%s\n", error_text(err));
}

/* What the helper does in a session. */
static void take_session(struct bed *bed, const struct inventory *inventory,
                         struct outcome *outcome)
{
    struct gpu_event event;
    struct error err = ERROR_INIT;
    int r;

    for (size_t i = 0; i < inventory->n_gpus; i++) {
        const struct gpu *gpu = &inventory->gpus[i];
        struct gpu_probe probe = GPU_PROBE_INIT;

        if (*gpu->unusable)
            continue;
        if (gpu_nvml.watch(bed->driver, gpu->uuid, &err) != 0)
            add_reason(outcome, &err);
        outcome->n_alive += gpu_nvml.probe(bed->driver, gpu->uuid, &probe, NULL) == 0;
        assert_in_range(probe.recovery, GPU_RECOVERY_UNKNOWN, GPU_RECOVERY_NONE);
    }
    r = gpu_nvml.wait_event(bed->driver, 0, &event, &err);
    if (bed->driver->events && r != GPU_TIMEOUT)
        add_reason(outcome, &err);
    assert_int_not_equal(r, 0); /* no event was injected */
    if (bed->driver->events && bed->driver->library.nvmlEventSetFree)
        bed->driver->library.nvmlEventSetFree(bed->driver->events);
    bed->driver->events = NULL;
}

static struct outcome observe(struct bed *bed)
{
    cleanup_inventory struct inventory inventory = INVENTORY_INIT;
    struct outcome outcome = {.n_gpus = 0};
    struct error err = ERROR_INIT;

    if (gpu_nvml.inventory(bed->driver, &inventory, &err) != 0) {
        add_reason(&outcome, &err);
        return outcome;
    }
    take_plans(&inventory, &outcome);
    take_session(bed, &inventory, &outcome);
    return outcome;
}

/* --- one cell --- */

static const struct call *find_call(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (str_equal(calls[i].name, name))
            return &calls[i];
    fail_msg("%s is no call of ours", name);
    return NULL;
}

static size_t n_wrong;

struct cell {
    const struct row *row;
    enum class class;
    nvmlReturn_t status;             /* of all classes but ABSENT and ABSURD */
    const struct nonsense *nonsense; /* of ABSURD */
};

static void replace(struct gpu_driver *driver, const struct cell *cell)
{
    for (size_t i = 0; i < CALLS_MAX && cell->row->calls[i]; i++) {
        const struct call *call = find_call(cell->row->calls[i]);
        any_fn *function = call->refuse;

        if (cell->class == ABSENT)
            function = NULL;
        else if (cell->class == ABSURD)
            function = cell->nonsense->functions[i];
        memcpy((char *)&driver->library + call->offset, &function, sizeof(function));
    }
    refused = cell->status;
    n_asked = 0;
}

static const char *const reasons[] = {
    [ABSENT] = "the driver does not have ", /* then the query */
    [UNSUPPORTED] = " is not supported here",
    [FAILED] = " failed",
    [LOST] = " failed",
    [ABSURD] = " returned a value that cannot be true",
};

/* One of the sentences has all three. */
static bool says(const struct outcome *outcome, const char *a, const char *b, const char *c)
{
    char *rest = outcome->sentences.data, *line;
    bool found = false;

    while (!found && rest && (line = strchr(rest, '\n'))) {
        *line = '\0';
        found = strstr(rest, a) && strstr(rest, b) && strstr(rest, c);
        *line = '\n';
        rest = line + 1;
    }
    return found;
}

static bool is_said(const struct cell *cell, const struct outcome *outcome)
{
    const struct row *row = cell->row;
    const char *what = cell->nonsense && cell->nonsense->what ? cell->nonsense->what : row->what;

    const char *lost =
        cell->status == NVML_ERROR_GPU_IS_LOST ? "fallen off the bus" : "needs a reset";

    if (row->left_out & IN(cell->class) && cell->class == LOST && !row->words)
        return says(outcome, "is left out", lost, row->query ? row->query : "") ||
               says(outcome, "is left out", lost, row->calls[0]);
    if (row->words && !(cell->class == ABSURD && what))
        return says(outcome, row->words, "", "");
    return says(outcome, what, " unknown: ", reasons[cell->class]) &&
           (!row->query || says(outcome, what, row->query, ""));
}

/* A label that reads as a value though the fact is unknown. */
static bool lies(const struct row *row, const struct outcome *outcome)
{
    char *rest = outcome->labels.data, *end;
    bool found = false;

    for (; row->label && !found && rest && (end = strchr(rest, '\n')); rest = end + 1) {
        *end = '\0';
        found = strstr(rest, row->label) && !strstr(rest, "=unknown");
        *end = '\n';
    }
    return found;
}

static void complain(const struct bed *bed, const struct cell *cell, const struct outcome *outcome,
                     const char *why)
{
    static const char *const names[] = {[ABSENT] = "absent",
                                        [UNSUPPORTED] = "unsupported",
                                        [FAILED] = "failed",
                                        [LOST] = "lost",
                                        [ABSURD] = "absurd"};

    n_wrong++;
    if (n_wrong <= SHOWN_MAX)
        print_error("%s, %s%s%s, %s (status %d): %s; %zu of %zu offered, %zu by CDI, %zu alive; "
                    "said:\n%s\n",
                    bed->machine, cell->row->calls[0], cell->row->calls[1] ? " and " : "",
                    cell->row->calls[1] ? cell->row->calls[1] : "", names[cell->class],
                    (int)cell->status, why, outcome->n_offered, outcome->n_gpus,
                    outcome->n_offered_by_cdi, outcome->n_alive, text_string(&outcome->sentences));
}

/* was_asked: the machine makes the call at all. */
static void judge(const struct bed *bed, const struct cell *cell, const struct outcome *healthy,
                  const struct outcome *now, bool was_asked)
{
    const struct row *row = cell->row;
    const unsigned in = was_asked ? IN(cell->class) : 0;
    const unsigned none = (row->left_out | row->hidden) & in;
    const size_t offered = none ? 0 : healthy->n_offered;
    const size_t by_cdi = none || row->cdi_left_out & in ? 0 : healthy->n_offered_by_cdi;
    const size_t alive = (row->left_out | row->dead) & in ? 0 : healthy->n_alive;
    const bool silent =
        !was_asked || row->silent & in || (row->needs_switches && !healthy->has_switches);
    const bool other = cell->nonsense && cell->nonsense->what;

    if (row->contradicts & IN(cell->class) && healthy->n_offered > healthy->n_gpus)
        return;
    if (now->n_offered != offered || now->n_offered_by_cdi != by_cdi)
        complain(bed, cell, now, "another offer was expected");
    if (now->n_alive != alive)
        complain(bed, cell, now, "a probe finds another number alive");
    if (silent && !other &&
        !str_equal(text_string(&now->sentences), text_string(&healthy->sentences)))
        complain(bed, cell, now, "there was nothing to say");
    if (!silent && !is_said(cell, now))
        complain(bed, cell, now, "the sentence is missing");
    if (!silent && !(row->left_out & in) && lies(row, now))
        complain(bed, cell, now, "a label tells what is unknown");
}

/* --- all cells --- */

static enum class class_of(nvmlReturn_t status) {
    switch (status){
        case NVML_ERROR_FUNCTION_NOT_FOUND : case NVML_ERROR_ARGUMENT_VERSION_MISMATCH : case
        NVML_ERROR_DEPRECATED : return ABSENT;
        case NVML_ERROR_NOT_SUPPORTED : case NVML_ERROR_NO_DATA : return UNSUPPORTED;
        case NVML_ERROR_GPU_IS_LOST : case NVML_ERROR_RESET_REQUIRED : return LOST;
        default : return FAILED;
    }
}

static const struct outcome *healthy_now;
static size_t n_cells;
static bool row_was_asked[ARRAY_SIZE(rows)];

static bool run_cell(struct bed *bed, const struct cell *cell, bool was_asked)
{
    const struct nvml_library whole = bed->driver->library;
    struct outcome now;

    replace(bed->driver, cell);
    now = observe(bed);
    bed->driver->library = whole;
    if (cell->class != ABSENT)
        was_asked = n_asked > 0;
    judge(bed, cell, healthy_now, &now, was_asked);
    outcome_deinit(&now);
    n_cells++;
    return was_asked;
}

static void run_row(struct bed *bed, size_t i)
{
    struct cell cell = {.row = &rows[i]};
    bool was_asked = false;

    for (nvmlReturn_t status = NVML_ERROR_UNINITIALIZED; status <= NVML_ERROR_UNKNOWN;
         status = status == NVML_ERROR_INVALID_STATE ? NVML_ERROR_UNKNOWN : status + 1) {
        cell.class = class_of(status);
        cell.status = status;
        if (status != rows[i].answer && status != rows[i].answer_too)
            was_asked |= run_cell(bed, &cell, was_asked);
    }
    cell.class = ABSENT;
    run_cell(bed, &cell, was_asked);
    cell.class = ABSURD;
    for (cell.nonsense = rows[i].nonsense;
         cell.nonsense < rows[i].nonsense + VARIANTS_MAX && cell.nonsense->functions[0];
         cell.nonsense++)
        was_asked |= run_cell(bed, &cell, was_asked);
    row_was_asked[i] |= was_asked;
}

static void every_call_has_a_row(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        bool found = str_equal(calls[i].name, "nvmlInit_v2"); /* the next test's */

        for (size_t k = 0; k < ARRAY_SIZE(rows) && !found; k++)
            found = str_equal(rows[k].calls[0], calls[i].name);
        if (!found)
            fail_msg("%s has no row here", calls[i].name);
    }
}

static void no_session_is_said(void **state)
{
    for (nvmlReturn_t status = NVML_ERROR_UNINITIALIZED; status <= NVML_ERROR_UNKNOWN;
         status = status == NVML_ERROR_INVALID_STATE ? NVML_ERROR_UNKNOWN : status + 1) {
        const struct machine_fault fault = {
            .kind = FAULT_ERROR, .gpu = MACHINE_ALL_GPUS, .code = status, .call = "nvmlInit_v2"};
        cleanup_state_file struct state_file file = STATE_FILE_INIT;
        struct gpu_driver *driver = NULL;
        struct error err = ERROR_INIT;
        struct bed bed;

        open_machine(&bed, machines[0]);
        assert_int_equal(state_open(machines[0], NULL, &file, &err), 0);
        assert_int_equal(state_inject(&file, &fault), 0);
        assert_true(gpu_nvml.open(getenv("GPUSLICE_TEST_LIBRARY"), &driver, &err) < 0);
        assert_non_null(strstr(error_text(&err), "nvmlInit"));
        close_machine(&bed);
    }
}

static void each_answer_on_each_machine(void **state)
{
    for (size_t m = 0; m < n_machines; m++) {
        struct outcome healthy;
        struct bed bed;

        open_machine(&bed, machines[m]);
        healthy = observe(&bed);
        assert_true(healthy.n_offered >= healthy.n_gpus); /* MIG devices are more */
        assert_int_equal(healthy.n_alive, healthy.n_gpus);
        if (strstr(text_string(&healthy.sentences), "unknown"))
            fail_msg("%s: %s", machines[m], text_string(&healthy.sentences));
        healthy_now = &healthy;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
            run_row(&bed, i);
        outcome_deinit(&healthy);
        close_machine(&bed);
    }
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (row_was_asked[i] == rows[i].is_spare && !rows[i].needs_mig)
            fail_msg("%s: %s", rows[i].calls[0],
                     rows[i].is_spare ? "a healthy session makes the call"
                                      : "no machine makes the call, so the row shows nothing");
    assert_int_equal(n_wrong, 0);
    print_message("# %zu cells on %zu machines\n", n_cells, n_machines);
}

/* The kernel's list of capability nodes, for eight GPUs. */
static int write_minors(void)
{
    cleanup_text struct text text = TEXT_INIT;
    char path[96];
    unsigned minor = 3;

    for (unsigned gpu = 0; gpu < 8; gpu++)
        for (unsigned gi = 0; gi < 15; gi++) {
            text_addf(&text, "gpu%u/gi%u/access %u\n", gpu, gi, minor++);
            for (unsigned ci = 0; ci < 8; ci++)
                text_addf(&text, "gpu%u/gi%u/ci%u/access %u\n", gpu, gi, ci, minor++);
        }
    if (!mkdtemp(proc))
        return -1;
    setenv("GPUSLICE_PROC", proc, 1);
    snprintf(path, sizeof(path), "%s/driver", proc);
    if (mkdir(path, 0755) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/driver/nvidia-caps", proc);
    if (mkdir(path, 0755) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/driver/nvidia-caps/mig-minors", proc);
    return file_write_atomic(path, text_string(&text), text.length, 0644, NULL);
}

static void remove_minors(void)
{
    static const char *const parts[] = {"/driver/nvidia-caps/mig-minors", "/driver/nvidia-caps",
                                        "/driver", ""};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        char path[96];

        snprintf(path, sizeof(path), "%s%s", proc, parts[i]);
        remove(path);
    }
}

/* GPUs that are partitioned are on no machine file of ours. */
static int add_partitioned(void)
{
    static const char mig[] = "mig: [{gpu: all, instances: [3g.20gb, 1c.2g.10gb, 1g.5gb+me]}]\n";
    cleanup_free char *whole = NULL;
    cleanup_close int fd = mkstemps(partitioned, (int)strlen(".yaml"));
    char path[PATH_MAX];
    size_t size;

    snprintf(path, sizeof(path), "%s/p4d.24xlarge.yaml", getenv("GPUSLICE_TEST_MACHINES"));
    if (fd < 0 || file_read(path, 1 << 20, &whole, &size, NULL) < 0 ||
        file_write_all(fd, whole, size) < 0 || file_write_all(fd, mig, sizeof(mig) - 1) < 0)
        return -1;
    machines[n_machines++] = strdup(partitioned);
    return write_minors();
}

/* Every machine file, as paths. */
static int list_machines(void **state)
{
    const char *folder = getenv("GPUSLICE_TEST_MACHINES");
    DIR *dir = folder ? opendir(folder) : NULL;
    const struct dirent *entry;

    while (dir && (entry = readdir(dir)) && n_machines < MACHINES_MAX)
        if (str_ends_with(entry->d_name, ".yaml") &&
            asprintf(&machines[n_machines], "%s/%s", folder, entry->d_name) > 0)
            n_machines++;
    if (dir)
        closedir(dir);
    return n_machines ? add_partitioned() : -1;
}

static int forget_machines(void **state)
{
    unlink(partitioned);
    remove_minors();
    while (n_machines)
        free(machines[--n_machines]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_has_a_row),
        cmocka_unit_test(no_session_is_said),
        cmocka_unit_test(each_answer_on_each_machine),
    };

    return cmocka_run_group_tests_name("answers", tests, list_machines, forget_machines);
}
