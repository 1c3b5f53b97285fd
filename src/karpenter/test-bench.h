// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For the tests of this room: our own catalog, and profiles from a few words of YAML. Asserts by
 * cmocka. */

#include "catalog/catalog.h"
#include "karpenter/promise.h"
#include "karpenter/sliceprofile.h"

/* The catalog of share/catalog; freed by bench_teardown. For cmocka's group fixtures. */
extern struct catalog bench_catalog;
int bench_setup(void **state);
int bench_teardown(void **state);

/* The one profile called `p` with this spec (flow style, "gpuNames: [a100], ..."). */
struct sliceprofile bench_profile(const char *spec);

/* The problems of such a profile, one in each line. */
void bench_assert_refused(const char *spec, const char *words);

/* What the types of the profile promise. */
struct promises bench_promises(const struct sliceprofile *profile);
