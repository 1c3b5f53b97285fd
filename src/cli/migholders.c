// SPDX-License-Identifier: Apache-2.0
#include "cli/migholders.h"

#include <stdlib.h>
#include <string.h>

#include "slice/migmoves.h"
#include "slice/migstep.h"

void migholders_deinit(struct migholders *holders)
{
    for (size_t i = 0; i < holders->n; i++)
        free(holders->names[i]);
    holders->n = 0;
}

void migholders_add(struct migholders *holders, struct device_instance instance, const char *name)
{
    if (holders->n == MIGHOLDERS_MAX) {
        free(holders->names[--holders->n]);
        instance = (struct device_instance){DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    }
    holders->instances[holders->n] = instance;
    holders->names[holders->n++] = strdup(name);
}

static void on_pod(struct device_instance instance, const char *who, const char *where,
                   void *userdata)
{
    (void)where;
    migholders_add(userdata, instance, who);
}

void migholders_add_pods(struct migholders *holders, const struct podrecords *pods,
                         const struct inventory *machine, size_t gpu)
{
    migpods_find(pods, machine, gpu, on_pod, holders);
}

static const char *name_of(const struct migholders *holders, size_t place)
{
    return holders->names[place] ? holders->names[place] : "a user without a name";
}

static bool is_named(const struct migholders *holders, const uint32_t *places, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(name_of(holders, places[i]), name_of(holders, places[n])))
            return true;
    return false;
}

void migholders_add_names(const struct migholders *holders, const uint32_t *places, size_t n,
                          struct text *text)
{
    const size_t begin = text->length;
    size_t n_more = 0;

    for (size_t i = 0; i < n; i++) {
        if (is_named(holders, places, i))
            continue;
        if (text->length - begin >= MIGHOLDERS_NAMED_LENGTH)
            n_more++;
        else
            text_addf(text, "%s%s", text->length > begin ? ", " : "", name_of(holders, places[i]));
    }
    if (n_more)
        text_addf(text, " and %zu more", n_more);
}

void migholders_add_wait(const struct migholders *holders, const struct mig_board *board,
                         const struct mig_layout *layout, const struct mig_want *want,
                         struct text *text)
{
    const char *names[MIGHOLDERS_MAX];
    const struct migmoves_held held = {holders->instances, names, holders->n};
    struct mig_next next;

    migstep_next(board, layout, want, holders->instances, holders->n, &next);
    if (next.step.kind != MIG_STEP_WAIT)
        return;
    for (size_t i = 0; i < holders->n; i++)
        names[i] = name_of(holders, i);
    text_add(text, "waits for ");
    migholders_add_names(holders, next.blockers, next.n_blockers, text);
    migmoves_add(board, layout, want, &held, text);
}
