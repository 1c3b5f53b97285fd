// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What each XID means for the slices of its device: one table as data, each row with its source. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum xid_class {
    XID_APPLICATION, /* the application's fault: the device is fine */
    XID_PROBE, /* may be temporary: Unhealthy until the driver, probed, requires nothing; if it does
                  not report what it requires, as XID_RESET */
    XID_RESET, /* Unhealthy until a reset was seen */
    XID_REBOOT,      /* Unhealthy until the node was rebooted (or a reset was seen anyway) */
    XID_INFORMATION, /* logged, no effect */
    XID_DISABLED,    /* by a person: logged, no effect, and neither has what the driver requires
                        because    of it */
};

struct xid {
    unsigned number, last; /* a row may cover several consecutive ones */
    enum xid_class class;
    const char *meaning; /* "GPU has fallen off the bus" */
    const char *source;  /* the source of the class: see the head of xid.c */
    /* It affects every device on the GPU, whichever MIG instance the event names. */
    bool whole_gpu;
};

/* Never NULL: unknown numbers are XID_PROBE, "unknown XID" (and number 0). */
const struct xid *xid_find(uint64_t number);

const char *xid_class_name(enum xid_class class);

/*
 * DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS. The enable list wins over the disable list,
 * even over `all`. A number in neither list is handled by its class. NVIDIA's plugin withholds a
 * device until it ends after any XID that it does not ignore, so an enabled one is expected to
 * last.
 */
struct xid_filter {
    bool disable_all, enable_all;
    uint64_t *disabled, *enabled;
    size_t n_disabled, n_enabled;
};

struct problems;

#define XID_FILTER_INIT      \
    {                        \
        .disable_all = false \
    }

/* Either text may be NULL. Malformed items become warnings in problems. 0 or -ENOMEM. */
int xid_filter_parse(const char *disable, const char *enable, struct problems *problems,
                     struct xid_filter *ret_filter);
void xid_filter_deinit(struct xid_filter *filter);

/* True if DP_ENABLE_HEALTHCHECKS lists the number itself; `enable_all` enables it as well. */
bool xid_filter_enables(const struct xid_filter *filter, uint64_t number);

/* The effective class; an enabled one is at least XID_RESET. */
enum xid_class xid_filter_class(const struct xid_filter *filter, uint64_t number);

/* True if all checks are off (`all` is disabled), but for XIDs that are enabled. NVIDIA's plugin
 * then has no checks at all, so a device that is lost or does not respond stays Healthy, too. */
bool xid_filter_only_enabled(const struct xid_filter *filter);
