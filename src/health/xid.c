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
 * A driver from R565 on says itself what a device needs (GPU recovery action); devicehealth.c asks
 * it after each of these but INFORMATION, so that a row which is too kind here is corrected there.
 */
#define CATALOGUE(bucket) "NVIDIA XID catalogue, " bucket
#define OLDER             "NVIDIA XID list for Volta and older"

/*
 * An event may name a MIG instance. These faults are not limited to it: power, bus and links,
 * firmware and controllers serve the GPU as a whole, and an uncontained or unrecovered memory error
 * is by NVIDIA's definition one that may have affected other instances
 * (docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt).
 */
#define WHOLE_GPU    true
#define ONE_INSTANCE false

/* The rows of one bucket differ in number and meaning. */
#define RESTARTED(number, meaning)                                                       \
    {                                                                                    \
        number, number, XID_APPLICATION, meaning, CATALOGUE("RESTART_APP"), ONE_INSTANCE \
    }
#define PLUGIN(number, meaning)                                                                    \
    {                                                                                              \
        number, number, XID_APPLICATION, meaning, "NVIDIA device plugin's default; XID catalogue", \
            ONE_INSTANCE                                                                           \
    }
#define IGNORED(number, meaning)                                                    \
    {                                                                               \
        number, number, XID_INFORMATION, meaning, CATALOGUE("IGNORE"), ONE_INSTANCE \
    }
#define SUSPECT(first, last, meaning)                                                         \
    {                                                                                         \
        first, last, XID_PROBE, meaning, CATALOGUE("RESTART_APP, then support"), ONE_INSTANCE \
    }
#define NVLINK5(number, part)                                                                    \
    {                                                                                            \
        number, number, XID_PROBE, "NVLink error (" part ")", CATALOGUE("WORKFLOW_NVLINK5_ERR"), \
            ONE_INSTANCE                                                                         \
    }
#define RESET(number, meaning, extent)                                     \
    {                                                                      \
        number, number, XID_RESET, meaning, CATALOGUE("RESET_GPU"), extent \
    }

