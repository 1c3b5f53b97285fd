// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Processes that have device nodes open. The driver lists those that compute; a monitoring agent or
 * nvidia-persistenced computes nothing, and is in the way of a reset all the same.
 *
 * Processes of other pid namespaces are not seen, nor, without CAP_SYS_PTRACE, those of other
 * users.
 */

#include <stddef.h>
#include <stdint.h>

/* Calls found for each node that a process other than `self` and `parent` has open: once, in the
 * order of the paths; node: the position in them. GPUSLICE_PROC names another place than /proc. 0
 * or -ENOMEM. */
int holders_find(const char *const *paths, size_t n_paths, uint32_t self, uint32_t parent,
                 void (*found)(uint32_t pid, size_t node, void *userdata), void *userdata);

/* The numbers of all processes, the kernel's own threads among them. The caller frees them. 0 or
 * -ENOMEM; none where /proc cannot be read. */
int holders_list_processes(uint32_t **ret_pids, size_t *ret_n);

/* The name of a process; "" if it has ended, or is not seen. */
void holders_name(uint32_t pid, char *ret_name, size_t size);
