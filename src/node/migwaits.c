// SPDX-License-Identifier: Apache-2.0
#include "node/migwaits.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static bool has(const json_t *pods, const json_t *pod)
{
    const json_t *other;
    size_t i;

    json_array_foreach(pods, i, other) if (json_equal(other, pod)) return true;
    return false;
}

/* A pod with several devices once. */
static int add_pod(json_t *pods, const char *name, const char *uid)
{
    const char *slash = strchr(name, '/');
    json_t *pod = json_pack("{s:s%,s:s,s:s}", "namespace", name, (size_t)(slash - name), "name",
                            slash + 1, "uid", uid);
    int r = 0;

    if (!pod)
        return -ENOMEM;
    if (!has(pods, pod))
        r = json_array_append(pods, pod);
    json_decref(pod);
    return r < 0 ? -ENOMEM : 0;
}

char *migwaits_of_gpu(const struct gpu *gpu, const struct gpuholders *holders,
                      const uint32_t *places, size_t n)
{
    json_t *pods = json_array(), *part;
    char *text = NULL;
    int r = pods ? 0 : -ENOMEM;

    for (size_t i = 0; i < n && r == 0; i++) {
        const char *name = gpuholders_pod(holders, places[i]);

        if (name)
            r = add_pod(pods, name, holders->uids[places[i]]);
    }
    if (r < 0 || !json_array_size(pods)) {
        json_decref(pods);
        return NULL;
    }
    part = json_pack("{s:i,s:s,s:o}", "index", (int)gpu->index, "uuid", gpu->uuid, "pods", pods);
    text = json_dumps(part, JSON_COMPACT);
    json_decref(part);
    return text;
}

void migwaits_add(const char *layout, char *const *parts, size_t n, struct text *out)
{
    json_t *name = n ? json_string(layout) : NULL;
    cleanup_free char *quoted = name ? json_dumps(name, JSON_ENCODE_ANY) : NULL;

    json_decref(name);
    if (!n)
        return;
    text_addf(out, "{\"layout\":%s,\"gpus\":[", quoted ? quoted : "\"\"");
    for (size_t i = 0; i < n; i++)
        text_addf(out, "%s%s", i ? "," : "", parts[i]);
    text_add(out, "]}");
}
