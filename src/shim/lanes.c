// SPDX-License-Identifier: Apache-2.0
#include "shim/lanes.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/captures.h"
#include "shim/claimmaps.h"
#include "shim/devices.h"
#include "shim/handles.h"
#include "shim/ownlock.h"
#include "shim/quickclock.h"
#include "shim/session.h"

enum {
    LANES_MAX = 256,             /* streams that are known */
    FENCE_NS = 100 * 1000,       /* between two of a stream that is at work most of the time, ... */
    FENCE_MOST_NS = 1600 * 1000, /* ... and seldom: each keeps the device from work for some 8 us */
    PASSED_NS = FENCE_NS / 2,    /* who has a fence passed so soon is not at work for long */
    WAIT_NS = 300 * 1000,        /* what takes less needs no fence to be waited for */
    RECENT_NS = 50 * 1000 * 1000, /* what takes a moment, beside others, is done after that */
    FAILURES_MAX = 16,            /* in a row, of fences */
    FOUND_MAX = 4,                /* by a thread; a power of two */
    NAP_NS = 20 * 1000,
    WAITERS_MS = 100, /* between two looks for waits that ended without us */
};

/* That a fence of another thread is waited for: some never end, where a thread was cancelled. */
static const uint64_t taken_ns = UINT64_C(10000000000);

static struct ownlock lock = OWNLOCK_NEW;

static struct {
    struct claims *claims; /* NULL: there are no turns */
    bool has_no_fences;
    unsigned n_failures;
    unsigned n_lanes; /* that were ever used: none is behind them */
    struct lane lanes[LANES_MAX];
    struct lane others[SESSION_SLOTS]; /* of streams that have no place, one for each device */
} table;

/* In memory that reads as 0 in a child of fork; no earlier number comes again there. */
static uint64_t *generation;
static uint64_t last_generation;

struct found {
    uint64_t generation;
    CUstream stream;
    CUcontext context; /* of a default stream */
    struct lane *lane;
};

static uint64_t waiters_ns; /* when that was looked for */

static __thread struct found found[FOUND_MAX];
static __thread int thread_number;

static void change(void)
{
    if (*generation == 0)
        last_generation = ((last_generation >> 32) + 1) << 32;
    __atomic_store_n(generation, ++last_generation, __ATOMIC_RELEASE);
}

const uint64_t *lanes_generation_at(void)
{
    return __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
}

uint64_t lanes_generation(void)
{
    const uint64_t *at = lanes_generation_at();

    return at ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : 0;
}

static void enter(void)
{
    if (!ownlock_enter(&lock))
        return;
    memset(&table, 0, sizeof(table));
    captures_forget();
}

static void leave(void)
{
    ownlock_leave(&lock);
}

static struct lane *lanes_end(void)
{
    return table.lanes + __atomic_load_n(&table.n_lanes, __ATOMIC_ACQUIRE);
}

/* --- the page of claims --- */

/* Linux 4.14; without it a child would write where its parent does. */
static bool has_generation(void)
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *place = generation;

    if (!place) {
        place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED)
            return false;
        if (madvise(place, size, MADV_WIPEONFORK) != 0) {
            munmap(place, size);
            return false;
        }
        __atomic_store_n(&generation, place, __ATOMIC_RELEASE);
    }
    return true;
}

/* In another page every lane is new; what is in flight then shows by the next fence. */
static void take(struct claims *claims)
{
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++)
        if (lane->state == LANE_ENDING)
            lane->state = LANE_FREE;
    __atomic_store_n(&table.claims, claims, __ATOMIC_RELEASE);
    handles_show(claims);
    change();
}

bool lanes_start(void)
{
    struct claims *claims = NULL;
    const int r = session_claims(&claims);

    enter();
    if (r == SESSION_DENIED && table.claims) {
        __atomic_store_n(&table.claims, NULL, __ATOMIC_RELEASE);
        change();
    } else if (r == 0 && claims != table.claims && has_generation())
        take(claims);
    leave();
    return lanes_are_on();
}

bool lanes_are_on(void)
{
    return lanes_generation() != 0 && __atomic_load_n(&table.claims, __ATOMIC_ACQUIRE);
}

