// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `labels` and `taints` of a SliceProfile: those of its nodes, beside the ones that we set. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"
#include "base/yaml.h"

enum {
    PROFILEMARK_KEY = 320, /* of a label or a taint */
    PROFILEMARK_VALUE = 64,
    PROFILEMARKS_MAX = 100, /* of each list */
};

struct profilemarks {
    struct profile_label {
        char key[PROFILEMARK_KEY], value[PROFILEMARK_VALUE];
    } * labels;
    size_t n_labels, labels_capacity;
    struct profile_taint {
        char key[PROFILEMARK_KEY], value[PROFILEMARK_VALUE]; /* value: "" = none */
        char effect[20];
    } * taints;
    size_t n_taints, taints_capacity;
    bool has_taints; /* the list is there, maybe empty: without it nodes get one taint of ours */
};

void profilemarks_deinit(struct profilemarks *marks);

/* Adds those of a profile's spec; whatever is wrong becomes a problem. 0 or -ENOMEM. */
int profilemarks_read(struct problems *problems, const struct yaml *spec,
                      struct profilemarks *marks);

/* Adds one. 0 or -ENOMEM. */
int profilemarks_add_label(struct profilemarks *marks, const char *key, const char *value);
int profilemarks_add_taint(struct profilemarks *marks, const char *key, const char *value,
                           const char *effect);

/* The taints as Kubernetes has them: an array. NULL without memory. */
json_t *profilemarks_taints(const struct profilemarks *marks);

/* Sets the members of a spec that read back as these. */
void profilemarks_write(const struct profilemarks *marks, json_t *spec);
