// SPDX-License-Identifier: Apache-2.0

/* Sequences of messages of four processes of one container, and of readings of the driver. */

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "arbiter/accountrequest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_PROCESSES = 4, N_DEVICES = 2, LIMIT_MIB = 8192 };

#define LIMIT_BYTES ((uint64_t)LIMIT_MIB << 20)

enum act { REQUEST, REQUEST_AGAIN, CONNECT, DISCONNECT, END, BEGIN, SHOW, FINISH, N_ACTS };

struct input {
    const uint8_t *at;
    size_t left;
};

/* What is missing is 0. */
static uint64_t take(struct input *input, size_t n)
{
    uint64_t value = 0;

    n = n < input->left ? n : input->left;
    memcpy(&value, input->at, n);
    input->at += n;
    input->left -= n;
    return value;
}

struct world {
    struct account *account;
    uint64_t now_ms;
    uint64_t shown[N_PROCESSES][N_DEVICES]; /* by this reading */
    bool has_spoken[N_PROCESSES];           /* since it began */
    bool may_exceed;                        /* something but a granted request was charged */
};

static void check(const struct world *world)
{
    const struct account *account = world->account;
    size_t n = 0;

    for (size_t device = 0; device < N_DEVICES; device++) {
        const struct account_device *of = &account->devices[device];
        uint64_t charged = 0, overhead = 0;

        n = 0;
        for (const struct account_process *p = account->processes; p; p = p->next, n++) {
            assert(p->uses[device].charged_bytes >= p->uses[device].reserved_bytes);
            assert(p->uses[device].reserved_bytes <= ACCOUNT_BYTES_MAX);
            charged += p->uses[device].charged_bytes;
            overhead += p->uses[device].counted_overhead_bytes;
        }
        assert(of->charged_bytes == charged && of->overhead_bytes == overhead);
        assert(of->peak_bytes >= charged && charged >= overhead);
        assert(world->may_exceed || charged <= LIMIT_BYTES);
    }
    assert(account->n_processes == n && account->n_registered <= n);
}

static void request(struct world *world, struct account_process *process, struct input *input)
{
    const struct limits_request request = {
        .kind = (uint32_t)take(input, 1),
        .device = (uint32_t)take(input, 1),
        .sequence = 77,
        .bytes = take(input, 8),
        .wanted_bytes = take(input, 8),
        .allocated_bytes = take(input, 8),
    };
    struct limits_answer answer = {.kind = 0};
    struct error err = ERROR_INIT;
    int r;

    world->may_exceed |= request.kind == LIMITS_CHARGE || request.kind == LIMITS_GREW;
    r = accountrequest_do(world->account, process, &request, LIMITS_ENFORCED, world->now_ms,
                          &answer, &err);
    if (r < 0)
        assert(err.code == r && *err.message);
    if (r != ACCOUNTREQUEST_ANSWER)
        return;
    assert(answer.sequence == 77);
    if (answer.kind == LIMITS_GRANTED && request.kind == LIMITS_RESERVE)
        assert(answer.bytes >= request.bytes && answer.bytes <= request.wanted_bytes);
    else
        assert(answer.kind == LIMITS_DENIED || request.kind == LIMITS_ENTER ||
               request.kind == LIMITS_GREW);
}

static void finish(struct world *world)
{
    const bool is_read[N_DEVICES] = {true, true};
    const bool is_reading = world->account->is_reading;

    account_end_reading(world->account, is_read);
    for (uint32_t pid = 0; is_reading && pid < N_PROCESSES; pid++) {
        const struct account_process *process = account_find(world->account, pid);

        for (size_t i = 0; process && !world->has_spoken[pid] && i < N_DEVICES; i++)
            assert(process->uses[i].charged_bytes >= world->shown[pid][i]);
    }
}

static void show(struct world *world, uint32_t pid, struct input *input)
{
    const size_t device = take(input, 1) % N_DEVICES;
    const uint64_t bytes = take(input, 5);

    if (!world->account->is_reading)
        return;
    world->may_exceed = true;
    if (account_show(world->account, pid, device, bytes) == 0)
        world->shown[pid][device] += bytes;
}

static void act(struct world *world, enum act act, uint32_t pid, struct input *input)
{
    struct account_process *process = account_find(world->account, pid);
    const bool is_registered = process && process->is_registered;

    world->has_spoken[pid] |= act == REQUEST || act == REQUEST_AGAIN;
    switch (act) {
    case REQUEST:
    case REQUEST_AGAIN:
        if (is_registered)
            request(world, process, input);
        break;
    case CONNECT:
        assert((account_register(world->account, pid, world->now_ms, &process) == 0) !=
               is_registered);
        break;
    case DISCONNECT:
        if (is_registered)
            account_disconnect(world->account, process, world->now_ms);
        break;
    case END:
        if (process)
            account_end(world->account, process);
        memset(world->shown[pid], 0, sizeof(world->shown[pid]));
        break;
    case BEGIN:
        memset(world->shown, 0, sizeof(world->shown));
        memset(world->has_spoken, 0, sizeof(world->has_spoken));
        account_begin_reading(world->account, world->now_ms);
        break;
    case SHOW:
        show(world, pid, input);
        break;
    case FINISH:
    case N_ACTS:
        finish(world);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct world world = {.account = account_new(N_DEVICES)};

    assert(world.account);
    for (size_t i = 0; i < N_DEVICES; i++) {
        world.account->devices[i].limit_bytes = LIMIT_BYTES;
        world.account->devices[i].context_bytes = UINT64_C(500) << 20;
    }
    while (input.left) {
        const uint64_t first = take(&input, 1);

        world.now_ms += (first >> 5) * 100;
        act(&world, (enum act)(first % N_ACTS), (uint32_t)(first >> 3) % N_PROCESSES, &input);
        check(&world);
    }
    account_free(world.account);
    return 0;
}
