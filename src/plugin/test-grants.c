// SPDX-License-Identifier: Apache-2.0
#include "plugin/grants.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "plugin/holdings.h"
#include "plugin/test-bed.h"

#define GPU "nvidia.com/gpu"

struct world {
    struct bed bed;
    char folder[BED_PATH_SIZE];
    struct grants *grants;
    unsigned n_states, n_stale, n_freed;
    bool is_away;        /* no service is registered */
    struct text answers; /* "0 " for each call that was answered, "-5 " for a refused one */
    /* What the kubelet's next list has; NULL = it does not answer. */
    const char *held;
    unsigned n_lists;
};

static bool is_ours(const struct grant *held, void *userdata)
{
    const struct world *world = userdata;

    return !world->is_away && str_equal(held->resource, GPU);
}

static void on_state(void *userdata)
{
    ((struct world *)userdata)->n_states++;
}

static void on_stale(void *userdata)
{
    ((struct world *)userdata)->n_stale++;
}

static void on_freed(void *userdata)
{
    ((struct world *)userdata)->n_freed++;
}

/* "ab": a pod holds the ids "a" and "b". */
static int list(struct podresources *podresources, podresources_list_fn *on_listed, void *userdata)
{
    struct world *world = (struct world *)podresources;
    struct podresources_device devices[9] = {
        {.resource = "other.com/x", .id = "z", .container = "c", .pod = {"n", "p"}}};
    struct podresources_list answer = {
        .is_complete = world->held, .began_ms = uv_now(&world->bed.loop), .devices = devices};
    char ids[8][2] = {""};

    world->n_lists++;
    answer.n_devices = world->held ? strlen(world->held) + 1 : 0;
    for (size_t i = 1; i < answer.n_devices; i++) {
        ids[i - 1][0] = world->held[i - 1];
        devices[i] = (struct podresources_device){
            .resource = GPU, .id = ids[i - 1], .container = "main", .pod = {"default", "pod"}};
    }
    on_listed(&answer, userdata);
    return 0;
}

/* What a thread does takes no time of the test's clock: this waits for it in real time. */
static void let_threads_run(struct world *world, int ms)
{
    struct pollfd fd = {.fd = uv_backend_fd(&world->bed.loop), .events = POLLIN};

    poll(&fd, 1, ms);
    bed_settle(&world->bed);
}

static void run_until(struct world *world, bool (*is_so)(const struct world *))
{
    for (unsigned i = 0; !is_so(world); i++) {
        assert_true(i < 6000);
        let_threads_run(world, 10);
    }
}

static bool is_ready(const struct world *world)
{
    return grants_is_ready(world->grants);
}

static bool is_nobody_waiting(const struct world *world)
{
    return grants_counters(world->grants).waiting == 0;
}

