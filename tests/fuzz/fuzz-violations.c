// SPDX-License-Identifier: Apache-2.0

/*
 * What an arbiter before this one had reported, as its file tells: refused as a whole, or written
 * back as it was read.
 */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter/violations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_violations struct violations first = VIOLATIONS_INIT, again = VIOLATIONS_INIT;
    cleanup_text struct text text = TEXT_INIT, same = TEXT_INIT;
    cleanup_free char *copy = calloc(size + 1, 1);

    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    if (violations_parse(&first, copy, size, 0) < 0) {
        assert(first.n == 0);
        return 0;
    }
    violations_format(&first, &text);
    violations_format(&first, &same);
    assert(violations_parse(&again, text.data, text.length, 0) == 0 && again.n == first.n);
    text_clear(&text);
    violations_format(&again, &text);
    assert(str_equal(text_string(&text), text_string(&same)));
    return 0;
}
