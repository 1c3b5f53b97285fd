// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which MIG layout is wanted on this node, and what it means for each GPU.
 *
 * The first that names one: the Node's label nvidia.com/mig.config, the Node's annotation
 * gpuslice.dev/mig-layout (of a slice profile), gpuslice.mig.layout of the configuration. A name is
 * looked up in the file of mig-parted first, then among the built-in ones (migwant.h). If none of
 * them names one, it is what `gpuslice mig apply` asked for, which brings its own file.
 *
 * Label and annotation come from the cluster, late or never. Their last known values are kept in
 * the state folder: what is as they want it is offered at once. Nothing is changed
 * before their present values arrive, or MIGWISH_TIMEOUT_MS pass after the start. Until then
 * nothing may be offered of a GPU that is not as wanted: it may be halfway between two layouts.
 */

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"
#include "catalog/boards.h"
#include "config/migconfig.h"
#include "node/facts.h"
#include "node/migorder.h"
#include "slice/migwant.h"

#define MIGWISH_LABEL      "nvidia.com/mig.config"
#define MIGWISH_STATE      "nvidia.com/mig.config.state"
#define MIGWISH_ANNOTATION "gpuslice.dev/mig-layout"

enum { MIGWISH_TIMEOUT_MS = 30000, MIGWISH_NAME_SIZE = 128 };

struct migwish {
    const struct facts *facts;          /* borrowed */
    bool is_known;                      /* what the Node asks for, or it is waited for no more */
    bool is_told;                       /* since the start, by the cluster, if there is one */
    bool is_given_up;                   /* it was waited for long enough */
    char label[MIGWISH_NAME_SIZE];      /* "" = the Node does not have it */
    char annotation[MIGWISH_NAME_SIZE]; /* the same */
    struct migconfig *file;             /* NULL: there is none, or it is unusable */
    char file_problem[512];             /* why; "" = it is usable, or there is none */
    const struct migorder *order;       /* borrowed; NULL: nobody asks for a layout */
    struct boards *boards;              /* of GPUs whose driver does not report them */
    char text[MIGWISH_NAME_SIZE + 64];  /* see migwish_text */
};

/* Reads the remembered values and the file. With no cluster to tell, nothing is waited for. */
void migwish_init(struct migwish *wish, const struct facts *facts);
void migwish_deinit(struct migwish *wish);

/* The Node's values; NULL = it does not have it. True if that changes something. */
bool migwish_node(struct migwish *wish, const char *label, const char *annotation);

/* What is wanted is not only remembered, or the cluster has had its time to tell otherwise; and the
 * configuration is read, unless it is outranked. */
bool migwish_may_change(const struct migwish *wish);

/* The cluster does not answer: the remembered values count, without them the Node counts as without
 * both. True if that changes something. */
bool migwish_give_up(struct migwish *wish);

/* The file of mig-parted changed. */
void migwish_read_file(struct migwish *wish);

/* "all-1g.5gb (label nvidia.com/mig.config)", for sentences. Borrowed until the next call. */
const char *migwish_text(struct migwish *wish);

/* True if label, annotation or configuration name a layout. */
bool migwish_is_chosen(const struct migwish *wish);

/* True if what is chosen means the same for every GPU as this order. */
bool migwish_agrees(const struct migwish *wish, const struct migorder *order);

/* gpuslice.excludeDevices names it: it may be somebody else's, so nothing is wanted of it. */
bool migwish_excludes(const struct migwish *wish, const struct gpu *gpu);

/* As `want` of partitioner_backend. */
int migwish_want(const struct migwish *wish, const struct gpu *gpu, const struct mig_board *board,
                 struct mig_want *ret_want, struct error *err);
