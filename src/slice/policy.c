// SPDX-License-Identifier: Apache-2.0
#include "slice/policy.h"

#include <stdlib.h>

void policy_deinit(struct policy *policy)
{
    for (size_t i = 0; i < policy->n_sharing; i++)
        free(policy->sharing[i].devices.refs);
    free(policy->sharing);
    free(policy->gpu_rules);
    free(policy->mig_rules);
    free(policy->slices);
    *policy = (struct policy)POLICY_INIT;
}
