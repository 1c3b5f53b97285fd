// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a request of a process does to its account: the rules of limits/message.h, from REGISTER's
 * answer on.
 *
 * The bytes of a request come from any process that has the socket: any content is possible. Pure,
 * as the account is.
 */

#include "arbiter/account.h"
#include "base/error.h"
#include "limits/message.h"

enum accountrequest_outcome {
    ACCOUNTREQUEST_ANSWER = 1, /* to be sent */
};

/* 0: nothing is answered; or -EBADMSG with what is wrong: a library of ours does not send it. */
int accountrequest_do(struct account *account, struct account_process *process,
                      const struct limits_request *request, enum limits_mode mode, uint64_t now_ms,
                      struct limits_answer *ret_answer, struct error *err);
