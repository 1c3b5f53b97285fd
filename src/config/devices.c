// SPDX-License-Identifier: Apache-2.0
#include "config/devices.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "config/kind.h"
#include "config/quantity.h"

enum { INDEX_MAX = 65535, REFS_MAX = 1024 };

struct list {
    struct device_selector *selector;
    size_t capacity;
};

static bool read_index(const char *text, size_t length, unsigned *ret_index)
{
    char digits[8];
    int64_t value;

    if (length == 0 || length >= sizeof(digits) || (length > 1 && *text == '0'))
        return false; /* 010 is octal to some readers and decimal to others */
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (strspn(digits, "0123456789") != length ||
        quantity_integer(digits, 0, INDEX_MAX, &value, NULL) < 0)
        return false;
    *ret_index = (unsigned)value;
    return true;
}

/* 8-4-4-4-12 hexadecimal digits; returns what follows, or NULL. */
static const char *skip_uuid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    for (size_t i = 0; form[i]; i++)
        if (form[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return NULL;
    return text + strlen(form);
}

/* "/<gi>/<ci>" after the legacy name of a MIG device. */
static bool is_instance_pair(const char *text)
{
    const char *slash = *text == '/' ? strchr(text + 1, '/') : NULL;
    unsigned index;

    return slash && read_index(text + 1, (size_t)(slash - text - 1), &index) &&
           read_index(slash + 1, strlen(slash + 1), &index);
}

static bool is_uuid(const char *text)
{
    const char *end;

    if (str_starts_with(text, "MIG-GPU-")) {
        end = skip_uuid(text + strlen("MIG-GPU-"));
        return end && is_instance_pair(end);
    }
    if (!str_starts_with(text, "GPU-") && !str_starts_with(text, "MIG-"))
        return false;
    end = skip_uuid(text + strlen("GPU-"));
    return end && !*end;
}

static bool read_ref(const char *text, struct device_ref *ref)
{
    const char *colon = strchr(text, ':');

    if (read_index(text, strlen(text), &ref->index)) {
        ref->kind = DEVICE_REF_INDEX;
        return true;
    }
    if (colon && read_index(text, (size_t)(colon - text), &ref->index) &&
        read_index(colon + 1, strlen(colon + 1), &ref->mig_index)) {
        ref->kind = DEVICE_REF_MIG_INDEX;
        return true;
    }
    ref->kind = DEVICE_REF_UUID;
    return is_uuid(text) && str_copy(ref->uuid, sizeof(ref->uuid), text) == 0;
}

/* "0000:00:1b.0", "00:1b.0" and nvidia-smi's "00000000:00:1B.0", as sysfs writes it. */
static bool read_pci(const char *text, struct device_ref *ref)
{
    unsigned domain = 0, bus, slot, function;
    int end = 0;

    if (strspn(text, "0123456789abcdefABCDEF:.") != strlen(text) || !strchr(text, '.'))
        return false;
    if ((sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) != 4 ||
         text[end]) &&
        (domain = 0, sscanf(text, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) != 3 || text[end]))
        return false;
    ref->kind = DEVICE_REF_PCI;
    snprintf(ref->uuid, sizeof(ref->uuid), "%04x:%02x:%02x.%x", domain, bus, slot, function);
    return true;
}

static int read_item(struct reader *reader, const struct yaml *node, void *context)
{
    struct list *list = context;
    struct device_selector *selector = list->selector;
    struct device_ref ref = {.at = node->at}, *new;

    if (node->kind != YAML_SCALAR || !read_ref(node->text, &ref)) {
        reader_error(reader, node->at,
                     "%s is not a device; write an index (0), a MIG device (0:1) or a UUID as "
                     "shown by nvidia-smi -L (GPU-... or MIG-...)",
                     show_node(node).text);
        return 0;
    }
    for (size_t i = 0; i < selector->n_refs; i++) {
        if (device_ref_equal(&selector->refs[i], &ref)) {
            reader_warning(reader, node->at, "%s is listed twice (first at line %u)",
                           show_node(node).text, selector->refs[i].at.line);
            return 0;
        }
    }
    new = array_push(&selector->refs, &selector->n_refs, &list->capacity, sizeof(*new));
    if (!new)
        return -ENOMEM;
    *new = ref;
    return 0;
}

