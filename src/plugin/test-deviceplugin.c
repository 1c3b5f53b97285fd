// SPDX-License-Identifier: Apache-2.0
#include "plugin/deviceplugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "plugin/grants.h"
#include "plugin/test-bed.h"
#include "rpc/message.h"

#define GPU "nvidia.com/gpu"

static int set_up(void **state)
{
    *state = bed_offer(BED_SHARED_BY_4);
    return 0;
}

static int tear_down(void **state)
{
    bed_offer_free(*state);
    return 0;
}

/* --- ListAndWatch --- */

/* "id health numa-node" lines; "-" = no topology. */
static void assert_list(const struct offer *offer, const char *resource, const char *expected)
{
    v1beta1_ListAndWatchResponse list;
    cleanup_text struct text text = TEXT_INIT;
    cleanup_free void *data = NULL;
    size_t size = 0;

    assert_int_equal(deviceplugin_list(offer, resource, &data, &size, NULL), RPC_OK);
    assert_int_equal(message_decode(v1beta1_ListAndWatchResponse_fields, data, size, &list), 0);
    text_add(&text, "");
    for (size_t i = 0; i < list.devices_count; i++) {
        const v1beta1_Device *device = &list.devices[i];

        text_addf(&text, "%s %s ", device->ID, device->health);
        if (device->has_topology)
            text_addf(&text, "%d\n", (int)device->topology.nodes[0].ID);
        else
            text_add(&text, "-\n");
    }
    assert_string_equal(text_string(&text), expected);
    message_release(v1beta1_ListAndWatchResponse_fields, &list);
}

static void lists_devices_with_health_and_place(void **state)
{
    struct offer *offer = bed_offer("flags: {}\n");

    (void)state;
    offer->device_healthy[1] = false;
    assert_list(offer, GPU, BED_UUID_0 " Healthy 0\n" BED_UUID_1 " Unhealthy -\n");
    bed_offer_free(offer);
}

static void a_resource_without_devices_is_an_empty_list(void **state)
{
    assert_list(*state, "nvidia.com/none", "");
    assert_list(*state, NULL, "");
}

/* More devices than nanopb's arrays hold, and not a byte more than the plan has reckoned. */
static void a_list_is_as_long_as_the_plan_reckons(void **state)
{
    struct offer *offer =
        bed_offer("sharing: {timeSlicing: {resources: [{name: gpu, replicas: 100000}]}}\n");
    const struct plan_resource *resource = plan_find_resource(offer->plan, GPU);
    cleanup_free void *data = NULL;
    size_t size = 0, reckoned = 0, at = 0, n = 0;

    (void)state;
    offer->device_healthy[0] = offer->device_healthy[1] = false;
    assert_int_equal(deviceplugin_list(offer, GPU, &data, &size, NULL), RPC_OK);
    for (size_t i = 0; i < offer->plan->n_devices; i++)
        reckoned += listsize_of_slices(&offer->plan->devices[i].device, resource->replicas);
    assert_int_equal(size, reckoned);
    assert_true(size <= 4 << 20);
    while (at < size) {
        v1beta1_ListAndWatchResponse list;
        size_t part = message_part((char *)data + at, size - at, 1000);

        assert_int_equal(
            message_decode(v1beta1_ListAndWatchResponse_fields, (char *)data + at, part, &list), 0);
        for (size_t i = 0; i < list.devices_count; i++)
            assert_string_equal(list.devices[i].ID, resource->slices[n++].id);
        message_release(v1beta1_ListAndWatchResponse_fields, &list);
        at += part;
    }
    assert_int_equal(n, resource->n_slices);
    bed_offer_free(offer);
}

/* --- GetPreferredAllocation --- */

/* As a kubelet asks that has more free ids than our messages hold: it chooses by itself. */
static void no_preference_among_too_many(void **state)
{
    enum { N = 66000, ONE = 4 };
    cleanup_free uint8_t *wire = malloc((size_t)N * ONE + 8);
    const size_t length = (size_t)N * ONE;
    cleanup_free void *answer = NULL;
    size_t size = 1;

    assert_non_null(wire);
    wire[0] = 0x0a;
    wire[1] = (uint8_t)(length & 0x7f) | 0x80;
    wire[2] = (uint8_t)((length >> 7) & 0x7f) | 0x80;
    wire[3] = (uint8_t)(length >> 14);
    for (size_t i = 0; i < N; i++)
        memcpy(wire + 4 + i * ONE, "\x0a\x02xy", ONE);
    assert_int_equal(deviceplugin_prefer(*state, GPU, wire, length + 4, &answer, &size, NULL),
                     RPC_OK);
    assert_int_equal(size, 0);
}

