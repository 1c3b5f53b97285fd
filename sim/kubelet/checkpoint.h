// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The file that lets a kubelet remember device assignments across restarts.
 *
 * Same layout as the real one (pkg/kubelet/cm/devicemanager/checkpoint): Data.PodDeviceEntries with
 * PodUID, ContainerName, ResourceName, DeviceIDs by NUMA node ("-1" = no topology) and AllocResp in
 * base64; Data.RegisteredDevices with the healthy ids; Checksum. The real checksum is FNV-1a over a
 * dump of Go structs, ours over the compact JSON of Data: a kubelet would reject our file, and we
 * would reject its file.
 */

#include "base/error.h"
#include "manager.h"

#define CHECKPOINT_NAME "kubelet_internal_checkpoint"

/* Formats the file's content; free it. 0 or -ENOMEM. */
int checkpoint_format(const struct manager *manager, char **ret_text);

/*
 * Fills an empty manager: the recorded allocations, and the registered resources with no devices
 * and no plugin, stopped at now_ms, so that capacity stays 0 until the plugin is back. -EBADMSG for
 * a damaged file; the manager is then left empty.
 */
int checkpoint_parse(const char *text, size_t size, uint64_t now_ms, struct manager *manager,
                     struct error *err);

/* The same on files: written atomically; a missing file is an empty manager. */
int checkpoint_store(const char *path, const struct manager *manager, struct error *err);
int checkpoint_load(const char *path, uint64_t now_ms, struct manager *manager, struct error *err);
