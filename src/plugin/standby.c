// SPDX-License-Identifier: Apache-2.0
#include "plugin/standby.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"

void standby_init(struct standby *standby, const char *folder, const char *resource,
                  const char *endpoint, bool has_kubelet)
{
    *standby = (struct standby){
        .folder = folder,
        .resource = resource,
        .endpoint = endpoint,
        .has_kubelet = has_kubelet,
    };
}

static bool find(const struct standby *standby, bool lost, char ret_name[FOREIGNPLUGIN_NAME_SIZE],
                 uint64_t *ret_birth_ns)
{
    bool is_own = lost && foreignplugin_is_live(standby->folder, standby->endpoint);

    if (is_own)
        snprintf(ret_name, FOREIGNPLUGIN_NAME_SIZE, "%s", standby->endpoint);
    else if (!standby->has_kubelet ||
             !foreignplugin_find(standby->folder, standby->resource, ret_name))
        return false;
    *ret_birth_ns = foreignplugin_birth_ns(standby->folder, ret_name);
    return is_own || *ret_birth_ns != standby->forgotten_birth_ns;
}

int standby_update(struct standby *standby, bool lost, uint64_t now_ms)
{
    char name[FOREIGNPLUGIN_NAME_SIZE];
    uint64_t birth_ns = 0;
    int outcome;

    if (!find(standby, lost, name, &birth_ns))
        return 0;
    outcome = str_equal(standby->name, name) ? STANDBY_SERVES : STANDBY_CHANGED;
    if (!standby_is_active(standby))
        standby->wait_ms = STANDBY_FIRST_MS;
    if (outcome == STANDBY_CHANGED || birth_ns != standby->birth_ns)
        standby->since_ms = now_ms;
    standby->birth_ns = birth_ns;
    standby->due_ms = now_ms + standby->wait_ms;
    standby->awaited_until_ms = 0;
    snprintf(standby->name, sizeof(standby->name), "%s", name);
    return outcome;
}

void standby_back_off(struct standby *standby)
{
    standby->wait_ms = clock_twice_ms(standby->wait_ms, STANDBY_LAST_MS);
}

bool standby_missed(struct standby *standby, uint64_t now_ms)
{
    if (now_ms < standby->awaited_until_ms || standby->due_ms <= now_ms + STANDBY_GONE_MS)
        return false;
    standby->due_ms = now_ms + STANDBY_GONE_MS;
    return true;
}

void standby_expect(struct standby *standby, uint64_t now_ms)
{
    standby->awaited_until_ms = standby->due_ms = now_ms + STANDBY_GRACE_MS;
}

void standby_forget(struct standby *standby)
{
    standby->forgotten_birth_ns = standby->birth_ns;
}

bool standby_end(struct standby *standby)
{
    bool stood_back = standby_is_active(standby);

    standby->name[0] = '\0';
    return stood_back;
}

bool standby_is_active(const struct standby *standby)
{
    return *standby->name;
}

bool standby_is_foreign(const struct standby *standby)
{
    return *standby->name && !str_equal(standby->name, standby->endpoint);
}
