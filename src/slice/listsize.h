// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How long the device list of a resource is, in bytes of the message that the kubelet reads.
 *
 * The kubelet's gRPC client reads at most 4 MiB in one message (grpc-go's default, which the
 * kubelet does not change); a longer list ends the watch, and the resource has no device at all. A
 * list counts as if every device were Unhealthy, which is the longer word, so that it still fits
 * when they are.
 */

#include <stddef.h>
#include <stdint.h>

#include "slice/device.h"

enum { LISTSIZE_MAX_BYTES = 4 << 20 };

/* One device of the list, with its tag and length. */
size_t listsize_of_id(const struct device *device, size_t id_length);

/* The first n slices of a shared device, "<uuid>::0" and so on. */
size_t listsize_of_slices(const struct device *device, unsigned n);
