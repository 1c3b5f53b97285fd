// SPDX-License-Identifier: Apache-2.0
#include "shim/queue.h"

static uint64_t since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

void queue_give(struct queue *queue, uint64_t now_ns)
{
    if (queue_is_empty(queue)) {
        queue->begin_ns = now_ns;
        queue->looked_ns = now_ns;
    }
    queue->n_given++;
}

void queue_mark(struct queue *queue, uint32_t fence)
{
    const unsigned at = queue->n_marks++ % QUEUE_MARKS;

    queue->marks[at].fence = fence;
    queue->marks[at].n_given = queue->n_given;
}

/* The last of the marks that are passed; numbers wrap. False: none is known. */
static bool find_passed(const struct queue *queue, uint32_t done, uint32_t *ret_n_done)
{
    const unsigned n = queue->n_marks < QUEUE_MARKS ? queue->n_marks : QUEUE_MARKS;

    for (unsigned i = 1; i <= n; i++) {
        const unsigned at = (queue->n_marks - i) % QUEUE_MARKS;

        if ((int32_t)(done - queue->marks[at].fence) >= 0) {
            *ret_n_done = queue->marks[at].n_given;
            return true;
        }
    }
    return false;
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
    const bool is_news = done != queue->done;
    uint32_t n_done;

    queue->done = done;
    if (is_news && find_passed(queue, done, &n_done) && (int32_t)(n_done - queue->n_done) > 0)
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
    queue->n_marks = 0;
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
