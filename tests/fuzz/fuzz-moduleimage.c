// SPDX-License-Identifier: Apache-2.0

/* Images of modules. */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/moduleimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_is_sane(const void *image, size_t size, unsigned sm, struct moduleimage *ret_image)
{
    const int r = moduleimage_read(image, size, sm, ret_image);

    assert(r == 0 || r == MODULEIMAGE_UNKNOWN);
    assert(r != 0 || (ret_image->least_bytes <= ret_image->most_bytes &&
                      ret_image->most_bytes <= UINT64_C(1) << 48 &&
                      ret_image->rest_bytes <= UINT64_C(1) << 48));
    return r == 0;
}

/* In memory, a text that ends with NUL is the same as in a file. */
static void check_text(const uint8_t *data, size_t size, bool is_known,
                       const struct moduleimage *image)
{
    char *text =
        size > 0 && data[0] < 0x80 && data[0] != 0x7f && data[0] != 0x50 ? malloc(size + 1) : NULL;
    struct moduleimage again;

    if (!text)
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    assert(read_is_sane(text, BYTES_UNTOLD, 0, &again) == is_known);
    assert(!is_known ||
           (again.least_bytes == image->least_bytes && again.most_bytes == image->most_bytes));
    free(text);
}

/* Headers refer to what is less than so far behind them. */
#define FAR_BYTES ((size_t)8 << 30)

/* Of binary images in memory the headers alone tell where they end. These end where memory does,
 * wherever they begin; what is far behind is no memory either, nor a sanitizer's. */
static void check_in_memory(const uint8_t *data, size_t size)
{
    const size_t page = 4096, room = (size + page) / page * page;
    struct moduleimage image;
    char *pages;

    if (size < 4 || (memcmp(data, "\177ELF", 4) != 0 && memcmp(data, "\x50\xed\x55\xba", 4) != 0))
        return;
    pages =
        mmap(NULL, room + FAR_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(pages != MAP_FAILED && mprotect(pages, room, PROT_READ | PROT_WRITE) == 0);
    memcpy(pages + room - size, data, size);
    read_is_sane(pages + room - size, BYTES_UNTOLD, 0, &image);
    munmap(pages, room + FAR_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct moduleimage any, one;
    const bool is_known = read_is_sane(data, size, 0, &any);

    for (unsigned sm = 70; sm <= 120; sm += 5) /* a choice of what there is for any */
        if (read_is_sane(data, size, sm, &one) && is_known)
            assert(one.least_bytes >= any.least_bytes && one.most_bytes <= any.most_bytes);
    check_text(data, size, is_known, &any);
    check_in_memory(data, size);
    return 0;
}
