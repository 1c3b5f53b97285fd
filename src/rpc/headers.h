// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The meaning of HTTP/2 header fields of requests and responses for gRPC. Pure.
 *
 * nghttp2's own message checks are off, because kubelets before 1.26 send a socket path as
 * `:authority`, for which those checks reset the stream. So the same checks are done here: field
 * names and values, the pseudo-header fields, their order and number, connection-specific fields.
 * `:authority` may hold anything printable.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/status.h"

enum {
    HEADERS_MAX_BYTES = 16 << 10,   /* names + values + 32 each; more is RESOURCE_EXHAUSTED */
    HEADERS_FLOOD_BYTES = 64 << 10, /* more ends the connection */
    HEADERS_MAX_PATH = 512,
    HEADERS_MAX_TEXT = 2048, /* of a decoded grpc-message; truncated beyond */
};

/* Outcomes of request_headers_add and response_headers_add besides 0 and -ENOMEM. */
enum headers_outcome {
    HEADERS_MALFORMED = 1, /* violates RFC 9113: reset the stream with PROTOCOL_ERROR */
    HEADERS_FLOOD,         /* over HEADERS_FLOOD_BYTES: close the connection */
};

struct request_headers {
    char *path;          /* NULL until seen */
    uint64_t timeout_ms; /* rounded up; meaningful with HEADER_TIMEOUT in `seen` */
    size_t bytes;
    uint32_t seen;   /* HEADER_* of headers.c */
    uint32_t faults; /* HEADER_* of fields with an unacceptable value */
};

#define REQUEST_HEADERS_INIT \
    {                        \
        .path = NULL         \
    }

/* How to respond to a request whose header block is complete. */
struct headers_verdict {
    bool malformed;         /* reset the stream with PROTOCOL_ERROR */
    unsigned http_status;   /* if not 0: end with this HTTP status alone */
    enum rpc_status status; /* if not RPC_OK: end with it and `text` */
    const char *text;
    bool name_encodings; /* respond with `grpc-accept-encoding: identity` */
};

void request_headers_deinit(struct request_headers *headers);
int request_headers_add(struct request_headers *headers, const uint8_t *name, size_t name_length,
                        const uint8_t *value, size_t value_length);
struct headers_verdict request_headers_judge(const struct request_headers *headers);
bool request_headers_have_timeout(const struct request_headers *headers);

struct response_headers {
    unsigned http_status; /* 0 until seen */
    int grpc_status;      /* -1 until seen */
    char *text;           /* grpc-message, decoded; NULL until seen */
    size_t bytes;
    bool is_grpc;    /* a content-type was seen, and is acceptable */
    bool compressed; /* grpc-encoding other than identity */
};

#define RESPONSE_HEADERS_INIT \
    {                         \
        .grpc_status = -1     \
    }

void response_headers_deinit(struct response_headers *headers);
int response_headers_add(struct response_headers *headers, const uint8_t *name, size_t name_length,
                         const uint8_t *value, size_t value_length);

/* The status of a response without grpc-status (grpc/doc/http-grpc-status-mapping.md). */
enum rpc_status headers_status_of_http(unsigned http_status);

/* "250m" and the like, 1 to 8 digits and a unit; rounded up to whole milliseconds. */
bool headers_timeout_parse(const uint8_t *text, size_t length, uint64_t *ret_ms);

enum { HEADERS_TIMEOUT_SIZE = 16 };
void headers_timeout_format(uint64_t ms, char buffer[HEADERS_TIMEOUT_SIZE]);

/* grpc-message: percent-encoded UTF-8. Both truncate what does not fit and terminate `buffer`. */
size_t headers_text_encode(const char *text, char *buffer, size_t size);
size_t headers_text_decode(const uint8_t *text, size_t length, char *buffer, size_t size);
