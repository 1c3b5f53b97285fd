// SPDX-License-Identifier: Apache-2.0
#include "node/rivalry.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"

void rivalry_init(struct rivalry *rivalry, const char *folder, const char *resource,
                  const char *endpoint, bool has_kubelet)
{
    *rivalry = (struct rivalry){
        .folder = folder,
        .resource = resource,
        .endpoint = endpoint,
        .has_kubelet = has_kubelet,
    };
}

static bool find(const struct rivalry *rivalry, bool lost, char ret_name[RIVAL_NAME_SIZE],
                 uint64_t *ret_birth_ns)
{
    bool is_own = lost && rival_is_live(rivalry->folder, rivalry->endpoint);

    if (is_own)
        snprintf(ret_name, RIVAL_NAME_SIZE, "%s", rivalry->endpoint);
    else if (!rivalry->has_kubelet || !rival_find(rivalry->folder, rivalry->resource, ret_name))
        return false;
    *ret_birth_ns = rival_born_ns(rivalry->folder, ret_name);
    return is_own || *ret_birth_ns != rivalry->forgotten_birth_ns;
}

int rivalry_look(struct rivalry *rivalry, bool lost, uint64_t now_ms)
{
    char name[RIVAL_NAME_SIZE];
    uint64_t birth_ns = 0;
    int outcome;

    if (!find(rivalry, lost, name, &birth_ns))
        return 0;
    outcome = str_equal(rivalry->name, name) ? RIVALRY_SERVES : RIVALRY_CHANGED;
    if (!rivalry_stands_back(rivalry))
        rivalry->wait_ms = RIVALRY_FIRST_MS;
    if (outcome == RIVALRY_CHANGED || birth_ns != rivalry->birth_ns)
        rivalry->since_ms = now_ms;
    rivalry->birth_ns = birth_ns;
    rivalry->due_ms = now_ms + rivalry->wait_ms;
    rivalry->awaited_until_ms = 0;
    snprintf(rivalry->name, sizeof(rivalry->name), "%s", name);
    return outcome;
}

void rivalry_wait_longer(struct rivalry *rivalry)
{
    rivalry->wait_ms = clock_twice_ms(rivalry->wait_ms, RIVALRY_LAST_MS);
}

bool rivalry_miss(struct rivalry *rivalry, uint64_t now_ms)
{
    if (now_ms < rivalry->awaited_until_ms || rivalry->due_ms <= now_ms + RIVALRY_GONE_MS)
        return false;
    rivalry->due_ms = now_ms + RIVALRY_GONE_MS;
    return true;
}

void rivalry_await(struct rivalry *rivalry, uint64_t now_ms)
{
    rivalry->awaited_until_ms = rivalry->due_ms = now_ms + RIVALRY_GRACE_MS;
}

void rivalry_forget(struct rivalry *rivalry)
{
    rivalry->forgotten_birth_ns = rivalry->birth_ns;
}

bool rivalry_end(struct rivalry *rivalry)
{
    bool stood_back = rivalry_stands_back(rivalry);

    rivalry->name[0] = '\0';
    return stood_back;
}

bool rivalry_stands_back(const struct rivalry *rivalry)
{
    return *rivalry->name;
}

bool rivalry_is_foreign(const struct rivalry *rivalry)
{
    return *rivalry->name && !str_equal(rivalry->name, rivalry->endpoint);
}
