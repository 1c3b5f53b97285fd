// SPDX-License-Identifier: Apache-2.0
#include "kube/kubeconfig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"

struct kubeconfig {
    const char *file;
    struct yaml *documents;
    size_t n_documents;
    struct kube_access access; /* being filled */
    struct error *err;
    bool has_person; /* who started us, so that a credential program may be run */
};

enum field_kind { FIELD_TEXT, FIELD_FILE, FIELD_PEM /* base64 */ };

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset; /* of a char * in struct kube_access */
};

#define ACCESS(member) offsetof(struct kube_access, member)

static const struct field cluster_fields[] = {
    {"server", FIELD_TEXT, ACCESS(server)},
    {"tls-server-name", FIELD_TEXT, ACCESS(server_name)},
    {"proxy-url", FIELD_TEXT, ACCESS(proxy)},
    {"certificate-authority", FIELD_FILE, ACCESS(ca_file)},
    {"certificate-authority-data", FIELD_PEM, ACCESS(ca_data)},
};

static const struct field user_fields[] = {
    {"client-certificate", FIELD_FILE, ACCESS(cert_file)},
    {"client-certificate-data", FIELD_PEM, ACCESS(cert_data)},
    {"client-key", FIELD_FILE, ACCESS(key_file)},
    {"client-key-data", FIELD_PEM, ACCESS(key_data)},
    {"tokenFile", FIELD_FILE, ACCESS(token_file)},
    {"token", FIELD_TEXT, ACCESS(token)},
    {"username", FIELD_TEXT, ACCESS(username)},
    {"password", FIELD_TEXT, ACCESS(password)},
};

/* User fields that are not supported, and what to use instead. */
static const struct {
    const char *key, *instead;
} refused[] = {
    {"exec", "credential programs are not supported: give the user a token, tokenFile or client "
             "certificate (kubectl create token SERVICEACCOUNT creates a token)"},
    {"auth-provider", "auth-provider was removed from Kubernetes: give the user a token, tokenFile "
                      "or client certificate"},
    {"as", "impersonation is not supported: use the user itself"},
    {"as-uid", "impersonation is not supported: use the user itself"},
    {"as-groups", "impersonation is not supported: use the user itself"},
    {"as-user-extra", "impersonation is not supported: use the user itself"},
};

static int refuse(const struct kubeconfig *config, const struct yaml *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* at NULL: the whole file. */
static int refuse(const struct kubeconfig *config, const struct yaml *at, const char *format, ...)
{
    char sentence[400];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    if (!at)
        return error_set(config->err, -EINVAL, "%s: %s", config->file, sentence);
    return error_set(config->err, -EINVAL, "%s:%u:%u: %s", config->file, at->at.line, at->at.column,
                     sentence);
}

static int no_memory(const struct kubeconfig *config)
{
    return error_set_errno(config->err, -ENOMEM, "cannot read the kubeconfig %s", config->file);
}

/* ---- values ---- */

/* 0 and NULL if the key is absent or empty. */
static int text_of(const struct kubeconfig *config, const struct yaml *map, const char *key,
                   const struct yaml **ret_node)
{
    const struct yaml *node = yaml_get(map, key);

    *ret_node = NULL;
    if (!node || node->kind == YAML_NULL)
        return 0;
    if (node->kind != YAML_SCALAR)
        return refuse(config, node, "%s should be a text", key);
    if (node->text[0])
        *ret_node = node;
    return 0;
}

static int value_of_base64(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *digit = c ? strchr(digits, c) : NULL;

    return digit ? (int)(digit - digits) : -1;
}

/* Line breaks are skipped, as in a block scalar. 0, -EBADMSG, -ENOMEM. */
static int decode_base64(const char *text, char **ret_data)
{
    cleanup_text struct text data = TEXT_INIT;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    const char *end = text + strcspn(text, "=");

    if (end[strspn(end, "=\r\n ")] != '\0')
        return -EBADMSG;
    text_add(&data, "");
    for (; text < end; text++) {
        int value = value_of_base64(*text);

        if (strchr("\r\n ", *text))
            continue;
        if (value < 0)
            return -EBADMSG;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            text_add_char(&data, (char)(bits >> n_bits & 0xff));
        }
    }
    if (n_bits >= 6 || (!text_failed(&data) && strlen(data.data) != data.length))
        return -EBADMSG;
    *ret_data = text_take(&data);
    return *ret_data ? 0 : -ENOMEM;
}

