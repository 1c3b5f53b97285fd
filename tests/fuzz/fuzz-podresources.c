// SPDX-License-Identifier: Apache-2.0

/* The kubelet's list of pods and devices: for any input the result is bounded and its names are
 * strings, and a query for some devices finds no pod that a query for all does not. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/podresources.h"

struct seen {
    size_t n_answers, n_pods, length;
};

static void take(const struct podresources_pod *pods, size_t n_pods, void *userdata)
{
    struct seen *seen = userdata;

    seen->n_answers++;
    seen->n_pods = n_pods;
    for (size_t i = 0; i < n_pods; i++)
        seen->length += strlen(pods[i].namespace_) + strlen(pods[i].name);
    if (n_pods > PODRESOURCES_PODS_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const ids[] = {"", "GPU-a::0", "GPU-a::1", "GPU-b"};
    struct seen all = {0, 0, 0}, some = {0, 0, 0};
    int r = podresources_read(data, size, NULL, 0, take, &all);

    if (podresources_read(data, size, ids, sizeof(ids) / sizeof(*ids), take, &some) != r || r > 0)
        abort();
    if (all.n_answers != (r == 0) || some.n_answers != (r == 0) || some.n_pods > all.n_pods)
        abort();
    return 0;
}
