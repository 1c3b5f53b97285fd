// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `imex.channelIDs`: channels between nodes; the driver supports only channel 0 in containers. */

#include "config/schema.h"

/* Slot: the pair imex_channel_ids, n_imex_channel_ids of struct config. */
extern const struct kind kind_channels;
