// SPDX-License-Identifier: Apache-2.0

/* A Node as others wrote it: what is kept of it, what it was promised by its own annotation, and
 * what is to become of it. */

#include "controller/nodegate.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct nodeview *node, const struct nodekind *kind)
{
    for (int64_t age_s = 0; age_s <= 2 * NODEGATE_LIMIT_S; age_s += NODEGATE_LIMIT_S) {
        const struct nodegate_facts facts = {.node = node,
                                             .kind = kind,
                                             .age_s = age_s,
                                             .short_s = age_s,
                                             .limit_s = NODEGATE_LIMIT_S};
        struct nodegate gate;

        nodegate_judge(&facts, &gate);
        assert(gate.is_met || gate.reason || node->is_going);
        assert(!gate.reason == !*gate.message);
        assert(!gate.is_overdue || (!gate.is_met && node->is_closed && age_s));
    }
}

static void patch(const struct nodeview *node)
{
    json_t *operations = nodeview_open_patch(node);

    assert(!operations == !node->is_closed);
    json_decref(operations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct catalog catalog = CATALOG_INIT;
    json_t *object = json_loadb((const char *)data, size, 0, NULL);
    struct nodeview *node = object ? nodeview_new(object) : NULL;
    struct nodekind *kind =
        node ? nodekind_new(node, json_object_get(json_object_get(object, "metadata"), "labels"))
             : NULL;

    if (kind) {
        assert(nodeview_equal(node, node) && nodekind_has(kind, node));
        assert(nodekind_compute(kind, &(struct nodekind_world){.catalog = &catalog}) == 0);
        judge(node, kind);
        kind->is_promised = true;
        judge(node, kind);
        patch(node);
    }
    nodekind_free(kind);
    nodeview_free(node);
    json_decref(object);
    return 0;
}
