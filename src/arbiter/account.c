// SPDX-License-Identifier: Apache-2.0
#include "arbiter/account.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

/* Of what would be left, a credit beyond the request takes a quarter at most: others of the
 * container may need the rest. */
enum { CREDIT_PART = 4 };

/* What is in the driver already may be as much beyond the limit, as the library has it. */
#define GRANULE_BYTES (UINT64_C(2) << 20)

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* --- sums --- */

static uint64_t get_allocated(const struct account_use *use)
{
    return smaller(use->reserved_bytes, larger(use->tracked_bytes, use->claimed_bytes));
}

static bool has_pending(const struct account_use *use)
{
    return use->n_entering || use->n_entered || use->has_grown;
}

static uint64_t get_overhead(const struct account_use *use)
{
    return has_pending(use) ? larger(use->overhead_bytes, use->expected_bytes)
                            : use->overhead_bytes;
}

static void note_returned(struct account_device *device, uint64_t bytes)
{
    if (device->returned_bytes)
        *device->returned_bytes += bytes;
}

/* After each change of a use: the sums of its device follow. */
static void settle(struct account *account, struct account_use *use, size_t device)
{
    struct account_device *of = &account->devices[device];
    const uint64_t overhead = get_overhead(use), charge = use->reserved_bytes + overhead;

    note_returned(of, minus(use->charged_bytes, charge));
    of->charged_bytes += charge - use->charged_bytes;
    of->overhead_bytes += overhead - use->counted_overhead_bytes;
    of->peak_bytes = larger(of->peak_bytes, of->charged_bytes);
    use->charged_bytes = charge;
    use->counted_overhead_bytes = overhead;
    use->highest_bytes = larger(use->highest_bytes, get_allocated(use));
}

static uint64_t get_free(const struct account *account, size_t device)
{
    const struct account_device *of = &account->devices[device];

    return of->limit_bytes ? minus(of->limit_bytes, of->charged_bytes) : UINT64_MAX;
}

bool account_is_starved(const struct account *account, enum limits_mode mode)
{
    return account->is_starved && mode == LIMITS_ENFORCED;
}

/* --- life --- */

struct account *account_new(size_t n_devices)
{
    cleanup_free struct account *account = calloc(1, sizeof(*account));

    if (!account)
        return NULL;
    account->devices = calloc(n_devices + 1, sizeof(*account->devices));
    if (!account->devices)
        return NULL;
    account->n_devices = n_devices;
    return TAKE_PTR(account);
}

void account_free(struct account *account)
{
    if (!account)
        return;
    while (account->processes)
        account_end(account, account->processes);
    free(account->devices);
    free(account);
}

/* --- processes --- */

struct account_process *account_find(const struct account *account, uint32_t pid)
{
    struct account_process *process = account->processes;

    while (process && process->pid != pid)
        process = process->next;
    return process;
}

static int add(struct account *account, uint32_t pid, struct account_process **ret_process)
{
    struct account_process *process;

    if (account->n_processes >= ACCOUNT_PROCESSES_MAX)
        return -ENOSPC;
    process = calloc(1, sizeof(*process) + account->n_devices * sizeof(*process->uses));
    if (!process)
        return -ENOMEM;
    process->pid = pid;
    process->next = account->processes;
    account->processes = process;
    account->n_processes++;
    *ret_process = process;
    return 0;
}

int account_register(struct account *account, uint32_t pid, uint64_t now_ms,
                     struct account_process **ret_process)
{
    struct account_process *process = account_find(account, pid);
    int r = 0;

    if (process && process->is_registered)
        return -EEXIST;
    if (!process)
        r = add(account, pid, &process);
    if (r < 0)
        return r;
    process->is_registered = true;
    process->spoke_ms = now_ms;
    account->n_registered++;
    *ret_process = process;
    return 0;
}

void account_disconnect(struct account *account, struct account_process *process, uint64_t now_ms)
{
    assert(process->is_registered);
    process->is_registered = false;
    process->spoke_ms = now_ms;
    account->n_registered--;
    for (size_t i = 0; i < account->n_devices; i++) {
        struct account_use *use = &process->uses[i];

        use->overhead_bytes = use->unclaimed_bytes = smaller(use->charged_bytes, ACCOUNT_BYTES_MAX);
        use->reserved_bytes = use->tracked_bytes = use->claimed_bytes = 0;
        use->n_entering = use->n_entered = 0;
        use->has_grown = false;
        use->n_unread = 0;
        settle(account, use, i);
    }
}

