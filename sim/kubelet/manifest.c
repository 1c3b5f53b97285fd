// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "reader.h"

/* The documents of one text, and the list their objects are added to. */
struct input {
    struct reader reader;
    struct manifests *manifests;
    const char *default_namespace;
};

static const struct {
    const char *name;
    enum restart_rule restart_rule;
} kinds[] = {
    [MANIFEST_POD] = {"Pod", RESTART_ANY},
    [MANIFEST_REPLICA_SET] = {"ReplicaSet", RESTART_ONLY_ALWAYS},
    [MANIFEST_DEPLOYMENT] = {"Deployment", RESTART_ONLY_ALWAYS},
    [MANIFEST_JOB] = {"Job", RESTART_NOT_ALWAYS},
};

const char *manifest_kind_name(enum manifest_kind kind)
{
    return kinds[kind].name;
}

void manifest_deinit(struct manifest *manifest)
{
    free(manifest->name);
    free(manifest->namespace);
    pod_template_unref(manifest->template);
}

void manifests_deinit(struct manifests *manifests)
{
    for (size_t i = 0; i < manifests->n_items; i++)
        manifest_deinit(&manifests->items[i]);
    free(manifests->items);
    *manifests = (struct manifests)MANIFESTS_INIT;
}

static const struct yaml *find_pod_spec(struct reader *reader, const struct yaml *document,
                                        enum manifest_kind kind, struct path *path)
{
    const struct yaml *spec = reader_get_map(reader, document, "spec", "");

    *path = path_add("", kind == MANIFEST_POD ? "spec" : "spec.template.spec");
    if (spec && kind != MANIFEST_POD)
        spec = reader_get_map(reader, reader_get_map(reader, spec, "template", "spec"), "spec",
                              "spec.template");
    if (!spec)
        reader_complain(reader, document->at, path->text, "Required value");
    return spec;
}

static void read_counts(struct reader *reader, const struct yaml *spec, struct manifest *manifest)
{
    bool job = manifest->kind == MANIFEST_JOB;
    const struct yaml *job_spec = job ? spec : NULL;

    manifest->replicas = manifest->kind == MANIFEST_POD
                             ? 1
                             : reader_get_count(reader, spec, job ? "parallelism" : "replicas",
                                                "spec", 1, MANIFEST_MAX_PODS);
    manifest->completions =
        reader_get_count(reader, job_spec, "completions", "spec",
                         manifest->replicas ? manifest->replicas : 1, MANIFEST_MAX_PODS);
    manifest->backoff_limit =
        reader_get_count(reader, job_spec, "backoffLimit", "spec", 6, MANIFEST_MAX_PODS);
}

static void read_object(struct input *input, const struct yaml *document, enum manifest_kind kind)
{
    struct reader *reader = &input->reader;
    const struct yaml *metadata = reader_get_map(reader, document, "metadata", "");
    const struct yaml *spec;
    struct manifest *manifest = array_push(&input->manifests->items, &input->manifests->n_items,
                                           &input->manifests->capacity, sizeof(*manifest));
    const char *namespace;
    struct path path;

    if (!manifest) {
        reader->r = -ENOMEM;
        return;
    }
    manifest->kind = kind;
    manifest->name = reader_get_name(reader, metadata ? metadata : document, "metadata", true);
    namespace = reader_get_string(reader, metadata, "namespace", "metadata");
    if (namespace && !reader_is_dns_name(namespace, false, 63))
        reader_complain(reader, yaml_get(metadata, "namespace")->at, "metadata.namespace",
                        "Invalid value: \"%.64s\": must be a lower case DNS label", namespace);
    manifest->namespace = reader_copy(reader, namespace ? namespace : input->default_namespace);
    read_counts(reader, yaml_get(document, "spec"), manifest);
    spec = find_pod_spec(reader, document, kind, &path);
    if (spec)
        manifest->template = pod_template_read(reader, spec, path.text, kinds[kind].restart_rule);
}

static void read_document(struct input *input, const struct yaml *document)
{
    struct reader *reader = &input->reader;
    const struct yaml *items;
    const char *kind;

    if (document->kind == YAML_NULL)
        return;
    kind = yaml_get_text(document, "kind");
    if (!kind) {
        reader_complain(reader, document->at, "kind",
                        "Object 'Kind' is missing: use Pod, Deployment, ReplicaSet, Job or List");
        return;
    }
    items = str_ends_with(kind, "List") ? reader_get_list(reader, document, "items", "") : NULL;
    for (size_t i = 0; items && i < items->n_children; i++)
        read_document(input, &items->children[i]);
    if (str_ends_with(kind, "List"))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_equal(kind, kinds[i].name)) {
            read_object(input, document, (enum manifest_kind)i);
            return;
        }
    problem_add(reader->problems, PROBLEM_WARNING, yaml_get(document, "kind")->at, "kind",
                "%.64s is not supported by the stand-in and is skipped", kind);
}

int manifests_parse(const char *data, size_t size, const char *default_namespace,
                    struct problems *problems, struct manifests *ret_manifests)
{
    cleanup_manifests struct manifests manifests = MANIFESTS_INIT;
    struct input input = {{problems, 0}, &manifests, default_namespace};
    struct yaml *documents;
    size_t n_documents;
    int r = yaml_parse(data, size, (struct position){0, 0}, problems, &documents, &n_documents);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n_documents; i++)
        read_document(&input, &documents[i]);
    yaml_free(documents, n_documents);
    if (input.reader.r < 0)
        return input.reader.r;
    if (problems_count(problems, PROBLEM_ERROR))
        return -EBADMSG;
    *ret_manifests = manifests;
    manifests = (struct manifests)MANIFESTS_INIT;
    return 0;
}
