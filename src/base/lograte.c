// SPDX-License-Identifier: Apache-2.0
#include "base/lograte.h"

#include "base/hash.h"

/* A collision only keeps one line out of the log. */
static uint64_t hash(const char *sentence)
{
    uint64_t h = hash_text(HASH_INIT, sentence);

    return h ? h : 1;
}

bool lograte_begin(struct lograte *rate, const char *sentence, uint64_t now_ms)
{
    const uint64_t state = hash(sentence);

    if (now_ms - rate->since_ms >= LOGRATE_PERIOD_MS) {
        rate->since_ms = now_ms;
        rate->n_logged = 0;
    }
    if (state == rate->state || rate->n_logged >= LOGRATE_BURST)
        return false;
    rate->state = state;
    rate->n_logged++;
    return true;
}

bool lograte_change(struct lograte *rate, const char *sentence)
{
    const uint64_t before = rate->state;

    rate->state = hash(sentence);
    return rate->state != before;
}

bool lograte_end(struct lograte *rate)
{
    if (!rate->state)
        return false;
    rate->state = 0;
    rate->n_logged++;
    return true;
}

bool lograte_admit(struct lograte_keys *keys, const char *key, uint64_t quiet_ms, uint64_t now_ms)
{
    const size_t place = keys->n_logged % LOGRATE_KEYS_MAX;
    const uint64_t hashed = hash(key);

    for (size_t i = 0; i < LOGRATE_KEYS_MAX; i++)
        if (keys->items[i].key == hashed && keys->items[i].until_ms > now_ms)
            return false;
    keys->n_logged++;
    keys->items[place].key = hashed;
    keys->items[place].until_ms = now_ms + quiet_ms;
    return true;
}