struct claims_device *lanes_claims(int position)
{
    struct claims *claims = __atomic_load_n(&table.claims, __ATOMIC_ACQUIRE);

    if (!claims || position < 0 || position >= LIMITS_DEVICES_MAX || !lanes_generation())
        return NULL;
    return &claims->devices[position];
}

static struct claims_lane *words_of(const struct lane *lane)
{
    struct claims_device *device = lanes_claims(session_position(lane->slot));

    return device && lane->number >= 0 ? &device->lanes[lane->number] : NULL;
}

/* In those claims, whether there are others by now or not: devices write there. */
static struct claims_lane *words_in(struct claims *claims, const struct lane *lane)
{
    const int position = session_position(lane->slot);

    if (!claims || !lanes_generation() || position < 0 || position >= LIMITS_DEVICES_MAX ||
        lane->number < 0)
        return NULL;
    return &claims->devices[position].lanes[lane->number];
}

static void claim_done(const struct lane *lane, uint32_t n)
{
    struct claims_device *claims = n ? lanes_claims(session_position(lane->slot)) : NULL;

    if (claims)
        __atomic_add_fetch(&claims->n_done, n, __ATOMIC_RELAXED);
}

/* --- which streams there are --- */

static bool is_over(const struct lane *lane)
{
    const struct claims_lane *words = words_of(lane);

    return !words || limits_load(words->done) == limits_load(words->fence);
}

static bool has_ended(int thread)
{
    const int error = errno;
    const bool has = syscall(SYS_tgkill, getpid(), thread, 0) != 0 && errno == ESRCH;

    errno = error;
    return has;
}

/* A thread that ended has taken its default stream along. */
static bool is_left(const struct lane *lane)
{
    return lane->state == LANE_USED && lane->thread != 0 && has_ended(lane->thread);
}

/* Nobody will look at it again. What was launched under another page is not missing in this one. */
static void end_use(struct lane *lane)
{
    if (lane->claims == table.claims)
        claim_done(lane, lane->queue.n_given - lane->n_counted);
    lane->n_counted = lane->queue.n_given;
    lane->state = LANE_FREE;
}

static void reap(bool is_full)
{
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++) {
        if (is_full && is_left(lane))
            lane->state = LANE_ENDING;
        if (lane->state == LANE_ENDING && is_over(lane))
            end_use(lane);
    }
}

/* NULL: there are too many. */
static struct lane *find_free(void)
{
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++)
        if (lane->state == LANE_FREE)
            return lane;
    return table.n_lanes < LANES_MAX ? lanes_end() : NULL;
}

static int free_number(int slot)
{
    bool is_used[CLAIMS_LANES] = {false};

    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++)
        if (lane->state != LANE_FREE && lane->slot == slot && lane->number >= 0)
            is_used[lane->number] = true;
    for (int number = 0; number < CLAIMS_LANES; number++)
        if (!is_used[number])
            return number;
    return -1;
}

static void count_awaiting(struct claims_device *claims, uint32_t change)
{
    __atomic_add_fetch(&claims->n_awaiting, change, __ATOMIC_RELAXED);
    __atomic_add_fetch(&claims->n_awaits, 1, __ATOMIC_RELEASE);
}

/* Once, however many see it. */
static void end_waiting(struct lane *lane, int waiter)
{
    struct claims_device *claims = lane->waited_in;

    if (waiter && __atomic_compare_exchange_n(&lane->waiter, &waiter, 0, false, __ATOMIC_ACQ_REL,
                                              __ATOMIC_RELAXED))
        count_awaiting(claims, (uint32_t)-1);
}

static struct lane *use(struct lane *lane, const struct lane *key)
{
    const struct claims_lane *words;
    const int number = free_number(key->slot);

    end_waiting(lane, __atomic_load_n(&lane->waiter, __ATOMIC_ACQUIRE));
    *lane = *key;
    lane->number = number;
    lane->state = LANE_USED;
    words = words_of(lane);
    lane->fence = words ? limits_load(words->fence) : 0; /* goes on from the one before it */
    if (lane == lanes_end())
        __atomic_store_n(&table.n_lanes, table.n_lanes + 1, __ATOMIC_RELEASE);
    return lane;
}