struct wish {
    const char *available[4], *must[2];
    int size;
    const char *expected; /* ids, a space after each */
};

static size_t count(const char *const *ids, size_t n_max)
{
    size_t n = 0;

    while (n < n_max && ids[n])
        n++;
    return n;
}

static void encode_wishes(const struct wish *wishes, size_t n, void **ret_data, size_t *ret_size)
{
    v1beta1_ContainerPreferredAllocationRequest requests[8];
    v1beta1_PreferredAllocationRequest request = {
        .container_requests_count = (pb_size_t)n,
        .container_requests = requests,
    };

    assert_true(n <= ARRAY_SIZE(requests));
    for (size_t i = 0; i < n; i++)
        requests[i] = (v1beta1_ContainerPreferredAllocationRequest){
            .available_deviceIDs_count = (pb_size_t)count(wishes[i].available, 4),
            .available_deviceIDs = (char **)(uintptr_t)wishes[i].available,
            .must_include_deviceIDs_count = (pb_size_t)count(wishes[i].must, 2),
            .must_include_deviceIDs = (char **)(uintptr_t)wishes[i].must,
            .allocation_size = wishes[i].size,
        };
    assert_int_equal(
        message_encode(v1beta1_PreferredAllocationRequest_fields, &request, ret_data, ret_size), 0);
}

static void assert_preferred(const struct offer *offer, const struct wish *wishes, size_t n)
{
    v1beta1_PreferredAllocationResponse response;
    cleanup_free void *data = NULL, *answer = NULL;
    size_t size = 0, answer_size = 0;

    encode_wishes(wishes, n, &data, &size);
    assert_int_equal(deviceplugin_prefer(offer, GPU, data, size, &answer, &answer_size, NULL),
                     RPC_OK);
    assert_int_equal(
        message_decode(v1beta1_PreferredAllocationResponse_fields, answer, answer_size, &response),
        0);
    assert_int_equal(response.container_responses_count, n);
    for (size_t i = 0; i < n; i++) {
        cleanup_text struct text ids = TEXT_INIT;

        text_add(&ids, "");
        for (size_t k = 0; k < response.container_responses[i].deviceIDs_count; k++)
            text_addf(&ids, "%s ", response.container_responses[i].deviceIDs[k]);
        assert_string_equal(text_string(&ids), wishes[i].expected);
    }
    message_release(v1beta1_PreferredAllocationResponse_fields, &response);
}

#define A(n) BED_UUID_0 "::" #n
#define B(n) BED_UUID_1 "::" #n

/* Slices in use are those that are not available: the GPU with fewer of them comes first. */
static void each_container_gets_its_preference(void **state)
{
    static const struct wish wishes[] = {
        {{A(0), B(0), B(1)}, {NULL}, 1, B(0) " "},
        {{A(0), A(1), B(0)}, {NULL}, 1, A(0) " "},
        {{A(0), A(1), B(0)}, {B(0)}, 1, B(0) " "},
    };

    assert_preferred(*state, wishes, ARRAY_SIZE(wishes));
}

/* An answer that is no preference is fine for a kubelet; an error would be none. */
static void what_cannot_be_preferred_is_left_to_the_kubelet(void **state)
{
    static const struct wish wishes[] = {
        {{A(0), B(0)}, {NULL}, 3, ""},          {{A(0), B(0)}, {NULL}, 0, ""},
        {{A(0), B(0)}, {NULL}, -1, ""},         {{NULL}, {NULL}, INT32_MAX, ""},
        {{A(0), "GPU-gone::0"}, {NULL}, 2, ""},
    };

    assert_preferred(*state, wishes, ARRAY_SIZE(wishes));
}

/* --- Allocate --- */

