// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Names of resources, as the kubelet and pods see them: "nvidia.com/gpu".
 *
 * A name is the domain nvidia.com/ and a DNS-1123 subdomain (lower case letters, digits, `-`, `.`),
 * 63 characters in all. People may leave the domain out. The functions below write a whole, valid
 * name or fail with a sentence that says what to write.
 */

#include <stdbool.h>

#include "base/error.h"
#include "slice/policy.h"

#define NAME_DOMAIN "nvidia.com/"
#define NAME_GPU    NAME_DOMAIN "gpu"
#define NAME_MIG    NAME_DOMAIN "mig-"
#define NAME_SHARED ".shared"

/* What a person wrote for a resource: "gpu" and "nvidia.com/gpu" are one. 0 or -EINVAL. */
int name_parse(const char *word, char ret_name[RESOURCE_NAME_SIZE], struct error *err);

/* renameByDefault: "nvidia.com/gpu" -> "nvidia.com/gpu.shared". 0 or -EINVAL (too long). */
int name_shared(const char *name, char ret_name[RESOURCE_NAME_SIZE], struct error *err);

/* An unequal slice: "half" -> "nvidia.com/gpu-half". 0 or -EINVAL. */
int name_slice(const char *word, char ret_name[RESOURCE_NAME_SIZE], struct error *err);

/* A MIG profile: "1g.5gb+me" -> "nvidia.com/mig-1g.5gb.me". 0 or -EINVAL. */
int name_mig(const char *profile, char ret_name[RESOURCE_NAME_SIZE], struct error *err);

/* The first rule of resources.gpus that matches a model, or NULL. */
const struct resource_rule *name_find_rule(const struct policy *policy, const char *model);

/* The name of a whole GPU of that model: by its rule, else nvidia.com/gpu. Borrowed. */
const char *name_of_model(const struct policy *policy, const char *model);

/*
 * The name of a MIG device of that profile: by the first rule of resources.mig that matches, else
 * nvidia.com/gpu under `single` and nvidia.com/mig-<profile> under `mixed`. 0, or -EINVAL for what
 * is no profile (also where a rule matches: labels are made of it).
 */
int name_of_profile(const struct policy *policy, const char *profile,
                    char ret_name[RESOURCE_NAME_SIZE], struct error *err);

/*
 * The second name of a MIG device of that profile, nvidia.com/mig-<profile>, where the policy asks
 * for both; "" where it has one name.
 */
void name_second(const struct policy *policy, const char *profile,
                 char ret_name[RESOURCE_NAME_SIZE]);

/* True for nvidia.com/mig-... and for the names that resources.mig gives. */
bool name_is_mig(const struct policy *policy, const char *name);
