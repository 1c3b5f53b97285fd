// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A kubeconfig file: its current context, with that context's cluster and user. File names in it
 * are relative to the file itself, as in kubectl. Inline data (`*-data`) wins over a file of the
 * same kind, and tokenFile over token, also as in kubectl.
 */

#include <stddef.h>

#include "kube/access.h"

/* file: its name, for messages and for relative names in it. -EINVAL with file:line:column. */
int kubeconfig_read(const char *file, const char *data, size_t size, struct kube_access *ret_access,
                    struct error *err);

/* The same for a program that a person starts: the user may have a credential program, which is in
 * ret_access then (login.h runs it). */
int kubeconfig_read_user(const char *file, const char *data, size_t size,
                         struct kube_access *ret_access, struct error *err);

/*
 * kubeconfig NULL or "": in-cluster, from KUBERNETES_SERVICE_HOST and _PORT and the service
 * account's files. -ENOENT outside a pod; -EINVAL with file:line:column when the kubeconfig
 * cannot be used (an `exec` or `auth-provider` user among it: what to write instead).
 */
int kube_access_load(const char *kubeconfig, struct kube_access *ret_access, struct error *err);

/* The same with kubeconfig_read_user. */
int kube_access_load_user(const char *kubeconfig, struct kube_access *ret_access,
                          struct error *err);