void account_end(struct account *account, struct account_process *process)
{
    struct account_process **link = &account->processes;

    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    for (size_t i = 0; i < account->n_devices; i++) {
        note_returned(&account->devices[i], process->uses[i].charged_bytes);
        account->devices[i].charged_bytes -= process->uses[i].charged_bytes;
        account->devices[i].overhead_bytes -= process->uses[i].counted_overhead_bytes;
    }
    account->n_processes--;
    account->n_registered -= process->is_registered;
    free(process);
}

struct account_contexts account_count_contexts(const struct account *account, size_t device)
{
    struct account_contexts contexts = {0};

    for (const struct account_process *one = account->processes; one; one = one->next)
        if (one->uses[device].is_shown) {
            contexts.n_processes++;
            contexts.n_without_turns += !one->takes_turns;
        }
    return contexts;
}

/* --- requests --- */

void account_hear(struct account *account, struct account_process *process, size_t device,
                  uint64_t allocated_bytes, uint64_t now_ms)
{
    struct account_use *use = &process->uses[device];

    process->spoke_ms = now_ms;
    use->claimed_bytes = allocated_bytes;
    settle(account, use, device);
}

/* What may be granted. */
static uint64_t get_left(const struct account *account, size_t device, enum limits_mode mode)
{
    return account_is_starved(account, mode) ? 0 : get_free(account, device);
}

/* 0 with how much of it, or ACCOUNT_DENIED with what is free. */
static int decide(struct account *account, size_t device, uint64_t bytes, uint64_t wanted_bytes,
                  enum limits_mode mode, uint64_t *ret_bytes)
{
    const uint64_t free_bytes = get_left(account, device, mode);

    if (bytes > free_bytes && mode != LIMITS_NONE)
        account->devices[device].n_denied++;
    if (bytes > free_bytes && mode == LIMITS_ENFORCED) {
        *ret_bytes = free_bytes;
        return ACCOUNT_DENIED;
    }
    *ret_bytes =
        bytes + smaller(minus(wanted_bytes, bytes), minus(free_bytes, bytes) / CREDIT_PART);
    return 0;
}

int account_reserve(struct account *account, struct account_process *process, size_t device,
                    uint64_t bytes, uint64_t wanted_bytes, enum limits_mode mode,
                    uint64_t *ret_bytes)
{
    struct account_use *use = &process->uses[device];
    const uint64_t most = ACCOUNT_BYTES_MAX - use->reserved_bytes;
    int r;

    if (bytes > most) {
        *ret_bytes = smaller(get_free(account, device), most);
        return ACCOUNT_DENIED;
    }
    r = decide(account, device, bytes, smaller(wanted_bytes, most), mode, ret_bytes);
    if (r != 0)
        return r;
    use->reserved_bytes += *ret_bytes;
    use->tracked_bytes = smaller(get_allocated(use) + bytes, use->reserved_bytes);
    settle(account, use, device);
    return 0;
}

void account_release(struct account *account, struct account_process *process, size_t device,
                     uint64_t bytes)
{
    struct account_use *use = &process->uses[device];

    use->reserved_bytes = minus(use->reserved_bytes, bytes);
    use->tracked_bytes = minus(use->tracked_bytes, bytes);
    settle(account, use, device);
}

void account_charge(struct account *account, struct account_process *process, size_t device,
                    uint64_t bytes)
{
    struct account_use *use = &process->uses[device];
    const uint64_t more = smaller(bytes, ACCOUNT_BYTES_MAX - use->reserved_bytes);
    const uint64_t known = smaller(more, use->unclaimed_bytes);

    use->overhead_bytes -= known;
    use->unclaimed_bytes -= known;
    use->reserved_bytes += more;
    use->tracked_bytes = smaller(use->tracked_bytes + more, use->reserved_bytes);
    settle(account, use, device);
}

static void expect(struct account_use *use, uint64_t bytes)
{
    if (!has_pending(use))
        use->expected_bytes = use->overhead_bytes;
    use->expected_bytes += smaller(bytes, minus(ACCOUNT_BYTES_MAX, use->expected_bytes));
}

