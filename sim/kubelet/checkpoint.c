// SPDX-License-Identifier: Apache-2.0
#include "checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

enum { CHECKPOINT_MAX_BYTES = 64 << 20 };

static const char no_topology[] = "-1";

DEFINE_CLEANUP(json_t *, json_decref)
#define cleanup_json cleanup(json_decref_p)

static uint32_t fnv1a(const char *text)
{
    uint32_t hash = 2166136261u;

    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *base64_format(const void *data, size_t size)
{
    cleanup_text struct text out = TEXT_INIT;
    const uint8_t *bytes = data;

    text_add(&out, "");
    for (size_t i = 0; i < size; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;

        if (i + 1 < size)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < size)
            group |= bytes[i + 2];
        text_add_char(&out, base64_digits[group >> 18]);
        text_add_char(&out, base64_digits[(group >> 12) & 63]);
        text_add_char(&out, i + 1 < size ? base64_digits[(group >> 6) & 63] : '=');
        text_add_char(&out, i + 2 < size ? base64_digits[group & 63] : '=');
    }
    return text_take(&out);
}

static int base64_parse(const char *text, void **ret_data, size_t *ret_size)
{
    size_t length = strlen(text), n = 0;
    cleanup_free uint8_t *bytes = malloc(length / 4 * 3 + 3);

    if (!bytes)
        return -ENOMEM;
    if (length % 4)
        return -EBADMSG;
    for (size_t i = 0; i < length; i += 4) {
        size_t padding = 0;
        uint32_t group = 0;

        if (i + 4 == length && text[i + 3] == '=')
            padding = text[i + 2] == '=' ? 2 : 1;
        for (size_t k = 0; k < 4; k++) {
            const char *digit =
                k < 4 - padding ? strchr(base64_digits, text[i + k]) : base64_digits;

            if (!digit)
                return -EBADMSG;
            group = group << 6 | (uint32_t)(digit - base64_digits);
        }
        for (size_t k = 0; k < 3 - padding; k++)
            bytes[n++] = (uint8_t)(group >> (16 - 8 * k));
    }
    *ret_data = TAKE_PTR(bytes);
    *ret_size = n;
    return 0;
}

/* Appends an id to the list under a NUMA node's number. */
static int add_id(json_t *by_node, const char *node, const char *id)
{
    json_t *list = json_object_get(by_node, node);

    if (!list) {
        list = json_array();
        if (json_object_set_new(by_node, node, list) < 0)
            return -ENOMEM;
    }
    return json_array_append_new(list, json_string(id)) < 0 ? -ENOMEM : 0;
}

static json_t *format_ids(const struct allocation *allocation)
{
    cleanup_json json_t *by_node = json_object();

    for (size_t i = 0; by_node && i < allocation->n_devices; i++) {
        const struct managed_device *device = &allocation->devices[i];
        int r = device->n_numa_nodes ? 0 : add_id(by_node, no_topology, device->id);

        for (size_t k = 0; r == 0 && k < device->n_numa_nodes; k++) {
            char node[24];

            snprintf(node, sizeof(node), "%" PRId64, device->numa_nodes[k]);
            r = add_id(by_node, node, device->id);
        }
        if (r < 0)
            return NULL;
    }
    return TAKE_PTR(by_node);
}

static json_t *format_entries(const struct manager *manager)
{
    cleanup_json json_t *entries = json_array();

    for (size_t i = 0; i < manager->n_allocations; i++) {
        const struct allocation *one = &manager->allocations[i];
        cleanup_free char *answer = base64_format(one->answer, one->answer_size);

        if (!answer ||
            json_array_append_new(entries, json_pack("{s:s, s:s, s:s, s:o, s:s}", "PodUID",
                                                     one->pod_uid, "ContainerName", one->container,
                                                     "ResourceName", one->resource, "DeviceIDs",
                                                     format_ids(one), "AllocResp", answer)) < 0)
            return NULL;
    }
    return TAKE_PTR(entries);
}

static json_t *format_registered(const struct manager *manager)
{
    cleanup_json json_t *registered = json_object();

    for (size_t i = 0; i < manager->n_resources; i++) {
        const struct resource *resource = &manager->resources[i];
        json_t *ids = json_array();

        if (json_object_set_new(registered, resource->name, ids) < 0)
            return NULL;
        for (size_t k = 0; k < resource->n_devices; k++)
            if (resource->devices[k].healthy)
                json_array_append_new(ids, json_string(resource->devices[k].id));
    }
    return TAKE_PTR(registered);
}

/* The checksummed form, identical when writing and when reading back. */
static int checksum(const json_t *data, uint32_t *ret_sum)
{
    cleanup_free char *text = json_dumps(data, JSON_COMPACT | JSON_SORT_KEYS);

    if (!text)
        return -ENOMEM;
    *ret_sum = fnv1a(text);
    return 0;
}