static enum rpc_status allocate(const struct offer *offer, const struct offer *earlier,
                                const char *first, const char *second, struct text *ret_visible,
                                struct error *err)
{
    char *ids[] = {message_lend(first), message_lend(second)};
    v1beta1_ContainerAllocateRequest containers[] = {{1, &ids[0]}, {1, &ids[1]}};
    const v1beta1_AllocateRequest request = {.container_requests_count = 2,
                                             .container_requests = containers};
    v1beta1_AllocateResponse response;
    const struct deviceplugin_offers offers = {offer, earlier, NULL};
    cleanup(deviceplugin_given_deinit) struct deviceplugin_given given = DEVICEPLUGIN_GIVEN_INIT;
    cleanup_free void *data = NULL;
    size_t size = 0;
    enum rpc_status status;

    assert_int_equal(message_encode(v1beta1_AllocateRequest_fields, &request, &data, &size), 0);
    status = deviceplugin_allocate(&offers, GPU, data, size, &given, err);
    assert_int_equal(given.n, 0);
    if (status != RPC_OK)
        return status;
    assert_int_equal(
        message_decode(v1beta1_AllocateResponse_fields, given.data, given.size, &response), 0);
    for (size_t i = 0; i < response.container_responses_count; i++)
        text_addf(ret_visible, "%s ", response.container_responses[i].envs[0].value);
    message_release(v1beta1_AllocateResponse_fields, &response);
    return status;
}

static void each_container_gets_its_device(void **state)
{
    cleanup_text struct text visible = TEXT_INIT;

    assert_int_equal(allocate(*state, NULL, B(2), A(0), &visible, NULL), RPC_OK);
    assert_string_equal(text_string(&visible), BED_UUID_1 " " BED_UUID_0 " ");
}

/* None of the containers starts when one of them cannot. */
static void a_device_that_is_not_there_refuses_the_pod(void **state)
{
    cleanup_text struct text visible = TEXT_INIT;
    struct error err = ERROR_INIT;

    assert_int_equal(allocate(*state, NULL, A(0), "GPU-gone::1", &visible, &err),
                     RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(error_text(&err), "GPU-gone::1"));
}

static void a_device_of_the_offer_before_is_good_still(void **state)
{
    struct offer *earlier = bed_offer("flags: {}\n");
    cleanup_text struct text visible = TEXT_INIT;

    assert_int_equal(allocate(*state, earlier, A(0), BED_UUID_1, &visible, NULL), RPC_OK);
    assert_string_equal(text_string(&visible), BED_UUID_0 " " BED_UUID_1 " ");
    bed_offer_free(earlier);
}

/* --- grants --- */

static int never_listed(struct podresources *podresources, podresources_list_fn *on_listed,
                        void *userdata)
{
    (void)podresources, (void)on_listed, (void)userdata;
    return -EAGAIN;
}

static bool is_ours(const struct grant *held, void *userdata)
{
    (void)held, (void)userdata;
    return true;
}

static void on_nothing(void *userdata)
{
    (void)userdata;
}

static void encode_request(char **ids, size_t n, void **data, size_t *size)
{
    v1beta1_ContainerAllocateRequest container = {(pb_size_t)n, ids};
    const v1beta1_AllocateRequest request = {.container_requests_count = 1,
                                             .container_requests = &container};

    assert_int_equal(message_encode(v1beta1_AllocateRequest_fields, &request, data, size), 0);
}

/* The answer with a grant, decoded; release it. */
static void allocate_granted(const struct offer *offer, const struct grants *grants, char **ids,
                             size_t n, v1beta1_AllocateResponse *response,
                             struct deviceplugin_given *given)
{
    const struct deviceplugin_offers offers = {offer, NULL, grants};
    cleanup_free void *data = NULL;
    size_t size;

    encode_request(ids, n, &data, &size);
    assert_int_equal(deviceplugin_allocate(&offers, GPU, data, size, given, NULL), RPC_OK);
    assert_int_equal(
        message_decode(v1beta1_AllocateResponse_fields, given->data, given->size, response), 0);
}

