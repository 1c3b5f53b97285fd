// SPDX-License-Identifier: Apache-2.0
#include "gpu/rmclients.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "gpu/test-seen.h"

#define UUID "GPU-00000002-aaaa-bbbb-cccc-000000000000"
#define MIB  (UINT64_C(1) << 20)

enum { FD = 77, CLIENT = 0x1234, GPU = 0x6500, OTHER_GPU = 0x0100, DEVICE_NUMBER = 3 };

/* What the module knows of a process. */
struct process {
    uint32_t pid, result;
    uint64_t private_bytes, owned_bytes, duped_bytes;
};

/* The module, as a table. Layouts are read by their offsets: from NVIDIA's headers, not from ours.
 */
static struct module {
    const struct process *processes;
    uint32_t n_processes; /* the first one is listed twice: it has two clients */
    uint32_t n_hidden;    /* after these: without a subdevice */
    uint32_t told;        /* how many it says there are; 0 = as many */
    int open_error, ioctl_error;
    uint32_t refused, status; /* a class or control, and how */
    int n_open, n_interrupted;
    uint32_t n_asked;           /* in all */
    uint32_t device, subdevice; /* handles; 0 = not there */
} module;

static uint32_t get32(const unsigned char *bytes, size_t offset)
{
    uint32_t value;

    memcpy(&value, bytes + offset, sizeof(value));
    return value;
}

static void put32(unsigned char *bytes, size_t offset, uint32_t value)
{
    memcpy(bytes + offset, &value, sizeof(value));
}

static void put64(unsigned char *bytes, size_t offset, uint64_t value)
{
    memcpy(bytes + offset, &value, sizeof(value));
}

static unsigned char *get_parameters(const unsigned char *call)
{
    uint64_t address;

    memcpy(&address, call + 16, sizeof(address));
    return (unsigned char *)(uintptr_t)address;
}

static int play_open(const char *path, int flags)
{
    assert_string_equal(path, "/dev/nvidiactl");
    assert_int_equal(flags, O_RDWR | O_CLOEXEC);
    if (module.open_error) {
        errno = module.open_error;
        return -1;
    }
    module.n_open++;
    return FD;
}

static int play_close(int fd)
{
    assert_int_equal(fd, FD);
    module.n_open--;
    return 0;
}

static void play_alloc(unsigned char *call)
{
    const uint32_t kind = get32(call, 12), size = get32(call, 24);

    if (kind == 0x41) {
        assert_int_equal(get32(call, 8), 0);
        put32(call, 8, CLIENT);
        return;
    }
    assert_int_equal(get32(call, 0), CLIENT);
    if (kind == 0x80) {
        assert_int_equal(get32(call, 4), CLIENT);
        assert_int_equal(size, 56);
        assert_int_equal(get32(get_parameters(call), 0), DEVICE_NUMBER);
        module.device = get32(call, 8);
        return;
    }
    assert_int_equal(kind, 0x2080);
    assert_int_equal(get32(call, 4), module.device);
    assert_int_equal(size, 4);
    assert_int_equal(get32(get_parameters(call), 0), 0);
    module.subdevice = get32(call, 8);
}

static void play_ids(uint32_t command, unsigned char *p, uint32_t size)
{
    if (command == 0x201) {
        assert_int_equal(size, 128);
        memset(p, 0xff, size);
        put32(p, 0, OTHER_GPU);
        put32(p, 4, GPU);
    } else if (command == 0x275) {
        assert_int_equal(size, 268);
        assert_int_equal(get32(p, 4), 0);
        snprintf((char *)p + 8, 256, "%s", get32(p, 0) == GPU ? UUID : "GPU-another");
    } else {
        assert_int_equal(command, 0x205);
        assert_int_equal(size, 32);
        assert_int_equal(get32(p, 0), GPU);
        put32(p, 8, DEVICE_NUMBER);
    }
}

static void play_pids(unsigned char *p, uint32_t size)
{
    uint32_t n = 0;

    assert_int_equal(size, 12 + 950 * 4);
    assert_int_equal(get32(p, 0), 0);
    assert_int_equal(get32(p, 4), 0x2080);
    for (uint32_t i = 0; i < module.n_processes; i++)
        put32(p, 12 + 4 * (size_t)n++, module.processes[i].pid);
    if (n && n < 950)
        put32(p, 12 + 4 * (size_t)n++, module.processes[0].pid);
    put32(p, 8, module.told ? module.told : n);
}

