// SPDX-License-Identifier: Apache-2.0
#include "shim/queue.h"

#include <string.h>

static uint64_t since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

void queue_give(struct queue *queue, uint32_t n, uint64_t now_ns)
{
    if (queue_is_empty(queue)) {
        queue->begin_ns = now_ns;
        queue->looked_ns = now_ns;
    }
    queue->n_given += n;
}

/* Each second one is as good, as long as the last one is known. */
static void thin_out(struct queue *queue)
{
    queue->n_marks /= 2;
    for (unsigned i = 0; i < queue->n_marks; i++)
        queue->marks[i] = queue->marks[2 * i + 1];
    queue->stride = queue->stride ? 2 * queue->stride : 2;
}

/* Between two that are kept there are as many everywhere, so that what is done shows in equal
 * steps. */
void queue_mark(struct queue *queue, uint32_t fence)
{
    if (queue->n_marks == 0 || queue->n_last >= queue->stride) {
        if (queue->n_marks == QUEUE_MARKS)
            thin_out(queue);
        queue->n_marks++;
        queue->n_last = 0;
    }
    queue->n_last++;
    queue->marks[queue->n_marks - 1].fence = fence;
    queue->marks[queue->n_marks - 1].n_given = queue->n_given;
}

/* How many marks are passed; numbers wrap. */
static unsigned count_passed(const struct queue *queue, uint32_t done)
{
    unsigned n = queue->n_marks;

    while (n > 0 && (int32_t)(done - queue->marks[n - 1].fence) < 0)
        n--;
    return n;
}

static void drop(struct queue *queue, unsigned n)
{
    queue->n_marks -= n;
    memmove(queue->marks, queue->marks + n, queue->n_marks * sizeof(queue->marks[0]));
    if (queue->n_marks < QUEUE_MARKS / 4)
        queue->stride /= 2;
}

static void learn(struct queue *queue, uint32_t n, uint64_t now_ns)
{
    const uint64_t least_ns = since(queue->begin_ns, queue->looked_ns) / n;
    const uint64_t most_ns = since(queue->begin_ns, now_ns) / n;

    if (!queue->command_ns || queue->command_ns > most_ns)
        queue->command_ns = most_ns ? most_ns : 1;
    else if (queue->command_ns < least_ns)
        queue->command_ns += (least_ns - queue->command_ns + 1) / 2;
}

static void settle(struct queue *queue, uint32_t n_done, uint64_t now_ns)
{
    learn(queue, n_done - queue->n_done, now_ns);
    queue->n_done = n_done;
    queue->begin_ns = now_ns;
    queue->looked_ns = now_ns;
}

void queue_look(struct queue *queue, uint32_t done, uint64_t now_ns)
{
    const unsigned n_passed = done != queue->done ? count_passed(queue, done) : 0;
    const uint32_t n_done = n_passed ? queue->marks[n_passed - 1].n_given : queue->n_done;

    queue->done = done;
    if (n_passed)
        drop(queue, n_passed);
    if ((int32_t)(n_done - queue->n_done) > 0)
        settle(queue, n_done, now_ns);
    else
        queue->looked_ns = now_ns;
}

void queue_settle(struct queue *queue, uint32_t n_given, uint64_t now_ns)
{
    if ((int32_t)(n_given - queue->n_done) > 0)
        settle(queue, n_given, now_ns);
}

void queue_forget(struct queue *queue)
{
    queue->n_done = queue->n_given;
    queue->n_marks = queue->stride = 0;
}

bool queue_is_empty(const struct queue *queue)
{
    return queue->n_given == queue->n_done;
}

uint64_t queue_ns(const struct queue *queue)
{
    const uint32_t n = queue->n_given - queue->n_done;

    if (n == 0)
        return 0;
    return queue->command_ns ? n * queue->command_ns : UINT64_MAX;
}

uint64_t queue_first_ns(const struct queue *queue, uint64_t now_ns)
{
    return queue_is_empty(queue) ? 0 : since(queue->begin_ns, now_ns);
}
