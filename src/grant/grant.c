// SPDX-License-Identifier: Apache-2.0
#include "grant/grant.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/array.h"

void grant_deinit(struct grant *grant)
{
    free(grant->resource);
    for (size_t i = 0; i < grant->n_ids; i++)
        free(grant->ids[i]);
    free(grant->ids);
    for (size_t i = 0; i < grant->n_devices; i++) {
        free(grant->devices[i].uuid);
        free(grant->devices[i].profile);
    }
    free(grant->devices);
    *grant = (struct grant)GRANT_INIT;
}

/* Grants are built once and kept long: exact arrays, which grow by one. */
int grant_add_id(struct grant *grant, const char *id)
{
    char *copy = strdup(id);
    char **ids = copy ? reallocarray(grant->ids, grant->n_ids + 1, sizeof(*ids)) : NULL;

    if (!ids) {
        free(copy);
        return -ENOMEM;
    }
    grant->ids = ids;
    ids[grant->n_ids++] = copy;
    return 0;
}

int grant_add_device(struct grant *grant, const char *uuid, uint32_t share_permille,
                     uint64_t mem_bytes)
{
    char *copy = strdup(uuid);
    struct grant_device *devices =
        copy ? reallocarray(grant->devices, grant->n_devices + 1, sizeof(*devices)) : NULL;

    if (!devices) {
        free(copy);
        return -ENOMEM;
    }
    grant->devices = devices;
    devices[grant->n_devices++] = (struct grant_device){copy, share_permille, mem_bytes, NULL};
    return 0;
}

int grant_set_profile(struct grant *grant, const char *uuid, const char *profile)
{
    size_t i = 0;
    char *copy;

    while (i < grant->n_devices && !str_equal(grant->devices[i].uuid, uuid))
        i++;
    if (i == grant->n_devices || !*profile)
        return 0;
    copy = strdup(profile);
    if (!copy)
        return -ENOMEM;
    free(grant->devices[i].profile);
    grant->devices[i].profile = copy;
    return 0;
}

int grant_copy(struct grant *to, const struct grant *from)
{
    int r = 0;

    memcpy(to->id, from->id, sizeof(to->id));
    memcpy(to->boot, from->boot, sizeof(to->boot));
    to->granted_at_s = from->granted_at_s;
    to->is_adopted = from->is_adopted;
    to->resource = strdup(from->resource);
    if (!to->resource)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < from->n_ids; i++)
        r = grant_add_id(to, from->ids[i]);
    for (size_t i = 0; r == 0 && i < from->n_devices; i++)
        r = grant_add_device(to, from->devices[i].uuid, from->devices[i].share_permille,
                             from->devices[i].mem_bytes);
    for (size_t i = 0; r == 0 && i < from->n_devices; i++)
        if (from->devices[i].profile) /* by place: a UUID may be there twice */
            r = (to->devices[i].profile = strdup(from->devices[i].profile)) ? 0 : -ENOMEM;
    if (r < 0)
        grant_deinit(to);
    return r;
}

bool grant_is_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == GRANT_ID_SIZE - 1 && !text[GRANT_ID_SIZE - 1];
}

