// SPDX-License-Identifier: Apache-2.0
#include "kube/jsonpatch.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

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

/* "~" and "/" are written as "~0" and "~1" in a step of a path (RFC 6901). */
static char *annotation_path(const char *key)
{
    cleanup_text struct text path = TEXT_INIT;

    text_add(&path, "/metadata/annotations/");
    for (; *key; key++)
        if (*key == '~')
            text_add(&path, "~0");
        else if (*key == '/')
            text_add(&path, "~1");
        else
            text_add_char(&path, *key);
    return text_take(&path);
}

int jsonpatch_annotation(json_t *operations, const json_t *object, const char *key,
                         const char *value)
{
    const json_t *all = json_object_get(json_object_get(object, "metadata"), "annotations");
    const json_t *old = json_object_get(all, key);
    cleanup_free char *path = annotation_path(key);

    if (!path)
        return -ENOMEM;
    if (!old && !value)
        return 0;
    if (!all) /* there is no place for one */
        return jsonpatch_change(operations, "/metadata/annotations", NULL,
                                json_pack("{s:s}", key, value));
    return jsonpatch_change(operations, path, old, value ? json_string(value) : NULL);
}
