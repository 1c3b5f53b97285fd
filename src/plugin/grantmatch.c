// SPDX-License-Identifier: Apache-2.0
#include "plugin/grantmatch.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "slice/migname.h"
#include "slice/name.h"

/* "nvidia.com/mig-1g.5gb.me.shared" -> 1g.5gb+me. False: it is no profile's name. */
static bool profile_of(const char *resource, struct mig_name *ret_name)
{
    const char *base = strrchr(resource, '/');
    char profile[DEVICE_PROFILE_SIZE];
    char *attributes;
    size_t length;

    if (!base || !str_starts_with(base, "/mig-"))
        return false;
    base += strlen("/mig-");
    length = strlen(base);
    if (length > strlen(NAME_SHARED) && str_equal(base + length - strlen(NAME_SHARED), NAME_SHARED))
        length -= strlen(NAME_SHARED);
    if (length >= sizeof(profile))
        return false;
    snprintf(profile, sizeof(profile), "%.*s", (int)length, base);
    attributes = strstr(profile, "gb.");
    if (attributes)
        attributes[2] = '+';
    return migname_parse(profile, ret_name, NULL) == 0;
}

static bool is_other_profile(const char *resource, const char *profile)
{
    struct mig_name granted, now;

    return profile_of(resource, &granted) && migname_parse(profile, &now, NULL) == 0 &&
           !migname_equal(&granted, &now);
}

/* Drivers differ by a few MiB; the smallest profiles differ by far more. */
static bool is_other_size(uint64_t granted_bytes, uint64_t now_bytes)
{
    const uint64_t apart =
        granted_bytes > now_bytes ? granted_bytes - now_bytes : now_bytes - granted_bytes;

    return granted_bytes && now_bytes && apart > now_bytes / 8;
}

static bool differ(const char *granted, const char *now)
{
    struct mig_name a, b;

    if (migname_parse(granted, &a, NULL) < 0 || migname_parse(now, &b, NULL) < 0)
        return !str_equal(granted, now);
    return !migname_equal(&a, &b);
}

/* NULL = the grant does not have it. */
static const char *profile_granted(const struct grant *grant, const char *uuid)
{
    for (size_t i = 0; i < grant->n_devices; i++)
        if (strcasecmp(grant->devices[i].uuid, uuid) == 0)
            return grant->devices[i].profile;
    return NULL;
}

bool grantmatch_is_other(const struct grant *grant, const struct device *device)
{
    const char *granted = profile_granted(grant, device->uuid);
    bool is_unshared = false;

    if (granted)
        return differ(granted, device->profile);
    if (is_other_profile(grant->resource, device->profile))
        return true;
    for (size_t i = 0; i < grant->n_ids; i++)
        is_unshared |= strcasecmp(grant->ids[i], device->uuid) == 0;
    for (size_t i = 0; is_unshared && i < grant->n_devices; i++)
        if (strcasecmp(grant->devices[i].uuid, device->uuid) == 0 &&
            is_other_size(grant->devices[i].mem_bytes, device->mem_total_bytes))
            return true;
    return false;
}