/* Sorted by number: {first, last, class, meaning, source, whole GPU}. */
static const struct xid xids[] = {
    SUSPECT(8, 8, "GPU stopped processing"),
    RESTARTED(11, "invalid or corrupted push buffer stream"),
    PLUGIN(13, "graphics engine exception"),
    IGNORED(14, "unused"),
    RESTARTED(25, "invalid or illegal push buffer stream"),
    PLUGIN(31, "GPU memory page fault"),
    RESTARTED(32, "invalid or corrupted push buffer stream"),
    IGNORED(37, "driver firmware error"),
    {38, 38, XID_PROBE, "driver firmware watchdog timeout", CATALOGUE("IGNORE, then support")},
    SUSPECT(39, 41, "copy engine exception"),
    PLUGIN(43, "GPU stopped processing a channel"),
    {44, 44, XID_PROBE, "graphics engine fault during a context switch", CATALOGUE("IGNORE")},
    PLUGIN(45, "preemptive cleanup after an earlier error"),
    RESET(46, "GPU stopped processing (timeout)", ONE_INSTANCE),
    {48, 48, XID_RESET, "double bit ECC error", CATALOGUE("WORKFLOW_XID_48")},
    {54, 54, XID_REBOOT, "auxiliary power is not connected", CATALOGUE("CHECK_MECHANICALS"),
     WHOLE_GPU},
    {60, 60, XID_PROBE, "video processor exception", CATALOGUE("RESTART_APP")},
    {61, 61, XID_RESET, "internal micro-controller breakpoint", OLDER, WHOLE_GPU},
    RESET(62, "internal micro-controller halt", WHOLE_GPU),
    IGNORED(63, "memory row remapped or page retired"),
    RESET(64, "memory remapping or page retirement failed", ONE_INSTANCE),
    {66, 66, XID_PROBE, "illegal access by the driver", CATALOGUE("IGNORE, then software")},
    {67, 67, XID_PROBE, "illegal access by the driver", CATALOGUE("IGNORE, then support")},
    PLUGIN(68, "video decoder exception"),
    RESTARTED(69, "graphics engine class error"),
    SUSPECT(70, 72, "copy engine error"),
    {74, 74, XID_PROBE, "NVLink error", CATALOGUE("WORKFLOW_NVLINK_ERR")},
    SUSPECT(75, 77, "copy engine error"),
    {78, 78, XID_PROBE, "vGPU start error", CATALOGUE("UPDATE_SWFW")},
    {79, 79, XID_REBOOT, "GPU has fallen off the bus", CATALOGUE("RESTART_BM"), WHOLE_GPU},
    RESTARTED(80, "corrupted data sent to the GPU"),
    SUSPECT(82, 82, "JPEG engine error"),
    SUSPECT(83, 84, "video decoder error"),
    SUSPECT(85, 85, "copy engine error"),
    {86, 86, XID_PROBE, "optical flow accelerator exception", CATALOGUE("RESTART_APP")},
    SUSPECT(88, 89, "video decoder error"),
    IGNORED(92, "high rate of single bit ECC errors"),
    IGNORED(93, "InfoROM wear limit exceeded"),
    RESTARTED(94, "contained memory error"),
    RESET(95, "uncontained memory error", WHOLE_GPU),
    SUSPECT(96, 98, "video decoder error"),
    SUSPECT(99, 105, "JPEG engine error"),
    IGNORED(106, "SMBPBI test message"),
    IGNORED(107, "SMBPBI test message"),
    IGNORED(108, "remote NVLink translation error"),
    PLUGIN(109, "context switch timeout"),
    RESET(110, "security fault", WHOLE_GPU),
    RESET(119, "GSP firmware did not answer", WHOLE_GPU),
    RESET(120, "GSP firmware error", WHOLE_GPU),
    IGNORED(121, "chip-to-chip link error, corrected"),
    SUSPECT(126, 135, "copy engine error"),
    RESET(136, "link training failed", WHOLE_GPU),
    IGNORED(137, "NVLink privilege error, of a remote fault"),
    {139, 139, XID_PROBE, "optical flow accelerator error", CATALOGUE("RESTART_APP")},
    RESET(140, "unrecovered ECC error", WHOLE_GPU),
    IGNORED(141, "CUDA fast path error"),
    RESET(143, "GPU initialization error", WHOLE_GPU),
    NVLINK5(144, "SAW"),
    NVLINK5(145, "RLW"),
    NVLINK5(146, "TLW"),
    NVLINK5(147, "TREX"),
    NVLINK5(148, "NVLPW_CTRL"),
    NVLINK5(149, "NETIR"),
    NVLINK5(150, "MSE"),
    {151, 151, XID_REBOOT, "key rotation error", CATALOGUE("RESTART_VM"), WHOLE_GPU},
    IGNORED(152, "deep learning accelerator SMMU error"),
    IGNORED(153, "deep learning accelerator timeout"),
    {154, 154, XID_PROBE, "GPU recovery action changed", CATALOGUE("XID_154: ask the driver")},
    RESET(155, "NVLink error (software defined)", WHOLE_GPU),
    RESET(156, "resource retired", ONE_INSTANCE),
    IGNORED(157, "resource retirement failed"),
    RESET(158, "GPU fatal timeout", WHOLE_GPU),
    IGNORED(160, "memory channel retired"),
    IGNORED(161, "memory channel retirement failed"),
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
        [XID_DISABLED] = "disabled",
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

bool xid_filter_enables(const struct xid_filter *filter, uint64_t number)
{
    return contains(filter->enabled, filter->n_enabled, number);
}

enum xid_class xid_filter_class(const struct xid_filter *filter, uint64_t number)
{
    enum xid_class class = xid_find(number)->class;

    if (filter->enable_all || xid_filter_enables(filter, number))
        return class == XID_REBOOT ? XID_REBOOT : XID_RESET;
    if (filter->disable_all || contains(filter->disabled, filter->n_disabled, number))
        return XID_DISABLED;
    return class;
}

bool xid_filter_only_enabled(const struct xid_filter *filter)
{
    return filter->disable_all && !filter->enable_all;
}
