// SPDX-License-Identifier: Apache-2.0
#include "controller/nameadvice.h"

#include <string.h>

#include "controller/namenode.h"
#include "controller/nodefit.h"
#include "controller/podneed.h"
#include "kube/field.h"
#include "slice/name.h"

#define IN_PRODUCT "-MIG-" /* NVIDIA-A100-SXM4-40GB-MIG-1g.5gb */
#define SHARED     "-SHARED"

static bool is_mig(const char *resource)
{
    return str_starts_with(resource, NAME_MIG);
}

const char *nameadvice_resource(const json_t *pod, int64_t *ret_from)
{
    json_t *requests = podneed_requests(pod), *count;
    const char *name;

    json_object_foreach(requests, name, count)
    {
        if (!is_mig(name) && !str_equal(name, NAME_GPU))
            continue;
        *ret_from = podneed_since(pod) + (is_mig(name) ? NAMEADVICE_MIG_S : NAMEADVICE_GPU_S);
        return name;
    }
    return NULL;
}

static bool has_strategy(const json_t *node, const char *strategy)
{
    return str_equal(namenode_label(node, NAMENODE_STRATEGY), strategy);
}

/* Its devices are being made. */
static bool is_changing(const json_t *node)
{
    const char *state = namenode_label(node, NAMENODE_STATE);

    return str_equal(state, "pending") || str_equal(state, "rebooting");
}

/* Under `single` the label names the profile. */
static bool has_profile(const json_t *node, const char *resource)
{
    const char *product = namenode_label(node, NAMENODE_PRODUCT);
    const char *profile = strstr(product, IN_PRODUCT);
    const char *wanted = resource + strlen(NAME_MIG);
    const size_t length = strlen(wanted);

    if (!profile)
        return false;
    profile += strlen(IN_PRODUCT);
    return strncmp(profile, wanted, length) == 0 &&
           (!profile[length] || str_equal(profile + length, SHARED));
}

enum nameadvice nameadvice_judge(const json_t *pod, const char *resource, const json_t *node)
{
    if (!nodefit_may_run(pod, node, NODEFIT_SOME_TIME))
        return NAMEADVICE_NOTHING;
    if (namenode_capacity(node, resource) > 0 || (has_strategy(node, "mixed") && is_changing(node)))
        return NAMEADVICE_SERVED;
    if (is_mig(resource))
        return has_strategy(node, "single") && has_profile(node, resource) &&
                       namenode_find_resource(node, NAME_GPU)
                   ? NAMEADVICE_OTHER
                   : NAMEADVICE_NOTHING;
    return has_strategy(node, "mixed") && namenode_find_resource(node, NAME_MIG)
               ? NAMEADVICE_OTHER
               : NAMEADVICE_NOTHING;
}

void nameadvice_write(const char *resource, const json_t *node, struct text *out)
{
    const char *has = namenode_find_resource(node, is_mig(resource) ? NAME_GPU : NAME_MIG);

    if (!has)
        return;
    if (is_mig(resource))
        text_addf(
            out,
            "%s is a name of migStrategy: mixed, and no Node that this pod may run on has it; "
            "the Node %s has such devices as %s (migStrategy: single): request that, with the "
            "nodeSelector " NAMENODE_PRODUCT ": %s, or have the agents offer both names by "
            "gpuslice.mig.names: both",
            resource, kube_name(node), has, namenode_label(node, NAMENODE_PRODUCT));
    else
        text_addf(
            out,
            "no Node that this pod may run on has %s; the GPUs of the Node %s are partitioned, "
            "and their devices are %s there (migStrategy: mixed): request that, or have them "
            "named %s by migStrategy: single",
            resource, kube_name(node), has, resource);
}
