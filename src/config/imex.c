// SPDX-License-Identifier: Apache-2.0
#include "config/imex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/kind.h"

static struct config *config_of(void *slot)
{
    return (struct config *)(void *)((char *)slot - offsetof(struct config, imex_channel_ids));
}

/* Channel 0 or no channel. */
static int set_channels(struct config *config, bool wanted)
{
    free(config->imex_channel_ids);
    config->n_imex_channel_ids = 0;
    config->imex_channel_ids = wanted ? calloc(1, sizeof(*config->imex_channel_ids)) : NULL;
    if (wanted && !config->imex_channel_ids)
        return -ENOMEM;
    config->n_imex_channel_ids = wanted;
    return 0;
}

static int parse_channels(const struct option *option, const char *text, void *slot,
                          struct error *err)
{
    if (*text && !str_equal(text, "0"))
        return error_set(err, -EINVAL, "only channel 0 is supported; write 0 or nothing, not '%s'",
                         show(text).text);
    return set_channels(config_of(slot), *text);
}

static int read_channels(struct reader *reader, const struct option *option,
                         const struct yaml *node, void *slot)
{
    int64_t id = 0;

    if (node->kind == YAML_LIST && node->n_children == 1 &&
        !read_integer(reader, &node->children[0], INT64_MIN, INT64_MAX, &id))
        return 0;
    if (node->kind == YAML_LIST && node->n_children <= 1 && id == 0)
        return set_channels(config_of(slot), node->n_children);
    reader_error(reader, node->at, "only channel 0 is supported; write [0] or [], not %s",
                 node->kind == YAML_LIST ? "other channels" : show_node(node).text);
    return 0;
}

const struct kind kind_channels = {.placeholder = "N",
                                   .read = read_channels,
                                   .parse = parse_channels,
                                   .is_list = true,
                                   .empty_is_value = true};
