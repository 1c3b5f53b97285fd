// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Asks the arbiter of a node, over one of its sockets (proc/arbitermessage.h). */

#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum { ARBITERCLIENT_DEADLINE_MS = 5000 };

/* name: of a socket in the folder; that is below root, and NULL = the standard one. */
int arbiterclient_find(const char *root, const char *folder, const char *name, char path[PATH_MAX],
                       struct error *err);

struct arbiterclient_request {
    const char *service;
    uint16_t kind;
    const char *body;
    size_t size;
};

/* Adds the answer's body. -ENOENT or -ECONNREFUSED: there is no arbiter; -EACCES or -EPERM: it is
 * not for us. */
int arbiterclient_ask(const char *path, const struct arbiterclient_request *request,
                      struct text *answer, struct error *err);

/* The status document (arbiter/statusdocument.h). */
int arbiterclient_read(const char *root, const char *folder, json_t **ret_status,
                       struct error *err);