static void begin(struct world *world)
{
    const struct grants_setup setup = {
        .loop = &world->bed.loop,
        .folder = world->folder,
        .kubelet_folder = world->bed.folder,
        .keeps_directories = true,
        .list = list,
        .podresources = (struct podresources *)world,
        .is_ours = is_ours,
        .on_state = on_state,
        .on_stale_checkpoint = on_stale,
        .on_freed = on_freed,
        .userdata = world,
    };

    assert_int_equal(grants_new(&setup, &world->grants, NULL), 0);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    bed_init(&world->bed);
    bed_path(&world->bed, "grants", world->folder);
    begin(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    grants_free(world->grants);
    bed_deinit(&world->bed);
    text_deinit(&world->answers);
    free(world);
    return 0;
}

static void on_done(int result, const char *why, void *userdata)
{
    struct world *world = userdata;

    assert_true(result == 0 || *why);
    text_addf(&world->answers, "%d ", result);
}

static struct grants_wait *give(struct world *world, const char *id)
{
    struct grant grant = {.resource = strdup(GPU)};
    struct grants_wait *wait;

    assert_int_equal(grant_add_id(&grant, id), 0);
    assert_int_equal(grants_name(world->grants, &grant), 0);
    assert_int_equal(grants_give(world->grants, &grant, 1, on_done, world, &wait), 0);
    grant_deinit(&grant);
    return wait;
}

static void give_and_await(struct world *world, const char *id)
{
    give(world, id);
    run_until(world, is_nobody_waiting);
}

static void restart(struct world *world)
{
    grants_free(world->grants);
    uv_run(&world->bed.loop, UV_RUN_DEFAULT);
    begin(world);
    run_until(world, is_ready);
}

/* --- giving --- */

static void what_was_answered_is_known_after_a_restart(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    give(world, "a");
    assert_int_equal(world->answers.length, 0); /* never inside the call */
    assert_true(grants_holds(world->grants, GPU, "a"));
    run_until(world, is_nobody_waiting);
    assert_string_equal(text_string(&world->answers), "0 ");
    restart(world);
    assert_true(grants_holds(world->grants, GPU, "a"));
    assert_false(grants_holds(world->grants, GPU, "b"));
    assert_string_equal(grants_problem(world->grants), "");
}

static void many_calls_share_one_sync(void **state)
{
    struct world *world = *state;
    uint64_t before;

    run_until(world, is_ready);
    before = grants_counters(world->grants).syncs;
    for (char id[2] = "a"; id[0] <= 'z'; id[0]++)
        give(world, id);
    run_until(world, is_nobody_waiting);
    assert_int_equal(world->answers.length, 2 * 26);
    assert_int_equal(grants_counters(world->grants).syncs, before + 1);
}

static void a_call_before_the_journal_was_read_waits(void **state)
{
    struct world *world = *state;

    give_and_await(world, "a");
    assert_string_equal(text_string(&world->answers), "0 ");
    restart(world);
    assert_true(grants_holds(world->grants, GPU, "a"));
}

static void a_caller_that_is_gone_is_not_answered(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    grants_forget(give(world, "a"));
    run_until(world, is_nobody_waiting);
    assert_string_equal(text_string(&world->answers), "");
    restart(world);
    assert_true(grants_holds(world->grants, GPU, "a")); /* until a list says otherwise */
}

static void what_waits_at_the_end_is_forgotten(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    give(world, "a");
    restart(world);
    assert_string_equal(text_string(&world->answers), "");
}

/* --- a disk that does not do --- */

static bool has_problem(const struct world *world)
{
    return *grants_problem(world->grants);
}

static bool has_no_problem(const struct world *world)
{
    return !*grants_problem(world->grants);
}

/* A file in the folder's place: as unwritable as a disk can be, also for root. */
static void a_call_waits_while_grants_cannot_be_written(void **state)
{
    struct world *world = *state;
    char aside[BED_PATH_SIZE];

    bed_path(&world->bed, "aside", aside);
    run_until(world, is_ready);
    give_and_await(world, "a");
    assert_int_equal(rename(world->folder, aside), 0);
    assert_int_equal(file_write_atomic(world->folder, "", 0, 0600, NULL), 0);
    give(world, "b");
    for (unsigned i = 0; i < 6000 && !has_problem(world); i++) {
        let_threads_run(world, 10);
        bed_advance(&world->bed, GRANTS_RETRY_FIRST_MS);
    }
    assert_true(str_starts_with(grants_problem(world->grants), "cannot write grants: "));
    assert_true(grants_holds(world->grants, GPU, "a"));
    assert_string_equal(text_string(&world->answers), "0 ");
    assert_int_equal(unlink(world->folder), 0);
    assert_int_equal(rename(aside, world->folder), 0);
    bed_advance(&world->bed, GRANTS_RETRY_LAST_MS);
    run_until(world, has_no_problem);
    run_until(world, is_nobody_waiting);
    assert_string_equal(text_string(&world->answers), "0 0 ");
    restart(world);
    assert_true(grants_holds(world->grants, GPU, "a") && grants_holds(world->grants, GPU, "b"));
}

static void a_call_is_refused_in_the_end(void **state)
{
    struct world *world = *state;
    char command[200];

    run_until(world, is_ready);
    snprintf(command, sizeof(command), "rm -r %s", world->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(file_write_atomic(world->folder, "", 0, 0600, NULL), 0);
    give(world, "b");
    for (unsigned i = 0; i < 6000 && !is_nobody_waiting(world); i++) {
        let_threads_run(world, 10);
        bed_advance(&world->bed, GRANTS_RETRY_LAST_MS);
    }
    assert_string_equal(text_string(&world->answers), "-5 ");
    assert_false(grants_holds(world->grants, GPU, "b"));
    assert_int_equal(unlink(world->folder), 0);
}

/* Somebody else has the lock, for as long as a hung disk would. */
static void a_disk_that_hangs_is_named_and_waited_for(void **state)
{
    struct world *world = *state;
    char lock[BED_PATH_SIZE + 16];
    int fd;

    run_until(world, is_ready);
    snprintf(lock, sizeof(lock), "%s/grants.lock", world->folder);
    fd = open(lock, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    give(world, "a");
    bed_advance(&world->bed, GRANTS_SLOW_MS - 1);
    assert_string_equal(grants_problem(world->grants), "");
    bed_advance(&world->bed, 1);
    assert_non_null(strstr(grants_problem(world->grants), "has not responded for 5 s"));
    bed_advance(&world->bed, 100 * GRANTS_TIMEOUT_MS);
    assert_string_equal(text_string(&world->answers), ""); /* never refused */
    close(fd);
    run_until(world, is_nobody_waiting);
    assert_string_equal(text_string(&world->answers), "0 ");
    assert_string_equal(grants_problem(world->grants), "");
}

static void a_journal_that_cannot_be_read_is_a_problem(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    grants_free(world->grants);
    uv_run(&world->bed.loop, UV_RUN_DEFAULT);
    snprintf(world->folder, sizeof(world->folder), "/proc/nowhere");
    begin(world);
    run_until(world, is_ready);
    assert_true(has_problem(world));
}

/* --- the end of grants --- */

/* A minute goes by, and the kubelet is asked. */
static void tick(struct world *world, const char *held)
{
    unsigned before = world->n_lists;

    world->held = held;
    bed_advance(&world->bed, 60000);
    grants_tick(world->grants);
    for (unsigned i = 0; world->n_lists == before; i++) {
        assert_true(i < 6000);
        let_threads_run(world, 10);
        bed_advance(&world->bed, 100);
    }
}

static bool is_a_gone(const struct world *world)
{
    return !grants_holds(world->grants, GPU, "a");
}

static void two_lists_end_a_grant(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    give_and_await(world, "a");
    give_and_await(world, "b");
    tick(world, "ab");
    tick(world, "b");
    assert_false(is_a_gone(world));
    tick(world, NULL); /* a silent kubelet says nothing */
    tick(world, NULL);
    assert_false(is_a_gone(world));
    assert_int_equal(world->n_freed, 0);
    tick(world, "b");
    run_until(world, is_a_gone);
    assert_int_equal(world->n_freed, 1);
    assert_true(grants_holds(world->grants, GPU, "b"));
    run_until(world, has_no_problem);
    restart(world);
    assert_true(grants_holds(world->grants, GPU, "b"));
}

/* A standby, a restart of the kubelet, a resource that was renamed: the pods go on. */
static void a_pod_keeps_its_grant_while_no_service_is_registered(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    give_and_await(world, "a");
    world->is_away = true;
    for (unsigned i = 0; i < 4; i++)
        tick(world, "ax");
    assert_false(is_a_gone(world));
    assert_false(grants_holds(world->grants, GPU, "x")); /* that of another plugin, possibly */
    world->is_away = false;
    tick(world, "");
    tick(world, "");
    run_until(world, is_a_gone);
}

static void an_unreadable_checkpoint_ends_no_grant(void **state)
{
    struct world *world = *state;
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, KUBELETCHECKPOINT_NAME, path);
    assert_int_equal(file_write_atomic(path, "x", 1, 0600, NULL), 0);
    run_until(world, is_ready);
    give_and_await(world, "a");
    for (unsigned i = 0; i < 4; i++)
        tick(world, "");
    assert_false(is_a_gone(world));
    assert_int_equal(unlink(path), 0);
    tick(world, "");
    tick(world, "");
    run_until(world, is_a_gone);
}

static bool are_few_ending(const struct world *world)
{
    return grants_counters(world->grants).grants.n_ending <= LEDGER_ENDING_MAX;
}

/* Pods come and go on one device. */
static void a_silent_kubelet_lets_no_grants_pile_up(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    for (unsigned i = 0; i < LEDGER_ENDING_MAX + 100; i++)
        give(world, "a");
    run_until(world, is_nobody_waiting);
    assert_false(are_few_ending(world));
    tick(world, NULL);
    run_until(world, are_few_ending);
    assert_false(is_a_gone(world));
}

static bool are_fewest_ending(const struct world *world)
{
    return grants_counters(world->grants).grants.n_ending <= LEDGER_ENDING_LAST;
}

/* Lists alone end no grant, since they are wrong at times. Yet the log may not grow without a
 * limit. */
static void without_a_checkpoint_no_grants_pile_up(void **state)
{
    static const char *const lists[] = {NULL, "a"};
    struct world *world = *state;
    char path[BED_PATH_SIZE];

    bed_path(&world->bed, KUBELETCHECKPOINT_NAME, path);
    assert_int_equal(file_write_atomic(path, "x", 1, 0600, NULL), 0);
    run_until(world, is_ready);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        while (are_fewest_ending(world))
            give(world, "a");
        run_until(world, is_nobody_waiting);
        tick(world, lists[i]);
        run_until(world, are_fewest_ending);
        assert_false(is_a_gone(world));
        assert_false(are_few_ending(world));
    }
}

static bool has_adopted(const struct world *world)
{
    return grants_counters(world->grants).grants.n_adopted;
}

static void what_pods_hold_from_before_is_adopted(void **state)
{
    struct world *world = *state;

    run_until(world, is_ready);
    tick(world, "xy");
    run_until(world, has_adopted);
    assert_true(grants_holds(world->grants, GPU, "x") && grants_holds(world->grants, GPU, "y"));
    assert_false(grants_holds(world->grants, "other.com/x", "z"));
    assert_int_equal(grants_counters(world->grants).grants.n_adopted, 1);
    give_and_await(world, "z"); /* which is written with it */
    restart(world);
    assert_int_equal(grants_counters(world->grants).grants.n_adopted, 1);
}

static void lists_are_not_asked_for_more_often(void **state)
{
    struct world *world = *state;

    world->held = "";
    run_until(world, is_ready);
    for (unsigned i = 0; i < 50; i++) {
        grants_kubelet_changed(world->grants, "kubelet_internal_checkpoint");
        grants_kubelet_changed(world->grants, "gpuslice-gpu.sock");
        bed_advance(&world->bed, 100);
        let_threads_run(world, 1);
    }
    assert_int_equal(world->n_lists, 1);
    bed_advance(&world->bed, HOLDINGS_LIST_MS);
    assert_int_equal(world->n_lists, 2);
}

/* --- a clock that jumps --- */

/* The wall clock of this program, in place of the C library's; the test's own clock is another. */
static time_t wall_s = 1800000000;

time_t time(time_t *to)
{
    if (to)
        *to = wall_s;
    return wall_s;
}

/* Wall time is recorded, and decides nothing: neither which grant is the newest, nor when one ends.
 */
static void a_clock_that_jumps_changes_no_grant(void **state)
{
    static const time_t jumps_s[] = {0, 1, 4102444800, -86400};
    struct world *world = *state;

    world->held = "ab";
    run_until(world, is_ready);
    give_and_await(world, "a");
    for (size_t i = 0; i < ARRAY_SIZE(jumps_s); i++) {
        wall_s = jumps_s[i];
        give_and_await(world, "b"); /* the one before ends, though its time may be later */
        bed_advance(&world->bed, HOLDINGS_LIST_MS);
        let_threads_run(world, 10);
        restart(world);
        assert_true(grants_holds(world->grants, GPU, "a") && grants_holds(world->grants, GPU, "b"));
        assert_int_equal(grants_counters(world->grants).grants.n_current, 2);
    }
    tick(world, "b");
    tick(world, "b");
    tick(world, "b");
    run_until(world, is_a_gone);
    wall_s = 1800000000;
}

/* --- before a container starts --- */

static void a_directory_that_was_lost_is_made_again(void **state)
{
    char *ids[] = {(char[]){"a::0"}};
    struct world *world = *state;
    struct grants_wait *wait;
    char path[200];

    run_until(world, is_ready);
    give_and_await(world, "a::0");
    restart(world);
    snprintf(path, sizeof(path), "rm -r %s/grants/*", world->folder);
    assert_int_equal(system(path), 0);
    assert_int_equal(grants_before_start(world->grants, GPU, ids, 1, on_done, world, &wait), 0);
    run_until(world, is_nobody_waiting);
    assert_string_equal(text_string(&world->answers), "0 0 ");
    assert_int_equal(system(path), 0); /* there is one to remove again */
}

static void a_start_without_a_grant_is_refused(void **state)
{
    char *ids[] = {(char[]){"nobody-s"}};
    struct world *world = *state;
    struct grants_wait *wait;

    world->held = "";
    run_until(world, is_ready);
    assert_int_equal(grants_before_start(world->grants, GPU, ids, 1, on_done, world, &wait),
                     GRANTS_UNKNOWN);
    bed_advance(&world->bed, 0);
    assert_int_equal(world->n_lists, 1); /* to be adopted, possibly */
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_answered_is_known_after_a_restart),
        T(many_calls_share_one_sync),
        T(a_call_before_the_journal_was_read_waits),
        T(a_caller_that_is_gone_is_not_answered),
        T(what_waits_at_the_end_is_forgotten),
        T(a_call_waits_while_grants_cannot_be_written),
        T(a_call_is_refused_in_the_end),
        T(a_disk_that_hangs_is_named_and_waited_for),
        T(a_journal_that_cannot_be_read_is_a_problem),
        T(two_lists_end_a_grant),
        T(a_silent_kubelet_lets_no_grants_pile_up),
        T(without_a_checkpoint_no_grants_pile_up),
        T(a_pod_keeps_its_grant_while_no_service_is_registered),
        T(an_unreadable_checkpoint_ends_no_grant),
        T(what_pods_hold_from_before_is_adopted),
        T(lists_are_not_asked_for_more_often),
        T(a_clock_that_jumps_changes_no_grant),
        T(a_directory_that_was_lost_is_made_again),
        T(a_start_without_a_grant_is_refused),
    };

    return cmocka_run_group_tests_name("plugin/grants", tests, NULL, NULL);
}
