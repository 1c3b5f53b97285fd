// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The GPUs that the partitioner knows, together: what of them is given to nobody, and for which
 * pods they wait.
 *
 * A GPU that was once known stays, so that one that comes back goes on where it was.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "node/partgpu.h"
#include "slice/inventory.h"

/* All zero = none is known. */
struct partgpus {
    struct partgpu *items;
    size_t n, capacity;
    bool is_all_withheld; /* the node is about to be rebooted */
    bool withheld_changed, waits_changed;
};

void partgpus_deinit(struct partgpus *gpus);

/* NULL: it is not known. Borrowed until the next is added. */
struct partgpu *partgpus_find(const struct partgpus *gpus, const char *uuid);

/* Finds or adds it. NULL: out of memory. */
struct partgpu *partgpus_add(struct partgpus *gpus, const char *uuid);

/* Another layout is wanted: see partgpu_forget. */
void partgpus_forget(struct partgpus *gpus);

/* True if some GPU failed when it was looked at last. */
bool partgpus_have_failed(const struct partgpus *gpus);

/* How many of the machine are in between with a step that fails. */
size_t partgpus_count_stuck(const struct partgpus *gpus, const struct inventory *machine);

/* --- what is withheld --- */

/* As partgpu_withhold. */
void partgpus_withhold(struct partgpus *gpus, struct partgpu *gpu, bool whole,
                       const struct mig_next *next);

/* All GPUs of the node, known or not. */
void partgpus_withhold_all(struct partgpus *gpus, bool all);

/* Whether a layout is wanted of it decides what is reported of it, so a change is one of these. */
void partgpus_note_wanted(struct partgpus *gpus, struct partgpu *gpu, bool is_wanted);

/* True if that, or the result of partgpus_mask, is another one than when this was asked last. */
bool partgpus_take_withheld(struct partgpus *gpus);

/* Marks in a copy of the machine what is withheld, and removes MIG devices that are withheld and
 * that nobody has. is_granted: a grant has the device. */
void partgpus_mask(const struct partgpus *gpus, struct inventory *copy,
                   bool (*is_granted)(const char *device_uuid, void *owner), void *owner);

/* --- which pods are waited for --- */

/* As partgpu_set_waits. */
void partgpus_set_waits(struct partgpus *gpus, struct partgpu *gpu, char *waits);

/* True if partgpus_add_waits adds something else than when this was asked last. */
bool partgpus_take_waits(struct partgpus *gpus);

/* The annotation of migwaits.h, of the machine's usable GPUs; nothing if none waits. */
void partgpus_add_waits(const struct partgpus *gpus, const struct inventory *machine,
                        const char *wish, struct text *out);