static struct lane *add(const struct lane *key)
{
    struct lane *lane;

    reap(false);
    lane = find_free();
    if (!lane) {
        reap(true);
        lane = find_free();
    }
    if (lane)
        return use(lane, key);
    lane = &table.others[key->slot];
    lane->slot = key->slot;
    lane->number = -1;
    return lane;
}

/* A handle that is in another context now was another stream, whose end was not seen. */
static struct lane *find_or_add(const struct lane *key)
{
    const bool is_own = key->stream != CU_STREAM_LEGACY && key->stream != CU_STREAM_PER_THREAD;

    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++) {
        if (lane->state != LANE_USED || lane->stream != key->stream || lane->thread != key->thread)
            continue;
        if (lane->context == key->context)
            return lane;
        if (is_own)
            lane->state = LANE_ENDING;
    }
    return add(key);
}

static int own_thread(void)
{
    if (thread_number == 0)
        thread_number = (int)syscall(SYS_gettid);
    return thread_number;
}

/* With what is noted for the next time. */
static struct lane *search(const struct cuda_functions *driver, CUstream stream,
                           struct found *ret_found)
{
    struct lane key = {.stream = stream}, *lane = NULL;

    if (!devices_current(driver, &key.device, &key.context))
        return NULL;
    key.slot = devices_slot(driver, key.device);
    key.thread = stream == CU_STREAM_PER_THREAD ? own_thread() : 0;
    enter();
    ret_found->generation = lanes_generation();
    if (key.slot != SESSION_NO_SLOT && ret_found->generation != 0)
        lane = find_or_add(&key);
    leave();
    ret_found->lane = lane;
    return lane;
}

static CUcontext current(const struct cuda_functions *driver)
{
    CUcontext context = NULL;

    if (!driver->cuCtxGetCurrent || driver->cuCtxGetCurrent(&context) != CUDA_SUCCESS)
        return NULL;
    return context;
}

struct lane *lanes_find(const struct cuda_functions *driver, CUstream stream, bool is_per_thread)
{
    struct found *at;
    CUcontext context = NULL;

    stream = lanes_handle(stream, is_per_thread);
    if (stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD)
        context = current(driver);
    at = &found[(((uintptr_t)stream >> 4) ^ ((uintptr_t)stream >> 10)) % FOUND_MAX];
    if (at->stream == stream && at->context == context && at->generation != 0 &&
        at->generation == lanes_generation())
        return at->lane;
    *at = (struct found){.stream = stream, .context = context};
    return search(driver, stream, at);
}

void lanes_end_contexts(lanes_match_fn *match, const void *userdata)
{
    if (!lanes_are_on())
        return;
    enter();
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++) {
        struct claims_lane *words = words_of(lane);

        if (lane->state == LANE_FREE || !match(lane->context, lane->device, userdata))
            continue;
        end_use(lane);
        if (words)
            limits_store(words->done, limits_load(words->fence));
    }
    if (lanes_generation() != 0)
        change();
    leave();
    claimmaps_end_contexts(match, userdata);
}

/* --- fences --- */

static bool is_taken(struct lane *lane)
{
    return __atomic_exchange_n(&lane->is_taken, true, __ATOMIC_ACQUIRE);
}

static void let_go(struct lane *lane)
{
    __atomic_store_n(&lane->is_taken, false, __ATOMIC_RELEASE);
}