int grant_make_id(char ret_id[GRANT_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[(GRANT_ID_SIZE - 1) / 2];

    if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != sizeof(bytes))
        return -EAGAIN;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        ret_id[2 * i] = digits[bytes[i] >> 4];
        ret_id[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_id[GRANT_ID_SIZE - 1] = '\0';
    return 0;
}

/* --- writing --- */

static void put_number(struct text *out, uint64_t value, size_t n_bytes)
{
    unsigned char bytes[8];

    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    text_add_bytes(out, bytes, n_bytes);
}

static void put_string(struct text *out, const char *string)
{
    size_t length = strlen(string);

    if (length > UINT16_MAX)
        out->failed = true; /* a name of 64 KiB has no place here */
    put_number(out, length, 2);
    text_add_bytes(out, string, length);
}

static void put_ids(struct text *out, const struct grant *grant)
{
    put_number(out, grant->n_ids, 4);
    for (size_t i = 0; i < grant->n_ids; i++)
        put_string(out, grant->ids[i]);
}

void grant_format(const struct grant *grant, struct text *out)
{
    put_number(out, GRANT_RECORD_GRANT, 1);
    put_string(out, grant->id);
    put_string(out, grant->boot);
    put_number(out, (uint64_t)grant->granted_at_s, 8);
    put_number(out, grant->is_adopted, 1);
    put_string(out, grant->resource);
    put_ids(out, grant);
    put_number(out, grant->n_devices, 4);
    for (size_t i = 0; i < grant->n_devices; i++) {
        put_string(out, grant->devices[i].uuid);
        put_number(out, grant->devices[i].share_permille, 4);
        put_number(out, grant->devices[i].mem_bytes, 8);
    }
}

void grant_format_free(const char *id, struct text *out)
{
    put_number(out, GRANT_RECORD_FREE, 1);
    put_string(out, id);
}

void grant_format_lost(const struct grant *lost, struct text *out)
{
    put_number(out, GRANT_RECORD_LOST, 1);
    put_string(out, lost->id);
    put_ids(out, lost);
}

void grant_format_profiles(const struct grant *grant, struct text *out)
{
    size_t n = 0;

    for (size_t i = 0; i < grant->n_devices; i++)
        n += grant->devices[i].profile != NULL;
    if (!n)
        return;
    put_number(out, GRANT_RECORD_PROFILES, 1);
    put_string(out, grant->id);
    put_number(out, n, 4);
    for (size_t i = 0; i < grant->n_devices; i++) {
        if (!grant->devices[i].profile)
            continue;
        put_string(out, grant->devices[i].uuid);
        put_string(out, grant->devices[i].profile);
    }
}

/* --- reading --- */

struct cursor {
    const unsigned char *at;
    size_t left;
    bool failed; /* the record is cut off or nonsense; sticks */
};

static uint64_t take_number(struct cursor *cursor, size_t n_bytes)
{
    uint64_t value = 0;

    if (cursor->left < n_bytes) {
        cursor->failed = true;
        cursor->left = 0;
        return 0;
    }
    for (size_t i = 0; i < n_bytes; i++)
        value |= (uint64_t)cursor->at[i] << (8 * i);
    cursor->at += n_bytes;
    cursor->left -= n_bytes;
    return value;
}

/* Free it. NULL if the record is bad, or (without failed) out of memory. */
static char *take_string(struct cursor *cursor)
{
    size_t length = take_number(cursor, 2);
    char *string;

    if (cursor->left < length || memchr(cursor->at, '\0', length))
        cursor->failed = true;
    if (cursor->failed)
        return NULL;
    string = strndup((const char *)cursor->at, length);
    cursor->at += length;
    cursor->left -= length;
    return string;
}

static int take_fixed(struct cursor *cursor, char *to, size_t size)
{
    cleanup_free char *string = take_string(cursor);

    if (!string)
        return cursor->failed ? -EBADMSG : -ENOMEM;
    return str_copy(to, size, string) < 0 ? -EBADMSG : 0;
}

static int take_id(struct cursor *cursor, char *to)
{
    int r = take_fixed(cursor, to, GRANT_ID_SIZE);

    return r == 0 && !grant_is_id(to) ? -EBADMSG : r;
}

static int take_ids(struct cursor *cursor, struct grant *grant)
{
    size_t n = take_number(cursor, 4);

    if (n > GRANT_IDS_MAX || n > cursor->left / 2)
        return -EBADMSG;
    grant->ids = calloc(n + 1, sizeof(*grant->ids));
    if (!grant->ids)
        return -ENOMEM;
    for (; grant->n_ids < n; grant->n_ids++) {
        grant->ids[grant->n_ids] = take_string(cursor);
        if (!grant->ids[grant->n_ids])
            return cursor->failed ? -EBADMSG : -ENOMEM;
    }
    return 0;
}

static int take_devices(struct cursor *cursor, struct grant *grant)
{
    size_t n = take_number(cursor, 4);

    if (n > GRANT_IDS_MAX || n > cursor->left / 14)
        return -EBADMSG;
    grant->devices = calloc(n + 1, sizeof(*grant->devices));
    if (!grant->devices)
        return -ENOMEM;
    for (; grant->n_devices < n; grant->n_devices++) {
        struct grant_device *device = &grant->devices[grant->n_devices];

        device->uuid = take_string(cursor);
        if (!device->uuid)
            return cursor->failed ? -EBADMSG : -ENOMEM;
        device->share_permille = (uint32_t)take_number(cursor, 4);
        device->mem_bytes = take_number(cursor, 8);
    }
    return 0;
}

static int take_grant(struct cursor *cursor, struct grant *grant)
{
    int r = take_id(cursor, grant->id);
    uint64_t adopted;

    if (r == 0)
        r = take_fixed(cursor, grant->boot, sizeof(grant->boot));
    if (r < 0)
        return r;
    grant->granted_at_s = (int64_t)take_number(cursor, 8);
    adopted = take_number(cursor, 1);
    grant->is_adopted = adopted;
    grant->resource = take_string(cursor);
    if (!grant->resource)
        return cursor->failed ? -EBADMSG : -ENOMEM;
    r = adopted > 1 ? -EBADMSG : take_ids(cursor, grant);
    return r == 0 ? take_devices(cursor, grant) : r;
}

static int take_lost(struct cursor *cursor, struct grant *lost)
{
    int r = take_id(cursor, lost->id);

    return r == 0 ? take_ids(cursor, lost) : r;
}

static int take_profiles(struct cursor *cursor, struct grant *grant)
{
    int r = take_id(cursor, grant->id);
    size_t n = r == 0 ? take_number(cursor, 4) : 0;

    if (r == 0 && (n > GRANT_IDS_MAX || n > cursor->left / 4))
        r = -EBADMSG;
    grant->devices = r == 0 ? calloc(n + 1, sizeof(*grant->devices)) : NULL;
    if (r == 0 && !grant->devices)
        r = -ENOMEM;
    for (; r == 0 && grant->n_devices < n; grant->n_devices++) {
        struct grant_device *device = &grant->devices[grant->n_devices];

        device->uuid = take_string(cursor);
        device->profile = device->uuid ? take_string(cursor) : NULL;
        if (!device->profile) {
            free(device->uuid);
            return cursor->failed ? -EBADMSG : -ENOMEM;
        }
    }
    return r;
}

void grant_record_deinit(struct grant_record *record)
{
    grant_deinit(&record->grant);
    *record = (struct grant_record)GRANT_RECORD_INIT;
}

int grant_record_parse(const void *data, size_t size, struct grant_record *ret_record)
{
    cleanup(grant_record_deinit) struct grant_record record = GRANT_RECORD_INIT;
    struct cursor cursor = {.at = data, .left = size};
    int r = 0;

    record.kind = (unsigned)take_number(&cursor, 1);
    if (record.kind == GRANT_RECORD_GRANT)
        r = take_grant(&cursor, &record.grant);
    else if (record.kind == GRANT_RECORD_FREE)
        r = take_id(&cursor, record.freed);
    else if (record.kind == GRANT_RECORD_LOST)
        r = take_lost(&cursor, &record.grant);
    else if (record.kind == GRANT_RECORD_PROFILES)
        r = take_profiles(&cursor, &record.grant);
    else
        cursor.left = 0;
    if (r == 0 && (cursor.failed || cursor.left || !record.kind))
        r = -EBADMSG;
    if (r < 0)
        return r;
    *ret_record = record;
    memset(&record, 0, sizeof(record)); /* handed over */
    return 0;
}
