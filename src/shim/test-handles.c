// SPDX-License-Identifier: Apache-2.0

/* What a process says of the handles that it gave out and opened, on a driver that takes any. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/devices.h"
#include "shim/filemark.h"
#include "shim/gate.h"
#include "shim/handles.h"
#include "shim/hook.h"
#include "shim/lanes.h"
#include "shim/session.h"

enum { N_SLOTS = 2, PAGES_MAX = 32 };

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

struct await await_perhaps_all(const struct cuda_functions *driver)
{
    return (struct await){NULL};
}

CUresult await_end(const struct await *wait, CUresult r)
{
    return r;
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

/* What the driver gives out as a descriptor: a file that was opened for that. */
static CUresult export_physical(void *to, CUmemGenericAllocationHandle handle,
                                CUmemAllocationHandleType type, unsigned long long flags)
{
    if (type == CU_MEM_HANDLE_TYPE_FABRIC)
        memset(to, 1, EXCHANGE_HANDLE_SIZE);
    else
        *(int *)to = open("/dev/null", O_RDWR | O_CLOEXEC);
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

static void test_what_is_not_named(void **state)
{
    const uint32_t n_changes = shown->n_changes;
    CUipcMemHandle memory;
    CUdeviceptr opened;

    (void)state;
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

/* --- descriptors --- */

static int export_fd(bool is_pool)
{
    const CUmemAllocationHandleType type = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    int fd = -1;

    assert_int_equal(is_pool ? cuMemPoolExportToShareableHandle(&fd, NULL, type, 0)
                             : cuMemExportToShareableHandle(&fd, 0, type, 0),
                     CUDA_SUCCESS);
    assert_true(fd >= 0);
    return fd;
}

/* The hooks of imports are in other sources. */
static void import_fd(int fd)
{
    hook_note_shareable(driver_get(), EXCHANGE_OPENED, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                        (void *)(intptr_t)fd);
}

static unsigned count_descriptors(const struct exchange *exchange, enum exchange_side side)
{
    unsigned n = 0;

    for (unsigned i = 0; i < EXCHANGE_NAMES; i++)
        n += exchange->names[i].side == (uint32_t)side &&
             exchange->names[i].kind == EXCHANGE_DESCRIPTOR;
    return n;
}

/* A child is another process, which opens what its parent gave out and has closed since. */
static void test_who_opens_a_descriptor_names_who_gave_it_out(void **state)
{
    static uint64_t handle[EXCHANGE_HANDLE_SIZE / sizeof(uint64_t)];
    int status;
    pid_t pid;

    for (int is_pool = 0; is_pool < 2; is_pool++) {
        const int fd = export_fd(is_pool), copy = dup(fd);

        close(fd);
        assert_int_equal(filemark_find(copy, handle), 1);
        handle[1] = 0;
        assert_int_equal(find(shown, EXCHANGE_GAVE, EXCHANGE_DESCRIPTOR, handle, NULL), 1);
        assert_int_equal(count_descriptors(shown, EXCHANGE_GAVE), 1); /* however many there are */
        pid = fork();
        if (pid == 0) {
            shown = NULL;
            import_fd(copy);
            import_fd(copy);
            _exit(!shown || find(shown, EXCHANGE_OPENED, EXCHANGE_DESCRIPTOR, handle, NULL) != 1 ||
                  count_descriptors(shown, EXCHANGE_OPENED) != 1 ||
                  count_descriptors(shown, EXCHANGE_GAVE) != 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        close(copy);
    }
    (void)state;
}

static void test_what_a_process_gave_to_itself_is_no_news(void **state)
{
    const int fd = export_fd(false);
    const uint32_t n_changes = shown->n_changes;

    (void)state;
    import_fd(fd);
    assert_int_equal(shown->n_changes, n_changes);
    assert_int_equal(count_descriptors(shown, EXCHANGE_OPENED), 0);
    close(fd);
}

static void test_a_descriptor_without_a_mark_names_nobody(void **state)
{
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    const uint32_t n_changes = shown->n_changes;

    (void)state;
    import_fd(fd);
    close(fd);
    import_fd(fd); /* somebody closed it meanwhile */
    assert_int_equal(shown->n_changes, n_changes);
}

/* Not a lock, nor a look at the file, where nobody's time is shared. */
static void test_without_turns_a_descriptor_is_left_alone(void **state)
{
    uint64_t marks[FILEMARK_MOST];
    int fd;

    (void)state;
    is_shared = false;
    fd = export_fd(false);
    import_fd(fd);
    assert_int_equal(filemark_find(fd, marks), 0);
    close(fd);
    fd = export_fd(true);
    assert_int_equal(filemark_find(fd, marks), 0);
    close(fd);
}

/* The driver's answer is the program's, and so is errno. */
static void test_a_descriptor_that_cannot_be_marked(void **state)
{
    const uint32_t n_changes = shown->n_changes;
    struct rlimit before, none;
    int fd;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    outcome = CUDA_ERROR_INVALID_VALUE;
    assert_int_equal(
        cuMemExportToShareableHandle(&fd, 0, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
        CUDA_ERROR_INVALID_VALUE);
    outcome = CUDA_SUCCESS;
    none = (struct rlimit){0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    errno = EDOM;
    hook_note_shareable(driver_get(), EXCHANGE_GAVE, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                        &(int){-1});
    import_fd(fd);
    assert_int_equal(errno, EDOM);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(shown->n_changes, n_changes);
    close(fd);
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
        TEST(test_both_sides_name_the_same),
        TEST(test_it_is_news_once),
        TEST(test_what_is_not_named),
        TEST(test_fabric_handles),
        TEST(test_another_page_has_all_of_it),
        TEST(test_a_page_is_asked_for),
        TEST(test_the_last_ones_are_named),
        TEST(test_a_child_starts_with_none),
        TEST(test_who_opens_a_descriptor_names_who_gave_it_out),
        TEST(test_what_a_process_gave_to_itself_is_no_news),
        TEST(test_a_descriptor_without_a_mark_names_nobody),
        TEST(test_without_turns_a_descriptor_is_left_alone),
        TEST(test_a_descriptor_that_cannot_be_marked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
