// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Finds the configurations in a file: one that stands bare in it; or the texts under the data keys
 * of ConfigMaps, alone, in a `kind: List`, or among other manifests; or those in the values of a
 * Helm chart (helmvalues.h). Positions always refer to the outer file; if the inner text has no
 * lines of its own there (a JSON string), messages name its line.
 *
 * Among other manifests a ConfigMap without any text that looks like a configuration is somebody
 * else's, and is passed over.
 *
 * A file of mig-parted (migconfig.h) comes in the same shapes; it is recognised by its key
 * `mig-configs`.
 */

#include "base/error.h"
#include "config/helmvalues.h"
#include "config/schema.h"

/* One configuration that was found. */
struct manifest_choice {
    const struct yaml *value; /* its text, or the document itself; borrowed */
    const struct yaml *owner; /* the ConfigMap or the values; NULL = bare */
    const char *section;      /* "data", "config.map"; NULL = bare; borrowed */
    bool is_mig;              /* mig-parted's, not the agent's */
    bool is_foreign;          /* only while searching */
};

struct manifest {
    struct yaml *documents; /* owned */
    size_t n_documents;
    struct manifest_choice *choices; /* in the order of the file */
    size_t n_choices, capacity;
    char sections[HELM_TEXTS_MAX][64]; /* paths of the values' texts, which choices refer to */
};

#define MANIFEST_INIT     \
    {                     \
        .documents = NULL \
    }

enum { MANIFEST_MAX_CHOICES = 256 };

/* Whose configurations are requested. */
enum manifest_owner { MANIFEST_AGENT, MANIFEST_MIG, MANIFEST_ANY };

struct manifest_request {
    enum manifest_owner owner;
    const char *key;    /* only this key; NULL = any */
    bool every;         /* all that are found; otherwise several are an error */
    bool may_have_none; /* nothing but manifests of others is a note, not an error */
};

void manifest_deinit(struct manifest *manifest);
#define cleanup_manifest cleanup(manifest_deinit)

/*
 * Parses the file and finds what is requested. Problems are added to the reader; without a choice
 * there is an error, or the file is empty. 0 or -ENOMEM.
 */
int manifest_read(struct reader *reader, const char *data, size_t size,
                  const struct manifest_request *request, struct manifest *manifest);

/* What a choice is called in its file: "any of kube-system/plugin", "config.map.any", "" = bare. */
void manifest_name(const struct manifest_choice *choice, char *buffer, size_t size);

/* The tree of one choice, parsed when it is needed. */
struct manifest_tree {
    struct yaml *inner; /* owned */
    size_t n_inner;
    const struct yaml *config; /* borrowed; NULL = empty, or refused with a problem */
};

void manifest_tree_deinit(struct manifest_tree *tree);
#define cleanup_manifest_tree cleanup(manifest_tree_deinit)

/* 0 (possibly with problems) or -ENOMEM. */
int manifest_open(struct reader *reader, const struct manifest_choice *choice,
                  struct manifest_tree *ret_tree);
