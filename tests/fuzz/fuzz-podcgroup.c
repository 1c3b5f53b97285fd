// SPDX-License-Identifier: Apache-2.0

/* The text of /proc/PID/cgroup. */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter/podcgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pod(const struct podcgroup *pod, int r)
{
    size_t uid_length = strlen(pod->pod_uid), id_length = strlen(pod->container_id);

    if (r == 0)
        assert(uid_length == 36 || uid_length == 32);
    else
        assert(r == PODCGROUP_HIDDEN && uid_length == 0);
    assert(id_length == 0 || id_length == 64);
    assert(id_length || !*pod->runtime);
    (void)podcgroup_qos_name(pod->qos);
}

/* A pod found in one line stays the same if a container adds its own names below. */
static void check_below(const char *text, size_t size, const struct podcgroup *pod)
{
    static const char below[] = "/init/kubepods/pod0183b5a4-0000-4000-8000-000000000000/x";
    struct podcgroup again;
    char *longer;

    if (!size || !*pod->container_id || memchr(text, '\n', size) || text[size - 1] == ')' ||
        size + sizeof(below) > PODCGROUP_TEXT_MAX)
        return;
    longer = malloc(size + sizeof(below));
    if (!longer)
        return;
    memcpy(longer, text, size);
    memcpy(longer + size, below, sizeof(below));
    assert(podcgroup_parse(longer, size + sizeof(below) - 1, &again, NULL) == 0);
    assert(!strcmp(again.pod_uid, pod->pod_uid) && again.is_nested == pod->is_nested);
    assert(!strcmp(again.container_id, pod->container_id) && again.qos == pod->qos);
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct podcgroup pod;
    struct error err = ERROR_INIT;
    int r = podcgroup_parse((const char *)data, size, &pod, &err);

    if (r < 0)
        assert(err.code == r && *err.message);
    else if (r != PODCGROUP_NO_POD)
        check_pod(&pod, r);
    if (r == 0)
        check_below((const char *)data, size, &pod);
    return 0;
}
