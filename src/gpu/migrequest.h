// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `gpuslice mig apply` asks of the agent that holds the lock (miglock.h), over a channel
 * (proc/channel.h) to the socket `mig.sock` in the state folder.
 *
 * The program sends one request, MIGREQUEST_APPLY. The agent sends a notice MIGREQUEST_PROGRESS as
 * soon as it has taken the request and noted it on disk, and one whenever there is other news; last
 * it answers with MIGREQUEST_DONE or MIGREQUEST_FAILED. The body of each is a sentence. A request
 * that is answered without any notice before was refused, and nothing was changed.
 *
 * The request on the wire and on disk: "layout" or "mode", the label, the key of the file, each
 * ended by NUL, and the file.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

#define MIGREQUEST_SERVICE "mig" /* named in the program's hello */

/* Files of the folder of grants, by which an agent goes on with what one before it had begun: the
 * request, and the GPUs in between (node/migbegun.h). */
#define MIGREQUEST_ORDER "mig-apply"
#define MIGREQUEST_BEGUN "mig-begun"

enum {
    MIGREQUEST_NAME_SIZE = 128, /* of label and key */
    MIGREQUEST_MAX = 1 << 20,   /* bytes */
    MIGREQUEST_ANSWER_MAX = 64 << 10,
};

enum migrequest_kind { MIGREQUEST_APPLY = 1 };
enum migrequest_notice { MIGREQUEST_PROGRESS = 1 };
enum migrequest_answer { MIGREQUEST_DONE = 1, MIGREQUEST_FAILED };

/* Texts are borrowed. */
struct migrequest {
    bool mode_only;    /* the instances stay as they are */
    const char *label; /* of the file, or a built-in layout */
    const char *key;   /* of a ConfigMap with several; "" = none */
    const char *file;  /* mig-parted's; size 0 = none, the layout is built in */
    size_t size;
};

/* Writes the socket's path into path; one that is too long fails when it is used. */
void migrequest_socket(const char *state_dir, char path[PATH_MAX]);

/* Adds it to text. 0; -ENAMETOOLONG, -EMSGSIZE with a sentence. */
int migrequest_write(const struct migrequest *request, struct text *text, struct error *err);

/* From bytes with a NUL behind the last one. 0, or -EPROTO with a sentence. */
int migrequest_parse(const char *data, size_t size, struct migrequest *ret_request,
                     struct error *err);
