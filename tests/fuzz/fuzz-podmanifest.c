// SPDX-License-Identifier: Apache-2.0

/* Any bytes: objects or problems, never both; what was read can be written and read back
 * unchanged. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "podmanifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A pod of this template, as a restart of the stand-in reads it back. */
static void check_round_trip(const struct podmanifest *manifest)
{
    cleanup_text struct text text = TEXT_INIT;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podmanifests struct podmanifests again = MANIFESTS_INIT;

    text_addf(&text, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":%s}",
              manifest->template->source);
    /* Escapes may make it larger than a manifest is allowed to be. */
    if (text.length > 1 << 19)
        return;
    if (podmanifests_parse(text_string(&text), text.length, "default", &problems, &again) != 0 ||
        again.n_items != 1 ||
        strcmp(again.items[0].template->source, manifest->template->source) != 0 ||
        again.items[0].template->n_containers != manifest->template->n_containers)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podmanifests struct podmanifests manifests = MANIFESTS_INIT;
    int r = podmanifests_parse((const char *)data, size, "default", &problems, &manifests);

    if ((r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    for (size_t i = 0; i < manifests.n_items; i++) {
        const struct podmanifest *manifest = &manifests.items[i];

        if (!manifest->name || !manifest->namespace || !manifest->template ||
            !manifest->template->n_containers ||
            pod_template_demand(manifest->template, "nvidia.com/gpu") < 0)
            abort();
        check_round_trip(manifest);
    }
    return 0;
}
