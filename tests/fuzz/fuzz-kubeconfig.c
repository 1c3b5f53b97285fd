// SPDX-License-Identifier: Apache-2.0

/* Any bytes: the address of a server, or one error message that begins with the file's name. */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "kube/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    struct error err = ERROR_INIT;
    int r = kubeconfig_read("/d/config", (const char *)data, size, &access, &err);

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
