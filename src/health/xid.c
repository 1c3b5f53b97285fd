// SPDX-License-Identifier: Apache-2.0
#include "health/xid.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/problem.h"
#include "base/text.h"

/*
 * Sources of the classes.
 *
 * CATALOGUE(bucket): NVIDIA's catalogue for Ampere and newer, and the immediate action it names
 * (docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html). How a bucket becomes a class:
 *  - RESTART_APP: APPLICATION when the application is to blame or all that suffers, else PROBE
 *  - IGNORE: INFORMATION
 *  - RESET_GPU: RESET
 *  - RESTART_BM, RESTART_VM: REBOOT
 *  - a workflow, which needs what an XID does not say: PROBE or RESET
 * OLDER: the list for Volta and before (docs.nvidia.com/deploy/xid-errors).
 * PLUGIN: NVIDIA's device plugin ignores it by default, as the application's fault.
 *
 * A driver from R565 on says itself what a device needs (GPU recovery action); health.c asks it
 * after each of these but INFORMATION, so that a row which is too kind here is corrected there.
 */
#define CATALOGUE(bucket) "NVIDIA XID catalogue, " bucket
#define OLDER             "NVIDIA XID list for Volta and older"
#define PLUGIN            "NVIDIA device plugin's default; XID catalogue"

/*
 * An event may name a MIG instance. These faults are not limited to it: power, bus and links,
 * firmware and controllers serve the GPU as a whole, and an uncontained or unrecovered memory error
 * is by NVIDIA's definition one that may have affected other instances
 * (docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt).
 */
#define WHOLE_GPU true

