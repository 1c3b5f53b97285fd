// SPDX-License-Identifier: Apache-2.0
#include "shim/gate.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/captures.h"
#include "shim/quickclock.h"
#include "shim/quickpass.h"
#include "shim/session.h"

#define MS UINT64_C(1000000)

enum {
    FUTEX_MS = 2,         /* that a thread sleeps at most before it looks again */
    LOOK_MS = 500,        /* between two looks at the connection, */
    LOOK_AWAY_MS = 100,   /* while the arbiter is away */
    LOOK_LAUNCHES = 32,   /* of a thread between two looks at the clock, where nothing is shared */
    FUTURE_MS = 1000,     /* a beat further on is none */
    ROOM_MS = 10,         /* to wait for room in a stream, beyond two commands, and */
    ROOM_UNKNOWN_MS = 20, /* where nobody knows how long one takes */
    ROOM_MOST_MS = 100,
    WAKE_NS = 150 * 1000, /* who sleeps may be woken so much later, and looks instead ... */
    LATE_NS = 500 * 1000, /* ... until it should have come so long ago: others use the device; */
    LATE_BOUNDED_NS = 10 * 1000 * 1000, /* who has nothing else in flight leaves it idle, though */
    NAP_NS = 20 * 1000,
    READY_NS = 300 * 1000, /* that it looks all the time, when its turn is about to begin */
};

/* --- pure --- */

static bool is_away(uint32_t beat_ms, uint64_t now_ns)
{
    const int32_t age_ms = (int32_t)((uint32_t)(now_ns / MS) - beat_ms);

    return age_ms > GATE_AWAY_MS || age_ms < -FUTURE_MS;
}

/* Shares of one device add up to all of it at most, and begin at places of their own. */
static bool is_in_share(uint32_t share_ppm, uint64_t number, uint64_t now_ns)
{
    const uint64_t begin_ns = (number * UINT64_C(0x9e3779b97f4a7c15) >> 32) % GATE_PERIOD_NS;

    return share_ppm == 0 ||
           (now_ns + begin_ns) % GATE_PERIOD_NS < GATE_PERIOD_NS / 1000000 * share_ppm;
}

static bool is_open(const struct limits_device *device)
{
    const uint32_t compute = limits_load(device->compute), gate = limits_load(device->gate);

    return compute == LIMITS_COMPUTE_NONE || compute == LIMITS_COMPUTE_OBSERVE ||
           (gate != LIMITS_GATE_TURN && gate != LIMITS_GATE_CLOSED);
}

struct gate_verdict gate_judge(const struct limits_page *page, const struct limits_device *device,
                               uint64_t number, uint64_t now_ns)
{
    struct gate_verdict verdict = {.in_flight_us = limits_load(device->in_flight_us)};
    const uint64_t end_ns = limits_load(device->turn_end_ns);

    if (is_open(device))
        return (struct gate_verdict){.passes = true};
    verdict.end_ns = end_ns;
    verdict.is_away = is_away(limits_load(page->beat_ms), now_ns);
    if (verdict.is_away) {
        verdict.passes = is_in_share(limits_load(device->share_ppm), number, now_ns);
        verdict.in_flight_us = GATE_AWAY_US;
    } else if (limits_load(device->gate) == LIMITS_GATE_TURN) {
        verdict.passes = end_ns == 0 || now_ns < end_ns;
    }
    return verdict;
}

unsigned gate_bin(uint64_t waited_ns)
{
    const uint64_t units = waited_ns / (64 * UINT64_C(1000));
    const unsigned bin = units ? 64 - (unsigned)__builtin_clzll(units) : 0;

    return bin < CLAIMS_WAIT_BINS ? bin : CLAIMS_WAIT_BINS - 1;
}

/* --- where a thread is --- */

static __thread unsigned n_calls;

void gate_begin_call(void)
{
    quickpass_claim_all();
    n_calls++;
}

void gate_end_call(void)
{
    n_calls--;
}

static bool may_wait(const struct cuda_functions *driver, CUstream stream)
{
    return n_calls == 0 && !captures_are_there() && captures_is_none(driver, stream);
}

/* --- the arbiter --- */