static const struct process *find_process(uint32_t pid)
{
    static const struct process unknown = {.result = 0};

    for (uint32_t i = 0; i < module.n_processes + module.n_hidden; i++)
        if (module.processes[i].pid == pid)
            return &module.processes[i];
    return &unknown; /* for which the module answers as for one without memory */
}

static void play_memory(unsigned char *p, uint32_t size)
{
    assert_int_equal(size, 8 + 200 * 72);
    assert_in_range(get32(p, 0), 1, 200);
    module.n_asked += get32(p, 0);
    for (uint32_t i = 0; i < get32(p, 0); i++) {
        unsigned char *info = p + 8 + (size_t)i * 72;
        const struct process *process = find_process(get32(info, 0));

        assert_int_equal(get32(info, 4), 0);
        put32(info, 8, process->result);
        put64(info, 16, process->private_bytes);
        put64(info, 24, process->owned_bytes);
        put64(info, 32, process->duped_bytes);
        put32(info, 64, UINT32_MAX);
        put32(info, 68, UINT32_MAX);
    }
}

static void play_control(unsigned char *call)
{
    const uint32_t object = get32(call, 4), command = get32(call, 8), size = get32(call, 24);

    assert_int_equal(get32(call, 0), CLIENT);
    assert_int_equal(get32(call, 12), 0);
    if (command < 0x1000) {
        assert_int_equal(object, CLIENT);
        play_ids(command, get_parameters(call), size);
        return;
    }
    assert_int_equal(object, module.subdevice);
    if (command == 0x2080018d)
        play_pids(get_parameters(call), size);
    else if (command == 0x2080018e)
        play_memory(get_parameters(call), size);
    else
        fail_msg("control 0x%x", command);
}

static int play_ioctl(int fd, unsigned long request, void *argument)
{
    unsigned char *call = argument;

    assert_int_equal(fd, FD);
    if (module.n_interrupted && module.n_interrupted--) {
        errno = EINTR;
        return -1;
    }
    if (module.ioctl_error) {
        errno = module.ioctl_error;
        return -1;
    }
    if (module.refused && module.refused == get32(call, request == 0xc020462a ? 8 : 12)) {
        put32(call, 28, module.status);
        return 0;
    }
    if (request == 0xc020462b) {
        play_alloc(call);
    } else {
        assert_int_equal(request, 0xc020462a);
        play_control(call);
    }
    return 0;
}

static const struct rm_kernel kernel = {play_open, play_ioctl, play_close};

static int set_up(void **state)
{
    (void)state;
    module = (struct module){.processes = NULL};
    return 0;
}

/* Whatever comes of it, no descriptor stays open. */
static int ask(const char *uuid, struct gpu_processes *processes, struct error *err)
{
    struct rmclients *clients = NULL;
    int r = rmclients_open(&kernel, uuid, &clients, err);

    if (r == 0)
        r = rmclients_add(clients, 0, processes, err);
    rmclients_close(clients);
    assert_int_equal(module.n_open, 0);
    return r;
}

static void adds_who_has_memory_and_is_not_listed(void **state)
{
    const struct process known[] = {
        {.pid = 10, .private_bytes = 5632 * MIB},
        {.pid = 11, .private_bytes = 100 * MIB}, /* NVML lists it */
        {.pid = 12},                             /* monitors */
        {.pid = (uint32_t)getpid(), .private_bytes = MIB},
        {.pid = 13, .owned_bytes = 2 * MIB, .duped_bytes = 64 * MIB},
        {.pid = 14, .duped_bytes = 64 * MIB}, /* all of it is another's */
        {.pid = 15, .result = 0x57, .private_bytes = MIB},
    };
    cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;
    struct gpu_process *listed =
        array_push(&processes.items, &processes.n_items, &processes.capacity, sizeof(*listed));
    struct error err = ERROR_INIT;

    (void)state;
    assert_non_null(listed);
    *listed = (struct gpu_process){.pid = 11, .mem_bytes = 90 * MIB};
    module.processes = known;
    module.n_processes = ARRAY_SIZE(known);
    module.n_interrupted = 2;
    if (ask(UUID, &processes, &err) != 0)
        fail_msg("%s", error_text(&err));
    assert_int_equal(processes.n_items, 3);
    assert_int_equal(processes.items[0].mem_bytes, 90 * MIB);
    assert_int_equal(processes.items[1].pid, 10);
    assert_int_equal(processes.items[1].mem_bytes, 5632 * MIB);
    assert_int_equal(processes.items[1].instance.gpu, UINT32_MAX);
    assert_int_equal(processes.items[1].instance.compute, UINT32_MAX);
    assert_int_equal(processes.items[2].pid, 13);
    assert_int_equal(processes.items[2].mem_bytes, 2 * MIB);
}

