// SPDX-License-Identifier: Apache-2.0
#include "podmanifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "fieldreader.h"

/* The documents of one text, and the list their objects are added to. */
struct input {
    struct fieldreader reader;
    struct podmanifests *manifests;
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

const char *podmanifest_kind_name(enum manifest_kind kind)
{
    return kinds[kind].name;
}

void podmanifest_deinit(struct podmanifest *manifest)
{
    free(manifest->name);
    free(manifest->namespace);
    pod_template_unref(manifest->template);
}

void podmanifests_deinit(struct podmanifests *manifests)
{
    for (size_t i = 0; i < manifests->n_items; i++)
        podmanifest_deinit(&manifests->items[i]);
    free(manifests->items);
    *manifests = (struct podmanifests)MANIFESTS_INIT;
}

static const struct yaml *find_pod_spec(struct fieldreader *reader, const struct yaml *document,
                                        enum manifest_kind kind, struct path *path)
{
    const struct yaml *spec = fieldreader_get_map(reader, document, "spec", "");

    *path = path_add("", kind == MANIFEST_POD ? "spec" : "spec.template.spec");
    if (spec && kind != MANIFEST_POD)
        spec = fieldreader_get_map(reader, fieldreader_get_map(reader, spec, "template", "spec"),
                                   "spec", "spec.template");
    if (!spec)
        fieldreader_complain(reader, document->at, path->text, "Required value");
    return spec;
}

static void read_counts(struct fieldreader *reader, const struct yaml *spec,
                        struct podmanifest *manifest)
{
    bool job = manifest->kind == MANIFEST_JOB;
    const struct yaml *job_spec = job ? spec : NULL;

    manifest->replicas = manifest->kind == MANIFEST_POD
                             ? 1
                             : fieldreader_get_count(reader, spec, job ? "parallelism" : "replicas",
                                                     "spec", 1, MANIFEST_MAX_PODS);
    manifest->completions =
        fieldreader_get_count(reader, job_spec, "completions", "spec",
                              manifest->replicas ? manifest->replicas : 1, MANIFEST_MAX_PODS);
    manifest->backoff_limit =
        fieldreader_get_count(reader, job_spec, "backoffLimit", "spec", 6, MANIFEST_MAX_PODS);
}

static void read_object(struct input *input, const struct yaml *document, enum manifest_kind kind)
{
    struct fieldreader *reader = &input->reader;
    const struct yaml *metadata = fieldreader_get_map(reader, document, "metadata", "");
    const struct yaml *spec;
    struct podmanifest *manifest = array_push(&input->manifests->items, &input->manifests->n_items,
                                              &input->manifests->capacity, sizeof(*manifest));
    const char *namespace;
    struct path path;

    if (!manifest) {
        reader->r = -ENOMEM;
        return;
    }
    manifest->kind = kind;
    manifest->name = fieldreader_get_name(reader, metadata ? metadata : document, "metadata", true);
    namespace = fieldreader_get_string(reader, metadata, "namespace", "metadata");
    if (namespace && !fieldreader_is_dns_name(namespace, false, 63))
        fieldreader_complain(reader, yaml_get(metadata, "namespace")->at, "metadata.namespace",
                             "Invalid value: \"%.64s\": must be a lower case DNS label", namespace);
    manifest->namespace =
        fieldreader_copy(reader, namespace ? namespace : input->default_namespace);
    read_counts(reader, yaml_get(document, "spec"), manifest);
    spec = find_pod_spec(reader, document, kind, &path);
    if (spec)
        manifest->template = pod_template_read(reader, spec, path.text, kinds[kind].restart_rule);
}

static void read_document(struct input *input, const struct yaml *document)
{
    struct fieldreader *reader = &input->reader;
    const struct yaml *items;
    const char *kind;

    if (document->kind == YAML_NULL)
        return;
    kind = yaml_get_text(document, "kind");
    if (!kind) {
        fieldreader_complain(
            reader, document->at, "kind",
            "Object 'Kind' is missing: use Pod, Deployment, ReplicaSet, Job or List");
        return;
    }
    items =
        str_ends_with(kind, "List") ? fieldreader_get_list(reader, document, "items", "") : NULL;
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

int podmanifests_parse(const char *data, size_t size, const char *default_namespace,
                       struct problems *problems, struct podmanifests *ret_manifests)
{
    cleanup_podmanifests struct podmanifests manifests = MANIFESTS_INIT;
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
    manifests = (struct podmanifests)MANIFESTS_INIT;
    return 0;
}
