// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A ConfigMap of the device plugin as SliceProfiles: one for each key, whose text is the agent's
 * configuration (NVIDIA's `v1` schema and ours), read by the agent's own reader. What such a text
 * has no place for, annotations of the ConfigMap say: which instance types, which NodePool.
 *
 * An annotation is for every key; with a dot and a key behind it
 * (gpuslice.dev/instance-types.a10) it is for that one, and outranks the other. Pure.
 */

#include <jansson.h>

#include "base/problem.h"

/* "true": the ConfigMap is one. */
#define CONFIGPROFILE_LABEL "gpuslice.dev/slice-profile"

/* Of a SliceProfile that was made so: the ConfigMap (a label), its key and its namespace
 * (annotations). */
#define CONFIGPROFILE_OF           "gpuslice.dev/config-map"
#define CONFIGPROFILE_OF_KEY       "gpuslice.dev/config-map-key"
#define CONFIGPROFILE_OF_NAMESPACE "gpuslice.dev/config-map-namespace"

enum configprofile_outcome {
    CONFIGPROFILE_WHOLE = 1, /* the key slices nothing, which Karpenter knows by itself */
    CONFIGPROFILE_NO_TYPES,  /* other keys have instance types, by annotations of their own */
};

enum { CONFIGPROFILE_NAME = 512 }; /* of ConfigMaps and keys that are too long for a profile, too */

/* The profile of a key is called "<ConfigMap>-<key>", also if it is the only one: another key that
 * is added changes no name. */
void configprofile_name(const json_t *config_map, const char *key,
                        char ret_name[CONFIGPROFILE_NAME]);

/*
 * The SliceProfile of a key of `data`. Problems have the key's place,
 * "nvidia-device-plugin/any:8:9". 0; an outcome from above; -EBADMSG (problems has errors) or
 * -ENOMEM.
 */
int configprofile_make(const json_t *config_map, const char *key, struct problems *problems,
                       json_t **ret_profile);