/* Sorted by number: {first, last, class, meaning, source, whole GPU}. */
static const struct xid xids[] = {
    {8, 8, XID_PROBE, "GPU stopped processing", CATALOGUE("RESTART_APP, then support")},
    {11, 11, XID_APPLICATION, "invalid or corrupted push buffer stream", CATALOGUE("RESTART_APP")},
    {13, 13, XID_APPLICATION, "graphics engine exception", PLUGIN},
    {14, 14, XID_INFORMATION, "unused", CATALOGUE("IGNORE")},
    {25, 25, XID_APPLICATION, "invalid or illegal push buffer stream", CATALOGUE("RESTART_APP")},
    {31, 31, XID_APPLICATION, "GPU memory page fault", PLUGIN},
    {32, 32, XID_APPLICATION, "invalid or corrupted push buffer stream", CATALOGUE("RESTART_APP")},
    {37, 37, XID_INFORMATION, "driver firmware error", CATALOGUE("IGNORE")},
    {38, 38, XID_PROBE, "driver firmware watchdog timeout", CATALOGUE("IGNORE, then support")},
    {39, 41, XID_PROBE, "copy engine exception", CATALOGUE("RESTART_APP, then support")},
    {43, 43, XID_APPLICATION, "GPU stopped processing a channel", PLUGIN},
    {44, 44, XID_PROBE, "graphics engine fault during a context switch", CATALOGUE("IGNORE")},
    {45, 45, XID_APPLICATION, "preemptive cleanup after an earlier error", PLUGIN},
    {46, 46, XID_RESET, "GPU stopped processing (timeout)", CATALOGUE("RESET_GPU")},
    {48, 48, XID_RESET, "double bit ECC error", CATALOGUE("WORKFLOW_XID_48")},
    {54, 54, XID_REBOOT, "auxiliary power is not connected", CATALOGUE("CHECK_MECHANICALS"),
     WHOLE_GPU},
    {60, 60, XID_PROBE, "video processor exception", CATALOGUE("RESTART_APP")},
    {61, 61, XID_RESET, "internal micro-controller breakpoint", OLDER, WHOLE_GPU},
    {62, 62, XID_RESET, "internal micro-controller halt", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {63, 63, XID_INFORMATION, "memory row remapped or page retired", CATALOGUE("IGNORE")},
    {64, 64, XID_RESET, "memory remapping or page retirement failed", CATALOGUE("RESET_GPU")},
    {66, 66, XID_PROBE, "illegal access by the driver", CATALOGUE("IGNORE, then software")},
    {67, 67, XID_PROBE, "illegal access by the driver", CATALOGUE("IGNORE, then support")},
    {68, 68, XID_APPLICATION, "video decoder exception", PLUGIN},
    {69, 69, XID_APPLICATION, "graphics engine class error", CATALOGUE("RESTART_APP")},
    {70, 72, XID_PROBE, "copy engine error", CATALOGUE("RESTART_APP, then support")},
    {74, 74, XID_PROBE, "NVLink error", CATALOGUE("WORKFLOW_NVLINK_ERR")},
    {75, 77, XID_PROBE, "copy engine error", CATALOGUE("RESTART_APP, then support")},
    {78, 78, XID_PROBE, "vGPU start error", CATALOGUE("UPDATE_SWFW")},
    {79, 79, XID_REBOOT, "GPU has fallen off the bus", CATALOGUE("RESTART_BM"), WHOLE_GPU},
    {80, 80, XID_APPLICATION, "corrupted data sent to the GPU", CATALOGUE("RESTART_APP")},
    {82, 82, XID_PROBE, "JPEG engine error", CATALOGUE("RESTART_APP, then support")},
    {83, 84, XID_PROBE, "video decoder error", CATALOGUE("RESTART_APP, then support")},
    {85, 85, XID_PROBE, "copy engine error", CATALOGUE("RESTART_APP, then support")},
    {86, 86, XID_PROBE, "optical flow accelerator exception", CATALOGUE("RESTART_APP")},
    {88, 89, XID_PROBE, "video decoder error", CATALOGUE("RESTART_APP, then support")},
    {92, 92, XID_INFORMATION, "high rate of single bit ECC errors", CATALOGUE("IGNORE")},
    {93, 93, XID_INFORMATION, "InfoROM wear limit exceeded", CATALOGUE("IGNORE")},
    {94, 94, XID_APPLICATION, "contained memory error", CATALOGUE("RESTART_APP")},
    {95, 95, XID_RESET, "uncontained memory error", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {96, 98, XID_PROBE, "video decoder error", CATALOGUE("RESTART_APP, then support")},
    {99, 105, XID_PROBE, "JPEG engine error", CATALOGUE("RESTART_APP, then support")},
    {106, 106, XID_INFORMATION, "SMBPBI test message", CATALOGUE("IGNORE")},
    {107, 107, XID_INFORMATION, "SMBPBI test message", CATALOGUE("IGNORE")},
    {108, 108, XID_INFORMATION, "remote NVLink translation error", CATALOGUE("IGNORE")},
    {109, 109, XID_APPLICATION, "context switch timeout", PLUGIN},
    {110, 110, XID_RESET, "security fault", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {119, 119, XID_RESET, "GSP firmware did not answer", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {120, 120, XID_RESET, "GSP firmware error", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {121, 121, XID_INFORMATION, "chip-to-chip link error, corrected", CATALOGUE("IGNORE")},
    {126, 135, XID_PROBE, "copy engine error", CATALOGUE("RESTART_APP, then support")},
    {136, 136, XID_RESET, "link training failed", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {137, 137, XID_INFORMATION, "NVLink privilege error, of a remote fault", CATALOGUE("IGNORE")},
    {139, 139, XID_PROBE, "optical flow accelerator error", CATALOGUE("RESTART_APP")},
    {140, 140, XID_RESET, "unrecovered ECC error", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {141, 141, XID_INFORMATION, "CUDA fast path error", CATALOGUE("IGNORE")},
    {143, 143, XID_RESET, "GPU initialization error", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {144, 144, XID_PROBE, "NVLink error (SAW)", CATALOGUE("WORKFLOW_NVLINK5_ERR")},
    {145, 145, XID_PROBE, "NVLink error (RLW)", CATALOGUE("WORKFLOW_NVLINK5_ERR")},
    {146, 146, XID_PROBE, "NVLink error (TLW)", CATALOGUE("WORKFLOW_NVLINK5_ERR")},
    {147, 147, XID_PROBE, "NVLink error (TREX)", CATALOGUE("WORKFLOW_NVLINK5_ERR")},
    {148, 148, XID_PROBE, "NVLink error (NVLPW_CTRL)", CATALOGUE("WORKFLOW_NVLINK5_ERR")},
    {149, 149, XID_PROBE, "NVLink error (NETIR)", CATALOGUE("WORKFLOW_NVLINK5_ERR")},
    {150, 150, XID_PROBE, "NVLink error (MSE)", CATALOGUE("WORKFLOW_NVLINK5_ERR")},
    {151, 151, XID_REBOOT, "key rotation error", CATALOGUE("RESTART_VM"), WHOLE_GPU},
    {152, 152, XID_INFORMATION, "deep learning accelerator SMMU error", CATALOGUE("IGNORE")},
    {153, 153, XID_INFORMATION, "deep learning accelerator timeout", CATALOGUE("IGNORE")},
    {154, 154, XID_PROBE, "GPU recovery action changed", CATALOGUE("XID_154: ask the driver")},
    {155, 155, XID_RESET, "NVLink error (software defined)", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {156, 156, XID_RESET, "resource retired", CATALOGUE("RESET_GPU")},
    {157, 157, XID_INFORMATION, "resource retirement failed", CATALOGUE("IGNORE")},
    {158, 158, XID_RESET, "GPU fatal timeout", CATALOGUE("RESET_GPU"), WHOLE_GPU},
    {160, 160, XID_INFORMATION, "memory channel retired", CATALOGUE("IGNORE")},
    {161, 161, XID_INFORMATION, "memory channel retirement failed", CATALOGUE("IGNORE")},
    {167, 167, XID_RESET, "PCIe fatal timeout", CATALOGUE("no action named; fatal"), WHOLE_GPU},
    {171, 171, XID_PROBE, "uncorrectable DRAM error, details of XID 48", CATALOGUE("see XID 48")},
    {172, 172, XID_PROBE, "uncorrectable SRAM error, details of XID 48", CATALOGUE("see XID 48")},
};

static const struct xid unknown = {0, 0, XID_PROBE, "unknown XID", "not listed"};

static int compare_xid(const void *key, const void *row)
{
    uint64_t number = *(const uint64_t *)key;
    const struct xid *xid = row;

    return number < xid->number ? -1 : number > xid->last;
}

const struct xid *xid_find(uint64_t number)
{
    const struct xid *found =
        bsearch(&number, xids, ARRAY_SIZE(xids), sizeof(xids[0]), compare_xid);

    return found ? found : &unknown;
}

const char *xid_class_name(enum xid_class class)
{
    static const char *const names[] = {
        [XID_APPLICATION] = "application",
        [XID_PROBE] = "probe",
        [XID_RESET] = "reset",
        [XID_REBOOT] = "reboot",
        [XID_INFORMATION] = "information",
    };

    return (size_t) class < ARRAY_SIZE(names) ? names[class] : "unknown";
}

/* One of the two variables, while being parsed. */
struct list {
    const char *variable;
    bool all;
    uint64_t *numbers;
    size_t n, capacity;
};

static bool is_number(const char *item, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isdigit((unsigned char)item[i]))
            return false;
    return length > 0 && length <= 18;
}

static bool is_word(const char *item, size_t length, const char *word)
{
    return length == strlen(word) && strncasecmp(item, word, length) == 0;
}

static int take_item(struct list *list, const char *item, size_t length, struct problems *problems)
{
    uint64_t *number;

    if (is_word(item, length, "all") || is_word(item, length, "xids")) {
        list->all = true;
        return 0;
    }
    if (!is_number(item, length)) {
        problem_add(problems, PROBLEM_WARNING, (struct position){0, 0}, list->variable,
                    "'%.*s' is not an XID number: write a comma-separated list of numbers, or all",
                    length > 60 ? 60 : (int)length, item);
        return 0;
    }
    number = array_push(&list->numbers, &list->n, &list->capacity, sizeof(*number));
    if (!number)
        return -ENOMEM;
    *number = strtoull(item, NULL, 10);
    return 0;
}

static int parse_list(struct list *list, const char *text, struct problems *problems)
{
    static const char blank[] = " \t\r\n";
    int r = 0;

    if (!text || !text[strspn(text, blank)])
        return 0;
    for (;;) {
        size_t length = strcspn(text, ","), lead, trimmed;

        lead = strspn(text, blank);
        lead = lead > length ? length : lead;
        for (trimmed = length - lead; trimmed && strchr(blank, text[lead + trimmed - 1]);)
            trimmed--;
        r = take_item(list, text + lead, trimmed, problems);
        if (r < 0 || !text[length])
            return r;
        text += length + 1;
    }
}

int xid_filter_parse(const char *disable, const char *enable, struct problems *problems,
                     struct xid_filter *ret_filter)
{
    struct list disabled = {.variable = "DP_DISABLE_HEALTHCHECKS"};
    struct list enabled = {.variable = "DP_ENABLE_HEALTHCHECKS"};
    int r;

    r = parse_list(&disabled, disable, problems);
    if (r == 0)
        r = parse_list(&enabled, enable, problems);
    if (r < 0) {
        free(disabled.numbers);
        free(enabled.numbers);
        return r;
    }
    *ret_filter = (struct xid_filter){
        .disable_all = disabled.all,
        .enable_all = enabled.all,
        .disabled = disabled.numbers,
        .enabled = enabled.numbers,
        .n_disabled = disabled.n,
        .n_enabled = enabled.n,
    };
    return 0;
}

void xid_filter_deinit(struct xid_filter *filter)
{
    free(filter->disabled);
    free(filter->enabled);
    *filter = (struct xid_filter)XID_FILTER_INIT;
}

static bool contains(const uint64_t *numbers, size_t n, uint64_t number)
{
    for (size_t i = 0; i < n; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

enum xid_class xid_filter_class(const struct xid_filter *filter, uint64_t number)
{
    enum xid_class class = xid_find(number)->class;

    if (filter->enable_all || contains(filter->enabled, filter->n_enabled, number))
        return class == XID_APPLICATION || class == XID_INFORMATION ? XID_PROBE : class;
    if (filter->disable_all || contains(filter->disabled, filter->n_disabled, number))
        return XID_INFORMATION;
    return class;
}
