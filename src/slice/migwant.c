// SPDX-License-Identifier: Apache-2.0
#include "slice/migwant.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"

#define ALL "all-"

int migwant_add(struct mig_want *want, const struct mig_board *board, const char *profile,
                uint64_t count, struct error *err)
{
    cleanup_text struct text has = TEXT_INIT;
    struct mig_name name;
    struct mig_kind kind;
    uint8_t *sum;
    int r = migname_parse(profile, &name, err);

    if (r < 0)
        return r;
    if (migkind_find(board, &name, &kind) == MIGKIND_ABSENT) {
        migkind_add_profiles(board, &has);
        return board->n_slots ? error_set(err, -ENOENT, "has no MIG profile %s; it has %s", profile,
                                          text_string(&has))
                              : error_set(err, -ENOENT, MIGWANT_NO_MIG);
    }
    sum = &want->counts[kind.profile][kind.compute];
    if (count > (uint64_t)MIGWANT_COUNT_MAX - *sum)
        return error_set(err, -ERANGE, "has room for no %llu MIG devices of the profile %s",
                         (unsigned long long)count, profile);
    *sum = (uint8_t)(*sum + count);
    return 0;
}

/* "all-1g.5gb.me": '.' for '+', which the value of a label cannot have. */
static void builtin_of(const struct mig_profile *profile, char ret_name[DEVICE_PROFILE_SIZE + 4])
{
    snprintf(ret_name, DEVICE_PROFILE_SIZE + 4, ALL "%s", profile->name);
    for (char *c = ret_name; *c; c++)
        if (*c == '+')
            *c = '.';
}

/* The profile of that many slices, without attributes, of which most fit. NULL: none. */
static const struct mig_profile *find_plain(const struct mig_board *board, uint32_t slices)
{
    const struct mig_profile *found = NULL;

    for (uint32_t i = 0; i < board->n_profiles; i++) {
        const struct mig_profile *profile = &board->profiles[i];
        struct mig_name name;

        if (migname_parse(profile->name, &name, NULL) == 0 && !*name.suffix &&
            name.gpu_slices == slices && (!found || profile->max_count > found->max_count))
            found = profile;
    }
    return found;
}

static void add_full(struct mig_want *want, const struct mig_board *board,
                     const struct mig_profile *profile, uint32_t count)
{
    uint32_t compute = migkind_full_compute(profile);

    if (compute < profile->n_computes)
        want->counts[profile - board->profiles][compute] = (uint8_t)count;
}

/* mig-parted's: the whole of the GPU is its largest profile without attributes. */
static bool make_balanced(const struct mig_board *board, struct mig_want *want)
{
    static const struct {
        uint32_t whole, counts[4]; /* by slices */
    } formulas[] = {{7, {0, 2, 1, 1}}, {4, {0, 2, 1, 0}}};
    uint32_t whole = 8;

    while (whole && !find_plain(board, whole))
        whole--;
    for (size_t i = 0; i < ARRAY_SIZE(formulas); i++) {
        if (formulas[i].whole != whole)
            continue;
        for (uint32_t slices = 1; slices < ARRAY_SIZE(formulas[i].counts); slices++) {
            const struct mig_profile *profile = find_plain(board, slices);

            if (formulas[i].counts[slices] && !profile)
                return false;
            if (formulas[i].counts[slices])
                add_full(want, board, profile, formulas[i].counts[slices]);
        }
        return true;
    }
    return false;
}

static bool make_uniform(const struct mig_board *board, const char *name, struct mig_want *want)
{
    for (uint32_t i = 0; i < board->n_profiles; i++) {
        char builtin[DEVICE_PROFILE_SIZE + 4];

        builtin_of(&board->profiles[i], builtin);
        if (!str_equal(name, builtin))
            continue;
        add_full(want, board, &board->profiles[i], board->profiles[i].max_count);
        return true;
    }
    return false;
}

#define TIMES " x "

/* The next of "2 x 1g.5gb, 1 x 3g.20gb". 1: that was the last; -EINVAL: the text is something else.
 */