/* By one session, second after second. */
static struct rmclients *begin(const struct process *known, uint32_t n_named, uint32_t n_hidden)
{
    struct rmclients *clients = NULL;

    module.processes = known;
    module.n_processes = n_named;
    module.n_hidden = n_hidden;
    assert_int_equal(rmclients_open(&kernel, UUID, &clients, NULL), 0);
    return clients;
}

/* How many are found; ret_asked: how many were asked about. */
static size_t count(struct rmclients *clients, uint64_t mem_free_bytes, uint32_t *ret_asked)
{
    cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;

    module.n_asked = 0;
    assert_int_equal(rmclients_add(clients, mem_free_bytes, &processes, NULL), 0);
    if (ret_asked)
        *ret_asked = module.n_asked;
    return processes.n_items;
}

static void a_session_answers_again(void **state)
{
    const struct process known[] = {{.pid = 10, .private_bytes = MIB},
                                    {.pid = 11, .private_bytes = 2 * MIB}};
    struct rmclients *clients = begin(known, 1, 0);

    (void)state;
    assert_int_equal(count(clients, 0, NULL), 1);
    module.n_processes = 2;
    assert_int_equal(count(clients, 0, NULL), 2);
    assert_int_equal(module.n_open, 1);
    rmclients_close(clients);
    assert_int_equal(module.n_open, 0);
}

/* Processes 10, 11 and 20 to 23 are in /proc. */
static void make_proc(char *folder)
{
    static const char *const names[] = {"10", "11", "20", "21", "22", "23", "sys", "1x"};

    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[64];

        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    setenv("GPUSLICE_PROC", folder, 1);
}

enum { N_PROC = 6, N_NAMED = 2 /* one, listed twice */ };

/* One that the module does not name is found as soon as its memory is missing, and as long as it
 * has it; in all other seconds nobody is asked about in vain. */
static void who_is_not_named_is_found_by_what_is_missing(void **state)
{
    static const struct process known[] = {{.pid = 10, .private_bytes = 1000 * MIB},
                                           {.pid = 22, .private_bytes = 500 * MIB}};
    char folder[] = "/tmp/gpuslice-rmclients-XXXXXX";
    struct rmclients *clients;
    uint32_t n_asked;

    (void)state;
    make_proc(folder);
    clients = begin(known, 1, 0);
    assert_int_equal(count(clients, 3000 * MIB, &n_asked), 1); /* at first all are asked about */
    assert_int_equal(n_asked, N_NAMED + N_PROC);
    assert_int_equal(count(clients, 3000 * MIB, &n_asked), 1);
    assert_int_equal(n_asked, N_NAMED);
    assert_int_equal(count(clients, 2990 * MIB, &n_asked), 1); /* the driver's own */
    assert_int_equal(n_asked, N_NAMED);
    module.n_hidden = 1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(count(clients, 2490 * MIB, &n_asked), 2);
        assert_int_equal(n_asked, N_NAMED + N_PROC);
    }
    module.n_hidden = 0;
    assert_int_equal(count(clients, 3000 * MIB, &n_asked), 1);
    assert_int_equal(n_asked, N_NAMED);
    rmclients_close(clients);
    unsetenv("GPUSLICE_PROC");
    seen_remove_tree(folder);
}

/* What is missing and nobody's is asked about once; but not forgotten: what comes on top of it is
 * missing as well, however slowly. */
