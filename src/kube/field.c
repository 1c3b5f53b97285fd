// SPDX-License-Identifier: Apache-2.0
#include "kube/field.h"

#include <stddef.h>
#include <time.h>

#include "base/number.h"
#include "base/text.h"

const char *kube_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

bool kube_says(const json_t *object, const char *key, const char *text)
{
    return str_equal(kube_text(object, key), text);
}

int64_t kube_time(const json_t *object, const char *key)
{
    struct tm when = {.tm_isdst = 0};
    const char *end = strptime(kube_text(object, key), "%Y-%m-%dT%H:%M:%SZ", &when);

    return end && !*end ? (int64_t)timegm(&when) : 0;
}

json_t *kube_metadata(const json_t *object)
{
    return json_object_get(object, "metadata");
}

const char *kube_name(const json_t *object)
{
    return kube_text(kube_metadata(object), "name");
}

const char *kube_uid(const json_t *object)
{
    return kube_text(kube_metadata(object), "uid");
}

int64_t kube_generation(const json_t *object)
{
    return json_integer_value(json_object_get(kube_metadata(object), "generation"));
}

const char *kube_label(const json_t *object, const char *key)
{
    const json_t *labels = json_object_get(kube_metadata(object), "labels");

    return json_string_value(json_object_get(labels, key));
}

const char *kube_annotation(const json_t *object, const char *key)
{
    const json_t *annotations = json_object_get(kube_metadata(object), "annotations");

    return json_string_value(json_object_get(annotations, key));
}

const json_t *kube_condition(const json_t *object, const char *type)
{
    const json_t *conditions = json_object_get(json_object_get(object, "status"), "conditions");

    for (size_t i = 0; i < json_array_size(conditions); i++)
        if (kube_says(json_array_get(conditions, i), "type", type))
            return json_array_get(conditions, i);
    return NULL;
}

int64_t kube_count(const json_t *quantity)
{
    if (json_is_integer(quantity))
        return json_integer_value(quantity) < 0 ? -1 : json_integer_value(quantity);
    return json_is_string(quantity) ? number_quantity(json_string_value(quantity)) : -1;
}
