// SPDX-License-Identifier: Apache-2.0
#include "shim/await.h"

#include "shim/gate.h"
#include "shim/quickclock.h"
#include "shim/quickpass.h"
#include "shim/session.h"

enum {
    POLL_NS = 100 * 1000,       /* between two questions of a thread that waits for the answer */
    POLL_MOST_NS = 5000 * 1000, /* what takes longer did not seem to: it has a fence */
};

/* What this thread asks for again and again. */
static __thread struct {
    const void *what; /* a stream by its own handle, or an event; NULL: nothing */
    uint64_t asked_ns;
    uint64_t n_launched; /* by the process, then */
    uint64_t generation; /* in which the wait began */
    struct await wait;
} poll;

static void end_wait(const struct await *wait, bool is_done)
{
    lanes_end_wait(wait->lane, &wait->wait, is_done && wait->is_final, quickclock_ns());
}

/* It does something else now, or has its answer. */
static void end_poll(bool is_done)
{
    if (poll.wait.lane)
        end_wait(&poll.wait, is_done && poll.generation == lanes_generation());
    poll.wait.lane = NULL;
    poll.what = NULL;
}

static struct await begin_wait(struct lane *lane, bool is_final, uint64_t now_ns)
{
    struct await wait = {.is_final = is_final};

    if (lanes_begin_wait(lane, now_ns, &wait.wait))
        wait.lane = lane;
    return wait;
}

struct await await_stream(const struct cuda_functions *driver, CUstream stream, bool is_per_thread)
{
    struct lane *lane = gate_is_on() ? lanes_find(driver, stream, is_per_thread) : NULL;
    struct await wait = {NULL};
    uint64_t now_ns;

    quickpass_claim_all();
    end_poll(false);
    if (!lane)
        return wait;
    now_ns = quickclock_ns();
    wait = begin_wait(lane, true, now_ns);
    if (!wait.lane)
        lanes_fence(driver, lane, now_ns);
    return wait;
}

void await_all(const struct cuda_functions *driver)
{
    quickpass_claim_all();
    end_poll(false);
    if (gate_is_on())
        lanes_fence_all(driver, quickclock_ns());
}

CUresult await_end(const struct await *wait, CUresult r)
{
    if (wait->lane)
        end_wait(wait, r == CUDA_SUCCESS);
    return r;
}

/* Behind what is in a stream, or (NULL) in all of the context. */
static void fence(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    if (lane)
        lanes_fence(driver, lane, now_ns);
    else
        lanes_fence_all(driver, now_ns);
}

/* --- copies --- */

/* What is not known to be done when a copy returns would be awaited again by each one after it: so
 * the first one alone counts, and one behind which nothing is left. The legacy stream waits for
 * others. */
static unsigned find_awaited(const struct cuda_functions *driver, CUstream handle, bool is_final,
                             uint64_t now_ns, struct lane **ret_one)
{
    const unsigned n = lanes_find_new(driver, handle == CU_STREAM_LEGACY ? NULL : handle, ret_one);

    return n == 0 && is_final ? lanes_find_recent(driver, handle, now_ns, ret_one) : n;
}

/* Where nothing is copied, there is nothing to wait for. */
struct await await_copy(const struct cuda_functions *driver, CUstream stream, bool is_per_thread,
                        uint64_t bytes, enum await_copy copy)
{
    CUstream handle = lanes_handle(stream, is_per_thread);
    const bool is_final = copy == AWAIT_DONE && bytes > 0;
    struct await wait = {NULL};
    struct lane *lane;
    uint64_t now_ns;
    unsigned n;

    if ((copy == AWAIT_SENT && bytes <= AWAIT_COPY_BYTES) || !gate_is_on())
        return wait;
    quickpass_claim_all();
    end_poll(false);
    now_ns = quickclock_ns();
    n = find_awaited(driver, handle, is_final, now_ns, &lane);
    if (n == 0)
        return wait;
    if (n == 1 && bytes <= AWAIT_COPY_BYTES)
        wait = begin_wait(lane, is_final && lane->stream == handle, now_ns);
    if (!wait.lane)
        fence(driver, n == 1 ? lane : NULL, now_ns);
    return wait;
}

/* --- ends --- */

/* As behind a copy, nothing is known to be done then. The legacy stream stands for all. */
struct await await_perhaps_all(const struct cuda_functions *driver)
{
    return await_copy(driver, CU_STREAM_LEGACY, false, 0, AWAIT_MAYBE);
}

/* --- questions --- */

static uint64_t count_launched(const struct lane *lane)
{
    const struct claims_device *claims = lanes_claims(session_position(lane->slot));

    return claims ? limits_load(claims->n_launched) : 0;
}

/* The wait is for what was there when it began, and for a moment: the arbiter would not believe
 * more. */
static bool goes_on(const void *what)
{
    return poll.what == what &&
           (!poll.wait.lane || (poll.n_launched == count_launched(poll.wait.lane) &&
                                quickclock_since(poll.asked_ns, quickclock_ns()) < POLL_MOST_NS));
}

/* True: nobody needs to look at it. */
static bool is_answered(const void *what, CUresult r)
{
    if (r != CUDA_ERROR_NOT_READY) {
        if (poll.what == what)
            end_poll(r == CUDA_SUCCESS);
        return true;
    }
    quickpass_claim_all();
    if (!goes_on(what))
        end_poll(false);
    return poll.wait.lane || !gate_is_on();
}

/* It is not done. True: it was asked a moment ago, and nothing was launched since. */
static bool is_polled(const void *what, const struct lane *lane, uint64_t now_ns)
{
    const uint64_t n_launched = count_launched(lane);
    const bool is_polled = poll.what == what && poll.n_launched == n_launched &&
                           quickclock_since(poll.asked_ns, now_ns) < POLL_NS;

    poll.what = what;
    poll.n_launched = n_launched;
    poll.asked_ns = now_ns;
    return is_polled;
}

/* Only of a stream that was asked for it is known what is done then. */
static bool begin_poll(struct lane *lane, const void *what, uint64_t now_ns)
{
    poll.generation = lanes_generation();
    poll.wait = begin_wait(lane, lane->stream == what, now_ns);
    return poll.wait.lane;
}

/* Who asks now and then has a fence as seldom as who launches; so has what was launched long ago,
 * and was taken for done. stream NULL: it may be any. */
static CUresult ask(const struct cuda_functions *driver, const void *what, CUstream stream,
                    CUresult r)
{
    struct lane *lane;
    uint64_t now_ns;
    unsigned n;

    if (is_answered(what, r))
        return r;
    now_ns = quickclock_ns();
    n = lanes_find_recent(driver, stream, now_ns, &lane);
    if (n == 0 || !is_polled(what, lane, now_ns))
        lanes_fence_due(driver, stream, now_ns);
    else if (n != 1 || !begin_poll(lane, what, now_ns))
        fence(driver, n == 1 ? lane : NULL, now_ns);
    return r;
}

/* The legacy stream waits for others. */
CUresult await_asked_stream(const struct cuda_functions *driver, CUstream stream, CUresult r)
{
    return ask(driver, stream, stream == CU_STREAM_LEGACY ? NULL : stream, r);
}

CUresult await_asked_event(const struct cuda_functions *driver, CUevent event, CUresult r)
{
    return ask(driver, event, NULL, r);
}
