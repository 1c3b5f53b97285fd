// SPDX-License-Identifier: Apache-2.0

/* What a process says of the handles that it gave out and opened, on a driver that takes any. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/devices.h"
#include "shim/gate.h"
#include "shim/handles.h"
#include "shim/hook.h"
#include "shim/lanes.h"
#include "shim/session.h"

enum { N_SLOTS = 2, PAGES_MAX = 16 };

/* --- the session and the lanes --- */

static struct exchange *shown;
static bool is_limited, is_shared;
static int positions[N_SLOTS];
static CUdevice current;

bool session_start(void)
{
    return is_limited;
}

int session_position(int slot)
{
    return positions[slot];
}

int devices_slot(const struct cuda_functions *driver, CUdevice device)
{
    return device < N_SLOTS ? device : SESSION_NO_SLOT;
}

bool devices_current(const struct cuda_functions *driver, CUdevice *ret_device,
                     CUcontext *ret_context)
{
    *ret_device = current;
    return true;
}

bool gate_is_shared(void)
{
    return is_shared;
}

bool lanes_are_on(void)
{
    return shown;
}

/* Each stays mapped. */
static void begin_page(void)
{
    static _Alignas(64) char pages[PAGES_MAX][CLAIMS_SIZE];
    static unsigned n_pages;
    struct claims *claims = (struct claims *)pages[n_pages++];

    assert_true(n_pages <= PAGES_MAX);
    shown = exchange_of(claims);
    handles_show(claims);
}

bool lanes_start(void)
{
    begin_page();
    return true;
}

/* --- the driver --- */

static CUresult outcome;

static CUresult give_memory(CUipcMemHandle *handle, CUdeviceptr memory)
{
    memset(handle, 0, sizeof(*handle));
    memcpy(handle, &memory, sizeof(memory));
    return outcome;
}

static CUresult open_memory(CUdeviceptr *memory, CUipcMemHandle handle, unsigned flags)
{
    *memory = 1;
    return outcome;
}

static CUresult give_event(CUipcEventHandle *handle, CUevent event)
{
    memset(handle, 0, sizeof(*handle));
    return outcome;
}

static CUresult open_event(CUevent *event, CUipcEventHandle handle)
{
    *event = NULL;
    return outcome;
}

static CUresult export_physical(void *to, CUmemGenericAllocationHandle handle,
                                CUmemAllocationHandleType type, unsigned long long flags)
{
    memset(to, 1, type == CU_MEM_HANDLE_TYPE_FABRIC ? EXCHANGE_HANDLE_SIZE : sizeof(int));
    return outcome;
}

static CUresult export_pool(void *to, CUmemoryPool pool, CUmemAllocationHandleType type,
                            unsigned long long flags)
{
    return export_physical(to, 0, type, flags);
}

const struct cuda_functions *driver_get(void)
{
    static const struct cuda_functions functions = {
        .cuIpcGetMemHandle = give_memory,
        .cuIpcOpenMemHandle = open_memory,
        .cuIpcOpenMemHandle_v2 = open_memory,
        .cuIpcGetEventHandle = give_event,
        .cuIpcOpenEventHandle = open_event,
        .cuMemExportToShareableHandle = export_physical,
        .cuMemPoolExportToShareableHandle = export_pool,
    };

    return &functions;
}

/* --- cases --- */

static int set_up(void **state)
{
    (void)state;
    is_limited = is_shared = true;
    positions[0] = 0;
    positions[1] = 1;
    current = 0;
    outcome = CUDA_SUCCESS;
    begin_page();
    return 0;
}

/* What the page of claims has of that side and handle: how often, and the last one. */
static unsigned find(const struct exchange *exchange, enum exchange_side side,
                     enum exchange_kind kind, const void *handle, struct exchange_name *ret_name)
{
    unsigned n = 0;

    for (unsigned i = 0; i < EXCHANGE_NAMES; i++) {
        const struct exchange_name *name = &exchange->names[i];

        if (name->side != (uint32_t)side || name->kind != kind ||
            memcmp(name->handle, handle, sizeof(name->handle)) != 0)
            continue;
        if (ret_name)
            *ret_name = *name;
        n++;
    }
    return n;
}

static void test_both_sides_name_the_same(void **state)
{
    CUipcMemHandle memory;
    CUipcEventHandle event;
    CUdeviceptr opened;
    CUevent opened_event;

    (void)state;
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x1000), CUDA_SUCCESS);
    assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &memory, NULL), 1);
    assert_int_equal(cuIpcOpenMemHandle_v2(&opened, memory, 1), CUDA_SUCCESS);
    assert_int_equal(find(shown, EXCHANGE_OPENED, EXCHANGE_MEMORY, &memory, NULL), 1);
    assert_int_equal(cuIpcGetEventHandle(&event, NULL), CUDA_SUCCESS);
    assert_int_equal(cuIpcOpenEventHandle(&opened_event, event), CUDA_SUCCESS);
    assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_EVENT, &event, NULL), 1);
    assert_int_equal(find(shown, EXCHANGE_OPENED, EXCHANGE_EVENT, &event, NULL), 1);
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x2000), CUDA_SUCCESS);
    assert_int_equal(cuIpcOpenMemHandle(&opened, memory, 1), CUDA_SUCCESS);
    assert_int_equal(find(shown, EXCHANGE_OPENED, EXCHANGE_MEMORY, &memory, NULL), 1);
}

