// SPDX-License-Identifier: Apache-2.0
#include "karpenter/profiledevices.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/yamlmap.h"
#include "slice/migname.h"
#include "slice/migwant.h"

#define PATH "spec.mig.devices"

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct profiledevice *)a)->profile,
                  ((const struct profiledevice *)b)->profile);
}

static void add(struct problems *problems, const struct yaml *node, struct profiledevices *devices)
{
    struct profiledevice *device = &devices->items[devices->n_items];
    struct error err = ERROR_INIT;
    struct mig_name name;
    int64_t count;

    if (migname_parse(node->key, &name, &err) < 0) {
        yamlmap_refuse(problems, node->key_at, PATH, "%s", error_text(&err));
        return;
    }
    if (!yaml_as_int(node, &count) || count < 1 || count > MIGWANT_COUNT_MAX) {
        yamlmap_refuse(problems, node->at, PATH, "expected a number from 1 to %d",
                       MIGWANT_COUNT_MAX);
        return;
    }
    migname_format(&name, device->profile);
    device->count = (uint32_t)count;
    for (size_t i = 0; i < devices->n_items; i++)
        if (str_equal(devices->items[i].profile, device->profile)) {
            yamlmap_refuse(problems, node->key_at, PATH, "%s is there already", device->profile);
            return;
        }
    devices->n_items++;
}

void profiledevices_read(struct problems *problems, const struct yaml *map,
                         struct profiledevices *devices)
{
    if (!yamlmap_check_kind(problems, map, YAML_MAP, PATH))
        return;
    if (!map->n_children || map->n_children > PROFILEDEVICES_MAX) {
        yamlmap_refuse(problems, map->at, PATH,
                       "expected 1 to %d profiles, such as {1g.5gb: 2, 3g.20gb: 1}",
                       PROFILEDEVICES_MAX);
        return;
    }
    for (size_t i = 0; i < map->n_children; i++)
        add(problems, &map->children[i], devices);
    qsort(devices->items, devices->n_items, sizeof(*devices->items), compare);
}

void profiledevices_format(const struct profiledevices *devices, char text[PROFILEDEVICES_TEXT])
{
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < devices->n_items && at < PROFILEDEVICES_TEXT; i++)
        at += (size_t)snprintf(text + at, PROFILEDEVICES_TEXT - at, "%s%u x %s", i ? ", " : "",
                               devices->items[i].count, devices->items[i].profile);
    assert(at < PROFILEDEVICES_TEXT);
}

json_t *profiledevices_json(const struct profiledevices *devices)
{
    json_t *map = json_object();

    for (size_t i = 0; i < devices->n_items; i++)
        json_object_set_new(map, devices->items[i].profile, json_integer(devices->items[i].count));
    return map;
}
