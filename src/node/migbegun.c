// SPDX-License-Identifier: Apache-2.0
#include "node/migbegun.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "gpu/migrequest.h"

enum { FILE_MAX = 65536 };

#define HEADER "gpuslice-mig-begun 1"

static struct migbegun_gpu *find(const struct migbegun *begun, const char *uuid)
{
    for (size_t i = 0; i < begun->n; i++)
        if (str_equal(begun->gpus[i].uuid, uuid))
            return &begun->gpus[i];
    return NULL;
}

const struct migbegun_gpu *migbegun_find(const struct migbegun *begun, const char *uuid)
{
    return find(begun, uuid);
}

/* --- the file --- */

/* "UUID amid|begun GOAL BOUND WISH", with tabs in between. */
static int parse_line(struct migbegun *begun, char *line)
{
    char *words[5];
    struct migbegun_gpu *gpu;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!(words[i] = strsep(&line, "\t")))
            return -EBADMSG;
    if (line || find(begun, words[0]) ||
        (!str_equal(words[1], "amid") && !str_equal(words[1], "begun")))
        return -EBADMSG;
    gpu = array_push(&begun->gpus, &begun->n, &begun->capacity, sizeof(*gpu));
    if (!gpu)
        return -ENOMEM;
    gpu->was_amid = str_equal(words[1], "amid");
    if (str_copy(gpu->uuid, sizeof(gpu->uuid), words[0]) < 0 ||
        str_copy(gpu->goal, sizeof(gpu->goal), words[2]) < 0 ||
        str_copy(gpu->bound, sizeof(gpu->bound), words[3]) < 0 ||
        str_copy(gpu->wish, sizeof(gpu->wish), words[4]) < 0)
        return -EBADMSG;
    return 0;
}

static int parse(struct migbegun *begun, char *data)
{
    char *rest = data, *line = strsep(&rest, "\n");
    int r = line && str_equal(line, HEADER) ? 0 : -EBADMSG;

    while (r == 0 && (line = strsep(&rest, "\n")))
        if (*line)
            r = parse_line(begun, line);
    return r;
}

int migbegun_parse(struct migbegun *begun, char *data, size_t size)
{
    int r = strlen(data) == size ? parse(begun, data) : -EBADMSG;

    if (r < 0)
        begun->n = 0;
    return r;
}

void migbegun_format(const struct migbegun *begun, struct text *text)
{
    text_add(text, HEADER "\n");
    for (size_t i = 0; i < begun->n; i++) {
        const struct migbegun_gpu *gpu = &begun->gpus[i];

        text_addf(text, "%s\t%s\t%s\t%s\t%s\n", gpu->uuid, gpu->was_amid ? "amid" : "begun",
                  gpu->goal, gpu->bound, gpu->wish);
    }
}

static void recall(struct migbegun *begun)
{
    cleanup_free char *data = NULL;
    struct error err = ERROR_INIT;
    size_t size;
    int r = file_read(begun->path, FILE_MAX, &data, &size, &err);

    if (r == -ENOENT)
        return;
    if (r == 0 && migbegun_parse(begun, data, size) < 0)
        r = error_set(&err, -EBADMSG, "%s: not a list of GPUs", begun->path);
    if (r < 0)
        log_warning("GPUs that an agent before this one was partitioning are taken as they are",
                    "reason", error_text(&err));
}

static int write_file(const struct migbegun *begun, struct error *err)
{
    cleanup_text struct text text = TEXT_INIT;

    if (!begun->n)
        return unlink(begun->path) < 0 && errno != ENOENT
                   ? error_set_errno(err, -errno, "cannot remove %s", begun->path)
                   : 0;
    migbegun_format(begun, &text);
    if (text_failed(&text))
        return error_set_errno(err, -ENOMEM, "cannot write %s", begun->path);
    return file_write_durable(begun->path, text_string(&text), text.length, 0600, err);
}

static void store(const struct migbegun *begun)
{
    struct error err = ERROR_INIT;

    if (*begun->path && write_file(begun, &err) < 0)
        log_warning(error_text(&err), "hint",
                    "an agent that follows will not know which GPUs are only half partitioned");
}

void migbegun_init(struct migbegun *begun, const char *folder)
{
    *begun = (struct migbegun){0};
    if (!folder)
        return;
    snprintf(begun->path, sizeof(begun->path), "%s/" MIGREQUEST_BEGUN, folder);
    recall(begun);
}

void migbegun_deinit(struct migbegun *begun)
{
    free(begun->gpus);
    begun->gpus = NULL;
    begun->n = begun->capacity = 0;
}

/* --- what is begun --- */

static void write_want(const struct mig_board *board, const struct mig_want *want,
                       char text[MIGBEGUN_TEXT_SIZE])
{
    cleanup_text struct text words = TEXT_INIT;

    migwant_add_text(board, want, &words);
    snprintf(text, MIGBEGUN_TEXT_SIZE, "%s", text_string(&words));
}

