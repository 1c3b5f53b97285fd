// SPDX-License-Identifier: Apache-2.0
#include "node/stepreason.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static void add_unnamed(const char *reason, const char *name, struct text *text)
{
    const char *at;

    while (*name && (at = strcasestr(reason, name))) {
        const char *end = at + strlen(name);

        while (at > reason && at[-1] == '0')
            at--;
        if (at - reason >= 4 && strncasecmp(at - 4, "GPU ", 4) == 0)
            at -= 4;
        text_add_bytes(text, reason, (size_t)(at - reason));
        text_add(text, "the GPU");
        reason = end;
    }
    text_add(text, reason);
}

void stepreason_write(const struct gpu *gpu, const char *reason, char *text, size_t size)
{
    cleanup_text struct text without_uuid = TEXT_INIT, unnamed = TEXT_INIT;

    add_unnamed(reason, gpu->uuid, &without_uuid);
    add_unnamed(text_string(&without_uuid), gpu->pci_address, &unnamed);
    snprintf(text, size, "%s", text_string(&unnamed));
    for (size_t n = strlen(text); n && strchr(" .", text[n - 1]); n--)
        text[n - 1] = '\0';
    if (unnamed.length >= size)
        str_mark_cut(text, size);
}
