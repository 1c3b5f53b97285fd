// SPDX-License-Identifier: Apache-2.0

/* A NodePool with a record in it, of which somebody may have changed anything: a profile's part is
 * merged, is there once however often it is merged, and is taken away again. */

#include <assert.h>
#include <stdint.h>

#include "controller/templatemerge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *make_parts(void)
{
    return json_pack("{s:{s:s}, s:{s:s}, s:[{s:s, s:s}], s:[{s:s, s:s}]}", "labels", "p", "x",
                     "annotations", "a", "b", "taints", "key", "t", "effect", "NoSchedule",
                     "startupTaints", "key", "s", "effect", "NoSchedule");
}

static void merge(const json_t *template, const json_t *record)
{
    json_t *parts = make_parts(), *once, *twice, *back, *added, *again, *none, *operations;

    assert(templatemerge(template, record, parts, "p", &once, &added) == 0);
    assert(templatemerge(once, added, parts, "p", &twice, &again) == 0);
    assert(json_equal(once, twice) && (added == again || json_equal(added, again)));
    assert(templatemerge(twice, again, NULL, "p", &back, &none) == 0);
    assert(!none);
    operations = templatemerge_operations(template, once);
    assert(json_is_array(operations));
    json_decref(operations);
    json_decref(parts);
    json_decref(once);
    json_decref(twice);
    json_decref(back);
    json_decref(added);
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *pool = json_loadb((const char *)data, size, 0, NULL);
    json_t *record = templatemerge_record(pool);

    if (pool)
        merge(json_object_get(json_object_get(pool, "spec"), "template"), record);
    json_decref(record);
    json_decref(pool);
    return 0;
}
