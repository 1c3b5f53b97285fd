// SPDX-License-Identifier: Apache-2.0
#include "rpc/headers.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

enum {
    HEADER_METHOD = 1 << 0,
    HEADER_PATH = 1 << 1,
    HEADER_SCHEME = 1 << 2,
    HEADER_AUTHORITY = 1 << 3,
    HEADER_CONTENT_TYPE = 1 << 4,
    HEADER_ENCODING = 1 << 5,
    HEADER_TIMEOUT = 1 << 6,
    HEADER_REGULAR = 1 << 7, /* a regular field: pseudo-header fields must come first */
    HEADER_ALL = 1 << 8,     /* faults only: the block as a whole exceeds HEADERS_MAX_BYTES */
};

static bool bytes_equal(const uint8_t *bytes, size_t length, const char *string)
{
    return length == strlen(string) && memcmp(bytes, string, length) == 0;
}

/* application/grpc, application/grpc+proto, either with parameters. */
static bool is_grpc_content(const uint8_t *value, size_t length)
{
    static const char *const types[] = {"application/grpc+proto", "application/grpc"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        size_t n = strlen(types[i]);

        if (length >= n && memcmp(value, types[i], n) == 0 &&
            (length == n || value[n] == ';' || value[n] == ' '))
            return true;
    }
    return false;
}

bool headers_timeout_parse(const uint8_t *text, size_t length, uint64_t *ret_ms)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {
        {'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000},
        {'m', 1000000},       {'u', 1000},        {'n', 1},
    };
    uint64_t n = 0;

    if (length < 2 || length > 9)
        return false;
    for (size_t i = 0; i < length - 1; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (text[length - 1] != (uint8_t)units[i].unit)
            continue;
        /* 99,999,999 hours would overflow in nanoseconds. */
        if (units[i].ns >= 1000000)
            *ret_ms = n * (units[i].ns / 1000000);
        else
            *ret_ms = (n * units[i].ns + 999999) / 1000000;
        return true;
    }
    return false;
}

void headers_timeout_format(uint64_t ms, char buffer[HEADERS_TIMEOUT_SIZE])
{
    uint64_t limit = 99999999;

    if (ms <= limit)
        snprintf(buffer, HEADERS_TIMEOUT_SIZE, "%um", (unsigned)ms);
    else if (ms / 1000 < limit)
        snprintf(buffer, HEADERS_TIMEOUT_SIZE, "%uS", (unsigned)(ms / 1000 + 1));
    else
        snprintf(buffer, HEADERS_TIMEOUT_SIZE, "%uS", (unsigned)limit);
}

size_t headers_text_encode(const char *text, char *buffer, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = c >= ' ' && c <= '~' && c != '%';

        if (n + (plain ? 1 : 3) >= size)
            break;
        if (plain) {
            buffer[n++] = (char)c;
            continue;
        }
        buffer[n++] = '%';
        buffer[n++] = digits[c >> 4];
        buffer[n++] = digits[c & 15];
    }
    buffer[n] = '\0';
    return n;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