/* One thread at a time; the others go on. It may have to ask, and then takes a moment. */
static bool look_at_connection(uint64_t now_ns, uint64_t period_ms)
{
    static uint64_t looked_ns;
    uint64_t last_ns = __atomic_load_n(&looked_ns, __ATOMIC_RELAXED);

    if (n_calls > 0 || quickclock_since(last_ns, now_ns) < period_ms * MS ||
        !__atomic_compare_exchange_n(&looked_ns, &last_ns, now_ns, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return false;
    session_look();
    return true;
}

static void look(uint64_t now_ns, uint64_t period_ms)
{
    if (look_at_connection(now_ns, period_ms))
        lanes_start();
}

/* Where no device is shared: a program that has all its memory may launch for days without a word
 * to the arbiter, and the next one would never get to know it. */
static void look_now_and_then(void)
{
    static __thread unsigned n_launched;

    if (++n_launched % LOOK_LAUNCHES == 0 && session_page())
        look_at_connection(quickclock_ns(), LOOK_MS);
}

/* --- at a closed gate --- */

/* What a launch looks at. NULL device: there are no turns any more. */
struct place {
    const struct limits_page *page;
    const struct limits_device *device;
    struct claims_device *claims;
};

static struct place place_of(const struct lane *lane)
{
    const int position = session_position(lane->slot);
    struct place place = {.page = session_page(), .claims = lanes_claims(position)};

    if (place.page && place.claims)
        place.device = &place.page->devices[position];
    return place;
}

static struct gate_verdict judge(const struct place *place, uint64_t now_ns)
{
    return gate_judge(place->page, place->device, session_page_number(), now_ns);
}

/* The page is read-only, and so is waiting for one of its words. */
static void sleep_until_changed(const uint32_t *word, uint32_t seen)
{
    const struct timespec most = {.tv_nsec = FUTEX_MS * (long)MS};

    if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &most, NULL, 0) != 0 && errno != EAGAIN &&
        errno != EINTR && errno != ETIMEDOUT)
        nanosleep(&most, NULL);
}

/* A number that is raised at a gate that stays closed: the next turn is this container's. To be
 * woken then takes longer than to be there. */
static void watch(const uint32_t *word, uint32_t seen)
{
    const uint64_t begin_ns = quickclock_ns();

    while (limits_load(*word) == seen && quickclock_since(begin_ns, quickclock_ns()) < READY_NS)
        sched_yield();
}

static void count_waiting(struct claims_device *claims, uint32_t change)
{
    if (claims)
        __atomic_add_fetch(&claims->n_waiting, change, __ATOMIC_RELAXED);
}

static void count_wait(struct claims_device *claims, uint64_t ns)
{
    count_waiting(claims, (uint32_t)-1);
    if (!claims)
        return;
    __atomic_add_fetch(&claims->waited_ns, ns, __ATOMIC_RELAXED);
    __atomic_add_fetch(&claims->waits[gate_bin(ns)], 1, __ATOMIC_RELAXED);
}

/* Its word is taken before it is judged, so that no change is slept through. True: it passes. */
static bool sleep_once(const struct place *place, uint64_t *now_ns, uint32_t *number)
{
    const uint32_t *word = &place->device->gate_number;
    const uint32_t seen = limits_load(*word);
    const struct gate_verdict verdict = judge(place, *now_ns);

    if (verdict.passes)
        return true;
    if (verdict.is_away)
        look(*now_ns, LOOK_AWAY_MS);
    else if (seen != *number)
        watch(word, seen);
    *number = seen;
    sleep_until_changed(word, seen);
    *now_ns = quickclock_ns();
    return false;
}

/* A new arbiter has another page of claims: the wait shows there, too. False: it was long enough.
 */
static bool wait_at_gate(const struct cuda_functions *driver, struct lane *lane)
{
    uint64_t now_ns = quickclock_ns();
    const uint64_t begin_ns = now_ns;
    struct claims_device *counted = NULL;
    uint32_t number = 0;
    bool passes = false;

    lanes_fence_all(driver, now_ns);
    while (!passes && quickclock_since(begin_ns, now_ns) < GATE_LONGEST_NS) {
        const struct place place = place_of(lane);

        if (!place.device)
            break;
        if (place.claims != counted) {
            number = limits_load(place.device->gate_number);
            count_waiting(counted, (uint32_t)-1);
            count_waiting(place.claims, 1);
            counted = place.claims;
        }
        passes = sleep_once(&place, &now_ns, &number);
        (void)lanes_look(lane, now_ns); /* what is done meanwhile is claimed */
    }
    count_wait(counted, quickclock_since(begin_ns, now_ns));
    return passes || quickclock_since(begin_ns, now_ns) < GATE_LONGEST_NS;
}

/* --- during a turn --- */

static uint64_t most_ns(uint64_t command_ns)
{
    const uint64_t ns = command_ns ? 2 * command_ns + ROOM_MS * MS : ROOM_UNKNOWN_MS * MS;

    return ns < ROOM_MOST_MS * MS ? ns : ROOM_MOST_MS * MS;
}

