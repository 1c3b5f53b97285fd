// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * nanopb messages to bytes and back.
 *
 * Encoding only reads, so a message may refer to borrowed strings and arrays. A decoded message
 * owns its memory: release it with message_release. Input is bounded: at most MESSAGE_MAX_FIELDS
 * fields in all, and MESSAGE_MAX_ENTRIES in one message, which nanopb can count, so that a few
 * megabytes of empty strings cannot become hundreds of megabytes; a string with an embedded NUL is
 * rejected, because C and the peer would read different strings. A message that is one long list is
 * read in parts (message_part), and written in parts one after the other: protobuf joins them.
 */

#include <stddef.h>
#include <stdint.h>

#include <pb.h>

#include "base/cleanup.h"

enum { MESSAGE_MAX_FIELDS = 1 << 19, MESSAGE_MAX_ENTRIES = UINT16_MAX };

/* Encodes into new memory (free it; never NULL on success). 0, -ENOMEM, or -EINVAL. */
int message_encode(const pb_msgdesc_t *fields, const void *message, void **ret_data,
                   size_t *ret_size);

/*
 * Decodes into `message`, which needs no initialisation. On failure it is left empty and needs no
 * release. 0, -EBADMSG (malformed), -E2BIG (too many fields or entries), or -ENOMEM.
 */
int message_decode(const pb_msgdesc_t *fields, const void *data, size_t size, void *message);

/*
 * The length of the first max_fields fields of a message, which are a message of their own; all of
 * it when there are fewer. Malformed bytes stay in the part, for message_decode to reject.
 */
size_t message_part(const void *data, size_t size, size_t max_fields);

/* Frees what message_decode (or the functions below) allocated. An empty message is allowed. */
void message_release(const pb_msgdesc_t *fields, void *message);

/*
 * Allocates for a repeated field n zeroed entries: message_entries(&m.devices, &m.devices_count, n,
 * sizeof(*m.devices)). n may be 0. 0, -E2BIG above MESSAGE_MAX_ENTRIES, or -ENOMEM.
 */
int message_entries(void *ret_items, pb_size_t *ret_count, size_t n, size_t item_size);

/* nanopb's strings may be NULL; never NULL. */
static inline const char *message_text(const char *string)
{
    return string ? string : "";
}

/* nanopb's strings are not const, but encoding only reads: lends a constant to a message. */
static inline char *message_lend(const char *string)
{
    return (char *)(uintptr_t)string;
}

/*
 * An owning local of a message type:
 *
 *     DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateRequest)
 *     cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest request = ..._init_zero;
 */
#define DEFINE_MESSAGE_CLEANUP(type)                   \
    static inline void type##_release_p(type *message) \
    {                                                  \
        message_release(type##_fields, message);       \
    }
