// SPDX-License-Identifier: Apache-2.0
#include "arbiter/accountrequest.h"

#include <errno.h>
#include <inttypes.h>

static int answer(const struct limits_request *request, int outcome, enum limits_mode mode,
                  uint64_t bytes, struct limits_answer *ret_answer)
{
    *ret_answer = (struct limits_answer){
        .kind = outcome == 0 ? LIMITS_GRANTED : LIMITS_DENIED,
        .mode = mode,
        .sequence = request->sequence,
        .bytes = bytes,
    };
    return ACCOUNTREQUEST_ANSWER;
}

static int check(const struct account *account, const struct limits_request *request,
                 struct error *err)
{
    if (request->kind <= LIMITS_REGISTER || request->kind > LIMITS_SHRANK)
        return error_set(err, -EBADMSG, "a message of kind %" PRIu32 " from who is registered",
                         request->kind);
    if (request->device >= account->n_devices)
        return error_set(err, -EBADMSG, "device %" PRIu32 " of %zu", request->device,
                         account->n_devices);
    if (request->kind == LIMITS_RESERVE && request->wanted_bytes < request->bytes)
        return error_set(err, -EBADMSG, "it wants less than it requests");
    return 0;
}

int accountrequest_do(struct account *account, struct account_process *process,
                      const struct limits_request *request, enum limits_mode mode, uint64_t now_ms,
                      struct limits_answer *ret_answer, struct error *err)
{
    const size_t device = request->device;
    const uint64_t spoke_ms = process->spoke_ms;
    uint64_t bytes = 0, claimed_bytes;
    int r = check(account, request, err);

    if (r < 0)
        return r;
    claimed_bytes = process->uses[device].claimed_bytes;
    account_hear(account, process, device, request->allocated_bytes, now_ms);
    switch (request->kind) {
    case LIMITS_RESERVE:
        r = account_reserve(account, process, device, request->bytes, request->wanted_bytes, mode,
                            &bytes);
        break;
    case LIMITS_ENTER:
        r = account_enter(account, process, device, mode, &bytes);
        break;
    case LIMITS_CHARGE:
        account_charge(account, process, device, request->bytes);
        break;
    case LIMITS_RELEASE:
        account_release(account, process, device, request->bytes);
        break;
    case LIMITS_ENTERED:
        account_entered(account, process, device, now_ms);
        break;
    case LIMITS_LEFT:
        account_left(account, process, device);
        break;
    case LIMITS_GREW:
        r = account_grew(account, process, device, request->bytes, request->wanted_bytes, mode,
                         now_ms, &bytes);
        break;
    default: /* LIMITS_SHRANK */
        account_shrank(account, process, device, request->bytes);
    }
    /* What changed nothing disturbs no reading, nor does what is there already: who is denied again
     * and again would have no quiet one, and keep what was expected of its context. */
    if ((r != 0 || request->kind == LIMITS_GREW ||
         (request->kind == LIMITS_RESERVE && bytes == 0)) &&
        claimed_bytes == request->allocated_bytes)
        process->spoke_ms = spoke_ms;
    return request->kind == LIMITS_RESERVE || request->kind == LIMITS_ENTER ||
                   request->kind == LIMITS_GREW
               ? answer(request, r, mode, bytes, ret_answer)
               : 0;
}