size_t headers_text_decode(const uint8_t *text, size_t length, char *buffer, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < length && n + 1 < size; i++) {
        uint8_t c = text[i];

        /* The specification: keep an invalid escape as it is, never fail. */
        if (c == '%' && i + 2 < length && hex_digit(text[i + 1]) >= 0 &&
            hex_digit(text[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
            i += 2;
        }
        buffer[n++] = c ? (char)c : ' ';
    }
    buffer[n] = '\0';
    return n;
}

/* Checks common to all fields: valid characters, and total size. */
static int check_field(const uint8_t *name, size_t name_length, const uint8_t *value,
                       size_t value_length, size_t *bytes)
{
    static const char *const connection_fields[] = {
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
    };

    *bytes += name_length + value_length + 32;
    if (*bytes > HEADERS_FLOOD_BYTES)
        return HEADERS_FLOOD;
    /* nghttp2_check_header_name accepts one leading colon and rejects upper case. */
    if (!nghttp2_check_header_name(name, name_length) ||
        !nghttp2_check_header_value(value, value_length))
        return HEADERS_MALFORMED;
    for (size_t i = 0; i < ARRAY_SIZE(connection_fields); i++)
        if (bytes_equal(name, name_length, connection_fields[i]))
            return HEADERS_MALFORMED;
    return 0;
}

static int take_method(struct request_headers *headers, const uint8_t *value, size_t length)
{
    if (!bytes_equal(value, length, "POST"))
        headers->faults |= HEADER_METHOD;
    return 0;
}

static int take_path(struct request_headers *headers, const uint8_t *value, size_t length)
{
    if (length == 0 || value[0] != '/')
        return HEADERS_MALFORMED;
    if (length > HEADERS_MAX_PATH)
        headers->faults |= HEADER_PATH;
    headers->path = strndup((const char *)value, length > HEADERS_MAX_PATH ? 1 : length);
    return headers->path ? 0 : -ENOMEM;
}

static int take_anything(struct request_headers *headers, const uint8_t *value, size_t length)
{
    (void)headers;
    (void)value;
    (void)length;
    return 0;
}

static int take_content_type(struct request_headers *headers, const uint8_t *value, size_t length)
{
    if (!is_grpc_content(value, length))
        headers->faults |= HEADER_CONTENT_TYPE;
    return 0;
}

static int take_encoding(struct request_headers *headers, const uint8_t *value, size_t length)
{
    if (!bytes_equal(value, length, "identity"))
        headers->faults |= HEADER_ENCODING;
    return 0;
}

static int take_timeout(struct request_headers *headers, const uint8_t *value, size_t length)
{
    if (!headers_timeout_parse(value, length, &headers->timeout_ms))
        headers->faults |= HEADER_TIMEOUT;
    return 0;
}

static int take_te(struct request_headers *headers, const uint8_t *value, size_t length)
{
    (void)headers;
    return bytes_equal(value, length, "trailers") ? 0 : HEADERS_MALFORMED;
}

static const struct known_header {
    const char *name;
    uint32_t bit; /* may occur once; 0 = any number */
    int (*take)(struct request_headers *headers, const uint8_t *value, size_t length);
} known_headers[] = {
    {":method", HEADER_METHOD, take_method},
    {":path", HEADER_PATH, take_path},
    {":scheme", HEADER_SCHEME, take_anything},
    {":authority", HEADER_AUTHORITY, take_anything},
    {"content-type", HEADER_CONTENT_TYPE, take_content_type},
    {"grpc-encoding", HEADER_ENCODING, take_encoding},
    {"grpc-timeout", HEADER_TIMEOUT, take_timeout},
    {"te", 0, take_te},
};

static const struct known_header *find_known(const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_headers); i++)
        if (bytes_equal(name, length, known_headers[i].name))
            return &known_headers[i];
    return NULL;
}

void request_headers_deinit(struct request_headers *headers)
{
    free(headers->path);
    headers->path = NULL;
}

int request_headers_add(struct request_headers *headers, const uint8_t *name, size_t name_length,
                        const uint8_t *value, size_t value_length)
{
    const struct known_header *known = find_known(name, name_length);
    int r;

    r = check_field(name, name_length, value, value_length, &headers->bytes);
    if (r != 0)
        return r;
    if (headers->bytes > HEADERS_MAX_BYTES)
        headers->faults |= HEADER_ALL;
    if (name[0] != ':')
        headers->seen |= HEADER_REGULAR;
    else if (!known || headers->seen & HEADER_REGULAR)
        return HEADERS_MALFORMED;
    if (!known)
        return 0;
    if (headers->seen & known->bit)
        return HEADERS_MALFORMED;
    headers->seen |= known->bit;
    return known->take(headers, value, value_length);
}

bool request_headers_have_timeout(const struct request_headers *headers)
{
    return headers->seen & HEADER_TIMEOUT;
}