/* Nothing in flight is always room. */
static bool has_room(const struct gate_verdict *verdict, const struct lane_work *work,
                     uint64_t now_ns)
{
    const uint64_t room_ns = verdict->in_flight_us * UINT64_C(1000);

    if (work->ns == 0 || work->ns == UINT64_MAX)
        return work->ns == 0;
    if (room_ns)
        return work->ns + work->command_ns <= room_ns;
    return verdict->end_ns == 0 || now_ns + work->ns < verdict->end_ns;
}

/* A moment less than what it takes, since a device without work goes to somebody else. */
static void nap(const struct gate_verdict *verdict, const struct lane_work *work)
{
    const bool is_bounded = verdict->in_flight_us && work->ns != UINT64_MAX;
    const uint64_t ns = is_bounded ? work->ns : work->command_ns, passed_ns = work->first_ns;
    const uint64_t late_ns = is_bounded ? LATE_BOUNDED_NS : LATE_NS;
    const uint64_t left_ns = ns > passed_ns ? ns - passed_ns : 0;
    struct timespec most = {.tv_nsec = NAP_NS};

    if (left_ns <= WAKE_NS && passed_ns < ns + late_ns) {
        sched_yield();
        return;
    }
    if (left_ns > WAKE_NS)
        most.tv_nsec = (long)(left_ns - WAKE_NS < MS ? left_ns - WAKE_NS : MS);
    nanosleep(&most, NULL);
}

/* What is bounded is waited for to the end once there is no room: a queue that is topped up never
 * leaves the hardware a reason to turn to somebody else. Otherwise there is room again with each
 * command, or in another turn. What is in flight may wait for what this thread does next, so that
 * this ends. */
static struct gate_verdict wait_for_room(const struct cuda_functions *driver, struct lane *lane,
                                         const struct place *place, struct gate_verdict verdict)
{
    const uint64_t begin_ns = quickclock_ns();
    uint64_t now_ns = begin_ns;
    struct lane_work work = lanes_look(lane, now_ns);

    while (verdict.passes && work.ns != 0 &&
           (verdict.in_flight_us || !has_room(&verdict, &work, now_ns)) &&
           quickclock_since(begin_ns, now_ns) < most_ns(work.command_ns)) {
        lanes_fence(driver, lane, now_ns);
        nap(&verdict, &work);
        now_ns = quickclock_ns();
        verdict = judge(place, now_ns);
        work = lanes_look(lane, now_ns);
    }
    return verdict;
}

/* --- launches --- */

/* Never inlined: most launches pass it by, and would save registers for it. */
#define PASSED_BY __attribute__((noinline))

static bool is_shared(const struct limits_page *page)
{
    uint32_t computes = 0;

    for (uint32_t i = 0; i < page->n_devices && i < LIMITS_DEVICES_MAX; i++)
        computes |= limits_load(page->devices[i].compute);
    return computes != LIMITS_COMPUTE_NONE;
}

bool gate_is_shared(void)
{
    const struct limits_page *page = session_page();

    return page && is_shared(page);
}

bool gate_is_on(void)
{
    return gate_is_shared() && lanes_are_on() && n_calls == 0;
}

/* At once, where the program could not be kept waiting as well. */
static bool goes_on(const struct gate_verdict *verdict, struct lane *lane, uint64_t now_ns)
{
    struct lane_work work;

    if (!verdict->passes)
        return false;
    work = lanes_look(lane, now_ns);
    return has_room(verdict, &work, now_ns);
}

/* Several threads may launch into it; it is the same for all. */
static void note_gated(struct lane *lane, bool is_gated)
{
    if (__atomic_load_n(&lane->is_gated, __ATOMIC_RELAXED) != is_gated)
        __atomic_store_n(&lane->is_gated, is_gated, __ATOMIC_RELAXED);
}

/* Its turn may end while there is no room. */
PASSED_BY static void pass_by_turn(const struct cuda_functions *driver, struct lane *lane,
                                   CUstream stream)
{
    const struct place place = place_of(lane);
    struct gate_verdict verdict;
    uint64_t now_ns;

    if (!place.device || is_open(place.device))
        return;
    quickpass_claim_all();
    now_ns = quickclock_ns();
    verdict = judge(&place, now_ns);
    if (goes_on(&verdict, lane, now_ns))
        return;
    if (!may_wait(driver, stream)) {
        __atomic_add_fetch(&place.claims->n_late, !verdict.passes, __ATOMIC_RELAXED);
        return;
    }
    if (verdict.passes)
        verdict = wait_for_room(driver, lane, &place, verdict);
    if (!verdict.passes && !wait_at_gate(driver, lane))
        __atomic_add_fetch(&place.claims->n_late, 1, __ATOMIC_RELAXED);
}

