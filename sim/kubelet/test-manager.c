// SPDX-License-Identifier: Apache-2.0
#include "manager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/array.h"

static const char gpu[] = "example.com/gpu";

/* `list` is words like "a b! c": ids, with a ! if unhealthy. */
static void set_devices(struct manager *manager, const char *resource, const char *list)
{
    char copy[256], *word, *rest = copy;
    struct managed_device devices[16];
    size_t n = 0;

    strcpy(copy, list);
    while ((word = strtok_r(rest, " ", &rest))) {
        char *mark = strchr(word, '!');

        if (mark)
            *mark = '\0';
        devices[n++] = (struct managed_device){.id = word, .healthy = !mark};
    }
    assert_int_equal(manager_set_devices(manager, resource, devices, n), 0);
}

static void make(struct manager *manager, const char *list, bool preference)
{
    *manager = (struct manager)MANAGER_INIT;
    assert_int_equal(manager_connect(manager, gpu, preference, false), 0);
    set_devices(manager, gpu, list);
}

static struct ids ids_of(const char *list)
{
    char copy[256], *word, *rest = copy;
    struct ids ids = IDS_INIT;

    strcpy(copy, list);
    while ((word = strtok_r(rest, " ", &rest)))
        assert_int_equal(ids_add(&ids, word), 0);
    return ids;
}

static void assert_ids(const struct ids *ids, const char *list)
{
    struct ids wanted = ids_of(list);

    assert_int_equal(ids->n_items, wanted.n_items);
    for (size_t i = 0; i < wanted.n_items; i++)
        assert_string_equal(ids->items[i], wanted.items[i]);
    ids_deinit(&wanted);
}

/* Allocates without calling a plugin; outputs the ids. */
static void allocate(struct manager *manager, const char *pod, const char *container, size_t count,
                     const char *reusable, const char *preferred, const char *wanted)
{
    struct device_request request = {pod, container, gpu, count};
    struct ids reuse = ids_of(reusable), prefer = ids_of(preferred ? preferred : "");
    struct pick pick = PICK_INIT;
    struct error err = ERROR_INIT;
    int r = manager_pick(manager, &request, &reuse, &pick, &err);

    assert_int_equal(r, preferred ? MANAGER_ASK_PREFERENCE : 0);
    assert_int_equal(manager_choose(&request, preferred ? &prefer : NULL, &pick, &err), 0);
    assert_ids(&pick.chosen, wanted);
    assert_int_equal(manager_record(manager, &request, &pick.chosen, "", 0), 0);
    pick_deinit(&pick);
    ids_deinit(&reuse);
    ids_deinit(&prefer);
}

/* Devices that pods hold. */
static size_t n_allocated(const struct manager *manager)
{
    struct ids held = IDS_INIT;
    size_t n;

    for (size_t i = 0; i < manager->n_allocations; i++)
        for (size_t k = 0; k < manager->allocations[i].n_devices; k++)
            assert_true(ids_add(&held, manager->allocations[i].devices[k].id) >= 0);
    n = held.n_items;
    ids_deinit(&held);
    return n;
}

