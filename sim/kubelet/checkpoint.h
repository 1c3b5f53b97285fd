// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The file in which a kubelet remembers who holds which device, across restarts.
 *
 * Layout as the real one (pkg/kubelet/cm/devicemanager/checkpoint): Data.PodDeviceEntries with
 * PodUID, ContainerName, ResourceName, DeviceIDs by NUMA node ("-1" = no topology told) and
 * AllocResp in base64; Data.RegisteredDevices with the healthy ids; Checksum. The real checksum is
 * FNV-1a over a dump of Go structs, ours over the compact JSON of Data: a kubelet would refuse our
 * file, and we its file.
 */

#include "base/error.h"
#include "manager.h"

#define CHECKPOINT_NAME "kubelet_internal_checkpoint"

/* The text of the file; free it. 0 or -ENOMEM. */
int checkpoint_format(const struct manager *manager, char **ret_text);

/*
 * Fills an empty manager: allocations as they were; registered resources with no devices and no
 * plugin, stopped at now_ms, so that capacity stays 0 until the plugin is back. -EBADMSG for a file
 * that is damaged; the manager is then left empty.
 */
int checkpoint_parse(const char *text, size_t size, uint64_t now_ms, struct manager *manager,
                     struct error *err);

/* The same with files: written atomically; a missing file is an empty manager. */
int checkpoint_store(const char *path, const struct manager *manager, struct error *err);
int checkpoint_load(const char *path, uint64_t now_ms, struct manager *manager, struct error *err);
