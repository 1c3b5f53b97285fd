// SPDX-License-Identifier: Apache-2.0

/* What agent and arbiter send each other: refused, or written as it was read. */

#include <assert.h>
#include <stdint.h>

#include "proc/arbitermessage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_wish(const char *body, size_t size)
{
    struct arbiter_wish first, again;
    cleanup_text struct text once = TEXT_INIT, twice = TEXT_INIT;

    if (arbiter_wish_read(body, size, &first, NULL) < 0)
        return;
    assert(arbiter_wish_write(&first, &once) == 0);
    assert(arbiter_wish_read(once.data, once.length, &again, NULL) == 0);
    assert(arbiter_wish_write(&again, &twice) == 0 && str_equal(once.data, twice.data));
}

static void try_state(const char *body, size_t size)
{
    cleanup_arbiter_state struct arbiter_state first = ARBITER_STATE_INIT,
                                               again = ARBITER_STATE_INIT;
    cleanup_text struct text once = TEXT_INIT, twice = TEXT_INIT;

    if (arbiter_state_read(body, size, &first, NULL) < 0)
        return;
    if (arbiter_state_write(&first, &once) < 0)
        return; /* what is empty in one message is not in the other */
    assert(arbiter_state_read(once.data, once.length, &again, NULL) == 0);
    assert(arbiter_state_write(&again, &twice) == 0 && str_equal(once.data, twice.data));
}

static void try_event(const char *body, size_t size)
{
    struct arbiter_event first, again;
    cleanup_text struct text once = TEXT_INIT, twice = TEXT_INIT;

    if (arbiter_event_read(body, size, &first, NULL) < 0)
        return;
    assert(arbiter_event_write(&first, &once) == 0);
    assert(arbiter_event_read(once.data, once.length, &again, NULL) == 0);
    assert(arbiter_event_write(&again, &twice) == 0 && str_equal(once.data, twice.data));
}

static void try_run(const char *body, size_t size)
{
    struct arbiter_run first, again;
    cleanup_text struct text once = TEXT_INIT, twice = TEXT_INIT;

    if (arbiter_run_read(body, size, &first, NULL) < 0)
        return;
    assert(arbiter_run_write(&first, &once) == 0);
    assert(arbiter_run_read(once.data, once.length, &again, NULL) == 0);
    assert(arbiter_run_write(&again, &twice) == 0 && str_equal(once.data, twice.data));
}

static void try_run_grant(const char *body, size_t size)
{
    struct arbiter_run_grant first, again;
    cleanup_text struct text once = TEXT_INIT, twice = TEXT_INIT;

    if (arbiter_run_grant_read(body, size, &first, NULL) < 0)
        return;
    assert(arbiter_run_grant_write(&first, &once) == 0);
    assert(arbiter_run_grant_read(once.data, once.length, &again, NULL) == 0);
    assert(arbiter_run_grant_write(&again, &twice) == 0 && str_equal(once.data, twice.data));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_wish((const char *)data, size);
    try_state((const char *)data, size);
    try_event((const char *)data, size);
    try_run((const char *)data, size);
    try_run_grant((const char *)data, size);
    return 0;
}
