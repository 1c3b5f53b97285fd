// SPDX-License-Identifier: Apache-2.0

/* The annotation gpuslice.dev/mig-waits, which anybody who may annotate a Node can write, and a pod
 * that it names. */

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "controller/drainplan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan(const json_t *pod, const struct migwaits *waits)
{
    for (size_t i = 0; i < waits->n_pods; i++)
        for (unsigned consent = 0; consent < DRAIN_CONSENTS; consent++) {
            const struct migwaits_pod *wanted = &waits->pods[i];
            const char *why = NULL;
            enum drain_step step =
                drainplan_pod(pod, wanted, "gpu-1", (enum drain_consent)consent, &why);

            assert(step != DRAIN_EVICT || (consent != DRAIN_DENIED && *wanted->uid));
            assert(step != DRAIN_LEFT || (why && *why));
        }
}

/* The annotation, and after a line a pod. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = strndup((const char *)data, size);
    cleanup_migwaits struct migwaits waits = {.layout = NULL};
    char *rest = strchr(text, '\n');
    json_t *pod;

    if (rest)
        *rest++ = '\0';
    if (migwaits_read(text, &waits, NULL) < 0)
        return 0;
    assert(waits.layout && waits.n_pods <= MIGWAITS_PODS_MAX);
    pod = rest ? json_loads(rest, 0, NULL) : NULL;
    plan(pod, &waits);
    json_decref(pod);
    return 0;
}
