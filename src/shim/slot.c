// SPDX-License-Identifier: Apache-2.0
#include "shim/slot.h"

#include "shim/amount.h"

void slot_attach(struct slot *slot, int position, uint64_t limit_bytes)
{
    __atomic_store_n(&slot->position, position, __ATOMIC_RELAXED);
    slot->limit_bytes = limit_bytes;
    slot->credit_bytes = 0;
    slot->unsent_bytes = 0;
}

void slot_detach(struct slot *slot, uint64_t part_bytes, bool has_answered)
{
    part_bytes += slot->credit_bytes;
    slot->allowance_bytes =
        has_answered ? part_bytes : amount_smaller(part_bytes, slot->allowance_bytes);
    slot->beyond_bytes = has_answered ? 0 : slot->beyond_bytes;
    slot->hidden_bytes = 0;
    slot->credit_bytes = 0;
    slot->unsent_bytes = 0;
}

void slot_spend(struct slot *slot, uint64_t bytes)
{
    slot->beyond_bytes += amount_minus(bytes, slot->allowance_bytes);
    slot->allowance_bytes = amount_minus(slot->allowance_bytes, bytes);
}

void slot_earn(struct slot *slot, uint64_t bytes)
{
    slot->allowance_bytes += amount_minus(bytes, slot->beyond_bytes);
    slot->beyond_bytes = amount_minus(slot->beyond_bytes, bytes);
}
