// SPDX-License-Identifier: Apache-2.0
#include "node/busmessage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { METHOD_CALL = 1, METHOD_RETURN = 2, ERROR = 3 }; /* the second byte */

/* Codes of the fields in a header. */
enum {
    FIELD_PATH = 1,
    FIELD_INTERFACE = 2,
    FIELD_MEMBER = 3,
    FIELD_ERROR_NAME = 4,
    FIELD_REPLY_SERIAL = 5,
    FIELD_DESTINATION = 6,
    FIELD_SIGNATURE = 8,
};

/* --- writing --- */

static void add_u32(struct text *out, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                             (uint8_t)(value >> 24)};

    text_add_bytes(out, bytes, sizeof(bytes));
}

static void align(struct text *out, size_t to)
{
    while (out->length % to)
        text_add_char(out, '\0');
}

static void add_string(struct text *out, const char *string)
{
    align(out, 4);
    add_u32(out, (uint32_t)strlen(string));
    text_add_bytes(out, string, strlen(string) + 1);
}

static void add_signature(struct text *out, const char *signature)
{
    text_add_char(out, (char)strlen(signature));
    text_add_bytes(out, signature, strlen(signature) + 1);
}

static void add_field(struct text *out, uint8_t code, const char *type, const char *value)
{
    align(out, 8);
    text_add_char(out, (char)code);
    add_signature(out, type);
    if (*type == 'g')
        add_signature(out, value);
    else
        add_string(out, value);
}

/* Of the fields, which begin at a multiple of 8 in the message, as they do here. */
static void add_fields(const struct bus_call *call, struct text *out)
{
    add_field(out, FIELD_PATH, "o", call->path);
    add_field(out, FIELD_DESTINATION, "s", call->destination);
    add_field(out, FIELD_INTERFACE, "s", call->interface);
    add_field(out, FIELD_MEMBER, "s", call->member);
    if (call->has_false)
        add_field(out, FIELD_SIGNATURE, "g", "b");
    else if (call->arguments[0])
        add_field(out, FIELD_SIGNATURE, "g", call->arguments[1] ? "ss" : "s");
}

static void add_body(const struct bus_call *call, struct text *out)
{
    if (call->has_false)
        add_u32(out, 0);
    for (size_t i = 0; !call->has_false && i < BUSMESSAGE_ARGUMENTS && call->arguments[i]; i++)
        add_string(out, call->arguments[i]);
}

void busmessage_add_call(const struct bus_call *call, uint32_t serial, struct text *out)
{
    static const uint8_t start[] = {'l', METHOD_CALL, 0, 1};
    cleanup_text struct text message = TEXT_INIT, fields = TEXT_INIT, body = TEXT_INIT;

    add_fields(call, &fields);
    add_body(call, &body);
    text_add_bytes(&message, start, sizeof(start));
    add_u32(&message, (uint32_t)body.length);
    add_u32(&message, serial);
    add_u32(&message, (uint32_t)fields.length);
    text_add_bytes(&message, text_string(&fields), fields.length);
    align(&message, 8);
    text_add_bytes(&message, text_string(&body), body.length);
    text_add_bytes(out, text_string(&message), message.length);
}

/* --- reading --- */

struct reader {
    const uint8_t *data;
    size_t at, end;
};

static bool skip(struct reader *reader, size_t n)
{
    if (n > reader->end - reader->at)
        return false;
    reader->at += n;
    return true;
}

static bool skip_to(struct reader *reader, size_t multiple)
{
    return skip(reader, (multiple - reader->at % multiple) % multiple);
}

static uint32_t u32_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static bool read_u32(struct reader *reader, uint32_t *ret_value)
{
    if (!skip_to(reader, 4) || !skip(reader, 4))
        return false;
    *ret_value = u32_at(reader->data + reader->at - 4);
    return true;
}