static int next_count(const char **rest, char ret_profile[DEVICE_PROFILE_SIZE], uint32_t *ret_count)
{
    const char *at = *rest, *times;
    size_t length;
    char number[4];

    if (!*at)
        return 1;
    times = strstr(at, TIMES);
    if (!times || (size_t)(times - at) >= sizeof(number))
        return -EINVAL;
    snprintf(number, sizeof(number), "%.*s", (int)(times - at), at);
    if (!number_parse(number, ret_count) || !*ret_count || *ret_count > MIGWANT_COUNT_MAX)
        return -EINVAL;
    at = times + strlen(TIMES);
    length = strcspn(at, ",");
    if (length >= DEVICE_PROFILE_SIZE || (at[length] && strncmp(at + length, ", ", 2) != 0))
        return -EINVAL;
    snprintf(ret_profile, DEVICE_PROFILE_SIZE, "%.*s", (int)length, at);
    at += length;
    if (*at && !at[2])
        return -EINVAL;
    *rest = *at ? at + 2 : at;
    return 0;
}

static bool is_counts(const char *text)
{
    char profile[DEVICE_PROFILE_SIZE];
    struct mig_name parsed;
    uint32_t count;
    int r = 0;

    if (!*text)
        return false;
    while (r == 0) {
        r = next_count(&text, profile, &count);
        if (r == 0)
            r = migname_parse(profile, &parsed, NULL);
    }
    return r == 1;
}

static int add_counts(const struct mig_board *board, const char *text, struct mig_want *want,
                      struct error *err)
{
    char profile[DEVICE_PROFILE_SIZE];
    uint32_t count;
    int r;

    while ((r = next_count(&text, profile, &count)) == 0) {
        r = migwant_add(want, board, profile, count, err);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : 0;
}

bool migwant_is_builtin(const char *name)
{
    static const char *const words[] = {ALL "disabled", ALL "enabled", ALL "balanced"};
    char profile[DEVICE_PROFILE_SIZE];
    struct mig_name parsed;
    char *dot;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_equal(name, words[i]))
            return true;
    if (is_counts(name))
        return true;
    if (!str_starts_with(name, ALL) || str_copy(profile, sizeof(profile), name + strlen(ALL)) < 0)
        return false;
    dot = strstr(profile, "gb.");
    if (dot)
        dot[2] = '+';
    return migname_parse(profile, &parsed, NULL) == 0;
}

int migwant_builtin(const struct mig_board *board, const char *name, struct mig_want *ret_want,
                    struct error *err)
{
    cleanup_text struct text names = TEXT_INIT;
    struct mig_want want = {.enabled = true};
    bool done;

    if (!migwant_is_builtin(name))
        return MIGWANT_OTHER;
    if (is_counts(name)) {
        int r = add_counts(board, name, &want, err);

        if (r < 0)
            return r;
        done = true;
    } else if (str_equal(name, ALL "disabled")) {
        want.enabled = false;
        done = true;
    } else if (str_equal(name, ALL "enabled")) {
        done = board->n_slots > 0;
    } else if (str_equal(name, ALL "balanced")) {
        done = make_balanced(board, &want);
    } else {
        done = make_uniform(board, name, &want);
    }
    if (done) {
        *ret_want = want;
        return 0;
    }
    if (!board->n_slots)
        return error_set(err, -ENOENT, MIGWANT_NO_MIG);
    migwant_add_builtins(board, ", ", &names);
    return error_set(err, -ENOENT, "has no MIG layout %s; it has %s", name, text_string(&names));
}

void migwant_add_builtins(const struct mig_board *board, const char *separator, struct text *text)
{
    struct mig_want unused = {.enabled = true};

    text_add(text, ALL "disabled");
    if (!board->n_slots)
        return;
    text_addf(text, "%s" ALL "enabled", separator);
    if (make_balanced(board, &unused))
        text_addf(text, "%s" ALL "balanced", separator);
    for (uint32_t i = 0; i < board->n_profiles; i++) {
        char builtin[DEVICE_PROFILE_SIZE + 4];

        builtin_of(&board->profiles[i], builtin);
        text_addf(text, "%s%s", separator, builtin);
    }
}

/* False if the board does not know one of the devices. */
static bool count_devices(const struct mig_board *board, const struct mig_layout *layout,
                          struct mig_want *want)
{
    bool known = true;

    for (uint32_t i = 0; i < layout->n_instances; i++)
        for (uint32_t j = 0; j < layout->instances[i].n_computes; j++) {
            const struct mig_instance *instance = &layout->instances[i];
            struct mig_kind kind;

            if (migkind_of(board, instance, &instance->computes[j], &kind) == 0)
                want->counts[kind.profile][kind.compute]++;
            else
                known = false;
        }
    return known;
}