static bool have_equal_devices(const struct mig_want *a, const struct mig_want *b)
{
    return a->enabled == b->enabled && memcmp(a->counts, b->counts, sizeof(a->counts)) == 0;
}

/* On the way from one layout to another a GPU has no more devices of any profile than either. */
static void extend(struct mig_want *bound, const struct mig_want *by)
{
    for (size_t i = 0; i < MIG_GI_PROFILES_MAX; i++)
        for (size_t j = 0; j < MIG_CI_PROFILES_MAX; j++)
            if (bound->counts[i][j] < by->counts[i][j])
                bound->counts[i][j] = by->counts[i][j];
}

static void choose_bound(const struct gpu *gpu, const struct mig_board *board,
                         struct migbegun_gpu *own)
{
    struct mig_want now, before;

    migwant_of_layout(board, &gpu->layout, &now);
    if (*own->goal && migwant_parse(board, own->bound, &before) == 0) {
        own->was_amid |= !have_equal_devices(&before, &now);
        extend(&before, &now);
        before.enabled |= now.enabled;
        now = before;
    }
    write_want(board, &now, own->bound);
}

void migbegun_note(struct migbegun *begun, const struct gpu *gpu, const struct mig_board *board,
                   const struct mig_want *goal, const char *wish)
{
    struct migbegun_gpu *own = find(begun, gpu->uuid);
    char text[MIGBEGUN_TEXT_SIZE];

    write_want(board, goal, text);
    if (own && str_equal(own->goal, text))
        return;
    if (!own)
        own = array_push(&begun->gpus, &begun->n, &begun->capacity, sizeof(*own));
    if (!own) {
        log_error("out of memory for partitioning", "gpu", gpu->uuid);
        return;
    }
    choose_bound(gpu, board, own);
    memcpy(own->goal, text, sizeof(own->goal));
    snprintf(own->uuid, sizeof(own->uuid), "%s", gpu->uuid);
    snprintf(own->wish, sizeof(own->wish), "%s", wish);
    for (char *c = own->wish; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    store(begun);
}

/* Once: the goal and what it had change places, so what it may have on the way stays the same. */
bool migbegun_turn_back(struct migbegun *begun, const char *uuid)
{
    struct migbegun_gpu *own = find(begun, uuid);
    char goal[MIGBEGUN_TEXT_SIZE], wish[MIGBEGUN_TEXT_SIZE];

    if (!own || own->was_amid)
        return false;
    memcpy(goal, own->bound, sizeof(goal));
    memcpy(own->bound, own->goal, sizeof(own->bound));
    memcpy(own->goal, goal, sizeof(own->goal));
    if ((size_t)snprintf(wish, sizeof(wish), "before %s", own->wish) >= sizeof(wish))
        str_mark_cut(wish, sizeof(wish));
    memcpy(own->wish, wish, sizeof(own->wish));
    own->was_amid = true;
    store(begun);
    return true;
}

void migbegun_drop(struct migbegun *begun, const char *uuid)
{
    struct migbegun_gpu *own = find(begun, uuid);

    if (!own)
        return;
    *own = begun->gpus[--begun->n];
    store(begun);
}

/* A GPU instance that nobody can use. */
static bool has_empty(const struct mig_layout *layout)
{
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (!layout->instances[i].n_computes)
            return true;
    return false;
}

static bool is_within(const struct mig_want *now, const struct mig_want *bound)
{
    for (size_t i = 0; i < MIG_GI_PROFILES_MAX; i++)
        for (size_t j = 0; j < MIG_CI_PROFILES_MAX; j++)
            if (now->counts[i][j] > bound->counts[i][j])
                return false;
    return true;
}

bool migbegun_is_amid(const struct migbegun *begun, const struct gpu *gpu,
                      const struct mig_board *board, struct mig_want *ret_goal)
{
    const struct migbegun_gpu *own = find(begun, gpu->uuid);
    const bool is_empty = has_empty(&gpu->layout);
    struct mig_want now, goal, bound;

    /* With MIG off it is whole, whatever mode it waits for. */
    if (!own || !gpu->layout.enabled || migwant_parse(board, own->goal, &goal) < 0 ||
        migwant_parse(board, own->bound, &bound) < 0)
        return false;
    if (migwant_is_met(board, &goal, &gpu->layout) && !is_empty)
        return false;
    migwant_of_layout(board, &gpu->layout, &now);
    if (!own->was_amid && !is_empty && have_equal_devices(&now, &bound))
        return false; /* no step was taken yet */
    extend(&bound, &goal);
    if (!is_within(&now, &bound))
        return false;
    *ret_goal = goal;
    return true;
}
