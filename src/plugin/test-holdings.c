// SPDX-License-Identifier: Apache-2.0
#include "plugin/holdings.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "plugin/test-bed.h"

#define GPU "nvidia.com/gpu"

struct world {
    struct bed bed;
    struct holdings *holdings;
    bool wants_checkpoint;
    /* What the kubelet's list has: "ab" = a pod holds the ids a and b; NULL = it does not answer.
     */
    const char *held;
    int list_result;             /* of asking for it */
    podresources_list_fn *asked; /* while the kubelet thinks; NULL = it answers at once */
    bool thinks;
    void *asked_userdata;
    bool ends; /* right after a thread began to read */
    unsigned n_lists;
    struct text views; /* "ab " for each complete one, "- " without a list, "!" = no checkpoint */
};

static void answer(struct world *world, podresources_list_fn *on_listed, void *userdata)
{
    struct podresources_device devices[8];
    struct podresources_list list = {
        .is_complete = world->held, .began_ms = uv_now(&world->bed.loop), .devices = devices};
    char ids[8][2] = {""};

    list.n_devices = world->held ? strlen(world->held) : 0;
    for (size_t i = 0; i < list.n_devices; i++) {
        ids[i][0] = world->held[i];
        devices[i] = (struct podresources_device){
            .resource = GPU, .id = ids[i], .container = "main", .pod = {"default", "pod"}};
    }
    on_listed(&list, userdata);
}

static int list(struct podresources *podresources, podresources_list_fn *on_listed, void *userdata)
{
    struct world *world = (struct world *)podresources;

    world->n_lists++;
    world->asked = on_listed;
    world->asked_userdata = userdata;
    if (world->list_result == 0 && !world->thinks)
        answer(world, on_listed, userdata);
    if (world->ends)
        holdings_free(TAKE_PTR(world->holdings));
    return world->list_result;
}

static bool wants_checkpoint(void *userdata)
{
    return ((struct world *)userdata)->wants_checkpoint;
}

static void on_view(const struct holdings_view *view, void *userdata)
{
    struct world *world = userdata;

    for (size_t i = 0; i < view->n_entries; i++) {
        assert_string_equal(view->entries[i].resource, GPU);
        assert_string_equal(view->entries[i].pod, "pod");
        text_addf(&world->views, "%s", view->entries[i].id);
    }
    text_addf(&world->views, "%s%s ", view->is_complete ? "" : "-", view->checkpoint ? "" : "!");
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct holdings_setup setup;

    bed_init(&world->bed);
    setup = (struct holdings_setup){.loop = &world->bed.loop,
                                    .folder = world->bed.folder,
                                    .list = list,
                                    .podresources = (struct podresources *)world,
                                    .wants_checkpoint = wants_checkpoint,
                                    .on_view = on_view,
                                    .userdata = world};
    assert_int_equal(holdings_new(&setup, &world->holdings, NULL), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    holdings_free(world->holdings);
    bed_deinit(&world->bed);
    text_deinit(&world->views);
    free(world);
    return 0;
}

/* Until the thread has read the checkpoint, in real time: none of the test's passes. */
static void await_views(struct world *world, const char *expected)
{
    for (unsigned i = 0; !str_equal(text_string(&world->views), expected); i++) {
        struct pollfd fd = {.fd = uv_backend_fd(&world->bed.loop), .events = POLLIN};

        if (i > 6000)
            fail_msg("%s, not %s", text_string(&world->views), expected);
        bed_settle(&world->bed);
        poll(&fd, 1, 10);
    }
}

static void a_list_comes_with_the_checkpoint(void **state)
{
    struct world *world = *state;
    char path[BED_PATH_SIZE];

    world->held = "ab";
    holdings_soon(world->holdings);
    await_views(world, "ab ");
    bed_path(&world->bed, KUBELETCHECKPOINT_NAME, path);
    assert_int_equal(file_write_atomic(path, "x", 1, 0600, NULL), 0);
    holdings_soon(world->holdings);
    bed_advance(&world->bed, HOLDINGS_LIST_MS);
    await_views(world, "ab ab! ");
}

static void without_a_list_the_checkpoint_is_read_where_it_helps(void **state)
{
    struct world *world = *state;

    holdings_soon(world->holdings);
    bed_settle(&world->bed);
    assert_int_equal(world->n_lists, 1);
    world->wants_checkpoint = true;
    holdings_soon(world->holdings);
    bed_advance(&world->bed, HOLDINGS_LIST_MS);
    await_views(world, "- ");
    world->list_result = -ECONNREFUSED;
    holdings_soon(world->holdings);
    bed_advance(&world->bed, HOLDINGS_LIST_MS);
    await_views(world, "- - ");
}

/* Who wants one while the kubelet thinks gets one that began later. */
static void what_is_wanted_meanwhile_comes_afterwards(void **state)
{
    struct world *world = *state;

    world->held = "a";
    world->thinks = true;
    holdings_soon(world->holdings);
    bed_settle(&world->bed);
    for (unsigned i = 0; i < 10; i++) {
        holdings_soon(world->holdings);
        bed_advance(&world->bed, HOLDINGS_LIST_MS);
    }
    assert_int_equal(world->n_lists, 1); /* never two at once */
    world->thinks = false;
    answer(world, world->asked, world->asked_userdata);
    await_views(world, "a a ");
    bed_advance(&world->bed, HOLDINGS_LIST_MS);
    assert_int_equal(world->n_lists, 2);
}

static void lists_are_not_too_frequent(void **state)
{
    struct world *world = *state;

    world->held = "";
    for (unsigned i = 0; i < 50; i++) {
        holdings_soon(world->holdings);
        bed_advance(&world->bed, HOLDINGS_LIST_MS / 100);
    }
    assert_int_equal(world->n_lists, 1);
    bed_advance(&world->bed, HOLDINGS_LIST_MS);
    await_views(world, "  ");
    assert_int_equal(world->n_lists, 2);
}

/* The thread ends after them, and calls nobody. */
static void they_may_end_while_a_thread_reads(void **state)
{
    struct world *world = *state;

    world->held = "a";
    world->ends = true;
    holdings_soon(world->holdings);
    uv_run(&world->bed.loop, UV_RUN_DEFAULT);
    assert_null(world->holdings);
    assert_string_equal(text_string(&world->views), "");
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_list_comes_with_the_checkpoint),
        T(without_a_list_the_checkpoint_is_read_where_it_helps),
        T(what_is_wanted_meanwhile_comes_afterwards),
        T(lists_are_not_too_frequent),
        T(they_may_end_while_a_thread_reads),
    };

    return cmocka_run_group_tests_name("plugin/holdings", tests, NULL, NULL);
}
