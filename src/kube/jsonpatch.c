// SPDX-License-Identifier: Apache-2.0
#include "kube/jsonpatch.h"

#include <errno.h>
#include <stdint.h>

/* Consumes value; NULL = the operation has none ("remove"). 0 or -ENOMEM. */
static int add(json_t *operations, const char *op, const char *path, json_t *value)
{
    json_t *operation = json_pack("{s:s,s:s,s:o*}", "op", op, "path", path, "value", value);

    return json_array_append_new(operations, operation) < 0 ? -ENOMEM : 0;
}

int jsonpatch_change(json_t *operations, const char *path, const json_t *old, json_t *new)
{
    json_t *was = old ? json_incref((json_t *)(uintptr_t)old) : json_null();

    /* The API server treats a test of a missing path like one of null. */
    if (add(operations, "test", path, was) < 0) {
        json_decref(new);
        return -ENOMEM;
    }
    if (!new)
        return old ? add(operations, "remove", path, NULL) : 0;
    return add(operations, old ? "replace" : "add", path, new);
}