static int read_list(struct reader *reader, const struct yaml *node,
                     struct device_selector *selector)
{
    struct list list = {.selector = selector};

    selector->kind = DEVICES_LIST;
    if (node->n_children > REFS_MAX) {
        reader_error(reader, node->at, "more than %d devices in one list; no node has so many",
                     REFS_MAX);
        return 0;
    }
    if (node->n_children == 0)
        reader_warning(
            reader, node->at,
            "an empty list selects no GPU, so the entry has no effect; write all, or list indices");
    return schema_read_list(reader, node, "devices", read_item, &list);
}

static int read_devices(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    struct device_selector *selector = slot;
    int64_t count;

    selector->at = node->at;
    if (node->kind == YAML_LIST)
        return read_list(reader, node, selector);
    if (node->kind == YAML_SCALAR && str_equal(node->text, "all")) {
        selector->kind = DEVICES_ALL;
        return 0;
    }
    if (node->kind == YAML_SCALAR && !node->quoted && strspn(node->text, "+-.0123456789") > 0 &&
        strspn(node->text, "+-._0123456789eE") == strlen(node->text)) {
        if (read_integer(reader, node, 1, INDEX_MAX, &count)) {
            selector->kind = DEVICES_COUNT;
            selector->count = (unsigned)count;
        }
        return 0;
    }
    reader_error(reader, node->at,
                 "expected all, a count such as 2, or a list such as [0, 1], got %s",
                 show_node(node).text);
    return 0;
}

/* ---- gpuslice.excludeDevices ---- */

struct exclusion {
    struct policy *policy;
    size_t capacity;
};

static int exclude(struct exclusion *list, const struct device_ref *ref)
{
    struct policy *policy = list->policy;
    struct device_ref *new =
        array_push(&policy->excluded, &policy->n_excluded, &list->capacity, sizeof(*new));

    if (!new)
        return -ENOMEM;
    *new = *ref;
    return 0;
}

static struct exclusion begin_exclusion(struct policy *policy)
{
    free(policy->excluded);
    policy->excluded = NULL;
    policy->n_excluded = 0;
    return (struct exclusion){.policy = policy};
}

static const char no_exclusion[] =
    "is not a device; write an index (0), a MIG device (0:1), a UUID as shown by nvidia-smi -L, or "
    "a PCI address (0000:00:1b.0)";

static int read_excluded_item(struct reader *reader, const struct yaml *node, void *context)
{
    struct device_ref ref = {.at = node->at};

    if (node->kind == YAML_SCALAR && (read_pci(node->text, &ref) || read_ref(node->text, &ref)))
        return exclude(context, &ref);
    reader_error(reader, node->at, "%s %s", show_node(node).text, no_exclusion);
    return 0;
}

static int read_excluded(struct reader *reader, const struct option *option,
                         const struct yaml *node, void *slot)
{
    struct exclusion list = begin_exclusion(slot);

    if (node->n_children > REFS_MAX) {
        reader_error(reader, node->at, "more than %d devices in one list", REFS_MAX);
        return 0;
    }
    return schema_read_list(reader, node, "devices", read_excluded_item, &list);
}

static int parse_excluded(const struct option *option, const char *text, void *slot,
                          struct error *err)
{
    struct exclusion list = begin_exclusion(slot);

    while (*text) {
        struct device_ref ref = {.kind = DEVICE_REF_INDEX};
        size_t length = strcspn(text, ",");
        char word[sizeof(ref.uuid)];
        int r;

        snprintf(word, sizeof(word), "%.*s",
                 length < sizeof(word) ? (int)length : (int)sizeof(word) - 1, text);
        if (!read_pci(word, &ref) && !read_ref(word, &ref))
            return error_set(err, -EINVAL, "'%s' %s", show(word).text, no_exclusion);
        r = exclude(&list, &ref);
        if (r < 0)
            return r;
        text += length + (text[length] == ',');
    }
    return 0;
}

const struct kind kind_excluded = {
    .placeholder = "LIST", .read = read_excluded, .parse = parse_excluded, .is_list = true};

const struct kind kind_devices = {.read = read_devices, .takes_null = true};