/* But for one annotation it is the answer without a grant, byte for byte. */
static void the_answer_names_its_grant_and_nothing_else_changes(void **state)
{
    struct bed bed;
    struct grants *grants;
    char folder[BED_PATH_SIZE];
    struct grants_setup setup = {.list = never_listed,
                                 .is_ours = is_ours,
                                 .on_state = on_nothing,
                                 .on_stale_checkpoint = on_nothing};
    char *ids[] = {message_lend(A(0)), message_lend(A(2)), message_lend(B(1))};
    struct deviceplugin_given given = DEVICEPLUGIN_GIVEN_INIT, none = DEVICEPLUGIN_GIVEN_INIT;
    v1beta1_AllocateResponse with, without;
    v1beta1_ContainerAllocateResponse *answer;
    cleanup_free void *a = NULL, *b = NULL;
    size_t a_size, b_size;

    bed_init(&bed);
    bed_path(&bed, "grants", folder);
    setup.loop = &bed.loop;
    setup.folder = setup.kubelet_folder = folder;
    assert_int_equal(grants_new(&setup, &grants, NULL), 0);
    allocate_granted(*state, grants, ids, 3, &with, &given);
    allocate_granted(*state, NULL, ids, 3, &without, &none);
    answer = &with.container_responses[0];
    assert_int_equal(answer->annotations_count, 1);
    assert_string_equal(answer->annotations[0].key, "gpuslice.dev/grant.nvidia.com.gpu");
    assert_string_equal(answer->annotations[0].value, given.items[0].id);
    assert_int_equal(given.n, 1);
    assert_int_equal(given.items[0].n_ids, 3);
    assert_int_equal(given.items[0].n_devices, 2);
    assert_string_equal(given.items[0].devices[0].uuid, BED_UUID_0);
    assert_int_equal(given.items[0].devices[0].share_permille, 500);
    assert_int_equal(given.items[0].devices[1].share_permille, 250);
    assert_true(given.items[0].devices[1].mem_bytes == 4ull << 30);
    answer->annotations_count = 0;
    assert_int_equal(message_encode(v1beta1_AllocateResponse_fields, &with, &a, &a_size), 0);
    answer->annotations_count = 1;
    assert_int_equal(message_encode(v1beta1_AllocateResponse_fields, &without, &b, &b_size), 0);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
    message_release(v1beta1_AllocateResponse_fields, &with);
    message_release(v1beta1_AllocateResponse_fields, &without);
    deviceplugin_given_deinit(&given);
    deviceplugin_given_deinit(&none);
    grants_free(grants);
    bed_deinit(&bed);
}

/* --- what is no message --- */

static void what_is_no_request_is_refused(void **state)
{
    const struct deviceplugin_offers offers = {*state, NULL, NULL};
    struct deviceplugin_given given = DEVICEPLUGIN_GIVEN_INIT;
    struct error err = ERROR_INIT;
    void *data = NULL;
    size_t size = 0;

    assert_int_equal(deviceplugin_prefer(*state, GPU, "\x0a\x7f", 2, &data, &size, &err),
                     RPC_INVALID_ARGUMENT);
    assert_string_equal(error_text(&err), "not a PreferredAllocationRequest");
    assert_int_equal(deviceplugin_allocate(&offers, GPU, "\xff", 1, &given, &err),
                     RPC_INVALID_ARGUMENT);
    assert_string_equal(error_text(&err), "not an AllocateRequest");
    assert_null(data);
    assert_null(given.data);
}

#define OF_AN_OFFER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_devices_with_health_and_place),
        cmocka_unit_test(a_list_is_as_long_as_the_plan_reckons),
        OF_AN_OFFER(no_preference_among_too_many),
        OF_AN_OFFER(a_resource_without_devices_is_an_empty_list),
        OF_AN_OFFER(each_container_gets_its_preference),
        OF_AN_OFFER(what_cannot_be_preferred_is_left_to_the_kubelet),
        OF_AN_OFFER(each_container_gets_its_device),
        OF_AN_OFFER(a_device_that_is_not_there_refuses_the_pod),
        OF_AN_OFFER(a_device_of_the_offer_before_is_good_still),
        OF_AN_OFFER(the_answer_names_its_grant_and_nothing_else_changes),
        OF_AN_OFFER(what_is_no_request_is_refused),
    };

    return cmocka_run_group_tests_name("plugin/deviceplugin", tests, NULL, NULL);
}
