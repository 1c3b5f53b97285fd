// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For tests of gates: a container on some devices, with a page, and a process whose claims the test
 * writes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "arbiter/tenant.h"
#include "limits/exchange.h"

enum { GATETENANT_SHARE_PPM = 250000 };

struct gatetenant {
    struct tenant tenant;
    struct claimspage page; /* the arbiter's */
    struct claims *claims;  /* its own; NULL: it has no process */
};

static inline void gatetenant_init(struct gatetenant *one, const char *pod_uid, size_t n_devices,
                                   const char *const *uuids)
{
    struct error err = ERROR_INIT;

    *one = (struct gatetenant){.tenant = {.page = LIMITSPAGE_INIT}, .page = CLAIMSPAGE_INIT};
    one->tenant.account = account_new(n_devices);
    assert_non_null(one->tenant.account);
    snprintf(one->tenant.pod_uid, sizeof(one->tenant.pod_uid), "%s", pod_uid);
    for (size_t i = 0; i < n_devices; i++) {
        snprintf(one->tenant.uuids[i], sizeof(one->tenant.uuids[i]), "%s", uuids[i]);
        one->tenant.shares_ppm[i] = GATETENANT_SHARE_PPM;
    }
    assert_int_equal(tenant_open_page(&one->tenant, LIMITS_ENFORCED, &err), 0);
}

/* One more process of the container; returns what it writes to, CLAIMS_SIZE bytes. */
static inline struct claims *gatetenant_claim(struct gatetenant *one, struct claimspage *page)
{
    struct error err = ERROR_INIT;
    struct claims *claims;

    assert_int_equal(tenant_add_claims(&one->tenant, page, &err), 0);
    claims = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page->fd, 0);
    assert_true(claims != MAP_FAILED);
    return claims;
}

/* Its process begins. */
static inline void gatetenant_join(struct gatetenant *one)
{
    one->page = (struct claimspage)CLAIMSPAGE_INIT;
    one->claims = gatetenant_claim(one, &one->page);
}

/* It ends. */
static inline void gatetenant_leave(struct gatetenant *one)
{
    if (!one->claims)
        return;
    munmap(one->claims, CLAIMS_SIZE);
    one->claims = NULL;
    tenant_drop_claims(&one->tenant, &one->page);
}

static inline void gatetenant_deinit(struct gatetenant *one)
{
    gatetenant_leave(one);
    limitspage_deinit(&one->tenant.page);
    account_free(one->tenant.account);
}

/* Its process gave the handle out, or opened it. */
static inline void gatetenant_name(const struct gatetenant *one, enum exchange_side side,
                                   enum exchange_kind kind, uint64_t handle)
{
    struct exchange *exchange = exchange_of(one->claims);

    exchange->names[exchange->n_changes % EXCHANGE_NAMES] = (struct exchange_name){
        .side = side, .kind = (uint16_t)kind, .handle = {0x1234, handle, 0, 7}};
    exchange->n_changes++;
}
