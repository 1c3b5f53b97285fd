// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the API server is and who we are: from inside a pod, or from a kubeconfig file.
 *
 * Inside a pod the server's address is in the environment, and token and CA are files in the
 * service account's volume, which the kubelet rotates (tokens about hourly): only paths are kept
 * here, and the client reads the files for every request. Inline data of a kubeconfig is kept as
 * bytes.
 */

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/names.h"

struct kube_access {
    char *server;            /* "https://10.96.0.1:443", without a trailing slash */
    char *server_name;       /* expected in the certificate; NULL = the host of `server` */
    char *proxy;             /* "http://proxy:3128"; NULL = according to HTTPS_PROXY and NO_PROXY */
    char *ca_file, *ca_data; /* PEM; both NULL = the system's CAs */
    char *token_file, *token;
    char *cert_file, *cert_data, *key_file, *key_data; /* PEM */
    char *username, *password;
    /* A credential program (login.h); NULL = none. */
    char *exec_command, *exec_version;
    struct names exec_args, exec_env; /* "NAME=value" */
    char *namespace;                  /* of our pod, or of the context; NULL = unknown */
    bool insecure;                    /* insecure-skip-tls-verify */
};

#define KUBE_ACCESS_INIT \
    {                    \
        .server = NULL   \
    }

/* From inside a pod. -ENOENT if this is not a pod. folder: directory of the service account's
 * files; NULL = where the kubelet mounts them. */
int kube_access_of_pod(const char *folder, struct kube_access *ret_access, struct error *err);

void kube_access_deinit(struct kube_access *access);

#define cleanup_kube_access cleanup(kube_access_deinit)