void migwant_of_layout(const struct mig_board *board, const struct mig_layout *layout,
                       struct mig_want *ret_want)
{
    struct mig_want want = {.enabled = layout->enabled};

    count_devices(board, layout, &want);
    *ret_want = want;
}

bool migwant_is_met(const struct mig_board *board, const struct mig_want *want,
                    const struct mig_layout *layout)
{
    struct mig_want actual = {.enabled = true};

    if (layout->enabled != want->enabled || layout->pending != want->enabled)
        return false;
    if (!want->enabled || want->mode_only)
        return true;
    return count_devices(board, layout, &actual) &&
           memcmp(actual.counts, want->counts, sizeof(actual.counts)) == 0;
}

uint32_t migwant_count(const struct mig_want *want)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < MIG_GI_PROFILES_MAX; i++)
        for (size_t j = 0; j < MIG_CI_PROFILES_MAX; j++)
            sum += want->counts[i][j];
    return sum;
}

/* Larger ones first. */
static int compare_kinds(const struct mig_board *board, struct mig_kind a, struct mig_kind b)
{
    const struct mig_profile *in_a = &board->profiles[a.profile];
    const struct mig_profile *in_b = &board->profiles[b.profile];

    if (in_a->shape.gi_slices != in_b->shape.gi_slices)
        return in_a->shape.gi_slices > in_b->shape.gi_slices ? -1 : 1;
    if (in_a->computes[a.compute].slices != in_b->computes[b.compute].slices)
        return in_a->computes[a.compute].slices > in_b->computes[b.compute].slices ? -1 : 1;
    return a.profile < b.profile ? -1 : 1;
}

static size_t sort_kinds(const struct mig_board *board, const struct mig_want *want,
                         struct mig_kind kinds[MIG_GI_PROFILES_MAX * MIG_CI_PROFILES_MAX])
{
    size_t n = 0;

    for (uint32_t i = 0; i < board->n_profiles; i++)
        for (uint32_t j = 0; j < board->profiles[i].n_computes; j++) {
            struct mig_kind kind = {i, j};
            size_t at = n;

            if (!want->counts[i][j])
                continue;
            for (; at && compare_kinds(board, kind, kinds[at - 1]) < 0; at--)
                kinds[at] = kinds[at - 1];
            kinds[at] = kind;
            n++;
        }
    return n;
}

#define DISABLED "MIG disabled"
#define ENABLED  "MIG enabled"
#define NOTHING  "no MIG device"

void migwant_add_text(const struct mig_board *board, const struct mig_want *want, struct text *text)
{
    struct mig_kind kinds[MIG_GI_PROFILES_MAX * MIG_CI_PROFILES_MAX];
    size_t n = sort_kinds(board, want, kinds);

    if (!want->enabled)
        text_add(text, DISABLED);
    else if (want->mode_only)
        text_add(text, ENABLED);
    else if (!n)
        text_add(text, NOTHING);
    for (size_t i = 0; want->enabled && !want->mode_only && i < n; i++) {
        uint32_t count = want->counts[kinds[i].profile][kinds[i].compute];
        char name[DEVICE_PROFILE_SIZE];

        migkind_format(board, kinds[i], name);
        text_add(text, i ? ", " : "");
        if (count > 1)
            text_addf(text, "%u" TIMES, count);
        text_add(text, name);
    }
}

/* "2 x 1g.5gb" or "1g.5gb". */
static int parse_devices(const struct mig_board *board, const char *word, struct mig_want *want)
{
    const char *times = strstr(word, TIMES);
    unsigned long count = 1;
    char *end = NULL;

    if (times) {
        count = strtoul(word, &end, 10);
        if (end != times)
            return -EINVAL;
        word = times + strlen(TIMES);
    }
    return migwant_add(want, board, word, count, NULL);
}

int migwant_parse(const struct mig_board *board, const char *text, struct mig_want *ret_want)
{
    struct mig_want want = {.enabled = !str_equal(text, DISABLED),
                            .mode_only = str_equal(text, ENABLED)};
    const bool has_devices = want.enabled && !want.mode_only && !str_equal(text, NOTHING);
    char copy[512], *rest = copy, *word;
    int r = str_copy(copy, sizeof(copy), text) < 0 ? -EINVAL : 0;

    while (r == 0 && has_devices && (word = strsep(&rest, ","))) {
        r = parse_devices(board, *word == ' ' ? word + 1 : word, &want);
    }
    if (r == 0)
        *ret_want = want;
    return r;
}
