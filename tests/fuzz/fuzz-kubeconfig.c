// SPDX-License-Identifier: Apache-2.0

/* Any bytes: the address of a server, or one error message that begins with the file's name; and
 * the output of a credential program. */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "kube/kubeconfig.h"
#include "kube/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A person's: whatever the other takes, and credential programs. */
static void read_as_a_person(const char *data, size_t size, bool is_good)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    int r = kubeconfig_read_user("/d/config", data, size, &access, NULL);

    if (r == 0 && access.exec_command && !access.exec_version)
        abort();
    if (is_good && (r != 0 || access.exec_command))
        abort();
}

static void read_login(const char *data, size_t size)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    int r = kube_login_read(data, size, &access, NULL);

    if ((r == 0) != (access.token || (access.cert_data && access.key_data)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    struct error err = ERROR_INIT;
    int r = kubeconfig_read("/d/config", (const char *)data, size, &access, &err);

    read_as_a_person((const char *)data, size, r == 0);
    read_login((const char *)data, size);
    if (r == 0) {
        if (!str_starts_with(access.server, "http") || str_ends_with(access.server, "/"))
            abort();
        if ((access.ca_file && access.ca_data) || (access.token && access.token_file))
            abort();
        return 0;
    }
    if (r != -EINVAL || access.server || !str_starts_with(error_text(&err), "/d/config"))
        abort();
    return 0;
}