static int pem_of(const struct kubeconfig *config, const struct yaml *node, char **ret_data)
{
    cleanup_free char *data = NULL;
    int r = decode_base64(node->text, &data);

    if (r == -ENOMEM)
        return no_memory(config);
    if (r < 0 || !strstr(data, "-----BEGIN "))
        return refuse(config, node, "%s should be a PEM file in base64", node->key);
    *ret_data = TAKE_PTR(data);
    return 0;
}

static int file_of(const struct kubeconfig *config, const struct yaml *node, char **ret_path)
{
    const char *slash = strrchr(config->file, '/');
    int folder = node->text[0] == '/' || !slash ? 0 : (int)(slash - config->file) + 1;

    if (asprintf(ret_path, "%.*s%s", folder, config->file, node->text) < 0) {
        *ret_path = NULL;
        return no_memory(config);
    }
    return 0;
}

static int read_field(struct kubeconfig *config, const struct yaml *map, const struct field *field)
{
    char **where = (char **)((char *)&config->access + field->offset);
    const struct yaml *node;
    int r = text_of(config, map, field->key, &node);

    if (r < 0 || !node)
        return r;
    if (field->kind == FIELD_PEM)
        return pem_of(config, node, where);
    if (field->kind == FIELD_FILE)
        return file_of(config, node, where);
    *where = strdup(node->text);
    return *where ? 0 : no_memory(config);
}

