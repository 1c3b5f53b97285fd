// SPDX-License-Identifier: Apache-2.0
#include "controller/quantity.h"

#include <stddef.h>

#include "base/number.h"

json_int_t quantity_read(const char *text)
{
    const int64_t number = text ? number_quantity(text) : 0;

    return number < 0 ? 0 : number < QUANTITY_MAX ? number : QUANTITY_MAX;
}