static void what_is_nobodys_is_asked_about_once(void **state)
{
    static const struct process known[] = {{.pid = 10, .private_bytes = 1000 * MIB},
                                           {.pid = 23, .private_bytes = 20 * MIB}};
    char folder[] = "/tmp/gpuslice-rmclients-XXXXXX";
    struct rmclients *clients;
    uint32_t n_asked;

    (void)state;
    make_proc(folder);
    clients = begin(known, 1, 0);
    assert_int_equal(count(clients, 3000 * MIB, NULL), 1);
    assert_int_equal(count(clients, 2000 * MIB, &n_asked), 1);
    assert_int_equal(n_asked, N_NAMED + N_PROC);
    assert_int_equal(count(clients, 2000 * MIB, &n_asked), 1);
    assert_int_equal(n_asked, N_NAMED);
    module.n_hidden = 1;
    assert_int_equal(count(clients, 1990 * MIB, &n_asked), 1);
    assert_int_equal(count(clients, 1980 * MIB, &n_asked), 2);
    rmclients_close(clients);
    unsetenv("GPUSLICE_PROC");
    seen_remove_tree(folder);
}

static struct process *make_processes(uint32_t n)
{
    struct process *known = calloc(n, sizeof(*known));

    assert_non_null(known);
    for (uint32_t i = 0; i < n; i++)
        known[i] = (struct process){.pid = 100000 + i, .private_bytes = MIB};
    module.processes = known;
    module.n_processes = n;
    return known;
}

static void many_are_asked_about_in_parts(void **state)
{
    cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;
    cleanup_free struct process *known = make_processes(401);

    (void)state;
    assert_int_equal(ask(UUID, &processes, NULL), 0);
    assert_int_equal(processes.n_items, 401);
    assert_int_equal(processes.items[400].pid, known[400].pid);
}

static void absurd_counts_are_refused(void **state)
{
    cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;

    (void)state;
    module.told = 951;
    assert_int_equal(ask(UUID, &processes, NULL), -EBADMSG);
    assert_int_equal(processes.n_items, 0);
}

static void what_fails_is_told_and_adds_nothing(void **state)
{
    static const struct process known[] = {{.pid = 10, .private_bytes = MIB}};
    static const struct {
        struct module module;
        const char *uuid;
        int outcome;
        const char *reason;
    } rows[] = {
        {{.open_error = ENOENT}, UUID, -ENOENT, "cannot open /dev/nvidiactl: No such file"},
        {{.ioctl_error = ENOTTY}, UUID, -ENOTTY, "NV_ESC_RM_ALLOC on /dev/nvidiactl: "},
        {{.refused = 0x41, .status = 0x1a}, UUID, -ENOTSUP, "class 0x41 with status 0x1a"},
        {{.refused = 0x80, .status = 0x22}, UUID, -ENOTSUP, "class 0x80 with status 0x22"},
        {{.refused = 0x80, .status = 0x1b}, UUID, -EPERM, "has not opened the GPU's node"},
        {{.refused = 0x2080, .status = 0x22}, UUID, -ENOTSUP, "class 0x2080 with status 0x22"},
        {{.refused = 0x201, .status = 0x3a}, UUID, -ENOTSUP, "control 0x201 with status 0x3a"},
        {{.refused = 0x205, .status = 0x3a}, UUID, -ENOTSUP, "control 0x205 with status 0x3a"},
        {{.refused = 0x275, .status = 0x56}, UUID, -ENXIO, "no attached GPU " UUID},
        {{.refused = 0x2080018d, .status = 0x1b}, UUID, -EPERM, "as it does for a GPU in MIG mode"},
        {{.refused = 0x2080018e, .status = 0x3a}, UUID, -ENOTSUP, "control 0x2080018e with status"},
        {{.open_error = 0}, "GPU-unknown", -ENXIO, "no attached GPU GPU-unknown"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;
        struct error err = ERROR_INIT;

        module = rows[i].module;
        module.processes = known;
        module.n_processes = 1;
        assert_int_equal(ask(rows[i].uuid, &processes, &err), rows[i].outcome);
        if (!strstr(error_text(&err), rows[i].reason))
            fail_msg("row %zu: %s", i, error_text(&err));
        assert_int_equal(processes.n_items, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(adds_who_has_memory_and_is_not_listed, set_up),
        cmocka_unit_test_setup(a_session_answers_again, set_up),
        cmocka_unit_test_setup(who_is_not_named_is_found_by_what_is_missing, set_up),
        cmocka_unit_test_setup(what_is_nobodys_is_asked_about_once, set_up),
        cmocka_unit_test_setup(many_are_asked_about_in_parts, set_up),
        cmocka_unit_test_setup(absurd_counts_are_refused, set_up),
        cmocka_unit_test_setup(what_fails_is_told_and_adds_nothing, set_up),
    };

    return cmocka_run_group_tests_name("gpu/rmclients", tests, NULL, NULL);
}
