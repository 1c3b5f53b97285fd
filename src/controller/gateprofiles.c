// SPDX-License-Identifier: Apache-2.0
#include "controller/gateprofiles.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

void gateprofiles_deinit(struct gateprofiles *profiles)
{
    for (size_t i = 0; i < profiles->n_items; i++)
        gateprofile_free(profiles->items[i]);
    free(profiles->items);
    *profiles = (struct gateprofiles){.items = NULL};
}

static struct gateprofile **place_of(const struct gateprofiles *profiles, const char *name)
{
    for (size_t i = 0; i < profiles->n_items; i++)
        if (str_equal(gateprofile_name(profiles->items[i]), name))
            return &profiles->items[i];
    return NULL;
}

struct gateprofile *gateprofiles_find(const struct gateprofiles *profiles, const char *name)
{
    struct gateprofile **place = place_of(profiles, name);

    return place ? *place : NULL;
}

static struct gateprofile **add(struct gateprofiles *profiles,
                                const struct gateprofile_setup *setup, const char *name)
{
    struct gateprofile *made = gateprofile_new(setup, name);
    struct gateprofile **place =
        made ? array_push(&profiles->items, &profiles->n_items, &profiles->capacity, sizeof(made))
             : NULL;

    if (place)
        *place = made;
    else
        gateprofile_free(made);
    return place;
}

int gateprofiles_see(struct gateprofiles *profiles, const struct gateprofile_setup *setup,
                     const char *name, const json_t *object)
{
    struct gateprofile **place = place_of(profiles, name);

    if (!object) {
        if (place) {
            gateprofile_free(*place);
            *place = profiles->items[--profiles->n_items];
        }
        return 0;
    }
    if (!place)
        place = add(profiles, setup, name);
    if (!place)
        return -ENOMEM;
    gateprofile_see(*place, object);
    return 0;
}

size_t gateprofiles_count_recording(const struct gateprofiles *profiles)
{
    size_t n = 0;

    for (size_t i = 0; i < profiles->n_items; i++)
        n += gateprofile_is_recording(profiles->items[i]);
    return n;
}
