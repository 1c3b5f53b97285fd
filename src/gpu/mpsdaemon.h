// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Is there an MPS control daemon for a resource? This release starts none; what is asked for here
 * is one of somebody else's, such as the DaemonSet of NVIDIA's chart.
 *
 * NVIDIA's layout: the daemon of a resource has its pipe directory at <root>/<resource>/pipe, and
 * listens there on `control`, a SOCK_SEQPACKET socket (driver 580.159.04, H200). A daemon that was
 * killed leaves the file behind, and connecting is refused; one that lives takes a connection that
 * is closed without a word, and starts no server for it.
 */

#include <stdbool.h>

bool mpsdaemon_answers(const char *root, const char *resource);
