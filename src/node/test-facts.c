// SPDX-License-Identifier: Apache-2.0
#include "config/load.h"
#include "node/facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plugin/test-bed.h"

#define SHARED_BY_8 "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 8}]}}\n"

static void put_in_force(struct facts *facts, struct offer *next)
{
    struct offer *dropped;

    facts_offer(facts, next, &dropped);
    facts_drop(facts, dropped);
}

/* The kubelet may still ask for what it was offered before; what looks the same to it is not that.
 */
static void the_earlier_offer_is_one_that_the_kubelet_can_tell_apart(void **state)
{
    struct facts facts = {.machine_known = true};
    struct offer *first = bed_offer(BED_SHARED_BY_4), *second;

    (void)state;
    put_in_force(&facts, first);
    assert_ptr_equal(facts.offer, first);
    assert_null(facts.earlier);
    put_in_force(&facts, bed_offer(BED_SHARED_BY_4));
    assert_null(facts.earlier);
    second = facts.offer;
    put_in_force(&facts, bed_offer(SHARED_BY_8));
    assert_ptr_equal(facts.earlier, second);
    put_in_force(&facts, bed_offer(SHARED_BY_8));
    assert_ptr_equal(facts.earlier, second);
    facts_deinit(&facts);
}

/* Offers of several machines share one configuration; it is freed with the last of them
 * (LeakSanitizer and AddressSanitizer watch). */
static void a_shared_configuration_is_freed_once(void **state)
{
    struct facts facts = {.machine_known = true};
    struct offer *first = bed_offer(BED_SHARED_BY_4), *second;
    struct config *own;

    (void)state;
    put_in_force(&facts, first);
    second = bed_offer(SHARED_BY_8);
    own = second->config;
    second->config = first->config;
    put_in_force(&facts, second);
    config_free(own);
    assert_ptr_equal(facts.earlier, first);
    assert_ptr_equal(facts.offer->config, facts.earlier->config);
    put_in_force(&facts, bed_offer(BED_SHARED_BY_4));
    facts_deinit(&facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earlier_offer_is_one_that_the_kubelet_can_tell_apart),
        cmocka_unit_test(a_shared_configuration_is_freed_once),
    };

    return cmocka_run_group_tests_name("node/facts", tests, NULL, NULL);
}
