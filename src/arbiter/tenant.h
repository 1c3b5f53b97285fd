// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A container that has grants: its limit and its share of each device, which are the sums of its
 * grants there, its account and its page, and the claims of its processes. The kubelet's checkpoint
 * says which container has which grant, the log of grants what it gives.
 *
 * Limits are fixed while it has processes. An init container is a tenant of its own.
 */

#include <stdbool.h>
#include <stddef.h>

#include "arbiter/account.h"
#include "arbiter/audit.h"
#include "arbiter/claimspage.h"
#include "arbiter/limitspage.h"
#include "gpu/gpu.h"
#include "grant/podrecords.h"

struct tenant_device;

struct tenant {
    struct tenant *next;
    char pod_uid[KUBELETCHECKPOINT_UID_SIZE], container[KUBELETCHECKPOINT_NAME_SIZE];
    char namespace_[AUDIT_NAMESPACE_SIZE], pod[AUDIT_POD_SIZE]; /* "" = not known yet */
    char uuids[LIMITS_DEVICES_MAX][GPU_UUID_SIZE];              /* of the account's devices */
    uint32_t shares_ppm[LIMITS_DEVICES_MAX]; /* of their time, by its grants; 0 = not known */
    struct account *account;
    struct claimspage *claims; /* of its processes that have one, borrowed from their sessions */
    struct limitspage page;    /* none before its first process connects */
    size_t n_sessions;         /* that refer to it */
    bool is_listed;            /* in the records */
};

struct tenants {
    struct tenant *first;
    struct tenant_device *devices; /* that any of them ever had */
    /* It is about to be freed, or to have other devices. NULL = no callback. */
    void (*on_leave)(struct tenant *tenant, void *userdata);
    void *userdata;
};

enum tenant_outcome {
    TENANT_UNKNOWN = 1, /* the records do not have the grant */
};

void tenants_deinit(struct tenants *tenants);

/* One for each container of the records that has grants; those that are gone, and those whose
 * limits have changed, are dropped once they have no process. 0 or -ENOMEM: some are missing. */
int tenants_update(struct tenants *tenants, const struct podrecords *records);

/* Of a grant; made if it is new. 0, TENANT_UNKNOWN or -ENOMEM. */
int tenants_find(struct tenants *tenants, const struct podrecords *records, const char *grant_id,
                 struct tenant **ret_tenant);

/* Of a process that never connected, by what its cgroups say: the container may be unknown (""),
 * then it is the only one of its pod that has grants. NULL: there is none. */
struct tenant *tenants_guess(const struct tenants *tenants, const char *pod_uid,
                             const char *container);

/* Those whose pods the audit names have these names from then on. */
void tenants_name(struct tenants *tenants, const struct audit *audit);

/* n_devices: it has none of it. */
size_t tenant_find_device(const struct tenant *tenant, const char *uuid);

/* Whether both are somebody's who trusts himself: containers of one pod, or of one namespace as far
 * as those are known, or commands of one user. */
bool tenant_has_same_owner(const struct tenant *tenant, const struct tenant *other);

/* Makes its page, if there is none yet. As limitspage_make. */
int tenant_open_page(struct tenant *tenant, enum limits_mode mode, struct error *err);

/* A page of claims of one more process, until it is dropped. As claimspage_make. */
int tenant_add_claims(struct tenant *tenant, struct claimspage *claims, struct error *err);
void tenant_drop_claims(struct tenant *tenant, struct claimspage *claims);

/* Its page tells what is in its account. */
void tenant_publish(struct tenant *tenant, enum limits_mode mode);
