// SPDX-License-Identifier: Apache-2.0
#include "arbiter/usemetrics.h"

#include "base/exposition.h"

static void add_sample(const struct usemetric *row, const struct limituse *use, struct text *out)
{
    exposition_sample(out, row->name, row->value(use), "uuid", use->uuid, "namespace",
                      use->namespace_, "pod", use->pod, "pod_uid", use->pod_uid, "container",
                      use->container, NULL);
}

void usemetrics_add(const struct usemetric *rows, size_t n_rows, const struct limituse *uses,
                    size_t n_uses, struct text *out)
{
    for (size_t i = 0; i < n_rows; i++) {
        exposition_family(out, rows[i].name, rows[i].type, rows[i].help);
        for (size_t j = 0; j < n_uses; j++)
            if (rows[i].applies(&uses[j]))
                add_sample(&rows[i], &uses[j], out);
    }
}
