// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * AWS's part of a v1alpha5 Provisioner: its `provider`, or an AWSNodeTemplate's spec
 * (karpenter.k8s.aws/v1alpha1), which have the same fields; and the EC2NodeClass of v1 that means
 * the same. What v1 demands and they do not have becomes a placeholder.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/names.h"
#include "base/problem.h"
#include "base/yaml.h"

/*
 * The spec of an EC2NodeClass; `fields` NULL: nothing is known. What is a placeholder, and what
 * means something else now, is added to `remarks`, one line each. 0, -EBADMSG when `problems` got
 * an error, or -ENOMEM.
 */
int nodetemplate_convert(const struct yaml *fields, const char *path, struct problems *problems,
                         struct names *remarks, json_t **ret_spec);
