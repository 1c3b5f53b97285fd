// SPDX-License-Identifier: Apache-2.0

/*
 * Any bytes as a page with Provisioners: objects or errors; every problem is one line with a
 * position inside the page; the profiles that come out read back, and every object has a kind and a
 * name.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "karpenter/convert.h"
#include "karpenter/sliceprofile.h"
#include "problemcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct catalog catalog = CATALOG_INIT;

/* Ours: a harness runs in the build folder alone. */
static void load(void)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    if (catalog_load(FUZZ_CATALOG, &problems, &catalog) < 0)
        abort();
}

static void check_object(const json_t *tree)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
    const char *kind = json_string_value(json_object_get(tree, "kind"));
    cleanup_free char *text = json_dumps(tree, 0);

    if (!kind || !json_string_value(json_object_get(json_object_get(tree, "metadata"), "name")))
        abort();
    if (strcmp(kind, SLICEPROFILE_KIND) == 0 &&
        sliceprofiles_parse(text, strlen(text), &problems, &profiles) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_loaded;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    int r;

    if (!is_loaded)
        load();
    is_loaded = true;
    r = convert_provisioners((const char *)data, size, &catalog, &problems, &documents);
    if (r != 0 && r != -EBADMSG && r != -ENOMEM)
        abort();
    if (r != -ENOMEM && (r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    problemcheck(&problems, size);
    for (size_t i = 0; i < documents.n_items; i++)
        check_object(documents.items[i].tree);
    return 0;
}
