// SPDX-License-Identifier: Apache-2.0
#include "slice/policy.h"

#include <stdlib.h>
#include <strings.h>

bool device_ref_equal(const struct device_ref *a, const struct device_ref *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == DEVICE_REF_UUID || a->kind == DEVICE_REF_PCI)
        return strcasecmp(a->uuid, b->uuid) == 0;
    return a->index == b->index && (a->kind == DEVICE_REF_INDEX || a->mig_index == b->mig_index);
}

enum sharing_strategy policy_sharing(const struct sharing_entry *entry)
{
    return entry->replicas == 1 ? SHARING_NONE : entry->strategy;
}

const char *policy_resource(const struct sharing_entry *entry)
{
    return *entry->rename ? entry->rename : entry->name;
}

bool policy_uses_mps(const struct policy *policy)
{
    for (size_t i = 0; i < policy->n_sharing; i++)
        if (policy_sharing(&policy->sharing[i]) == SHARING_MPS)
            return true;
    return policy->n_slices > 0 && policy->isolation == ISOLATION_COOPERATIVE;
}

bool policy_refresh_mps(struct policy *policy, const char *root,
                        bool (*answers)(const char *root, const char *resource))
{
    bool changed = false;

    for (size_t i = 0; i < policy->n_sharing; i++) {
        struct sharing_entry *entry = &policy->sharing[i];
        const bool before = entry->served;

        entry->served =
            policy_sharing(entry) == SHARING_MPS && answers(root, policy_resource(entry));
        changed |= entry->served != before;
    }
    for (size_t i = 0; i < policy->n_slices; i++) {
        struct slice_size *size = &policy->slices[i];
        const bool before = size->served;

        size->served = policy->isolation == ISOLATION_COOPERATIVE && answers(root, size->name);
        changed |= size->served != before;
    }
    return changed;
}

void policy_deinit(struct policy *policy)
{
    for (size_t i = 0; i < policy->n_sharing; i++)
        free(policy->sharing[i].devices.refs);
    free(policy->sharing);
    free(policy->gpu_rules);
    free(policy->mig_rules);
    free(policy->slices);
    free(policy->excluded);
    *policy = (struct policy)POLICY_INIT;
}
