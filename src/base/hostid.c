// SPDX-License-Identifier: Apache-2.0
#include "base/hostid.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

/* The first line of a small file; "" if it cannot be read. */
static void read_line(const char *path, char line[HOSTID_SIZE])
{
    cleanup_free char *data = NULL;
    size_t size;

    line[0] = '\0';
    if (file_read(path, HOSTID_SIZE, &data, &size, NULL) == 0)
        snprintf(line, HOSTID_SIZE, "%.*s", (int)strcspn(data, "\n"), data);
}

void hostid_read(struct hostid *ret_id)
{
    read_line("/proc/sys/kernel/random/boot_id", ret_id->boot);
    read_line("/sys/class/dmi/id/product_uuid", ret_id->machine);
    if (!*ret_id->machine)
        read_line("/etc/machine-id", ret_id->machine);
}
