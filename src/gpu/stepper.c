// SPDX-License-Identifier: Apache-2.0
#include "gpu/stepper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/record.h"
#include "gpu/reset.h"

enum { RESET_MS = 300000 }; /* of a node with eight GPUs and NVLinks */

bool stepper_needs_no_session(const struct gpu_change *change)
{
    return change->verb == GPU_SET_MIG_MODE || change->verb == GPU_RESET;
}

void stepper_format(uint32_t id, const struct gpu_change *change, char ret_text[STEPPER_TEXT_SIZE])
{
    const unsigned char *bytes = (const unsigned char *)change;
    int n = snprintf(ret_text, STEPPER_TEXT_SIZE, "%u:", id);

    for (size_t i = 0; i < sizeof(*change); i++)
        n += snprintf(ret_text + n, STEPPER_TEXT_SIZE - (size_t)n, "%02x", bytes[i]);
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool stepper_parse(const char *text, struct stepper *ret_stepper)
{
    unsigned char bytes[sizeof(struct gpu_change)];
    struct record record;
    char *digits;
    unsigned long id = strtoul(text, &digits, 10);

    if (*digits != ':' || id == 0 || id > UINT32_MAX || strlen(digits + 1) != 2 * sizeof(bytes))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        const int high = hex(digits[1 + 2 * i]), low = hex(digits[2 + 2 * i]);

        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    if (record_load(RECORD_CHANGE, bytes, sizeof(bytes), &record) < 0)
        return false;
    *ret_stepper = (struct stepper){.id = (uint32_t)id, .change = record.change};
    return true;
}

/* Those that a session can make. */
static void make_in_session(const struct stepper_session *session, const struct gpu_change *change,
                            struct gpu_changed *ret_changed)
{
    const struct gpu_backend *backend = session->backend;
    struct error err = ERROR_INIT;
    struct gpu_driver *driver;
    int r = session->open(session->userdata, &driver, &err);

    if (r == 0) {
        backend->change(driver, change, ret_changed);
        backend->close(driver);
        return;
    }
    memset(ret_changed, 0, sizeof(*ret_changed));
    ret_changed->outcome = r;
    snprintf(ret_changed->reason, sizeof(ret_changed->reason), "%.250s", error_text(&err));
}

void stepper_make(struct stepper *stepper, const struct stepper_session *session)
{
    struct gpu_change question = stepper->change;
    struct gpu_changed *changed = &stepper->changed, holders;

    if (stepper->change.verb != GPU_RESET) {
        make_in_session(session, &stepper->change, changed);
        return;
    }
    reset_gpu(stepper->change.uuid, RESET_MS, changed);
    if (changed->outcome != GPU_IN_USE)
        return;
    question.verb = GPU_FIND_HOLDERS;
    make_in_session(session, &question, &holders);
    changed->n_holders = holders.n_holders;
    memcpy(changed->holders, holders.holders, sizeof(holders.holders));
}
