// SPDX-License-Identifier: Apache-2.0
#include "shim/test-fakewire.h"

#include <errno.h>
#include <string.h>

#include "shim/amount.h"
#include "shim/grantdir.h"
#include "shim/wire.h"

enum { LONG_MS = 6000, CONTEXT_MIB = 1 };

const uint8_t fakewire_uuid[LIMITS_UUID_SIZE] = "the device 0123";

static struct fakewire arbiter;
static struct claims claims;

static void make_page(uint64_t limit_bytes)
{
    arbiter.page = (struct limits_page){.n_devices = 1, .mode = LIMITS_ENFORCED};
    arbiter.page.devices[0] = (struct limits_device){
        .limit_bytes = limit_bytes, .n_processes = 1, .context_bytes_mib = CONTEXT_MIB};
    memcpy(arbiter.page.devices[0].uuid, fakewire_uuid, LIMITS_UUID_SIZE);
}

struct fakewire *fakewire_new(uint64_t limit_bytes)
{
    arbiter = (struct fakewire){.now_ms = 100000, .revision = LIMITS_REVISION};
    make_page(limit_bytes);
    return &arbiter;
}

void fakewire_replace(void)
{
    make_page(arbiter.page.devices[0].limit_bytes);
    memset(arbiter.n_heard, 0, sizeof(arbiter.n_heard));
    arbiter.is_connected = false;
}

/* --- wire.h --- */

uint64_t wire_now_ms(void)
{
    return arbiter.now_ms += arbiter.step_ms;
}

int wire_connect(struct wire *wire)
{
    if (arbiter.has_no_grant)
        return WIRE_NO_GRANT;
    if (arbiter.is_gone) {
        arbiter.now_ms += LONG_MS;
        return -ECONNREFUSED;
    }
    wire->fd = 0;
    arbiter.n_connected++;
    return 0;
}

int wire_await(struct wire *wire, int timeout_ms)
{
    if (arbiter.is_refusing) {
        arbiter.now_ms += LONG_MS;
        return WIRE_REFUSED;
    }
    wire->page = &arbiter.page;
    wire->revision = arbiter.revision;
    arbiter.is_connected = true;
    return 0;
}

void wire_close(struct wire *wire)
{
    arbiter.n_closed += wire->fd >= 0;
    wire->fd = -1;
}

bool wire_is_ended(const struct wire *wire)
{
    return !arbiter.is_connected;
}

static void hear(const struct limits_request *request)
{
    struct limits_device *device = &arbiter.page.devices[0];

    arbiter.last = *request;
    __atomic_fetch_add(&arbiter.n_heard[request->kind], 1, __ATOMIC_RELAXED);
    if (arbiter.is_slow)
        return;
    if (request->kind == LIMITS_CHARGE || request->kind == LIMITS_GREW)
        device->charged_bytes += request->bytes;
    if (request->kind == LIMITS_RELEASE || request->kind == LIMITS_SHRANK)
        device->charged_bytes -= request->bytes;
}

int wire_tell(struct wire *wire, struct limits_request *request)
{
    if (!arbiter.is_connected)
        return -ECONNRESET;
    if (arbiter.is_deaf)
        return -EAGAIN;
    hear(request);
    return 0;
}

static struct limits_answer answer_of(const struct limits_request *request)
{
    struct limits_device *device = &arbiter.page.devices[0];
    const uint64_t wanted = amount_larger(request->bytes, request->wanted_bytes);
    const uint64_t left = amount_minus(device->limit_bytes, device->charged_bytes);

    if (request->kind == LIMITS_GREW)
        return device->charged_bytes + wanted - request->bytes > device->limit_bytes
                   ? (struct limits_answer){LIMITS_DENIED, .bytes = arbiter.page.n_reading + 1}
                   : (struct limits_answer){LIMITS_GRANTED, .bytes = wanted};
    if ((request->kind == LIMITS_ENTER ? (uint64_t)CONTEXT_MIB << 20 : request->bytes) > left)
        return (struct limits_answer){LIMITS_DENIED, .bytes = left};
    if (request->kind == LIMITS_RESERVE)
        device->charged_bytes += amount_smaller(wanted, left);
    return (struct limits_answer){LIMITS_GRANTED, .bytes = amount_smaller(wanted, left)};
}

int wire_ask(struct wire *wire, struct limits_request *request, struct limits_answer *ret_answer,
             int timeout_ms)
{
    if (!arbiter.is_connected)
        return -ECONNRESET;
    hear(request);
    if (arbiter.is_slow) {
        arbiter.now_ms += (uint64_t)timeout_ms;
        return -ETIMEDOUT;
    }
    *ret_answer = answer_of(request);
    return 0;
}

int wire_claim(struct wire *wire, struct claims **ret_claims, int timeout_ms)
{
    arbiter.n_heard[LIMITS_CLAIMS]++;
    if (arbiter.is_slow)
        return -ETIMEDOUT;
    if (!arbiter.has_claims)
        return WIRE_DENIED;
    *ret_claims = &claims;
    return 0;
}

/* --- grantdir.h --- */

void grantdir_read(struct grantdir_terms *ret_terms)
{
    *ret_terms = (struct grantdir_terms){.mode = LIMITS_ENFORCED, .n_devices = 1};
    ret_terms->devices[0].bytes = arbiter.page.devices[0].limit_bytes;
    memcpy(ret_terms->devices[0].uuid, fakewire_uuid, LIMITS_UUID_SIZE);
}