static void test_it_is_news_once(void **state)
{
    CUipcMemHandle memory;
    uint32_t n_changes = shown->n_changes;

    (void)state;
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x3000), CUDA_SUCCESS);
    assert_int_not_equal(shown->n_changes, n_changes);
    n_changes = shown->n_changes;
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x3000), CUDA_SUCCESS);
    assert_int_equal(shown->n_changes, n_changes);
    assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &memory, NULL), 1);
}

/* A descriptor is no handle that both sides have. */
static void test_what_is_not_named(void **state)
{
    const uint32_t n_changes = shown->n_changes;
    CUipcMemHandle memory;
    CUdeviceptr opened;
    int fd;

    (void)state;
    assert_int_equal(
        cuMemExportToShareableHandle(&fd, 0, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
        CUDA_SUCCESS);
    assert_int_equal(
        cuMemPoolExportToShareableHandle(&fd, NULL, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
        CUDA_SUCCESS);
    outcome = CUDA_ERROR_INVALID_VALUE;
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x4000), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuIpcOpenMemHandle_v2(&opened, memory, 1), CUDA_ERROR_INVALID_VALUE);
    outcome = CUDA_SUCCESS;
    current = N_SLOTS; /* no slice of it */
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x4000), CUDA_SUCCESS);
    current = 0;
    is_limited = false;
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x4000), CUDA_SUCCESS);
    assert_int_equal(shown->n_changes, n_changes);
}

static void test_fabric_handles(void **state)
{
    CUipcMemHandle handle; /* as large */

    (void)state;
    assert_int_equal(cuMemExportToShareableHandle(&handle, 0, CU_MEM_HANDLE_TYPE_FABRIC, 0),
                     CUDA_SUCCESS);
    assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_FABRIC, &handle, NULL), 1);
}

/* Where another arbiter's page has a device is another place. */
static void test_another_page_has_all_of_it(void **state)
{
    struct exchange_name name;
    CUipcMemHandle first, second;

    (void)state;
    assert_int_equal(cuIpcGetMemHandle(&first, 0x5000), CUDA_SUCCESS);
    current = 1;
    assert_int_equal(cuIpcGetMemHandle(&second, 0x6000), CUDA_SUCCESS);
    positions[0] = -1;
    positions[1] = 0;
    begin_page();
    assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &first, NULL), 0);
    assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &second, &name), 1);
    assert_int_equal(name.device, 0);
    assert_int_not_equal(shown->n_changes, 0);
}

/* Who has only exchanged handles has no page yet. */
static void test_a_page_is_asked_for(void **state)
{
    CUipcMemHandle memory;

    (void)state;
    shown = NULL;
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x7000), CUDA_SUCCESS);
    assert_non_null(shown);
    assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &memory, NULL), 1);
}

static void test_the_last_ones_are_named(void **state)
{
    CUipcMemHandle memory;

    (void)state;
    for (unsigned i = 0; i < 5 * EXCHANGE_NAMES; i++) {
        assert_int_equal(cuIpcGetMemHandle(&memory, 0x10000 + i), CUDA_SUCCESS);
        assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &memory, NULL), 1);
    }
    for (unsigned i = 4 * EXCHANGE_NAMES; i < 5 * EXCHANGE_NAMES; i++) {
        (void)give_memory(&memory, 0x10000 + i);
        assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &memory, NULL), 1);
    }
}

/* Its parent's page is not its own. */
static void test_a_child_starts_with_none(void **state)
{
    const uint32_t n_changes = shown->n_changes;
    CUipcMemHandle memory;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(cuIpcGetMemHandle(&memory, 0x8000), CUDA_SUCCESS);
    pid = fork();
    if (pid == 0) {
        struct exchange *parents = shown;
        const uint32_t n_before = parents->n_changes;

        shown = NULL;
        (void)cuIpcGetMemHandle(&memory, 0x9000);
        _exit(!shown || parents->n_changes != n_before ||
              find(shown, EXCHANGE_GAVE, EXCHANGE_MEMORY, &memory, NULL) != 1 ||
              shown->names[1].side != EXCHANGE_NONE);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(shown->n_changes, n_changes + 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(test_both_sides_name_the_same),   TEST(test_it_is_news_once),
        TEST(test_what_is_not_named),          TEST(test_fabric_handles),
        TEST(test_another_page_has_all_of_it), TEST(test_a_page_is_asked_for),
        TEST(test_the_last_ones_are_named),    TEST(test_a_child_starts_with_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
