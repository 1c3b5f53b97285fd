// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For the tests of this room: known machines, short policies, and worlds made of one of each with
 * the plan that comes of them. Asserts by cmocka.
 */

#include "slice/inventory.h"
#include "slice/planner.h"
#include "slice/policy.h"

/* n GPUs of one model with links of the given path; index and UUID count from 0. */
struct inventory machine_make(size_t n, const char *model, unsigned mem_total_mib,
                              enum gpu_path path);

struct inventory machine_p3_8xlarge(void);  /* 4 V100, all linked by NVLink */
struct inventory machine_p3_16xlarge(void); /* 8 V100, hybrid cube mesh */
struct inventory machine_p4d(void);         /* 8 A100 on NVSwitch */
struct inventory machine_pcie(void);        /* 4 L4 on two CPUs */

/* "GPU-00000000-0000-0000-0000-00000000000<i>" */
const char *machine_uuid(size_t i);

/* "MIG-00000000-0000-0000-000<gpu>-00000000000<mig_index>" */
const char *machine_mig_uuid(size_t gpu, unsigned mig_index);

/* Cuts a GPU into MIG devices, "1g.5gb 2g.10gb" (GPUs in rising order), and turns MIG on. */
void machine_partition(struct inventory *m, size_t gpu, const char *profiles);

/* An entry that shares all of `name`. */
struct sharing_entry entry_all(enum sharing_strategy strategy, const char *name, unsigned replicas);

/* How many problems of that severity hold the words. */
size_t problems_with(const struct problems *problems, enum problem_severity severity,
                     const char *words);

/* The same entry under another name, or for the `count` lowest GPUs, or for those listed. */
struct sharing_entry renamed(struct sharing_entry entry, const char *rename);
struct sharing_entry counted(struct sharing_entry entry, unsigned count);
struct sharing_entry listed(struct sharing_entry entry, struct device_ref *refs, size_t n);

/* One machine, one policy, and what came of them. */
struct world {
    struct inventory machine;
    struct policy policy;
    struct problems problems;
    struct plan *plan;
};

/* Takes the machine over, borrows the entries, makes the plan and checks its invariants. */
struct world world_make(struct inventory machine, struct sharing_entry *entries, size_t n);

/* After a change of machine or policy. */
void plan_again(struct world *w);

void world_end(struct world *w);

/* "nvidia.com/gpu 16, nvidia.com/x 2": each resource with its number of slices. */
void assert_resources(const struct world *w, const char *expected);

/* "4 4 1 0": in the plan's order of devices */
void assert_slices_per_device(const struct world *w, const char *expected);

void assert_problems(const struct world *w, size_t notes, size_t warnings, size_t errors);
