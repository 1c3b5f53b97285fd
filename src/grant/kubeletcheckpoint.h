// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The kubelet's own record of device assignments: `kubelet_internal_checkpoint` in the device
 * plugin folder, read only. It ties a grant to the UID and the container of its pod, because the
 * kubelet stores our whole response in it, with the grant's id as an annotation.
 *
 * Form (Kubernetes 1.36, pkg/kubelet/cm/devicemanager/checkpoint; unchanged since 1.20): JSON,
 *
 *     {"Data":{"PodDeviceEntries":[{"PodUID":"..","ContainerName":"..","ResourceName":"..",
 *      "DeviceIDs":{"-1":["id",..]},"AllocResp":"<base64 of ContainerAllocateResponse>"},..],
 *      "RegisteredDevices":{"<resource>":["id",..],..}},"Checksum":n}
 *
 * The kubelet replaces the file by rename. Its checksum is over a dump of Go structs, and is not
 * verified. Unknown members are skipped; known members of another type make the file unreadable.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/names.h"
#include "grant/grant.h"

#define KUBELETCHECKPOINT_NAME "kubelet_internal_checkpoint"

/* The annotation of a response that names its grant: this prefix, then the resource's name with '.'
 * for '/', because a key may contain only one '/'. */
#define GRANT_ANNOTATION_PREFIX "gpuslice.dev/grant."

enum {
    KUBELETCHECKPOINT_SIZE_MAX = 64 << 20,
    KUBELETCHECKPOINT_ENTRIES_MAX = 65535,
    KUBELETCHECKPOINT_SHARED_MAX = 4096, /* of further devices nothing is known */
    KUBELETCHECKPOINT_MOUNTS_MAX = 4096, /* of one response */
    KUBELETCHECKPOINT_UID_SIZE = 64,
    KUBELETCHECKPOINT_NAME_SIZE = 64,
};

struct kubeletcheckpoint_entry {
    char pod_uid[KUBELETCHECKPOINT_UID_SIZE], container[KUBELETCHECKPOINT_NAME_SIZE];
    char *resource;
    char **ids; /* in file order; one with several NUMA nodes occurs once for each */
    size_t n_ids;
    char grant[GRANT_ID_SIZE]; /* from the annotation; "" = it has none */
    struct names mounts;       /* of the response: their paths on the host */
};

/* A device that is offered in slices, "<uuid>::<n>". */
struct kubeletcheckpoint_shared {
    char *resource, *uuid;
    size_t n_ids; /* registered: of a device that is Unhealthy as a whole, there are none */
};

struct kubeletcheckpoint {
    bool is_there; /* else there is no such file */
    struct kubeletcheckpoint_entry *entries;
    size_t n_entries, capacity;
    struct kubeletcheckpoint_shared *shared;
    size_t n_shared, shared_capacity;
};

#define KUBELETCHECKPOINT_INIT \
    {                          \
        .entries = NULL        \
    }

void kubeletcheckpoint_deinit(struct kubeletcheckpoint *checkpoint);

/* 0, -ENOMEM, or -EBADMSG with a sentence. */
int kubeletcheckpoint_parse(const char *text, size_t size, struct kubeletcheckpoint *ret_checkpoint,
                            struct error *err);

/* Reads the file in the folder; an absent one has no entries. Blocks as long as the disk does. */
int kubeletcheckpoint_load(const char *folder, struct kubeletcheckpoint *ret_checkpoint,
                           struct error *err);

/* "gpuslice.dev/grant.nvidia.com.gpu" for "nvidia.com/gpu"; truncated if it does not fit. */
void kubeletcheckpoint_annotation(const char *resource, char *buffer, size_t size);