int checkpoint_format(const struct manager *manager, char **ret_text)
{
    cleanup_json json_t *data = json_pack("{s:o, s:o}", "PodDeviceEntries", format_entries(manager),
                                          "RegisteredDevices", format_registered(manager));
    cleanup_json json_t *whole = NULL;
    uint32_t sum;

    if (!data || checksum(data, &sum) < 0)
        return -ENOMEM;
    whole = json_pack("{s:O, s:I}", "Data", data, "Checksum", (json_int_t)sum);
    *ret_text = whole ? json_dumps(whole, JSON_COMPACT) : NULL;
    return *ret_text ? 0 : -ENOMEM;
}

/* One device per id, with every NUMA node it is listed under. */
static int parse_ids(json_t *by_node, struct managed_device **devices, size_t *n_devices,
                     size_t *capacity)
{
    const char *node;
    json_t *list, *id;
    size_t i, k;

    json_object_foreach(by_node, node, list)
    {
        json_array_foreach(list, i, id)
        {
            struct managed_device *device = NULL;
            int64_t number = strtoll(node, NULL, 10), *nodes;

            if (!json_is_string(id))
                return -EBADMSG;
            for (k = 0; k < *n_devices && !device; k++)
                if (str_equal((*devices)[k].id, json_string_value(id)))
                    device = &(*devices)[k];
            if (!device) {
                device = array_push(devices, n_devices, capacity, sizeof(*device));
                if (!device || !(device->id = strdup(json_string_value(id))))
                    return -ENOMEM;
            }
            if (number < 0)
                continue;
            nodes = reallocarray(device->numa_nodes, device->n_numa_nodes + 1, sizeof(*nodes));
            if (!nodes)
                return -ENOMEM;
            nodes[device->n_numa_nodes++] = number;
            device->numa_nodes = nodes;
        }
    }
    return 0;
}

static int parse_entry(json_t *entry, struct manager *manager)
{
    struct device_request request = {NULL, NULL, NULL, 0};
    cleanup_free void *answer = NULL;
    const char *encoded;
    struct managed_device *devices = NULL;
    size_t answer_size, n_devices = 0, capacity = 0;
    json_t *ids;
    int r;

    if (json_unpack(entry, "{s:s, s:s, s:s, s:o, s:s}", "PodUID", &request.pod_uid, "ContainerName",
                    &request.container, "ResourceName", &request.resource, "DeviceIDs", &ids,
                    "AllocResp", &encoded) < 0)
        return -EBADMSG;
    r = base64_parse(encoded, &answer, &answer_size);
    if (r == 0)
        r = parse_ids(ids, &devices, &n_devices, &capacity);
    request.count = n_devices;
    if (r == 0)
        r = manager_restore(manager, &request, devices, answer, answer_size);
    for (size_t i = 0; i < n_devices; i++) {
        free(devices[i].id);
        free(devices[i].numa_nodes);
    }
    free(devices);
    return r;
}

static int parse_data(json_t *data, uint64_t now_ms, struct manager *manager)
{
    json_t *entry, *list;
    const char *name;
    size_t i;
    int r;

    json_array_foreach(json_object_get(data, "PodDeviceEntries"), i, entry)
    {
        r = parse_entry(entry, manager);
        if (r < 0)
            return r;
    }
    json_object_foreach(json_object_get(data, "RegisteredDevices"), name, list)
    {
        r = manager_set_devices(manager, name, NULL, 0);
        if (r < 0)
            return r;
        manager_disconnect(manager, name, now_ms);
    }
    return 0;
}

int checkpoint_parse(const char *text, size_t size, uint64_t now_ms, struct manager *manager,
                     struct error *err)
{
    cleanup_json json_t *whole = json_loadb(text, size, 0, NULL);
    json_t *data = json_object_get(whole, "Data");
    uint32_t sum;
    int r;

    if (!json_is_object(data))
        return error_set(err, -EBADMSG, "not a checkpoint: the object \"Data\" is missing");
    r = checksum(data, &sum);
    if (r == 0 && json_integer_value(json_object_get(whole, "Checksum")) != (json_int_t)sum)
        return error_set(err, -EBADMSG, "checkpoint is corrupted: wrong checksum");
    if (r == 0)
        r = parse_data(data, now_ms, manager);
    if (r < 0) {
        manager_deinit(manager);
        return error_set_errno(err, r, "cannot restore the checkpoint");
    }
    return 0;
}

int checkpoint_store(const char *path, const struct manager *manager, struct error *err)
{
    cleanup_free char *text = NULL;
    int r = checkpoint_format(manager, &text);

    if (r < 0)
        return error_set_errno(err, r, "cannot write %s", path);
    return file_write_atomic(path, text, strlen(text), 0600, err);
}

int checkpoint_load(const char *path, uint64_t now_ms, struct manager *manager, struct error *err)
{
    cleanup_free char *text = NULL;
    size_t size;
    int r = file_read(path, CHECKPOINT_MAX_BYTES, &text, &size, err);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    r = checkpoint_parse(text, size, now_ms, manager, err);
    return r < 0 ? error_wrap(err, r, "%s", path) : 0;
}
