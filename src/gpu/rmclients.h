// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Processes that have memory of a GPU and are in no list of NVML: clients of the kernel module's
 * resource manager.
 *
 * NVML lists processes with a channel that computes, draws or belongs to MPS, and asks the module
 * for the memory of each. Memory needs no channel: who takes it by ioctls is in no such list. The
 * module has two answers for that, and gives them to everybody: the pids of all clients with a
 * subdevice of the GPU, contexts or none, and the memory that any pid has there. Pids are of the
 * caller's pid namespace, as NVML's are; processes outside of it are left out.
 *
 * A client needs no subdevice either, and then only the second answer knows it. All processes of
 * /proc are asked about when a session begins, and when more memory than before is neither free nor
 * of a process in the list: 35 us for 200 of them beside six clients, under a lock. That memory is
 * missing is only a reason to ask. Who is named has it.
 *
 * Not found is the memory of a process that has ended and left its descriptor to another: it is of
 * the number of the one that ended. On a GPU in MIG mode the module refuses who is not subscribed
 * to an instance and holds no right to monitor all.
 *
 * The session stays beside NVML's of the same process and ends with it. It takes 2 ms to begin
 * (H200, driver 580.159), most of it in the GPU's firmware, with locks held that allocations wait
 * for; a question takes 20 us. It opens no node of a GPU: the module lets a process have a GPU's
 * objects that has its node open, as NVML does. So no GPU stays in use by it that NVML would have
 * let go.
 */

#include "gpu/gpu.h"
#include "gpu/rm-abi.h"

#define RMCLIENTS_HIDDEN_BYTES (UINT64_C(16) << 20) /* that may be missing without a question */

extern const struct rm_kernel rmclients_kernel; /* this machine's */

struct rmclients;

/* Begins a session with the GPU of that UUID, both borrowed. 0, -ENOMEM or another -errno with err.
 * Calls, here and below, may hang, under this thread's guard. */
int rmclients_open(const struct rm_kernel *kernel, const char *uuid, struct rmclients **ret_clients,
                   struct error *err);

/* Adds those that have memory and are not in the list, NVML's. mem_free_bytes: of the GPU, after
 * that was made; 0 = unknown. 0, -ENOMEM, or another -errno with err: nothing was added, or not
 * all, and the session is of no use any more. */
int rmclients_add(struct rmclients *clients, uint64_t mem_free_bytes,
                  struct gpu_processes *processes, struct error *err);

/* NULL is allowed. */
void rmclients_close(struct rmclients *clients);
