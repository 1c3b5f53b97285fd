// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The page of one container (limits/page.h): a sealed memfd. Only who made it, and mapped it before
 * it was sealed, writes to it; the descriptor that processes get is read-only besides.
 */

#include "base/error.h"
#include "limits/page.h"

struct limitspage {
    struct limits_page *page; /* ours, written by limits_store once it is given away */
    int fd;                   /* for processes; -1 = there is no page */
};

#define LIMITSPAGE_INIT        \
    {                          \
        .page = NULL, .fd = -1 \
    }

/* Fixed fields of a page are written into *ret_page before it is given to anybody. 0, or a negative
 * errno with a sentence; -EOPNOTSUPP: before Linux 5.1. */
int limitspage_make(struct limitspage *ret_page, struct error *err);

void limitspage_deinit(struct limitspage *page);
