// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/nodeprofile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/yaml.h"
#include "karpenter/nodekeys.h"

#define HEADER "# " SLICEPROFILE_LABEL ": "

enum { FILE_MAX = 512 << 10 /* annotations of one object are smaller together */ };

/* --- what is remembered --- */

static void forget(struct nodeprofile *profile)
{
    free(TAKE_PTR(profile->name));
    free(TAKE_PTR(profile->text));
}

/* A line with the name, then the text. */
static void read_remembered(struct nodeprofile *profile, char *data)
{
    char *text = data + strlen(HEADER), *name = strsep(&text, "\n");

    profile->name = strdup(name);
    profile->text = text && *text ? strdup(text) : NULL;
    log_info("using this node's slice profile as remembered, until the cluster reports it",
             "profile", name);
}

static void recall(struct nodeprofile *profile)
{
    cleanup_free char *data = NULL;
    struct error err = ERROR_INIT;
    size_t size;
    int r = file_read(profile->path, FILE_MAX, &data, &size, &err);

    if (r == 0 && str_starts_with(data, HEADER))
        read_remembered(profile, data);
    else if (r != -ENOENT)
        log_warning("the remembered slice profile of this node is unreadable and ignored", "file",
                    profile->path, "reason", r < 0 ? error_text(&err) : NULL);
}

/* A file of the profile before would slice the node as that one says. */
static void remember(struct nodeprofile *profile)
{
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    int r;

    profile->is_unwritten = false;
    if (!profile->name) {
        unlink(profile->path);
        return;
    }
    text_addf(&text, HEADER "%s\n%s", profile->name, profile->text ? profile->text : "");
    r = text_failed(&text) ? error_set_errno(&err, -ENOMEM, "cannot remember the slice profile")
                           : file_make_directory(profile->folder, &err);
    if (r == 0)
        r = file_write_atomic(profile->path, text.data, text.length, 0600, &err);
    if (r == 0)
        return;
    profile->is_unwritten = true;
    log_error(error_text(&err), "hint", "this node is not sliced as its profile says");
}

void nodeprofile_init(struct nodeprofile *profile, const char *state_folder)
{
    *profile = (struct nodeprofile){.folder = state_folder};
    snprintf(profile->path, sizeof(profile->path), "%s/profile.yaml", state_folder);
    recall(profile);
}

void nodeprofile_deinit(struct nodeprofile *profile)
{
    forget(profile);
}

static bool is_same(const char *a, const char *b)
{
    return !a == !b && (!a || str_equal(a, b));
}

bool nodeprofile_set(struct nodeprofile *profile, const char *name, const char *text)
{
    name = name && *name ? name : NULL;
    text = name && text && *text ? text : NULL;
    if (!is_same(name, profile->name) || !is_same(text, profile->text)) {
        forget(profile);
        profile->name = name ? strdup(name) : NULL;
        profile->text = text ? strdup(text) : NULL;
    } else if (!profile->is_unwritten) {
        return false;
    }
    remember(profile);
    return true;
}

/* --- what it may contain --- */

static const struct {
    const char *in; /* NULL = at the top */
    const char *keys[5];
} allowed[] = {
    {NULL, {"version", "flags", "sharing", "gpuslice"}},
    {"flags", {"migStrategy"}},
    {"gpuslice", {"mig", "slices", "isolation", "memory", "compute"}},
};

static bool is_allowed(const char *key, const char *const *keys, size_t n_keys)
{
    for (size_t i = 0; i < n_keys && keys[i]; i++)
        if (str_equal(keys[i], key))
            return true;
    return false;
}

static int check_document(const struct yaml *document, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
        const struct yaml *map = allowed[i].in ? yaml_get(document, allowed[i].in) : document;

        for (size_t k = 0; map && k < map->n_children; k++) {
            const char *key = map->children[k].key;

            if (!key || !is_allowed(key, allowed[i].keys, ARRAY_SIZE(allowed[i].keys)))
                return error_set(err, -EINVAL,
                                 "the Node's annotation " SLICEPROFILE_CONFIG
                                 " has '%.60s', which is not about slices",
                                 key ? key : "a list");
        }
    }
    return 0;
}

static int check_text(const char *text, struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct yaml *documents;
    size_t n;
    int r = yaml_parse(text, strlen(text), (struct position){0, 0}, &problems, &documents, &n);

    if (r < 0)
        return error_set(err, -EINVAL, "the Node's annotation " SLICEPROFILE_CONFIG " is no YAML");
    r = n == 1 && documents[0].kind == YAML_MAP
            ? check_document(&documents[0], err)
            : error_set(err, -EINVAL,
                        "the Node's annotation " SLICEPROFILE_CONFIG
                        " is no configuration of the agent");
    yaml_free(documents, n);
    return r;
}

int nodeprofile_check(const struct nodeprofile *profile, struct error *err)
{
    if (!profile->text)
        return error_set(err, -ENODATA,
                         "the Node's label " SLICEPROFILE_LABEL
                         " names the slice profile '%s', and "
                         "the annotation " SLICEPROFILE_CONFIG
                         ", which says what that is, is missing: it has to be in the NodePool's "
                         "template, or on the Node",
                         profile->name);
    if (profile->is_unwritten)
        return error_set(err, -EIO,
                         "the slice profile '%s' of this node cannot be written to %s; see to the "
                         "agent's state folder",
                         profile->name, profile->path);
    return check_text(profile->text, err);
}
