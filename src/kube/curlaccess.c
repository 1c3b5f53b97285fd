// SPDX-License-Identifier: Apache-2.0
#include "kube/curlaccess.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

enum { TOKEN_BYTES = 64 << 10 };

struct curlaccess {
    struct kube_access access;
    bool encrypted;                /* https; http only if a kubeconfig requires it */
    char *url;                     /* scheme, host and port, possibly a path; no trailing slash */
    char *host;                    /* the Host header; NULL = the URL's */
    struct curl_slist *connect_to; /* the real address of the URL's host; NULL = the host itself */
};

#define STRING(member) offsetof(struct kube_access, member)

static int copy_access(const struct kube_access *from, struct kube_access *to)
{
    static const size_t strings[] = {
        STRING(server),    STRING(server_name), STRING(proxy),    STRING(ca_file),
        STRING(ca_data),   STRING(token_file),  STRING(token),    STRING(cert_file),
        STRING(cert_data), STRING(key_file),    STRING(key_data), STRING(username),
        STRING(password),  STRING(namespace),
    };

    *to = (struct kube_access){.insecure = from->insecure};
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        char *const *text = (char *const *)((const char *)from + strings[i]);
        char **copy = (char **)((char *)to + strings[i]);

        *copy = *text ? strdup(*text) : NULL;
        if (*text && !*copy)
            return -ENOMEM;
    }
    return 0;
}

void curlaccess_free(struct curlaccess *endpoint)
{
    if (!endpoint)
        return;
    kube_access_deinit(&endpoint->access);
    curl_slist_free_all(endpoint->connect_to);
    free(endpoint->url);
    free(endpoint->host);
    free(endpoint);
}

DEFINE_CLEANUP(struct curlaccess *, curlaccess_free)

/*
 * libcurl verifies the name in the URL only. So the URL has the expected name, CURLOPT_CONNECT_TO
 * the real address, and the Host header stays that of the address.
 */
static int use_server_name(struct curlaccess *endpoint)
{
    const char *server = endpoint->access.server;
    const char *authority = strstr(server, "://") + 3;
    int authority_length = (int)strcspn(authority, "/");
    const char *bracket = memchr(authority, ']', (size_t)authority_length);
    const char *from = bracket ? bracket : authority;
    const char *colon = memchr(from, ':', (size_t)(authority + authority_length - from));
    int host_length = (int)((colon ? colon : authority + authority_length) - authority);
    int port_length = colon ? authority_length - host_length - 1 : 0;
    const char *port = colon ? colon + 1 : "";
    cleanup_free char *route = NULL;

    if (asprintf(&endpoint->host, "%.*s", authority_length, authority) < 0 ||
        asprintf(&endpoint->url, "%.*s%s%s", (int)(authority - server), server,
                 endpoint->access.server_name, authority + host_length) < 0 ||
        asprintf(&route, "::%.*s:%.*s", host_length, authority, port_length, port) < 0)
        return -ENOMEM;
    endpoint->connect_to = curl_slist_append(NULL, route);
    return endpoint->connect_to ? 0 : -ENOMEM;
}

int curlaccess_new(const struct kube_access *access, struct curlaccess **ret_endpoint,
                   struct error *err)
{
    cleanup(curlaccess_free_p) struct curlaccess *endpoint = calloc(1, sizeof(*endpoint));
    int r = endpoint ? copy_access(access, &endpoint->access) : -ENOMEM;

    if (r < 0)
        return error_set_errno(err, r, "cannot prepare a client for the API server");
    endpoint->encrypted = str_starts_with(access->server, "https://");
    if (!endpoint->encrypted && !str_starts_with(access->server, "http://"))
        return error_set(err, -EINVAL, "%s is not a server address: write https://HOST:PORT",
                         access->server);
    if (access->server_name) {
        r = use_server_name(endpoint);
    } else {
        endpoint->url = strdup(access->server);
        r = endpoint->url ? 0 : -ENOMEM;
    }
    if (r < 0)
        return error_set_errno(err, r, "cannot prepare a client for the API server");
    *ret_endpoint = TAKE_PTR(endpoint);
    return 0;
}

int curlaccess_add_header(struct curl_slist **headers, const char *name, const char *value)
{
    cleanup_free char *line = NULL;
    struct curl_slist *longer;

    if (asprintf(&line, value[0] ? "%s: %s" : "%s:", name, value) < 0) {
        line = NULL;
        return -ENOMEM;
    }
    longer = curl_slist_append(*headers, line);
    if (!longer)
        return -ENOMEM;
    *headers = longer;
    return 0;
}

/* ---- authentication ---- */

