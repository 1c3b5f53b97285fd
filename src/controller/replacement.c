// SPDX-License-Identifier: Apache-2.0
#include "controller/replacement.h"

#include "base/text.h"
#include "kube/field.h"

#define TYPES "types"

const json_t *replacement_list(const json_t *status, json_int_t generation)
{
    const json_t *replacements = json_object_get(status, "replacements");
    const json_t *of = json_object_get(replacements, "observedGeneration");

    if (!json_is_integer(of) || json_integer_value(of) != generation)
        return NULL;
    return json_object_get(replacements, TYPES);
}

static json_t *find(const json_t *list, const char *type)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *row = json_array_get(list, i);

        if (kube_says(row, "instanceType", type))
            return row;
    }
    return NULL;
}

static const json_t *claims_of(const json_t *list, const char *type)
{
    return json_object_get(find(list, type), "nodeClaims");
}

static json_t *wrap(json_t *list, json_int_t generation)
{
    return json_pack("{s:I, s:o}", "observedGeneration", generation, TYPES, list);
}

json_t *replacement_clear(const json_t *list, json_int_t generation, const char *type)
{
    json_t *copy = json_array();

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *row = json_array_get(list, i);

        if (row != find(list, type) && json_array_append(copy, row) < 0) {
            json_decref(copy);
            return NULL;
        }
    }
    return wrap(copy, generation);
}

json_t *replacement_add(const json_t *list, json_int_t generation, const char *type,
                        const char *claim)
{
    json_t *copy = list ? json_deep_copy(list) : json_array();
    json_t *row = find(copy, type);
    int r = 0;

    if (!row) {
        row = json_pack("{s:s, s:[]}", "instanceType", type, "nodeClaims");
        r = json_array_append_new(copy, row);
    }
    if (r == 0)
        r = json_array_append_new(json_object_get(row, "nodeClaims"), json_string(claim));
    if (r == 0)
        return wrap(copy, generation);
    json_decref(copy);
    return NULL;
}

bool replacement_has(const json_t *list, const char *type, const char *claim)
{
    const json_t *claims = claims_of(list, type);

    for (size_t i = 0; i < json_array_size(claims); i++) {
        const char *name = json_string_value(json_array_get(claims, i));

        if (name && str_equal(name, claim))
            return true;
    }
    return false;
}

size_t replacement_count(const json_t *list, const char *type)
{
    return json_array_size(claims_of(list, type));
}

/* Why it stays whatever is written down; NULL = it need not. */
static const char *why_left(const struct replacement_facts *facts)
{
    if (!facts->is_wanted)
        return "its SliceProfile has repair: report";
    if (!facts->kind->is_current)
        return "it is not of the present state of its SliceProfile";
    if (!*facts->node->texts[NODEVIEW_CLAIM])
        return "it has no NodeClaim";
    if (str_equal(facts->node->texts[NODEVIEW_CAPACITY], "reserved"))
        return "it is reserved capacity";
    if (!*facts->node->texts[NODEVIEW_CAPACITY])
        return "it may be reserved capacity: it has no label karpenter.sh/capacity-type";
    if (facts->node->is_kept)
        return "it has the annotation karpenter.sh/do-not-disrupt";
    return NULL;
}

enum replacement_step replacement_decide(const struct replacement_facts *facts,
                                         const char **ret_why)
{
    const char *type = facts->node->texts[NODEVIEW_TYPE];

    *ret_why = why_left(facts);
    if (*ret_why)
        return REPLACEMENT_LEFT;
    if (replacement_has(facts->list, type, facts->node->texts[NODEVIEW_CLAIM]))
        return REPLACEMENT_DELETE;
    if (replacement_count(facts->list, type) >= REPLACEMENT_IN_A_ROW) {
        *ret_why = "three in a row of its instance type were in vain; change the SliceProfile to "
                   "have it tried again";
        return REPLACEMENT_LEFT;
    }
    return facts->n_going < facts->at_most ? REPLACEMENT_RECORD : REPLACEMENT_WAITS;
}
