// SPDX-License-Identifier: Apache-2.0
#include "gpu/migrequest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WHOLE     "layout"
#define MODE_ONLY "mode"

void migrequest_socket(const char *state_dir, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/mig.sock", state_dir);
}

static bool fits(const char *name)
{
    return strlen(name) < MIGREQUEST_NAME_SIZE;
}

int migrequest_write(const struct migrequest *request, struct text *text, struct error *err)
{
    const char *const fields[] = {request->mode_only ? MODE_ONLY : WHOLE, request->label,
                                  request->key};

    if (!fits(request->label) || !fits(request->key))
        return error_set(err, -ENAMETOOLONG,
                         "a label or key of more than %d bytes cannot be sent to the agent",
                         MIGREQUEST_NAME_SIZE - 1);
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        text_add_bytes(text, fields[i], strlen(fields[i]) + 1);
    text_add_bytes(text, request->file, request->size);
    if (text_failed(text))
        return error_set_errno(err, -ENOMEM, "cannot write the request to the agent");
    if (text->length > MIGREQUEST_MAX)
        return error_set(err, -EMSGSIZE,
                         "the file is too large to be sent to the agent: more than %d KiB",
                         MIGREQUEST_MAX >> 10);
    return 0;
}

/* The next field, or NULL if none ends before `end`. */
static const char *take_field(const char **at, const char *end)
{
    const char *field = *at, *nul = memchr(field, '\0', (size_t)(end - field));

    if (!nul)
        return NULL;
    *at = nul + 1;
    return field;
}

int migrequest_parse(const char *data, size_t size, struct migrequest *ret_request,
                     struct error *err)
{
    const char *at = data, *end = data + size;
    const char *scope = size ? take_field(&at, end) : NULL;
    const char *label = scope ? take_field(&at, end) : NULL;
    const char *key = label ? take_field(&at, end) : NULL;

    if (!key || (!str_equal(scope, WHOLE) && !str_equal(scope, MODE_ONLY)))
        return error_set(err, -EPROTO, "the request is none for a MIG layout");
    if (!*label || !fits(label) || !fits(key))
        return error_set(err, -EPROTO, "the request names no layout, or one with too long a name");
    *ret_request = (struct migrequest){.mode_only = str_equal(scope, MODE_ONLY),
                                       .label = label,
                                       .key = key,
                                       .file = at,
                                       .size = (size_t)(end - at)};
    return 0;
}