static void pass(const struct cuda_functions *driver, struct lane *lane, CUstream stream)
{
    const struct limits_page *page = session_page();
    const int position = session_position(lane->slot);
    const bool is_gated = page && position >= 0 && !is_open(&page->devices[position]);

    note_gated(lane, is_gated);
    if (is_gated)
        pass_by_turn(driver, lane, stream);
}

/* Is what is launched now no command, but part of a graph? */
static bool is_captured(const struct cuda_functions *driver, CUstream stream)
{
    return captures_are_there() && !captures_is_none(driver, stream);
}

static bool has_turns(void)
{
    return lanes_are_on() || (n_calls == 0 && session_may_claim() && lanes_start());
}

/* What may change beside the page is looked at as well. */
PASSED_BY static struct lane *look_up(const struct cuda_functions *driver, CUstream handle,
                                      struct quickpass *quickpass)
{
    struct lane *lane;

    if (!has_turns())
        return NULL;
    quickpass_begin(quickpass, handle);
    lane = lanes_find(driver, handle, false);
    if (!lane || is_captured(driver, handle))
        return NULL;
    pass(driver, lane, handle);
    return lane;
}

PASSED_BY static struct gate_launch enter(const struct cuda_functions *driver, CUstream handle,
                                          struct quickpass *quickpass)
{
    if (quickpass->n > 0)
        quickpass_claim(quickpass, quickclock_ns());
    if (!gate_is_shared()) {
        look_now_and_then();
        return (struct gate_launch){NULL, NULL};
    }
    return (struct gate_launch){look_up(driver, handle, quickpass), NULL};
}

/* In its context, or another one? */
PASSED_BY static struct gate_launch pass_in_context(const struct cuda_functions *driver,
                                                    CUstream handle, struct quickpass *quickpass)
{
    CUcontext context = NULL;

    if (driver->cuCtxGetCurrent(&context) == CUDA_SUCCESS && context == quickpass->context)
        return (struct gate_launch){quickpass->lane, quickpass};
    return enter(driver, handle, quickpass);
}

struct gate_launch gate_enter(const struct cuda_functions *driver, CUstream stream,
                              bool is_per_thread)
{
    CUstream handle = lanes_handle(stream, is_per_thread);
    struct quickpass *quickpass = quickpass_at(handle);

    if (!quickpass_take(quickpass, handle))
        return enter(driver, handle, quickpass);
    if (quickpass->context)
        return pass_in_context(driver, handle, quickpass);
    return (struct gate_launch){quickpass->lane, quickpass};
}

/* A default stream's lane depends on the thread's context, which only the driver knows: it is not
 * asked each time where another context could have no other gate. Who changes contexts in so short
 * a moment has launches counted in another lane of the device, and is looked at the next time. */
static CUcontext context_of(const struct limits_page *page, const struct lane *lane)
{
    const bool is_default =
        lane->stream == CU_STREAM_LEGACY || lane->stream == CU_STREAM_PER_THREAD;

    return is_default && page->n_devices > 1 ? lane->context : NULL;
}

static void open_quickpass(struct lane *lane, struct claims_device *claims)
{
    const struct limits_page *page = session_page();
    const int position = session_position(lane->slot);

    if (page && position >= 0 && !captures_are_there())
        quickpass_open(quickpass_at(lane->stream), lane, context_of(page, lane),
                       &page->devices[position], claims);
}

PASSED_BY static void launched(const struct cuda_functions *driver, struct lane *lane)
{
    struct claims_device *claims = lanes_claims(session_position(lane->slot));
    uint64_t now_ns;

    if (!claims)
        return;
    now_ns = quickclock_ns();
    __atomic_add_fetch(&claims->n_launched, 1, __ATOMIC_RELAXED);
    if (n_calls == 0 && lanes_launched(driver, lane, now_ns))
        open_quickpass(lane, claims);
    look(now_ns, LOOK_MS);
}

CUresult gate_leave(const struct cuda_functions *driver, struct gate_launch launch, CUresult r)
{
    if (!launch.lane || r != CUDA_SUCCESS)
        return r;
    if (launch.pass)
        quickpass_count(launch.pass);
    else
        launched(driver, launch.lane);
    return r;
}
