// SPDX-License-Identifier: Apache-2.0
#include "slice/namedemand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "slice/name.h"

#define EXAMPLE "'" NAME_GPU "=2," NAME_MIG "1g.5gb=3'"

/* The text comes from the cluster: it is shown as one line. */
static int refuse(struct error *err, const char *item, const char *fault)
{
    char shown[80];

    snprintf(shown, sizeof(shown), "%s", item);
    str_make_line(shown);
    return error_set(err, -EINVAL, "'%s' %s; write for example %s", shown, fault, EXAMPLE);
}

static int read_item(const char *item, struct namedemand *demand, struct error *err)
{
    const char *equals = strchr(item, '=');
    char word[2 * RESOURCE_NAME_SIZE], name[RESOURCE_NAME_SIZE];
    struct error why = ERROR_INIT;
    size_t length = equals ? (size_t)(equals - item) : 0;
    unsigned long count;

    if (!equals || length >= sizeof(word))
        return refuse(err, item, "is not a resource with a number");
    snprintf(word, sizeof(word), "%.*s", (int)length, item);
    if (name_parse(word, name, &why) < 0)
        return refuse(err, item, error_text(&why));
    if (strspn(equals + 1, "0123456789") != strlen(equals + 1) || !equals[1])
        return refuse(err, item, "has no number behind the '='");
    count = strlen(equals + 1) > 9 ? NAMEDEMAND_COUNT_MAX : strtoul(equals + 1, NULL, 10);
    for (size_t i = 0; i < demand->n_items; i++)
        if (str_equal(demand->items[i].name, name))
            return refuse(err, item, "names the resource again");
    if (demand->n_items == NAMEDEMAND_MAX)
        return refuse(err, item, "is one resource too many");
    snprintf(demand->items[demand->n_items].name, RESOURCE_NAME_SIZE, "%s", name);
    demand->items[demand->n_items++].count =
        count < NAMEDEMAND_COUNT_MAX ? (unsigned)count : NAMEDEMAND_COUNT_MAX;
    return 0;
}

int namedemand_parse(const char *text, struct namedemand *ret_demand, struct error *err)
{
    cleanup_free char *copy = strdup(text);
    struct namedemand demand = {.n_items = 0};
    char *rest = copy, *item;
    int r = copy ? 0 : error_set_errno(err, -ENOMEM, "cannot read what pods wait for");

    while (r == 0 && *text && (item = strsep(&rest, ",")))
        r = read_item(item, &demand, err);
    if (r == 0)
        *ret_demand = demand;
    return r;
}

unsigned namedemand_count(const struct namedemand *demand, const char *name)
{
    for (size_t i = 0; i < demand->n_items; i++)
        if (str_equal(demand->items[i].name, name))
            return demand->items[i].count;
    return 0;
}
