// SPDX-License-Identifier: Apache-2.0

/*
 * Any bytes as SliceProfiles: profiles or errors; every problem is one line with a position inside
 * the file; what is read is written and reads back as the same, and its policy can be planned with.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "karpenter/sliceprofile.h"
#include "karpenter/yamljson.h"
#include "problemcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round(const struct sliceprofile *profile)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_sliceprofiles struct sliceprofiles again = SLICEPROFILES_INIT;
    json_t *tree = sliceprofile_json(profile), *second;
    cleanup_free char *text = tree ? json_dumps(tree, 0) : NULL;

    if (!text || sliceprofiles_parse(text, strlen(text), &problems, &again) != 0 ||
        again.n_items != 1)
        abort();
    second = sliceprofile_json(&again.items[0]);
    if (!json_equal(tree, second))
        abort();
    json_decref(tree);
    json_decref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT, others = PROBLEMS_INIT;
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
    json_t *overlays = json_array();
    int r = sliceprofiles_parse((const char *)data, size, &problems, &profiles);

    if (r != 0 && r != -EBADMSG && r != -ENOMEM)
        abort();
    if (r != -ENOMEM && (r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    problemcheck(&problems, size);
    for (size_t i = 0; i < profiles.n_items; i++)
        check_round(&profiles.items[i]);
    (void)yamljson_collect((const char *)data, size, "NodeOverlay", &others, overlays);
    json_decref(overlays);
    return 0;
}
