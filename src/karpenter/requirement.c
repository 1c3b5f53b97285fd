// SPDX-License-Identifier: Apache-2.0
#include "karpenter/requirement.h"

#include <stdlib.h>

#include "base/text.h"

static bool has_value(const json_t *values, const char *value)
{
    for (size_t i = 0; i < json_array_size(values); i++) {
        const char *item = json_string_value(json_array_get(values, i));

        if (item && value && str_equal(item, value))
            return true;
    }
    return false;
}

/* value: NULL = the label is not there. Only NotIn and DoesNotExist are met then. */
static bool compares(const char *operator, const json_t * values, const char *value)
{
    const char *text = json_string_value(json_array_get(values, 0));
    char *end;
    long long number, limit;

    if (!value || !text)
        return false;
    number = strtoll(value, &end, 10);
    if (end == value || *end)
        return false;
    limit = strtoll(text, NULL, 10);
    if (str_equal(operator, "Gt"))
        return number > limit;
    if (str_equal(operator, "Lt"))
        return number < limit;
    if (str_equal(operator, "Gte"))
        return number >= limit;
    return str_equal(operator, "Lte") && number <= limit;
}

bool requirement_is_met(const json_t *requirement, const json_t *labels)
{
    const char *key = json_string_value(json_object_get(requirement, "key")),
               *operator= json_string_value(json_object_get(requirement, "operator")), *value;
    const json_t *values = json_object_get(requirement, "values");

    if (!key || !operator)
        return false;
    value = json_string_value(json_object_get(labels, key));
    if (str_equal(operator, "In"))
        return has_value(values, value);
    if (str_equal(operator, "NotIn"))
        return !has_value(values, value);
    if (str_equal(operator, "Exists"))
        return value != NULL;
    if (str_equal(operator, "DoesNotExist"))
        return value == NULL;
    return compares(operator, values, value);
}

bool requirements_are_met(const json_t *requirements, const json_t *labels)
{
    for (size_t i = 0; i < json_array_size(requirements); i++)
        if (!requirement_is_met(json_array_get(requirements, i), labels))
            return false;
    return true;
}
