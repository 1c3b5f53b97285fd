// SPDX-License-Identifier: Apache-2.0
#include "config/machinetype.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#define STANDARD_FILE "/sys/class/dmi/id/product_name"

enum { MACHINE_FILE_MAX = 4096 };

int machinetype_read(const struct config *config, const char *product,
                     char ret_value[LABEL_VALUE_SIZE])
{
    const char *path = config->gfd.machine_type_file;
    cleanup_free char *data = NULL;
    size_t length;
    int r = 0;

    *ret_value = '\0';
    if (path && *product && str_equal(path, STANDARD_FILE))
        label_sanitise(product, ret_value, LABEL_VALUE_SIZE);
    else if (path && *path && file_read(path, MACHINE_FILE_MAX, &data, &length, NULL) == 0)
        label_sanitise(data, ret_value, LABEL_VALUE_SIZE);
    else if (path && *path && !str_equal(path, STANDARD_FILE))
        r = MACHINETYPE_UNREADABLE;
    if (!*ret_value)
        snprintf(ret_value, LABEL_VALUE_SIZE, "unknown");
    return r;
}