static int read_fields(struct kubeconfig *config, const struct yaml *map,
                       const struct field *fields, size_t n_fields)
{
    for (size_t i = 0; i < n_fields; i++) {
        int r = read_field(config, map, &fields[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the three lists ---- */

/* The map under `inner` of the item of `list` with the given name. */
static int find_named(const struct kubeconfig *config, const char *list, const char *inner,
                      const struct yaml *name, const struct yaml **ret_map)
{
    const struct yaml *items = yaml_get(config->documents, list);

    if (items && items->kind != YAML_LIST && items->kind != YAML_NULL)
        return refuse(config, items, "%s should be a list", list);
    for (size_t i = 0; items && i < items->n_children; i++) {
        const char *own = yaml_get_text(&items->children[i], "name");
        const struct yaml *map = yaml_get(&items->children[i], inner);

        if (!own || !str_equal(own, name->text))
            continue;
        if (!map || map->kind != YAML_MAP)
            return refuse(config, &items->children[i], "%s has no map '%s'", own, inner);
        *ret_map = map;
        return 0;
    }
    return refuse(config, name, "there is no %s called %s in %s", inner, name->text, list);
}

/* An address is a scheme, a host and optionally a port and a path (clusters behind a common front
 * end have one). */
static int check_server(struct kubeconfig *config, const struct yaml *cluster)
{
    const struct yaml *node = yaml_get(cluster, "server");
    char *server = config->access.server;
    size_t length = server ? strlen(server) : 0;
    const char *host;

    if (!server)
        return refuse(config, cluster, "the cluster has no server: write https://HOST:PORT");
    while (length > 0 && server[length - 1] == '/')
        server[--length] = '\0';
    host = str_starts_with(server, "https://")  ? server + 8
           : str_starts_with(server, "http://") ? server + 7
                                                : "";
    if (!host[0] || host[0] == '/' || host[strcspn(host, "?#@ \t\r\n")])
        return refuse(config, node, "%s is not a server address: write https://HOST:PORT",
                      node->text);
    return 0;
}

static int read_cluster(struct kubeconfig *config, const struct yaml *name)
{
    struct kube_access *access = &config->access;
    const struct yaml *cluster = NULL, *insecure;
    int r = find_named(config, "clusters", "cluster", name, &cluster);

    if (r < 0)
        return r;
    r = read_fields(config, cluster, cluster_fields, ARRAY_SIZE(cluster_fields));
    if (r < 0)
        return r;
    insecure = yaml_get(cluster, "insecure-skip-tls-verify");
    if (insecure && insecure->kind != YAML_NULL && !yaml_as_bool(insecure, &access->insecure))
        return refuse(config, insecure, "insecure-skip-tls-verify should be true or false");
    if (access->insecure && (access->ca_file || access->ca_data))
        return refuse(config, insecure,
                      "insecure-skip-tls-verify cannot be combined with a certificate-authority: "
                      "remove one of them");
    return check_server(config, cluster);
}

/* ---- a credential program ---- */

static const struct field exec_fields[] = {
    {"apiVersion", FIELD_TEXT, ACCESS(exec_version)},
    {"command", FIELD_TEXT, ACCESS(exec_command)},
};

static int read_arguments(struct kubeconfig *config, const struct yaml *exec)
{
    const struct yaml *list = yaml_get(exec, "args");

    if (!list || list->kind == YAML_NULL)
        return 0;
    if (list->kind != YAML_LIST)
        return refuse(config, list, "args should be a list");
    for (size_t i = 0; i < list->n_children; i++) {
        const struct yaml *item = &list->children[i];

        if (item->kind != YAML_SCALAR)
            return refuse(config, item, "args should be texts");
        if (names_add(&config->access.exec_args, item->text, strlen(item->text)) < 0)
            return no_memory(config);
    }
    return 0;
}

static int read_variables(struct kubeconfig *config, const struct yaml *exec)
{
    const struct yaml *list = yaml_get(exec, "env");

    if (!list || list->kind == YAML_NULL)
        return 0;
    if (list->kind != YAML_LIST)
        return refuse(config, list, "env should be a list");
    for (size_t i = 0; i < list->n_children; i++) {
        const struct yaml *item = &list->children[i];
        const char *name = yaml_get_text(item, "name"), *value = yaml_get_text(item, "value");
        cleanup_text struct text entry = TEXT_INIT;

        if (!name || !*name || strchr(name, '=') || !value)
            return refuse(config, item, "an entry of env has a name and a value");
        text_addf(&entry, "%s=%s", name, value);
        if (text_failed(&entry) ||
            names_add(&config->access.exec_env, entry.data, entry.length) < 0)
            return no_memory(config);
    }
    return 0;
}

static int read_exec(struct kubeconfig *config, const struct yaml *exec)
{
    const struct yaml *info, *command = NULL;
    bool is_wanted = false;
    int r;

    if (exec->kind != YAML_MAP)
        return refuse(config, exec, "exec should be a map");
    r = read_fields(config, exec, exec_fields, ARRAY_SIZE(exec_fields));
    if (r == 0)
        r = text_of(config, exec, "command", &command);
    if (r == 0 && (!command || !config->access.exec_version))
        return refuse(config, exec, "exec has a command and an apiVersion");
    info = yaml_get(exec, "provideClusterInfo");
    if (r == 0 && info && yaml_as_bool(info, &is_wanted) && is_wanted)
        return refuse(config, info,
                      "provideClusterInfo is not supported: give the user a token, tokenFile or "
                      "client certificate");
    if (r == 0 && command && strchr(command->text, '/')) { /* relative to the file, as in kubectl */
        free(TAKE_PTR(config->access.exec_command));
        r = file_of(config, command, &config->access.exec_command);
    }
    if (r == 0)
        r = read_arguments(config, exec);
    return r == 0 ? read_variables(config, exec) : r;
}

static int read_user(struct kubeconfig *config, const struct yaml *name)
{
    struct kube_access *access = &config->access;
    const struct yaml *user = NULL;
    int r = find_named(config, "users", "user", name, &user);

    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        const struct yaml *node = yaml_get(user, refused[i].key);

        if (!node || node->kind == YAML_NULL)
            continue;
        if (!config->has_person || !str_equal(refused[i].key, "exec"))
            return refuse(config, node, "%s", refused[i].instead);
        r = read_exec(config, node);
        if (r < 0)
            return r;
    }
    r = read_fields(config, user, user_fields, ARRAY_SIZE(user_fields));
    if (r < 0)
        return r;
    if (!(access->cert_file || access->cert_data) != !(access->key_file || access->key_data))
        return refuse(config, user,
                      "a client certificate needs client-certificate and client-key, or both "
                      "with -data");
    return 0;
}

static void drop(char **field, bool because)
{
    if (because) {
        free(*field);
        *field = NULL;
    }
}

static void settle_precedence(struct kube_access *access)
{
    drop(&access->ca_file, access->ca_data);
    drop(&access->cert_file, access->cert_data);
    drop(&access->key_file, access->key_data);
    drop(&access->token, access->token_file);
}

static int read_context(struct kubeconfig *config)
{
    static const struct field context_fields[] = {{"namespace", FIELD_TEXT, ACCESS(namespace)}};
    const struct yaml *name = NULL, *context = NULL, *cluster = NULL, *user = NULL;
    int r = text_of(config, config->documents, "current-context", &name);

    if (r < 0)
        return r;
    if (!name)
        return refuse(config, NULL, "it has no current-context: name one of its contexts");
    r = find_named(config, "contexts", "context", name, &context);
    if (r < 0)
        return r;
    r = text_of(config, context, "cluster", &cluster);
    if (r < 0)
        return r;
    if (!cluster)
        return refuse(config, context, "the context %s names no cluster", name->text);
    r = read_cluster(config, cluster);
    if (r < 0)
        return r;
    r = text_of(config, context, "user", &user);
    if (r == 0 && user)
        r = read_user(config, user);
    if (r < 0)
        return r;
    return read_fields(config, context, context_fields, ARRAY_SIZE(context_fields));
}

static int parse(struct kubeconfig *config, const char *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char line[400];
    int r = problems_set_source(&problems, config->file);

    if (r == 0)
        r = yaml_parse(data, size, (struct position){0, 0}, &problems, &config->documents,
                       &config->n_documents);
    if (r == -ENOMEM)
        return no_memory(config);
    if (r < 0) {
        problems_describe(&problems, line, sizeof(line));
        return error_set(config->err, -EINVAL, "%s", line);
    }
    if (config->n_documents != 1 || config->documents->kind != YAML_MAP)
        return refuse(config, NULL, "not a kubeconfig");
    return 0;
}

static int read_any(const char *file, const char *data, size_t size, bool has_person,
                    struct kube_access *ret_access, struct error *err)
{
    struct kubeconfig config = {
        .file = file, .access = KUBE_ACCESS_INIT, .err = err, .has_person = has_person};
    int r = parse(&config, data, size);

    if (r == 0)
        r = read_context(&config);
    yaml_free(config.documents, config.n_documents);
    if (r < 0) {
        kube_access_deinit(&config.access);
        return r;
    }
    settle_precedence(&config.access);
    *ret_access = config.access;
    return 0;
}

int kubeconfig_read(const char *file, const char *data, size_t size, struct kube_access *ret_access,
                    struct error *err)
{
    return read_any(file, data, size, false, ret_access, err);
}

int kubeconfig_read_user(const char *file, const char *data, size_t size,
                         struct kube_access *ret_access, struct error *err)
{
    return read_any(file, data, size, true, ret_access, err);
}

static int load_any(const char *kubeconfig, bool has_person, struct kube_access *ret_access,
                    struct error *err)
{
    cleanup_free char *data = NULL;
    size_t size;
    int r;

    if (!kubeconfig || !kubeconfig[0])
        return kube_access_of_pod(NULL, ret_access, err);
    r = file_read(kubeconfig, YAML_MAX_BYTES, &data, &size, err);
    if (r < 0)
        return error_wrap(err, r, "cannot read the kubeconfig");
    return has_person ? kubeconfig_read_user(kubeconfig, data, size, ret_access, err)
                      : kubeconfig_read(kubeconfig, data, size, ret_access, err);
}

int kube_access_load(const char *kubeconfig, struct kube_access *ret_access, struct error *err)
{
    return load_any(kubeconfig, false, ret_access, err);
}

int kube_access_load_user(const char *kubeconfig, struct kube_access *ret_access, struct error *err)
{
    return load_any(kubeconfig, true, ret_access, err);
}