/* False: another thread has it still. */
static bool take_lane(struct lane *lane)
{
    const struct timespec nap = {.tv_nsec = NAP_NS};
    const uint64_t begin_ns = quickclock_ns();

    while (is_taken(lane)) {
        if (quickclock_since(begin_ns, quickclock_ns()) > taken_ns)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

/* Who takes a lane from then on sees what was done before. */
void lanes_settle(void)
{
    if (!lanes_are_on())
        return;
    enter();
    if (lanes_generation() != 0)
        change();
    leave();
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++)
        if (lane->state == LANE_USED && take_lane(lane))
            let_go(lane);
}

/* The context has failed, or ended, whatever is asked of it. */
static bool is_of_context(CUresult r)
{
    return (r >= CUDA_ERROR_ILLEGAL_ADDRESS && r <= CUDA_ERROR_LAUNCH_FAILED &&
            r != CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED) ||
           r == CUDA_ERROR_DEINITIALIZED;
}

/* Turns go on without: launches are counted, and gated. */
static void failed(CUresult r)
{
    bool is_final;

    if (is_of_context(r))
        return;
    is_final = r == CUDA_ERROR_NOT_SUPPORTED ||
               __atomic_add_fetch(&table.n_failures, 1, __ATOMIC_RELAXED) >= FAILURES_MAX;
    if (is_final && !__atomic_exchange_n(&table.has_no_fences, true, __ATOMIC_RELAXED))
        fprintf(stderr,
                "gpuslice: the driver cannot write to memory from streams (CUDA error %d); "
                "turns on its GPUs go by launches alone\n",
                r);
}

/* Where the driver has the page, in the lane's context. */
static CUresult find_claims(const struct cuda_functions *driver, struct lane *lane,
                            struct claims *claims, const struct claims_lane *words)
{
    CUresult r;

    if (lane->claims == claims)
        return CUDA_SUCCESS;
    r = claimmaps_find(driver, lane->context, lane->device, claims, &lane->at);
    lane->claims = r == CUDA_SUCCESS ? claims : NULL;
    lane->done = r == CUDA_SUCCESS ? &words->done : NULL;
    return r;
}

static CUresult write_fence(const struct cuda_functions *driver, struct lane *lane,
                            struct claims *claims, struct claims_lane *words)
{
    cuda_cuStreamWriteValue32_v2 *call = driver->cuStreamWriteValue32_v2
                                             ? driver->cuStreamWriteValue32_v2
                                             : driver->cuStreamWriteValue32;
    const CUdeviceptr at =
        lane->at + (CUdeviceptr)((const char *)&words->done - (const char *)claims);
    const uint32_t before = limits_load(words->fence);
    CUresult r;

    if (!call)
        return CUDA_ERROR_NOT_SUPPORTED;
    __atomic_store_n(&lane->tail, LANE_TAIL_NONE, __ATOMIC_RELEASE);
    __atomic_store_n(&words->fence, lane->fence + 1, __ATOMIC_RELEASE);
    r = call(lane->stream, at, lane->fence + 1, 0);
    if (r != CUDA_SUCCESS) {
        limits_store(words->fence, before);
        __atomic_store_n(&lane->tail, LANE_TAIL_NEW, __ATOMIC_RELEASE);
        return r;
    }
    queue_mark(&lane->queue, ++lane->fence);
    return r;
}

static bool has_tail(const struct lane *lane)
{
    return __atomic_load_n(&lane->tail, __ATOMIC_ACQUIRE) != LANE_TAIL_NONE;
}

/* Unless something was launched meanwhile, which may not be claimed yet. */
static void end_tail(struct lane *lane)
{
    int awaited = LANE_TAIL_AWAITED;

    __atomic_compare_exchange_n(&lane->tail, &awaited, LANE_TAIL_NONE, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
}

/* By who has taken it. */
static void put_fence(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    struct claims *claims = __atomic_load_n(&table.claims, __ATOMIC_ACQUIRE);
    struct claims_lane *words = words_in(claims, lane);
    CUresult r;

    if (!words || lane->state != LANE_USED ||
        __atomic_load_n(&table.has_no_fences, __ATOMIC_RELAXED) || captures_are_there() ||
        !captures_is_none(driver, lane->stream))
        return;
    lane->fence_ns = now_ns;
    lane->seen_ns = 0;
    r = find_claims(driver, lane, claims, words);
    if (r == CUDA_SUCCESS)
        r = write_fence(driver, lane, claims, words);
    else if (r == CUDA_ERROR_INVALID_CONTEXT)
        return; /* the next thread that has it */
    if (r != CUDA_SUCCESS) {
        lane->claims = NULL;
        claimmaps_renew(lane->context);
        failed(r);
    } else if (__atomic_load_n(&table.n_failures, __ATOMIC_RELAXED) != 0)
        __atomic_store_n(&table.n_failures, 0, __ATOMIC_RELAXED);
}

/* By who has taken it. */
static void look(struct lane *lane, uint64_t now_ns)
{
    const struct claims_lane *words = words_of(lane);

    if (!words || lane->claims != __atomic_load_n(&table.claims, __ATOMIC_ACQUIRE))
        queue_forget(&lane->queue); /* what there was has its fences in another page, or none */
    else
        queue_look(&lane->queue, __atomic_load_n(&words->done, __ATOMIC_ACQUIRE), now_ns);
    claim_done(lane, lane->queue.n_done - lane->n_counted);
    lane->n_counted = lane->queue.n_done;
}

/* Its last fence was not passed when it was looked at. */
static bool is_behind(const struct lane *lane)
{
    return lane->queue.done != lane->fence;
}

static bool is_due(const struct lane *lane, uint64_t since_ns)
{
    return since_ns >= lane->period_ns ||
           (since_ns >= FENCE_NS && lane->is_gated && is_behind(lane));
}

/* By the next launch after it, which is soon: nobody knows how soon it was passed. With a fence
 * behind each second one such a stream would not seem to be at work for most of the time either. */
static uint64_t get_passed_ns(const struct lane *lane, uint64_t now_ns)
{
    const bool is_next = lane->launched_ns == lane->fence_ns;

    return is_next && quickclock_since(lane->fence_ns, now_ns) < FENCE_NS ? lane->fence_ns : now_ns;
}

/* Twice as long when the device had next to nothing to do, and half as long otherwise: beside
 * others it is late whenever it is not the program's time, which says little of the program. How
 * long it has been does not matter, or a queue that is shorter than that would never be seen. A
 * burst begins with little, and its first fence is passed at once whatever follows. */
static uint64_t get_period_ns(const struct lane *lane, uint64_t now_ns, bool *ret_is_first)
{
    const uint64_t ns = lane->period_ns;

    *ret_is_first = ns < FENCE_NS || quickclock_since(lane->launched_ns, now_ns) >= 2 * ns;
    if (*ret_is_first)
        return FENCE_NS;
    if (lane->is_first)
        return ns;
    if (is_behind(lane))
        return lane->is_gated ? FENCE_NS : ns;
    if (quickclock_since(lane->fence_ns, lane->seen_ns) >= PASSED_NS)
        return ns / 2 > FENCE_NS ? ns / 2 : FENCE_NS;
    return 2 * ns < FENCE_MOST_NS ? 2 * ns : FENCE_MOST_NS;
}

/* What look() would find; a launch costs little more than this. */
static bool has_news(const struct lane *lane)
{
    return !lane->done || lane->claims != __atomic_load_n(&table.claims, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(lane->done, __ATOMIC_ACQUIRE) != lane->queue.done;
}

/* Nobody will see when what is launched there is done. */
static bool is_unseen(const struct lane *lane)
{
    return lane->number < 0 || __atomic_load_n(&table.has_no_fences, __ATOMIC_RELAXED);
}

bool lanes_launched(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    bool needs_fence, is_quiet, is_first;

    lanes_note_tail(lane);
    if (is_unseen(lane) || is_taken(lane)) {
        claim_done(lane, 1);
        return false;
    }
    if (has_news(lane))
        look(lane, now_ns);
    else
        lane->queue.looked_ns = now_ns;
    queue_give(&lane->queue, 1, now_ns);
    if (lane->seen_ns == 0 && !is_behind(lane))
        lane->seen_ns = get_passed_ns(lane, now_ns);
    needs_fence = is_due(lane, quickclock_since(lane->fence_ns, now_ns));
    is_quiet = !needs_fence && !is_behind(lane);
    if (needs_fence) {
        lane->period_ns = get_period_ns(lane, now_ns, &is_first);
        lane->is_first = is_first;
        put_fence(driver, lane, now_ns);
    }
    limits_store(lane->launched_ns, now_ns);
    let_go(lane);
    return is_quiet;
}

void lanes_given(struct lane *lane, uint32_t n, uint64_t now_ns)
{
    if (is_unseen(lane) || is_taken(lane)) {
        claim_done(lane, n);
        return;
    }
    queue_give(&lane->queue, n, now_ns);
    let_go(lane);
}

void lanes_fence(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    if (lane->number < 0 || !has_tail(lane) || is_taken(lane))
        return;
    put_fence(driver, lane, now_ns);
    let_go(lane);
}

static void fence_if_due(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    if (lane->number < 0 || is_taken(lane))
        return;
    if (is_due(lane, quickclock_since(lane->fence_ns, now_ns)))
        put_fence(driver, lane, now_ns);
    let_go(lane);
}

static bool is_of(const struct lane *lane, CUcontext context)
{
    return lane->state == LANE_USED && lane->context == context;
}

/* Another thread's default stream is not this one's. */
static bool is_within_reach(const struct lane *lane, CUcontext context)
{
    return is_of(lane, context) && (lane->thread == 0 || lane->thread == own_thread());
}

/* The legacy stream waits for the others of its context, and they for it. So the program alone puts
 * something into it while there is work in others, which may wait for each other. */
static bool may_join(const struct lane *lane)
{
    if (lane->stream != CU_STREAM_LEGACY)
        return true;
    for (const struct lane *other = table.lanes; other < lanes_end(); other++)
        if (other != lane && is_of(other, lane->context) && (has_tail(other) || !is_over(other)))
            return false;
    return true;
}

/* A lane that is another stream's meanwhile is fenced for that one, or refused by the driver. */
static void fence_each(const struct cuda_functions *driver, CUstream stream, uint64_t now_ns,
                       void (*fence)(const struct cuda_functions *, struct lane *, uint64_t))
{
    CUcontext context;

    if (!lanes_are_on() || captures_are_there() || !(context = current(driver)))
        return;
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++)
        if (has_tail(lane) && (!stream || lane->stream == stream) &&
            is_within_reach(lane, context) && may_join(lane))
            fence(driver, lane, now_ns);
}

void lanes_fence_all(const struct cuda_functions *driver, uint64_t now_ns)
{
    fence_each(driver, NULL, now_ns, lanes_fence);
}

void lanes_fence_due(const struct cuda_functions *driver, CUstream stream, uint64_t now_ns)
{
    fence_each(driver, stream, now_ns, fence_if_due);
}

/* Nobody has waited for what is behind the last fence. */
static bool is_new(const struct lane *lane, uint64_t unused)
{
    return __atomic_load_n(&lane->tail, __ATOMIC_ACQUIRE) == LANE_TAIL_NEW;
}

/* It was launched a moment ago. */
static bool is_recent(const struct lane *lane, uint64_t now_ns)
{
    return has_tail(lane) && quickclock_since(limits_load(lane->launched_ns), now_ns) < RECENT_NS;
}

static unsigned find_tails(const struct cuda_functions *driver, CUstream stream,
                           bool (*is_one)(const struct lane *lane, uint64_t now_ns),
                           uint64_t now_ns, struct lane **ret_one)
{
    CUcontext context = lanes_are_on() ? current(driver) : NULL;
    unsigned n = 0;

    for (struct lane *lane = table.lanes; context && lane < lanes_end(); lane++) {
        if ((stream && lane->stream != stream) || !is_within_reach(lane, context) ||
            !is_one(lane, now_ns))
            continue;
        *ret_one = lane;
        n++;
    }
    return n;
}

unsigned lanes_find_new(const struct cuda_functions *driver, CUstream stream, struct lane **ret_one)
{
    return find_tails(driver, stream, is_new, 0, ret_one);
}

unsigned lanes_find_recent(const struct cuda_functions *driver, CUstream stream, uint64_t now_ns,
                           struct lane **ret_one)
{
    return find_tails(driver, stream, is_recent, now_ns, ret_one);
}

struct lane_work lanes_look(struct lane *lane, uint64_t now_ns)
{
    struct lane_work work = {0};

    if (is_unseen(lane) || is_taken(lane))
        return work;
    look(lane, now_ns);
    work = (struct lane_work){.ns = queue_ns(&lane->queue),
                              .command_ns = lane->queue.command_ns,
                              .first_ns = queue_first_ns(&lane->queue, now_ns)};
    let_go(lane);
    return work;
}

/* Without a tail there is a fence already. */
static bool takes_a_moment(struct lane *lane, uint64_t now_ns)
{
    look(lane, now_ns);
    return has_tail(lane) && !queue_is_empty(&lane->queue) && queue_ns(&lane->queue) <= WAIT_NS;
}

/* The calling thread does not wait yet. */
static void end_wait_of_left(struct lane *lane)
{
    const int waiter = __atomic_load_n(&lane->waiter, __ATOMIC_ACQUIRE);

    if (waiter && (waiter == own_thread() || has_ended(waiter)))
        end_waiting(lane, waiter);
}

/* Threads that were cancelled are only missed while others wait: a wait that nothing follows
 * counts for a moment, whatever is claimed. */
static void end_waits_of_left(const struct claims_device *claims, uint64_t now_ns)
{
    const uint64_t last_ns = limits_load(waiters_ns);

    if (!limits_load(claims->n_awaiting) ||
        (now_ns >= last_ns && now_ns - last_ns < WAITERS_MS * UINT64_C(1000000)))
        return;
    limits_store(waiters_ns, now_ns);
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++)
        end_wait_of_left(lane);
}

/* The lane is taken. */
static bool begin_waiting(struct lane *lane, struct claims_device *claims)
{
    end_wait_of_left(lane);
    if (__atomic_load_n(&lane->waiter, __ATOMIC_ACQUIRE))
        return false;
    lane->waited_in = claims;
    __atomic_store_n(&lane->waiter, own_thread(), __ATOMIC_RELEASE);
    count_awaiting(claims, 1);
    return true;
}

bool lanes_begin_wait(struct lane *lane, uint64_t now_ns, struct lane_wait *ret_wait)
{
    struct claims_device *claims = lanes_claims(session_position(lane->slot));
    bool is_claimed;

    if (!claims || is_unseen(lane))
        return false;
    end_waits_of_left(claims, now_ns);
    if (is_taken(lane))
        return false;
    is_claimed = takes_a_moment(lane, now_ns) && begin_waiting(lane, claims);
    if (is_claimed)
        __atomic_store_n(&lane->tail, LANE_TAIL_AWAITED, __ATOMIC_RELEASE);
    ret_wait->n_given = lane->queue.n_given;
    let_go(lane);
    return is_claimed;
}

/* In a child of fork it is its parent's wait, claimed in a page that the child does not have. */
void lanes_end_wait(struct lane *lane, const struct lane_wait *wait, bool is_done, uint64_t now_ns)
{
    if (lanes_generation() == 0)
        return;
    if (is_done && !is_taken(lane)) {
        queue_settle(&lane->queue, wait->n_given, now_ns);
        if (queue_is_empty(&lane->queue))
            end_tail(lane);
        look(lane, now_ns);
        let_go(lane);
    }
    end_waiting(lane, own_thread());
}

/* Another thread may put a fence into it, of which the program knows nothing. */
static void end_lane(const struct cuda_functions *driver, struct lane *lane, CUstream stream,
                     bool is_current)
{
    const bool has_taken = take_lane(lane);

    if (has_taken && is_current && lane->stream == stream && lane->number >= 0 && has_tail(lane))
        put_fence(driver, lane, quickclock_ns());
    enter();
    if (lane->state == LANE_USED && lane->stream == stream)
        lane->state = LANE_ENDING;
    change();
    leave();
    if (has_taken)
        let_go(lane);
}

/* Who launches into it at the same time is at fault, and would be without us. */
void lanes_end_stream(const struct cuda_functions *driver, CUstream stream)
{
    CUcontext context;

    if (!lanes_are_on())
        return;
    context = current(driver);
    for (struct lane *lane = table.lanes; lane < lanes_end(); lane++)
        if (lane->state == LANE_USED && lane->stream == stream)
            end_lane(driver, lane, stream, lane->context == context);
}
