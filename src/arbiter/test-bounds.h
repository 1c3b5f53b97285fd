// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For tests of figures: what fails tells the figure, and the bound that it missed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define assert_at_least(value, least)                                              \
    do {                                                                           \
        const double _value = (value), _least = (least);                           \
        if (!(_value >= _least))                                                   \
            fail_msg("%s is %.4f, and not at least %.4f", #value, _value, _least); \
    } while (0)

#define assert_at_most(value, most)                                              \
    do {                                                                         \
        const double _value = (value), _most = (most);                           \
        if (!(_value <= _most))                                                  \
            fail_msg("%s is %.4f, and not at most %.4f", #value, _value, _most); \
    } while (0)