static void test_resource_names(void **state)
{
    static const struct {
        const char *name;
        bool good;
    } cases[] = {
        {"nvidia.com/gpu", true},
        {"nvidia.com/gpu.shared", true},
        {"nvidia.com/mig-1g.5gb", true},
        {"a/b", true},
        {"nvidia.com/MIG_1", true},
        {"gpu", false},
        {"", false},
        {"/gpu", false},
        {"nvidia.com/", false},
        {"nvidia.com/-gpu", false},
        {"nvidia.com/gpu-", false},
        {"Nvidia.com/gpu", false},
        {"nvidia..com/gpu", false},
        {"-nvidia.com/gpu", false},
        {"nvidia-.com/gpu", false},
        {"nvidia.com/a/b", false},
        {"kubernetes.io/gpu", false},
        {"x.kubernetes.io/gpu", false},
        {"requests.nvidia.com/gpu", false},
        {"nvidia.com/gpu gpu", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (manager_is_extended_resource(cases[i].name) != cases[i].good)
            fail_msg("%s", cases[i].name);
}

static void test_capacity(void **state)
{
    struct manager manager;

    make(&manager, "c a! b c", false);
    assert_int_equal(manager_capacity(manager_find(&manager, gpu)), 3);
    assert_int_equal(manager_allocatable(manager_find(&manager, gpu)), 2);
    /* A new list replaces the whole older one. */
    set_devices(&manager, gpu, "d");
    assert_int_equal(manager_capacity(manager_find(&manager, gpu)), 1);
    manager_deinit(&manager);
}

static void test_last_duplicate_holds(void **state)
{
    struct manager manager;

    make(&manager, "a a!", false);
    assert_int_equal(manager_capacity(manager_find(&manager, gpu)), 1);
    assert_int_equal(manager_allocatable(manager_find(&manager, gpu)), 0);
    manager_deinit(&manager);
}

static void test_preference_is_advice(void **state)
{
    struct manager manager;

    make(&manager, "a b! c d e f", true);
    /* Unknown, unhealthy and allocated ids in the preference are skipped; missing ones are filled
     * in. */
    allocate(&manager, "p1", "c", 1, "", "e", "e");
    allocate(&manager, "p2", "c", 3, "", "b e x f", "a c f");
    /* More preferences than requested: only as many as needed are used. */
    manager_deinit(&manager);
    make(&manager, "a b c", true);
    allocate(&manager, "p1", "c", 1, "", "b c", "b");
    manager_deinit(&manager);
}

static void test_reuse_comes_first(void **state)
{
    struct manager manager;

    make(&manager, "a b c d", true);
    allocate(&manager, "p", "init", 2, "", "c d", "c d");
    /* Enough to reuse: the plugin is not called. */
    {
        struct device_request request = {"p", "app", gpu, 1};
        struct ids reuse = ids_of("c d");
        struct pick pick = PICK_INIT;

        assert_int_equal(manager_pick(&manager, &request, &reuse, &pick, NULL), 0);
        assert_ids(&pick.chosen, "c");
        pick_deinit(&pick);
        ids_deinit(&reuse);
    }
    allocate(&manager, "p", "app", 3, "c d", "b", "b c d");
    assert_int_equal(n_allocated(&manager), 3);
    manager_deinit(&manager);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *devices, *container, *resource;
        size_t count;
        const char *sentence;
    } cases[] = {
        {"a b", "new", "example.com/other", 1,
         "cannot allocate unregistered device example.com/other"},
        {"a! b!", "new", gpu, 1,
         "no healthy devices present; cannot allocate unhealthy devices example.com/gpu"},
        {"a b c!", "new", gpu, 2,
         "requested number of devices unavailable for example.com/gpu. Requested: 2, Available: 1"},
        {"a b", "held", gpu, 2,
         "pod \"p\" container \"held\" changed request for resource \"example.com/gpu\" from 1 to "
         "2"},
        {"a! b", "held", gpu, 1,
         "previously allocated devices are no longer healthy; cannot allocate unhealthy devices "
         "example.com/gpu"},
        {"b", "held", gpu, 1,
         "previously allocated devices are no longer healthy; cannot allocate unhealthy devices "
         "example.com/gpu"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct device_request request = {"p", cases[i].container, cases[i].resource,
                                         cases[i].count};
        struct pick pick = PICK_INIT;
        struct error err = ERROR_INIT;
        struct manager manager;

        make(&manager, "a b c", false);
        allocate(&manager, "p", "held", 1, "", NULL, "a");
        set_devices(&manager, gpu, cases[i].devices);
        assert_true(manager_pick(&manager, &request, NULL, &pick, &err) < 0);
        assert_string_equal(error_text(&err), cases[i].sentence);
        manager_deinit(&manager);
    }
}

static void test_held_devices_need_nothing(void **state)
{
    struct device_request request = {"p", "c", gpu, 2}, none = {"p", "d", gpu, 0};
    struct pick pick = PICK_INIT;
    struct manager manager;

    make(&manager, "a b", true);
    allocate(&manager, "p", "c", 2, "", "", "a b");
    assert_int_equal(manager_pick(&manager, &request, NULL, &pick, NULL), MANAGER_NOTHING_NEEDED);
    assert_int_equal(manager_pick(&manager, &none, NULL, &pick, NULL), MANAGER_NOTHING_NEEDED);
    manager_deinit(&manager);
}

static void test_stop_and_grace(void **state)
{
    struct manager manager;
    uint64_t next_ms;

    make(&manager, "a b", false);
    assert_int_equal(manager_expire(&manager, 1000, &next_ms), 0);
    assert_int_equal(next_ms, 0);
    manager_disconnect(&manager, gpu, 1000);
    assert_int_equal(manager_capacity(manager_find(&manager, gpu)), 2);
    assert_int_equal(manager_allocatable(manager_find(&manager, gpu)), 0);
    assert_int_equal(manager_expire(&manager, 1000 + MANAGER_STOP_GRACE_MS - 1, &next_ms), 0);
    assert_int_equal(next_ms, 1000 + MANAGER_STOP_GRACE_MS);
    assert_int_equal(manager_expire(&manager, next_ms, &next_ms), 1);
    assert_null(manager_find(&manager, gpu));
    manager_deinit(&manager);
}

static void test_reconnect_keeps_the_resource(void **state)
{
    struct manager manager;
    uint64_t next_ms;

    make(&manager, "a b", false);
    manager_disconnect(&manager, gpu, 1000);
    assert_int_equal(manager_connect(&manager, gpu, false, false), 0);
    set_devices(&manager, gpu, "a b");
    assert_int_equal(manager_expire(&manager, UINT64_MAX / 2, &next_ms), 0);
    assert_int_equal(manager_allocatable(manager_find(&manager, gpu)), 2);
    manager_deinit(&manager);
}

static bool is_p2(const char *pod_uid, void *userdata)
{
    return !strcmp(pod_uid, "p2");
}

static void test_reclaim(void **state)
{
    struct manager manager;

    make(&manager, "a b c", false);
    allocate(&manager, "p1", "c", 1, "", NULL, "a");
    allocate(&manager, "p2", "c", 1, "", NULL, "b");
    assert_int_equal(manager_reclaim(&manager, is_p2, NULL), 1);
    assert_int_equal(n_allocated(&manager), 1);
    allocate(&manager, "p3", "c", 2, "", NULL, "a c");
    /* An allocated resource stays known even if it is no longer listed. */
    assert_true(manager_knows(&manager, gpu));
    assert_false(manager_knows(&manager, "example.com/other"));
    manager_deinit(&manager);
}

static void test_reuse_of_init_containers(void **state)
{
    struct reuse reuse = {.items = NULL};
    struct manager manager;

    make(&manager, "a b c", false);
    allocate(&manager, "p", "init", 2, "", NULL, "a b");
    assert_int_equal(reuse_add(&reuse, &manager, "p", "init"), 0);
    assert_ids(reuse_find(&reuse, gpu), "a b");
    allocate(&manager, "p", "sidecar", 1, "a b", NULL, "a");
    reuse_remove(&reuse, &manager, "p", "sidecar");
    assert_ids(reuse_find(&reuse, gpu), "b");
    assert_null(reuse_find(&reuse, "example.com/other"));
    reuse_deinit(&reuse);
    manager_deinit(&manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resource_names),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_last_duplicate_holds),
        cmocka_unit_test(test_preference_is_advice),
        cmocka_unit_test(test_reuse_comes_first),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_held_devices_need_nothing),
        cmocka_unit_test(test_stop_and_grace),
        cmocka_unit_test(test_reconnect_keeps_the_resource),
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_reuse_of_init_containers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
