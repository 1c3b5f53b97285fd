// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a device plugin answers: messages of the kubelet in, messages for it out, by the offer. Who
 * calls, and when, is service.h's subject.
 *
 * Each returns RPC_OK with an encoded message (free it), or the status to refuse with and its
 * sentence in err.
 */

#include <stddef.h>

#include "base/error.h"
#include "plugin/offer.h"
#include "rpc/status.h"

/* ListAndWatch: the devices of the resource called `name`; NULL = an empty list. */
enum rpc_status deviceplugin_list(const struct offer *offer, const char *name, void **ret_data,
                                  size_t *ret_size, struct error *err);

/* GetPreferredAllocation. What cannot be preferred stays empty: the kubelet chooses by itself. */
enum rpc_status deviceplugin_prefer(const struct offer *offer, const char *resource,
                                    const void *data, size_t size, void **ret_data,
                                    size_t *ret_size, struct error *err);

/* Allocate; `earlier` may be NULL, see allocation.h. */
enum rpc_status deviceplugin_allocate(const struct offer *offer, const struct offer *earlier,
                                      const char *resource, const void *data, size_t size,
                                      void **ret_data, size_t *ret_size, struct error *err);
