// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A connection's nghttp2 session: its options, our SETTINGS, and what its callbacks tell the role.
 */

struct connection;

/* Makes connection->session and submits SETTINGS. 0 or negative errno. */
int session_new(struct connection *connection);

/* nghttp2's error codes as errno; 0 and positive numbers pass through. */
int session_errno(int error);
