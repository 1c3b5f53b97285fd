// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One SliceProfile as its nodes make it: keeps two parts of its status. The condition
 * NodesAsPromised says whether they advertise what was promised, and if not, of which node what is
 * wrong; `replacements` is what replacement.h counts by. The rest of the status is others'.
 *
 * Both are written by JSON patches that test the whole list first: of two writers neither takes the
 * other's conditions away.
 */

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "controller/replacement.h"
#include "karpenter/sliceprofile.h"
#include "kube/client.h"

#define GATEPROFILE_PATH      "/apis/gpuslice.dev/v1alpha1/sliceprofiles"
#define GATEPROFILE_CONDITION "NodesAsPromised"

struct gateprofile_setup { /* borrowed */
    uv_loop_t *loop;
    struct kube_client *client;
    bool (*may_write)(void *userdata);
    void *userdata;
};

struct gateprofile;

/* NULL without memory. */
struct gateprofile *gateprofile_new(const struct gateprofile_setup *setup, const char *name);

/* The loop must run once more. NULL is allowed. */
void gateprofile_free(struct gateprofile *profile);

const char *gateprofile_name(const struct gateprofile *profile);

/* The object as it is. */
void gateprofile_see(struct gateprofile *profile, const json_t *object);

/* NULL while it cannot be read: whatever is wrong with it is reported elsewhere. */
const struct sliceprofile *gateprofile_read(const struct gateprofile *profile);

/* What is written down of replacements; NULL = nothing. Borrowed. */
const json_t *gateprofile_list(const struct gateprofile *profile);

/* Writes a NodeClaim down, or all of a type off. Until that is done another one is not begun. */
bool gateprofile_is_recording(const struct gateprofile *profile);
void gateprofile_record(struct gateprofile *profile, const char *type, const char *claim);
void gateprofile_clear(struct gateprofile *profile, const char *type);

/* The nodes of the profile, from which the condition follows. */
struct gateprofile_nodes {
    size_t n_nodes, n_wrong;
    const char *node, *reason, *message; /* of the first that is wrong */
};

void gateprofile_count(struct gateprofile *profile, const struct gateprofile_nodes *nodes);
