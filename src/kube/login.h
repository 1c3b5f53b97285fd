// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A credential program, which a kubeconfig names for its user (`exec`; aws eks get-token, gke's and
 * Azure's): it prints a token or a client certificate. For programs that a person starts; one that
 * runs for days has a token file instead.
 */

#include "kube/access.h"

/* Runs the program that access names, if it names one, and puts what it prints there. 0, or a
 * negative errno with a sentence that names the program. */
int kube_login(struct kube_access *access, struct error *err);

/* What such a program prints (an ExecCredential). -EBADMSG with the end of a sentence about it. */
int kube_login_read(const char *json, size_t size, struct kube_access *access, struct error *err);
