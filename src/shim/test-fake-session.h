// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The session of a process (session.h) as its gate knows it, for tests of the gate: one page, which
 * the test writes as the arbiter would, and a device's slot is its place there.
 */

#include "shim/session.h"

static struct limits_page page;
static bool may_claim;
static unsigned n_looks; /* at whether the arbiter is still there */

const struct limits_page *session_page(void)
{
    return &page;
}

uint64_t session_page_number(void)
{
    return 0;
}

int session_position(int slot)
{
    return slot;
}

bool session_may_claim(void)
{
    return may_claim;
}

void session_look(void)
{
    n_looks++;
}