static int add_bearer(const char *token, struct curl_slist **headers)
{
    cleanup_free char *value = NULL;

    if (asprintf(&value, "Bearer %s", token) < 0) {
        value = NULL;
        return -ENOMEM;
    }
    return curlaccess_add_header(headers, "Authorization", value);
}

/* The kubelet replaces a pod's token well before it expires, so the file is read for each
 * request. */
static int add_token_of_file(const char *path, struct curl_slist **headers, struct error *err)
{
    cleanup_free char *token = NULL;
    size_t size, length;
    int r = file_read(path, TOKEN_BYTES, &token, &size, err);

    if (r < 0)
        return error_wrap(err, r, "cannot read our token");
    length = strcspn(token, " \t\r\n");
    if (length == 0 || token[length + strspn(token + length, " \t\r\n")])
        return error_set(err, -EINVAL, "cannot read our token: %s contains no token", path);
    token[length] = '\0';
    r = add_bearer(token, headers);
    return r < 0 ? error_set_errno(err, r, "cannot send to the API server") : 0;
}

static int add_token(const struct curlaccess *endpoint, struct curl_slist **headers,
                     struct error *err)
{
    int r;

    if (endpoint->access.token_file)
        return add_token_of_file(endpoint->access.token_file, headers, err);
    r = endpoint->access.token ? add_bearer(endpoint->access.token, headers) : 0;
    return r < 0 ? error_set_errno(err, r, "cannot send to the API server") : 0;
}

/* ---- libcurl's options ---- */

/* text NULL: the option is left unchanged. */
static bool set_text(CURL *easy, CURLoption option, const char *text)
{
    return !text || curl_easy_setopt(easy, option, text) == CURLE_OK;
}

static bool set_blob(CURL *easy, CURLoption option, char *data)
{
    struct curl_blob blob = {
        .data = data, .len = data ? strlen(data) : 0, .flags = CURL_BLOB_NOCOPY};

    return !data || curl_easy_setopt(easy, option, &blob) == CURLE_OK;
}

static bool set_trust(const struct curlaccess *endpoint, CURL *easy)
{
    const struct kube_access *access = &endpoint->access;
    bool has_ca = access->ca_file || access->ca_data;

    /* Since 7.87 libcurl caches a CA for a day, and a resumed session is not verified again: both
     * would keep a revoked CA valid. */
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, access->insecure ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, access->insecure ? 0L : 2L);
    /* Otherwise Debian's libcurl also trusts the system's CAs. */
    if (has_ca && (curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK ||
                   curl_easy_setopt(easy, CURLOPT_CAINFO, NULL) != CURLE_OK))
        return false;
    return set_text(easy, CURLOPT_CAINFO, access->ca_file) &&
           set_blob(easy, CURLOPT_CAINFO_BLOB, access->ca_data);
}

static bool set_identity(const struct curlaccess *endpoint, CURL *easy)
{
    const struct kube_access *access = &endpoint->access;

    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    return set_text(easy, CURLOPT_SSLCERT, access->cert_file) &&
           set_blob(easy, CURLOPT_SSLCERT_BLOB, access->cert_data) &&
           set_text(easy, CURLOPT_SSLKEY, access->key_file) &&
           set_blob(easy, CURLOPT_SSLKEY_BLOB, access->key_data) &&
           set_text(easy, CURLOPT_USERNAME, access->username) &&
           set_text(easy, CURLOPT_PASSWORD, access->password);
}

static bool set_address(const struct curlaccess *endpoint, const char *path, CURL *easy)
{
    cleanup_free char *url = NULL;

    if (asprintf(&url, "%s%s", endpoint->url, path) < 0) {
        url = NULL;
        return false;
    }
    if (endpoint->connect_to)
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, endpoint->connect_to);
    return set_text(easy, CURLOPT_PROTOCOLS_STR, endpoint->encrypted ? "https" : "http") &&
           set_text(easy, CURLOPT_PROXY, endpoint->access.proxy) &&
           set_text(easy, CURLOPT_URL, url);
}

int curlaccess_apply(const struct curlaccess *endpoint, const char *path, CURL *easy,
                     struct curl_slist **headers, struct error *err)
{
    int r = add_token(endpoint, headers, err);

    if (r < 0)
        return r;
    if (endpoint->host)
        r = curlaccess_add_header(headers, "Host", endpoint->host);
    if (r < 0 || !set_address(endpoint, path, easy) || !set_trust(endpoint, easy) ||
        !set_identity(endpoint, easy) ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers) != CURLE_OK)
        return error_set(err, -ENOMEM,
                         "cannot connect to the API server at %s: rejected by libcurl",
                         endpoint->url);
    return 0;
}
