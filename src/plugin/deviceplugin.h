// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The content of a device plugin's responses: encoded messages from and to the kubelet, based on
 * the offer. Who calls, and when, is service.h's subject.
 *
 * Each returns RPC_OK with an encoded message (free it), or the error status and its message in
 * err.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "grant/grant.h"
#include "plugin/offer.h"
#include "rpc/status.h"

/*
 * The options of a resource: in Register and from GetDevicePluginOptions they are the same.
 * wants_pre_start: the kubelet calls PreStartContainer before each start of a container.
 */
v1beta1_DevicePluginOptions deviceplugin_options(bool wants_pre_start);

/* ListAndWatch: the devices of the resource called `name`; NULL = an empty list. */
enum rpc_status deviceplugin_list(const struct offer *offer, const char *name, void **ret_data,
                                  size_t *ret_size, struct error *err);

/* GetPreferredAllocation. Without a preference the response stays empty: the kubelet decides. */
enum rpc_status deviceplugin_prefer(const struct offer *offer, const char *resource,
                                    const void *data, size_t size, void **ret_data,
                                    size_t *ret_size, struct error *err);

/* Inputs of Allocate. Borrowed. */
struct deviceplugin_offers {
    const struct offer *now, *earlier; /* earlier may be NULL, see allocation.h */
    const struct grants *grants;       /* NULL = grants are not recorded */
};

/* The encoded response of Allocate, and a grant for each container of the request, named in it.
 * None if grants are not recorded. */
struct deviceplugin_given {
    void *data;
    size_t size;
    struct grant *items;
    size_t n;
};

#define DEVICEPLUGIN_GIVEN_INIT \
    {                           \
        .data = NULL            \
    }

void deviceplugin_given_deinit(struct deviceplugin_given *given);

/* Allocate. RPC_FAILED_PRECONDITION: a device has changed its name, or a pod holds it under a
 * former one. The response may be sent once
 * the grants are durable (grants.h). */
enum rpc_status deviceplugin_allocate(const struct deviceplugin_offers *offers,
                                      const char *resource, const void *data, size_t size,
                                      struct deviceplugin_given *ret_given, struct error *err);