struct headers_verdict request_headers_judge(const struct request_headers *headers)
{
    static const uint32_t required = HEADER_METHOD | HEADER_PATH | HEADER_SCHEME;
    static const struct {
        uint32_t fault;
        struct headers_verdict verdict;
    } verdicts[] = {
        {HEADER_ALL, {.status = RPC_RESOURCE_EXHAUSTED, .text = "request headers over 16 KiB"}},
        {HEADER_METHOD, {.http_status = 405}},
        {HEADER_CONTENT_TYPE, {.http_status = 415}},
        {HEADER_PATH, {.status = RPC_UNIMPLEMENTED, .text = "unknown method"}},
        {HEADER_TIMEOUT, {.status = RPC_INTERNAL, .text = "malformed grpc-timeout"}},
        {HEADER_ENCODING,
         {.status = RPC_UNIMPLEMENTED,
          .text = "compressed messages are not supported",
          .name_encodings = true}},
    };

    if ((headers->seen & required) != required)
        return (struct headers_verdict){.malformed = true};
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
        if (headers->faults & verdicts[i].fault)
            return verdicts[i].verdict;
    if (!(headers->seen & HEADER_CONTENT_TYPE))
        return (struct headers_verdict){.http_status = 415};
    return (struct headers_verdict){.status = RPC_OK};
}

void response_headers_deinit(struct response_headers *headers)
{
    free(headers->text);
    headers->text = NULL;
}

static int parse_number(const uint8_t *value, size_t length, unsigned max)
{
    unsigned n = 0;

    if (length == 0 || length > 4)
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -1;
        n = n * 10 + (unsigned)(value[i] - '0');
    }
    return n <= max ? (int)n : -1;
}

static int take_text(struct response_headers *headers, const uint8_t *value, size_t length)
{
    size_t size = (length < HEADERS_MAX_TEXT ? length : HEADERS_MAX_TEXT) + 1;
    char *text = malloc(size);

    if (!text)
        return -ENOMEM;
    headers_text_decode(value, length, text, size);
    free(headers->text);
    headers->text = text;
    return 0;
}

int response_headers_add(struct response_headers *headers, const uint8_t *name, size_t name_length,
                         const uint8_t *value, size_t value_length)
{
    int r, number;

    r = check_field(name, name_length, value, value_length, &headers->bytes);
    if (r != 0)
        return r;
    if (bytes_equal(name, name_length, ":status")) {
        number = parse_number(value, value_length, 999);
        if (number < 100)
            return HEADERS_MALFORMED;
        headers->http_status = (unsigned)number;
    } else if (name[0] == ':') {
        return HEADERS_MALFORMED;
    } else if (bytes_equal(name, name_length, "grpc-status")) {
        number = parse_number(value, value_length, RPC_UNAUTHENTICATED);
        headers->grpc_status = number >= 0 ? number : RPC_UNKNOWN;
    } else if (bytes_equal(name, name_length, "grpc-message")) {
        return take_text(headers, value, value_length);
    } else if (bytes_equal(name, name_length, "content-type")) {
        headers->is_grpc = is_grpc_content(value, value_length);
    } else if (bytes_equal(name, name_length, "grpc-encoding")) {
        headers->compressed = !bytes_equal(value, value_length, "identity");
    }
    return 0;
}

enum rpc_status headers_status_of_http(unsigned http_status)
{
    static const struct {
        unsigned http;
        enum rpc_status status;
    } map[] = {
        {400, RPC_INTERNAL},      {401, RPC_UNAUTHENTICATED}, {403, RPC_PERMISSION_DENIED},
        {404, RPC_UNIMPLEMENTED}, {429, RPC_UNAVAILABLE},     {502, RPC_UNAVAILABLE},
        {503, RPC_UNAVAILABLE},   {504, RPC_UNAVAILABLE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(map); i++)
        if (map[i].http == http_status)
            return map[i].status;
    return RPC_UNKNOWN;
}
