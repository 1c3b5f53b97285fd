// SPDX-License-Identifier: Apache-2.0
#include "arbiter/reading.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter/procfs.h"

/* The question for one GPU. */
struct question {
    struct round *round;
    size_t gpu;
};

struct round {
    struct reading *reading;
    size_t n_open; /* questions, and one while they are asked */
    reading_done_fn *done;
    void *userdata;
    struct question questions[];
};

void reading_free(struct reading *reading)
{
    if (!reading)
        return;
    inventory_deinit(&reading->machine);
    usage_deinit(&reading->usage);
    free(reading);
}

static void close_one(struct round *round)
{
    if (--round->n_open)
        return;
    round->done(TAKE_PTR(round->reading), round->userdata);
    free(round);
}

static void note_unread(struct usage_gpu *gpu, const char *reason)
{
    snprintf(gpu->unread, sizeof(gpu->unread), "%s",
             *reason ? reason : "the driver does not tell why");
}

static void on_listed(const struct driver_listed *listed, void *userdata)
{
    const struct question *question = userdata;
    struct usage_gpu *gpu = &question->round->reading->usage.of_gpus[question->gpu];

    if (listed->outcome != 0) {
        note_unread(gpu, listed->reason);
    } else {
        gpu->list.items = calloc(listed->n_items + 1, sizeof(*gpu->list.items));
        if (gpu->list.items) {
            memcpy(gpu->list.items, listed->items, listed->n_items * sizeof(*listed->items));
            gpu->list.n_items = gpu->list.capacity = listed->n_items;
            gpu->list.mem_free_bytes = listed->mem_free_bytes;
            snprintf(gpu->list.unseen, sizeof(gpu->list.unseen), "%s", listed->unseen);
        } else {
            note_unread(gpu, "out of memory");
        }
    }
    close_one(question->round);
}

static void ask(struct round *round, struct driver *driver, size_t gpu, uint64_t deadline_ms)
{
    const struct gpu *known = &round->reading->machine.gpus[gpu];
    struct usage_gpu *usage = &round->reading->usage.of_gpus[gpu];
    int r;

    if (*known->unusable) {
        note_unread(usage, known->unusable);
        return;
    }
    round->questions[gpu] = (struct question){.round = round, .gpu = gpu};
    round->n_open++;
    r = driver_list_processes(driver, known->uuid, deadline_ms, on_listed, &round->questions[gpu]);
    if (r < 0) {
        round->n_open--;
        note_unread(usage, r == -EAGAIN ? "the driver's helper is being started" : strerror(-r));
    }
}

int reading_begin(struct driver *driver, const struct inventory *machine, uint64_t deadline_ms,
                  reading_done_fn *done, void *userdata)
{
    cleanup(reading_free_p) struct reading *reading = calloc(1, sizeof(*reading));
    cleanup_free struct round *round =
        calloc(1, sizeof(*round) + (machine->n_gpus + 1) * sizeof(*round->questions));
    struct round *begun;

    if (!reading || !round || inventory_copy(&reading->machine, machine) < 0 ||
        usage_init(&reading->usage, machine->n_gpus) < 0)
        return -ENOMEM;
    reading->began_ticks = procfs_now();
    *round = (struct round){
        .reading = TAKE_PTR(reading), .n_open = 1, .done = done, .userdata = userdata};
    begun = TAKE_PTR(round);
    for (size_t i = 0; i < begun->reading->machine.n_gpus; i++)
        ask(begun, driver, i, deadline_ms);
    close_one(begun);
    return 0;
}