int account_enter(struct account *account, struct account_process *process, size_t device,
                  enum limits_mode mode, uint64_t *ret_bytes)
{
    struct account_use *use = &process->uses[device];
    const uint64_t context_bytes = account->devices[device].context_bytes;
    int r = ACCOUNT_DENIED;

    *ret_bytes = 0;
    if (use->n_entering < ACCOUNT_PROCESSES_MAX)
        r = decide(account, device, context_bytes, context_bytes, mode, ret_bytes);
    if (r != 0)
        return r;
    expect(use, context_bytes);
    use->n_entering++;
    settle(account, use, device);
    return 0;
}

void account_entered(struct account *account, struct account_process *process, size_t device,
                     uint64_t now_ms)
{
    struct account_use *use = &process->uses[device];

    if (!use->n_entering)
        return;
    use->n_entering--;
    use->n_entered++;
    use->entered_ms = now_ms;
    settle(account, use, device);
}

/* Which one it was is not told: one that a reading has shown already is charged by readings. */
void account_left(struct account *account, struct account_process *process, size_t device)
{
    struct account_use *use = &process->uses[device];

    if (use->n_entering)
        use->n_entering--;
    else if (use->n_entered)
        use->n_entered--;
    else
        return;
    use->expected_bytes = minus(use->expected_bytes, account->devices[device].context_bytes);
    settle(account, use, device);
}

int account_grew(struct account *account, struct account_process *process, size_t device,
                 uint64_t bytes, uint64_t most_bytes, enum limits_mode mode, uint64_t now_ms,
                 uint64_t *ret_reading)
{
    struct account_use *use = &process->uses[device];
    const bool is_uncertain = larger(bytes, most_bytes) > get_left(account, device, mode);
    const int r = is_uncertain && mode == LIMITS_ENFORCED ? ACCOUNT_DENIED : 0;

    use->n_unread += is_uncertain && mode != LIMITS_NONE;
    expect(use, bytes);
    use->has_grown = true;
    use->grown_ms = now_ms;
    settle(account, use, device);
    *ret_reading = r == 0 ? 0 : account->n_begun + 1;
    return r;
}

void account_shrank(struct account *account, struct account_process *process, size_t device,
                    uint64_t bytes)
{
    struct account_use *use = &process->uses[device];

    if (use->n_unread) { /* it did not wait for the reading that says so */
        use->n_unread--;
        account->devices[device].n_denied++;
    }
    bytes = smaller(bytes, get_overhead(use));
    use->overhead_bytes = minus(use->overhead_bytes, bytes);
    use->unclaimed_bytes = smaller(use->unclaimed_bytes, use->overhead_bytes);
    use->expected_bytes = minus(use->expected_bytes, bytes);
    use->shrunk_bytes = smaller(use->shrunk_bytes + bytes, use->begun_bytes);
    settle(account, use, device);
}

/* --- readings --- */

void account_begin_reading(struct account *account, uint64_t now_ms)
{
    account->began_ms = now_ms;
    account->is_reading = true;
    account->n_begun++;
    for (struct account_process *process = account->processes; process; process = process->next)
        for (size_t i = 0; i < account->n_devices; i++) {
            struct account_use *use = &process->uses[i];

            use->shown_bytes = use->shrunk_bytes = 0;
            use->is_untold = false;
            use->highest_bytes = get_allocated(use);
            use->begun_bytes = get_overhead(use);
        }
}

int account_show(struct account *account, uint32_t pid, size_t device, uint64_t bytes)
{
    struct account_process *process = account_find(account, pid);
    struct account_use *use;
    int r = process ? 0 : add(account, pid, &process);

    if (r < 0)
        return r;
    use = &process->uses[device];
    if (bytes == UINT64_MAX)
        use->is_untold = true;
    else
        use->shown_bytes =
            smaller(use->shown_bytes + smaller(bytes, ACCOUNT_BYTES_MAX), ACCOUNT_BYTES_MAX);
    return 0;
}

