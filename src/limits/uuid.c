// SPDX-License-Identifier: Apache-2.0
#include "limits/uuid.h"

#include <string.h>

static int read_digit(char c)
{
    const char *digits = "0123456789abcdef", *found = c ? strchr(digits, c | 0x20) : NULL;

    return found ? (int)(found - digits) : -1;
}

bool limits_parse_uuid(const char *text, uint8_t ret_uuid[static LIMITS_UUID_SIZE])
{
    uint8_t bytes[LIMITS_UUID_SIZE] = {0};
    unsigned n = 0;

    if (strncmp(text, "GPU-", 4) != 0 && strncmp(text, "MIG-", 4) != 0)
        return false;
    for (text += 4; *text; text++) {
        const int digit = read_digit(*text);

        if (*text == '-')
            continue;
        if (digit < 0 || n == 2u * LIMITS_UUID_SIZE)
            return false;
        bytes[n / 2] = (uint8_t)(bytes[n / 2] << 4 | digit);
        n++;
    }
    if (n != 2u * LIMITS_UUID_SIZE)
        return false;
    memcpy(ret_uuid, bytes, sizeof(bytes));
    return true;
}