/* A string of that length and its end. What does not fit into ret_text is cut. */
static bool read_bytes(struct reader *reader, size_t length, char *ret_text, size_t size)
{
    const size_t start = reader->at;
    size_t kept;

    if (!skip(reader, length) || !skip(reader, 1) || reader->data[reader->at - 1])
        return false;
    kept = length < size ? length : size - 1;
    memcpy(ret_text, reader->data + start, kept);
    ret_text[kept] = '\0';
    return true;
}

static bool read_string(struct reader *reader, char *ret_text, size_t size)
{
    uint32_t length;

    return read_u32(reader, &length) && read_bytes(reader, length, ret_text, size);
}

static bool read_signature(struct reader *reader, char *ret_text, size_t size)
{
    return skip(reader, 1) && read_bytes(reader, reader->data[reader->at - 1], ret_text, size);
}

/* The fields of a header have one of four types. */
static bool read_field(struct reader *reader, struct bus_reply *reply, char *signature, size_t size)
{
    char type[4], text[256];
    uint32_t number;
    uint8_t code;

    if (!skip_to(reader, 8) || !skip(reader, 1))
        return false;
    code = reader->data[reader->at - 1];
    if (!read_signature(reader, type, sizeof(type)))
        return false;
    if (str_equal(type, "u")) {
        if (!read_u32(reader, &number))
            return false;
        if (code == FIELD_REPLY_SERIAL)
            reply->reply_to = number;
        return true;
    }
    if (str_equal(type, "g"))
        return read_signature(reader, code == FIELD_SIGNATURE ? signature : text,
                              code == FIELD_SIGNATURE ? size : sizeof(text));
    if (!str_equal(type, "s") && !str_equal(type, "o"))
        return false;
    return code == FIELD_ERROR_NAME ? read_string(reader, reply->error, sizeof(reply->error))
                                    : read_string(reader, text, sizeof(text));
}

int busmessage_size(const uint8_t *head, size_t *ret_size, struct error *err)
{
    const uint64_t body = u32_at(head + 4), fields = u32_at(head + 12);
    const uint64_t size = BUSMESSAGE_HEAD + (fields + 7) / 8 * 8 + body;

    if (head[0] != 'l' || head[3] != 1)
        return error_set(err, -EBADMSG,
                         "the bus uses another protocol than version 1 of D-Bus, little-endian");
    if (size > BUSMESSAGE_MAX)
        return error_set(err, -EBADMSG, "the bus sent a message of %llu bytes",
                         (unsigned long long)size);
    *ret_size = (size_t)size;
    return 0;
}

static enum bus_reply_kind kind_of(uint8_t type)
{
    return type == METHOD_RETURN ? BUS_RETURN : type == ERROR ? BUS_ERROR : BUS_OTHER;
}

static bool read_message(const uint8_t *data, size_t size, struct bus_reply *reply)
{
    const size_t fields_end = BUSMESSAGE_HEAD + (size_t)u32_at(data + 12);
    struct reader reader = {data, BUSMESSAGE_HEAD, fields_end};
    char signature[64] = "";

    while (reader.at < reader.end)
        if (!read_field(&reader, reply, signature, sizeof(signature)))
            return false;
    reader.end = size;
    if (reply->kind != BUS_ERROR || *signature != 's')
        return true;
    return skip_to(&reader, 8) && read_string(&reader, reply->text, sizeof(reply->text));
}

int busmessage_read(const uint8_t *data, size_t size, struct bus_reply *ret_reply,
                    struct error *err)
{
    struct bus_reply reply = {.kind = size < BUSMESSAGE_HEAD ? BUS_OTHER : kind_of(data[1])};
    size_t whole = 0;
    int r;

    if (size < BUSMESSAGE_HEAD)
        return error_set(err, -EBADMSG, "the bus sent a message that ends early");
    r = busmessage_size(data, &whole, err);
    if (r < 0)
        return r;
    if (whole != size || !read_message(data, size, &reply))
        return error_set(err, -EBADMSG, "the bus sent a message that cannot be read");
    str_make_line(reply.error);
    str_make_line(reply.text);
    *ret_reply = reply;
    return 0;
}
