// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * struct kube_access in libcurl's terms: the URL, trusted CAs and credentials, set on each
 * transfer. Files are passed to libcurl or read at that moment; nothing of them is kept.
 */

#include <curl/curl.h>

#include "base/error.h"
#include "kube/access.h"

struct curlaccess;

/* Copies access. */
int curlaccess_new(const struct kube_access *access, struct curlaccess **ret_endpoint,
                   struct error *err);

void curlaccess_free(struct curlaccess *endpoint);

/* Adds our token to headers and sets them; the transfer must not outlive headers and endpoint. */
int curlaccess_apply(const struct curlaccess *endpoint, const char *path, CURL *easy,
                     struct curl_slist **headers, struct error *err);

/* An empty value makes libcurl omit the header. -ENOMEM. */
int curlaccess_add_header(struct curl_slist **headers, const char *name, const char *value);
