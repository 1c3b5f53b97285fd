// SPDX-License-Identifier: Apache-2.0
#include "kube/access.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define POD_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

enum { NAMESPACE_BYTES = 256 };

void kube_access_deinit(struct kube_access *access)
{
    char **owned[] = {
        &access->server,    &access->server_name, &access->proxy,        &access->ca_file,
        &access->ca_data,   &access->token_file,  &access->token,        &access->cert_file,
        &access->cert_data, &access->key_file,    &access->key_data,     &access->username,
        &access->password,  &access->namespace,   &access->exec_command, &access->exec_version};

    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        free(*owned[i]);
    names_deinit(&access->exec_args);
    names_deinit(&access->exec_env);
    *access = (struct kube_access)KUBE_ACCESS_INIT;
}

static char *join(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* "https://10.96.0.1:443"; an IPv6 address is in brackets. */
static int server_of_environment(char **ret_server, struct error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    bool is_ipv6 = host && strchr(host, ':') && host[0] != '[';

    if (!host || !host[0])
        return error_set(err, -ENOENT,
                         "not in a pod: KUBERNETES_SERVICE_HOST is not set; set --kubeconfig");
    if (!port || !port[0])
        port = "443";
    if (asprintf(ret_server, is_ipv6 ? "https://[%s]:%s" : "https://%s:%s", host, port) < 0)
        return error_set_errno(err, -ENOMEM, "cannot determine the address of the API server");
    return 0;
}

/* Left NULL if the volume has none. */
static char *namespace_of_pod(const char *folder)
{
    cleanup_free char *path = join(folder, "namespace");
    cleanup_free char *namespace = NULL;
    size_t size;

    if (!path || file_read(path, NAMESPACE_BYTES, &namespace, &size, NULL) < 0)
        return NULL;
    namespace[strcspn(namespace, " \t\r\n")] = '\0';
    return namespace[0] ? TAKE_PTR(namespace) : NULL;
}

static int fill_of_pod(const char *folder, struct kube_access *own, struct error *err)
{
    int r = server_of_environment(&own->server, err);

    if (r < 0)
        return r;
    own->token_file = join(folder, "token");
    own->ca_file = join(folder, "ca.crt");
    if (!own->token_file || !own->ca_file)
        return error_set_errno(err, -ENOMEM, "cannot determine the service account's files");
    if (access(own->token_file, R_OK) < 0)
        return error_set_errno(err, -errno,
                               "cannot read the service account's token %s (is "
                               "automountServiceAccountToken off?)",
                               own->token_file);
    own->namespace = namespace_of_pod(folder);
    return 0;
}

int kube_access_of_pod(const char *folder, struct kube_access *ret_access, struct error *err)
{
    struct kube_access own = KUBE_ACCESS_INIT;
    int r = fill_of_pod(folder ? folder : POD_FOLDER, &own, err);

    if (r < 0) {
        kube_access_deinit(&own);
        return r;
    }
    *ret_access = own;
    return 0;
}
