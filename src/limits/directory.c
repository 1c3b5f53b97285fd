// SPDX-License-Identifier: Apache-2.0
#include "limits/directory.h"

#include <errno.h>
#include <stdio.h>

#include "limits/message.h"

int limits_directory(const char *resource, char *path, size_t size)
{
    int n = snprintf(path, size, LIMITS_CONTAINER "/%s", resource);

    if (n < 0 || (size_t)n >= size)
        return -ENAMETOOLONG;
    for (char *c = path + sizeof(LIMITS_CONTAINER); *c; c++) /* behind the '/' */
        if (*c == '/')
            *c = '.';
    return 0;
}
