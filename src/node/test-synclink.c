// SPDX-License-Identifier: Apache-2.0
#include "node/synclink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

/* No gpuslice-nodesync lies beside a test, so the link stays without a program: what it keeps must
 * have a bound all the same. What is said over it is tested with the agent. */

static void no_news(const struct sync_news *news, void *userdata)
{
    (void)news, (void)userdata;
    fail_msg("there is nobody to tell news");
}

static void never(bool is_uninstall, void *userdata)
{
    (void)is_uninstall, (void)userdata;
    fail_msg("nobody was told bye");
}

static struct sync_setup setup_of(char node[])
{
    static char nothing[] = "";

    return (struct sync_setup){node, nothing, nothing, nothing};
}

static void test_without_the_program_little_is_kept(void **state)
{
    char node[] = "gpu-1", reason[] = "GPUUnhealthy", message[] = "GPU 0 is bad";
    const struct sync_setup setup = setup_of(node);
    const struct sync_event event = {.warning = true, .reason = reason, .message = message};
    struct sync_state now = {.ready = true, .has_condition = true};
    struct synclink *link;
    uv_loop_t loop;

    log_setup(LOG_ERROR, LOG_LOGFMT); /* that there is no such program */
    uv_loop_init(&loop);
    assert_int_equal(synclink_new(&loop, &setup, no_news, NULL, &link, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        now.ready = i % 2;
        synclink_event(link, &event);
        synclink_state(link, &now);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(synclink_lost_events(link), 1000 - SYNCLINK_MAX_EVENTS);
    assert_false(synclink_is_connected(link));
    assert_false(synclink_leave(link, never, NULL));
    synclink_free(link);
    uv_run(&loop, UV_RUN_DEFAULT); /* ends: no handle is left */
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_no_link_is_fine(void **state)
{
    synclink_state(NULL, &(struct sync_state){.ready = true});
    synclink_event(NULL, &(struct sync_event){.warning = true});
    assert_false(synclink_is_connected(NULL));
    assert_false(synclink_leave(NULL, never, NULL));
    assert_int_equal(synclink_lost_events(NULL), 0);
    synclink_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_the_program_little_is_kept),
        cmocka_unit_test(test_no_link_is_fine),
    };

    return cmocka_run_group_tests_name("node/synclink", tests, NULL, NULL);
}
