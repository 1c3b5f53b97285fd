// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How much a stream has to do, as far as its fences tell: commands that were given, those that the
 * last passed fence is behind, and how long one takes, as an estimate. Pure: times are given.
 *
 * What is estimated is a mean over the commands between two fences, between the least and the most
 * that can have been: who looks seldom learns little, and takes no command for longer than it can
 * be. A stream in which nothing is known to be in flight has nothing to do.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    QUEUE_MARKS = 16
}; /* fences that are not passed and known by number: the last one, and some of those before it */

struct queue {
    uint32_t n_given, n_done; /* commands, ever; they wrap */
    uint64_t command_ns;      /* 0: not known */
    uint64_t begin_ns;        /* of the commands after n_done: the last one before was done */
    uint64_t looked_ns;       /* they were seen not to be done */
    uint32_t done;            /* the last fence that was seen to be passed */
    unsigned n_marks;         /* the oldest one first */
    unsigned stride, n_last;  /* fences between two marks; those since the last mark but one */
    struct {
        uint32_t fence, n_given;
    } marks[QUEUE_MARKS];
};

/* So many commands were given. */
void queue_give(struct queue *queue, uint32_t n, uint64_t now_ns);

/* A fence of this number is behind what was given. */
void queue_mark(struct queue *queue, uint32_t fence);

/* The device has passed this fence. */
void queue_look(struct queue *queue, uint32_t done, uint64_t now_ns);

/* So many that were given are done, as the host has just seen. */
void queue_settle(struct queue *queue, uint32_t n_given, uint64_t now_ns);

/* What was given is done, or nobody will know when: fences have other numbers from now on. */
void queue_forget(struct queue *queue);

/* Nothing that was given may still be there. */
bool queue_is_empty(const struct queue *queue);

/* What there is still to do: 0 if nothing; UINT64_MAX: nobody knows how long a command takes. */
uint64_t queue_ns(const struct queue *queue);

/* How long the first of it has been at work, or could have been. */
uint64_t queue_first_ns(const struct queue *queue, uint64_t now_ns);
