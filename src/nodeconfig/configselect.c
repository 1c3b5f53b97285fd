// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/configselect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

bool configselect_is_candidate(const char *name)
{
    return !str_starts_with(name, "..");
}

static int find(char *const *names, size_t n_names, const char *wanted, const char **ret_name)
{
    for (size_t i = 0; i < n_names; i++) {
        if (str_equal(names[i], wanted)) {
            *ret_name = names[i];
            return 0;
        }
    }
    return -ENOENT;
}

struct list {
    char text[240];
};

static struct list list_names(char *const *names, size_t n_names)
{
    struct list list = {.text = ""};
    size_t n = 0;

    for (size_t i = 0; i < n_names; i++) {
        size_t room = sizeof(list.text) - n, length = strlen(names[i]);

        if (length + sizeof(", ...") > room) {
            snprintf(list.text + n, room, "%s...", n ? ", " : "");
            break;
        }
        n += (size_t)snprintf(list.text + n, room, "%s%s", n ? ", " : "", names[i]);
    }
    return list;
}

/* --- the fallback strategies --- */

static int pick_named(char *const *names, size_t n_names, const char **ret_name)
{
    return find(names, n_names, "default", ret_name);
}

static int pick_single(char *const *names, size_t n_names, const char **ret_name)
{
    if (n_names != 1)
        return -ENOENT;
    *ret_name = names[0];
    return 0;
}

static int pick_empty(char *const *names, size_t n_names, const char **ret_name)
{
    (void)names, (void)n_names;
    *ret_name = NULL;
    return CONFIGSELECT_EMPTY;
}

static const struct {
    const char *name;
    int (*pick)(char *const *names, size_t n_names, const char **ret_name);
} strategies[] = {{"named", pick_named}, {"single", pick_single}, {"empty", pick_empty}};

static int pick_by_strategy(const char *word, size_t length, char *const *names, size_t n_names,
                            const char **ret_name)
{
    for (size_t i = 0; i < ARRAY_SIZE(strategies); i++)
        if (strlen(strategies[i].name) == length && strncmp(word, strategies[i].name, length) == 0)
            return strategies[i].pick(names, n_names, ret_name);
    return -ENOENT; /* flags.h accepts no other word */
}

static int pick_by_fallbacks(const struct configselect *choice, char *const *names, size_t n_names,
                             const char **ret_name, struct error *err)
{
    const char *word = choice->fallbacks ? choice->fallbacks : "";

    while (*word) {
        size_t length = strcspn(word, ",");
        int r = pick_by_strategy(word, length, names, n_names, ret_name);

        if (r >= 0)
            return r;
        word += length + (word[length] == ',');
    }
    return error_set(err, -ENOENT,
                     "no configuration is selected for this node: set its label %s to one of: %s",
                     choice->label, list_names(names, n_names).text);
}

int configselect_pick(const struct configselect *choice, char *const *names, size_t n_names,
                      const char **ret_name, struct error *err)
{
    bool has_label = choice->value && *choice->value;
    const char *wanted = has_label ? choice->value : choice->default_config;

    *ret_name = NULL;
    if (n_names == 0)
        return error_set(err, -ENOENT, "the directory %s contains no configuration",
                         choice->folder);
    if (!wanted || !*wanted)
        return pick_by_fallbacks(choice, names, n_names, ret_name, err);
    if (find(names, n_names, wanted, ret_name) == 0)
        return 0;
    if (has_label)
        return error_set(err, -ENOENT,
                         "the node's label %s selects the configuration '%s', which is none of: %s",
                         choice->label, wanted, list_names(names, n_names).text);
    return error_set(err, -ENOENT, "the default configuration '%s' is none of: %s", wanted,
                     list_names(names, n_names).text);
}
