// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A SliceProfile: how the nodes of some instance types are sliced, in one object of the cluster
 * (gpuslice.dev/v1alpha1, cluster-scoped). The configuration of the node's agent, what Karpenter is
 * told about a node that does not exist yet, and the NodePool all follow from it.
 *
 * It is read from YAML or from the API server's JSON, strictly: whatever is wrong becomes a problem
 * with its place. Nothing here depends on which instance types there are (promise.h does).
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/names.h"
#include "base/problem.h"
#include "base/text.h"
#include "base/yaml.h"
#include "karpenter/nodekeys.h"
#include "karpenter/profiledevices.h"
#include "karpenter/profilemarks.h"
#include "karpenter/profileslices.h"
#include "slice/policy.h"

#define SLICEPROFILE_API_VERSION "gpuslice.dev/v1alpha1"
#define SLICEPROFILE_KIND        "SliceProfile"

/* The classes of EKS Auto Mode: its nodes have a device plugin of their own, which nobody can
 * configure, and its Karpenter has no NodeOverlays. */
#define SLICEPROFILE_AUTO_MODE "eks.amazonaws.com"

enum {
    SLICEPROFILE_NAME = PROFILEMARK_VALUE,     /* it is the value of a label */
    SLICEPROFILE_LAYOUT = PROFILEDEVICES_TEXT, /* "all-1g.5gb.me"; "2 x 1g.5gb, 1 x 3g.20gb" */
    SLICEPROFILE_HASH = 13,
    SLICEPROFILE_ITEMS_MAX = 100, /* of each list: Karpenter's own limit for requirements */
};

enum sliceprofile_mode {
    SLICEPROFILE_TIME_SLICING,
    SLICEPROFILE_MIG,
    SLICEPROFILE_MPS,
    SLICEPROFILE_SLICES
};

struct sliceprofile {
    char name[SLICEPROFILE_NAME];
    struct position at; /* of its name */

    uint32_t mode;                    /* enum sliceprofile_mode */
    struct position mode_at;          /* of its section, "spec.mig" */
    uint32_t replicas;                /* time slicing, MPS: slices of each GPU */
    uint8_t rename_by_default;        /* the same: nvidia.com/gpu.shared */
    uint8_t fail_multi;               /* the same: failRequestsGreaterThanOne */
    char rename[RESOURCE_NAME_SIZE];  /* the same: a name of one's own; "" = none */
    uint32_t strategy;                /* MIG: enum mig_strategy, single or mixed */
    char layout[SLICEPROFILE_LAYOUT]; /* MIG: of every GPU, as migwant_builtin takes it */
    struct profiledevices devices;    /* MIG: what `layout` counts; none if it is built in */
    struct profileslices slices;      /* unequal slices of each GPU */

    struct names instance_types, gpu_names; /* "g5.xlarge"; "a10g". Both: types that are in both */
    struct position types_at;               /* of the first of them */

    struct profilemarks marks; /* of its nodes */

    char node_pool[SLICEPROFILE_NAME]; /* the NodePool that has it; "" = one of its own is made */
    char node_class_group[PROFILEMARK_KEY], node_class_kind[PROFILEMARK_VALUE];
    char node_class[SLICEPROFILE_NAME]; /* "" = an EC2NodeClass with the profile's name */
    struct names capacity_types;        /* none: on-demand */
    uint32_t max_nodes;                 /* of a pool of its own; 0 = any number */
    char consolidate_after[24];         /* "300s"; "" = the default */
    uint32_t replace;                   /* 1: a node that never gets ready is replaced */
};

/* NULL is allowed. */
void sliceprofile_deinit(struct sliceprofile *profile);
#define cleanup_sliceprofile cleanup(sliceprofile_deinit)

struct sliceprofiles {
    struct sliceprofile *items; /* in the order of the file */
    size_t n_items, capacity;
};

#define SLICEPROFILES_INIT \
    {                      \
        .items = NULL      \
    }

void sliceprofiles_deinit(struct sliceprofiles *profiles);
#define cleanup_sliceprofiles cleanup(sliceprofiles_deinit)

/*
 * Adds every SliceProfile of a text, also of a List; other objects are passed over. 0, -EBADMSG
 * when `problems` got an error (also if there is no SliceProfile at all), or -ENOMEM.
 */
int sliceprofiles_parse(const char *text, size_t size, struct problems *problems,
                        struct sliceprofiles *profiles);

/* The object that reads back as this profile. NULL without memory. */
json_t *sliceprofile_json(const struct sliceprofile *profile);

/*
 * What identifies what nodes do: the same for two profiles exactly when they ask their agents for
 * the same. Which types, labels and pools there are is no part of it: nodes need not be replaced
 * for those.
 */
void sliceprofile_hash(const struct sliceprofile *profile, char ret_hash[SLICEPROFILE_HASH]);

/* The resource of the slices of a GPU (not of MIG devices): "nvidia.com/gpu.shared". */
void sliceprofile_resource(const struct sliceprofile *profile, char ret_name[RESOURCE_NAME_SIZE]);

/*
 * The policy by which the agent plans on such a node. *entry is where its sharing entry lies; both
 * live as long as the plan is made from them, and neither needs to be freed.
 */
void sliceprofile_policy(const struct sliceprofile *profile, struct sharing_entry *entry,
                         struct policy *ret_policy);

/* The same as a configuration file of the agent. It is the annotation SLICEPROFILE_CONFIG of nodes:
 * the same for two profiles exactly when their hashes are. */
void sliceprofile_add_config(const struct sliceprofile *profile, struct text *text);