/* A reading that began after the last context was created, and the last module loaded, has them. */
static void meet_expected(struct account_device *device, struct account_use *use, uint64_t began_ms,
                          uint64_t beyond_bytes)
{
    if (!(use->n_entered || use->has_grown) || (use->n_entered && use->entered_ms >= began_ms) ||
        (use->has_grown && use->grown_ms >= began_ms))
        return;
    if (!use->had_context && use->n_entered == 1 && !use->n_entering && !use->has_grown)
        device->measured_context_bytes = beyond_bytes;
    use->had_context = use->had_context || use->n_entered;
    use->n_entered = 0;
    use->has_grown = false;
    use->expected_bytes = beyond_bytes + use->n_entering * device->context_bytes;
}

/* A reading may show what was freed before its RELEASE comes: so a second one lowers it, if the
 * process sent nothing after the first began. */
static uint64_t lower_overhead(struct account_use *use, const struct account_process *process,
                               uint64_t began_ms, uint64_t beyond_bytes)
{
    const bool is_second = use->quiet_ms && process->spoke_ms <= use->quiet_ms;
    const uint64_t before = is_second ? use->quiet_bytes : use->overhead_bytes;

    use->quiet_ms = began_ms;
    use->quiet_bytes = beyond_bytes;
    return larger(before, beyond_bytes);
}

static void reconcile(struct account *account, struct account_process *process, size_t device)
{
    struct account_use *use = &process->uses[device];
    const uint64_t allocated = get_allocated(use);
    const bool is_quiet = process->spoke_ms + ACCOUNT_SETTLE_MS <= account->began_ms;
    const uint64_t surely = minus(use->shown_bytes, use->highest_bytes + use->shrunk_bytes);

    use->is_shown = use->shown_bytes || use->is_untold;
    if (use->is_untold)
        return;
    if (is_quiet && process->is_registered)
        use->overhead_bytes =
            lower_overhead(use, process, account->began_ms, minus(use->shown_bytes, allocated));
    else if (is_quiet)
        use->overhead_bytes = use->shown_bytes;
    else
        use->overhead_bytes =
            larger(use->overhead_bytes, process->is_registered ? surely : use->shown_bytes);
    use->unclaimed_bytes = process->is_registered
                               ? smaller(use->unclaimed_bytes, use->overhead_bytes)
                               : use->overhead_bytes;
    /* Of a busy process, a reading may have less than what is expected: then that stays. */
    if (is_quiet || !process->is_registered || surely >= use->expected_bytes)
        meet_expected(&account->devices[device], use, account->began_ms, surely);
    settle(account, use, device);
}

static bool has_any(const struct account *account, const struct account_process *process)
{
    for (size_t i = 0; i < account->n_devices; i++)
        if (process->uses[i].charged_bytes || process->uses[i].is_untold)
            return true;
    return false;
}

/* Of reports that were uncertain, whether they were beyond the limit is known. */
static void count_unread(struct account *account, size_t device)
{
    struct account_device *of = &account->devices[device];
    const bool is_beyond = of->limit_bytes && of->charged_bytes > of->limit_bytes + GRANULE_BYTES;

    for (struct account_process *one = account->processes; one; one = one->next) {
        struct account_use *use = &one->uses[device];

        if (use->has_grown)
            continue;
        of->n_denied += is_beyond ? use->n_unread : 0;
        use->n_unread = 0;
    }
}

/* Above 0: released since the reading began. */
static void note_gap(struct account *account, size_t device)
{
    struct account_device *of = &account->devices[device];
    uint64_t shown_bytes = 0;

    of->has_gap = true;
    for (const struct account_process *one = account->processes; one; one = one->next) {
        shown_bytes += one->uses[device].shown_bytes;
        of->has_gap = of->has_gap && !one->uses[device].is_untold;
    }
    of->gap_bytes = (int64_t)shown_bytes - (int64_t)of->charged_bytes;
}

void account_end_reading(struct account *account, const bool *is_read)
{
    struct account_process *process = account->processes, *next;

    if (!account->is_reading)
        return;
    account->is_reading = false;
    account->n_reading = account->n_begun;
    for (; process; process = next) {
        next = process->next;
        for (size_t i = 0; i < account->n_devices; i++)
            if (is_read[i])
                reconcile(account, process, i);
        if (!process->is_registered && !has_any(account, process))
            account_end(account, process);
    }
    for (size_t i = 0; i < account->n_devices; i++)
        if (is_read[i]) {
            count_unread(account, i);
            note_gap(account, i);
        }
}
