// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * struct kube_access as libcurl needs it: the URL, whom to trust and who we are, set anew on each
 * transfer. Files are named to libcurl or read here at that moment; nothing of them is kept.
 */

#include <curl/curl.h>

#include "base/error.h"
#include "kube/access.h"

struct endpoint;

/* Copies access. */
int endpoint_new(const struct kube_access *access, struct endpoint **ret_endpoint,
                 struct error *err);

void endpoint_free(struct endpoint *endpoint);

/* Adds our token to headers and sets them; the transfer does not outlive headers and endpoint. */
int endpoint_apply(const struct endpoint *endpoint, const char *path, CURL *easy,
                   struct curl_slist **headers, struct error *err);

/* An empty value keeps libcurl from sending the header. -ENOMEM. */
int endpoint_add_header(struct curl_slist **headers, const char *name, const char *value);
