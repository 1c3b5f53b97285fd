// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Provisioners of Karpenter's v1alpha5, as guides in circulation show them, to objects of v1 that
 * do what was meant: NodePools, the EC2NodeClass that they refer to, and a SliceProfile for each
 * GPU that the Provisioner names as `nvidia.com/gpu`. Each change of meaning is a comment line.
 *
 * A ConfigMap that is labelled as a slice profile becomes the SliceProfile of each of its keys.
 *
 * A GPU is sliced by MIG where it can be (its smallest profile, as many as fit), else in time, into
 * slices of at least as much memory as the smallest one of an A100 has.
 */

#include <stddef.h>

#include "base/problem.h"
#include "catalog/catalog.h"
#include "karpenter/document.h"

/* Of a file's text, which may be pasted (paste.h). 0, -EBADMSG when `problems` got an error, or
 * -ENOMEM. */
int convert_provisioners(const char *text, size_t size, const struct catalog *catalog,
                         struct problems *problems, struct documents *documents);
