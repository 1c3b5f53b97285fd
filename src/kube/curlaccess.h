// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * struct kube_access as libcurl needs it: the URL, whom to trust and who we are, set anew on each
 * transfer. Files are named to libcurl or read here at that moment; nothing of them is kept.
 */

#include <curl/curl.h>

#include "base/error.h"
#include "kube/access.h"

struct curlaccess;

/* Copies access. */
int curlaccess_new(const struct kube_access *access, struct curlaccess **ret_endpoint,
                   struct error *err);

void curlaccess_free(struct curlaccess *endpoint);

/* Adds our token to headers and sets them; the transfer does not outlive headers and endpoint. */
int curlaccess_apply(const struct curlaccess *endpoint, const char *path, CURL *easy,
                     struct curl_slist **headers, struct error *err);

/* An empty value keeps libcurl from sending the header. -ENOMEM. */
int curlaccess_add_header(struct curl_slist **headers, const char *name, const char *value);
