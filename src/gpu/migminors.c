// SPDX-License-Identifier: Apache-2.0
#include "gpu/migminors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"
#include "slice/inventory.h"

/* An H200's file (driver 580) has 4322 lines, 110 KB. */
enum { FILE_MOST_BYTES = 4 << 20, MINOR_MAX = 1 << 20 };

void migminors_deinit(struct migminors *minors)
{
    free(minors->items);
    *minors = (struct migminors)MIGMINORS_INIT;
}

/* "gi12/" -> 12; moves *text behind it. False if it has another form. */
static bool take_part(const char **text, const char *prefix, uint32_t *ret_number)
{
    const char *digits = *text + strlen(prefix);
    size_t n;

    if (!str_starts_with(*text, prefix))
        return false;
    n = strspn(digits, "0123456789");
    if (n == 0 || n > 6 || digits[n] != '/')
        return false;
    *ret_number = (uint32_t)strtoul(digits, NULL, 10);
    *text = digits + n + 1;
    return true;
}

static bool parse_line(const char *line, struct migminor *ret_item)
{
    struct migminor item = {.compute_instance = DEVICE_NO_INSTANCE};
    const char *rest = line;
    char *end;
    long minor;

    if (!take_part(&rest, "gpu", &item.gpu) || !take_part(&rest, "gi", &item.gpu_instance))
        return false;
    (void)take_part(&rest, "ci", &item.compute_instance);
    if (!str_starts_with(rest, "access ") || rest[7] < '0' || rest[7] > '9')
        return false;
    minor = strtol(rest + 7, &end, 10);
    if (minor > MINOR_MAX || (*end && *end != '\n'))
        return false;
    item.minor = (int)minor;
    *ret_item = item;
    return true;
}

int migminors_parse(const char *text, struct migminors *ret_minors)
{
    cleanup_migminors struct migminors minors = MIGMINORS_INIT;
    size_t capacity = 0;

    for (const char *line = text; line; line = strchr(line, '\n')) {
        struct migminor item, *place;

        line += *line == '\n';
        if (!parse_line(line, &item))
            continue;
        place = array_push(&minors.items, &minors.n_items, &capacity, sizeof(*place));
        if (!place)
            return -ENOMEM;
        *place = item;
    }
    ret_minors->n_items = minors.n_items;
    ret_minors->items = TAKE_PTR(minors.items);
    return 0;
}

int migminors_load(struct migminors *ret_minors, struct error *err)
{
    const char *root = getenv("GPUSLICE_PROC");
    cleanup_free char *data = NULL;
    char path[512];
    size_t size;
    int r;

    snprintf(path, sizeof(path), "%s/driver/nvidia-caps/mig-minors", root ? root : "/proc");
    r = file_read(path, FILE_MOST_BYTES, &data, &size, err);
    return r < 0 ? r : migminors_parse(data, ret_minors);
}

int migminors_find(const struct migminors *minors, uint32_t gpu, uint32_t gpu_instance,
                   uint32_t compute_instance)
{
    for (size_t i = 0; i < minors->n_items; i++) {
        const struct migminor *item = &minors->items[i];

        if (item->gpu == gpu && item->gpu_instance == gpu_instance &&
            item->compute_instance == compute_instance)
            return item->minor;
    }
    return -1;
}
