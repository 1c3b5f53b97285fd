// SPDX-License-Identifier: Apache-2.0
#include "nvml/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "gpu/nvml-abi.h"

static char folder[] = "/tmp/test-sim-state-XXXXXX";
static char machine_path[64], state_file_path[64];

static void write_machine(const char *faults)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "machine: x\ndriver: {version: 1.2.3, cuda: 12.4}\nmodel: tesla-t4\n"
             "gpus:\n- {pci: \"00:1b.0\"}\n- {pci: \"00:1c.0\"}\n%s",
             faults);
    assert_int_equal(file_write_atomic(machine_path, text, strlen(text), 0600, NULL), 0);
}

static int setup_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(machine_path, sizeof(machine_path), "%s/x.yaml", folder);
    snprintf(state_file_path, sizeof(state_file_path), "%s/state", folder);
    setenv("GPUSLICE_MACHINE_PATH", getenv("GPUSLICE_TEST_MACHINES"), 1);
    setenv("GPUSLICE_SIM_STATE", state_file_path, 1);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(machine_path);
    unlink(state_file_path);
    return rmdir(folder);
}

static int each(void **state)
{
    unlink(state_file_path);
    write_machine("");
    return 0;
}

static struct state_file open_state(void)
{
    struct state_file file = STATE_FILE_INIT;
    struct error err = ERROR_INIT;
    int r = state_open(machine_path, NULL, &file, &err);

    if (r < 0)
        fail_msg("%s", error_text(&err));
    return file;
}

static void assert_refused(const char *sentence)
{
    struct state_file file = STATE_FILE_INIT;
    struct error err = ERROR_INIT;

    assert_int_equal(state_open(machine_path, NULL, &file, &err), -EBADMSG);
    assert_non_null(strstr(error_text(&err), sentence));
}

/* Runs `body` in a child, which must end with status 0. */
static void in_child(void (*body)(struct state_file *file))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct state_file file = STATE_FILE_INIT;

        if (state_open(machine_path, NULL, &file, NULL) < 0)
            _exit(1);
        body(&file);
        state_close(&file);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void add_a_process(struct state_file *file)
{
    state_add_process(file, &(struct machine_process){.gpu = 1, .pid = 42, .memory_bytes = 1000});
}

static void test_processes_share_it(void **state)
{
    cleanup_state_file struct state_file file = open_state();

    in_child(add_a_process);
    assert_int_equal(state_used_bytes(file.state, 1), 1000);
    assert_int_equal(state_used_bytes(file.state, 0), 0);
    assert_int_equal(state_remove_process(&file, 1, 42), 0);
    assert_int_equal(state_remove_process(&file, 1, 42), -ENOENT);
    assert_int_equal(state_used_bytes(file.state, 1), 0);
}

static void test_used_memory_never_exceeds_what_there_is(void **state)
{
    cleanup_state_file struct state_file file = open_state();
    const struct gpu_model *model = &file.state->machine.gpus[0].model;

    state_add_process(&file, &(struct machine_process){.pid = 1, .memory_bytes = UINT64_MAX});
    state_add_process(&file, &(struct machine_process){.pid = 2, .memory_bytes = UINT64_MAX});
    assert_int_equal(state_used_bytes(file.state, 0), model->memory_bytes - model->reserved_bytes);
}

/* An XID that means nothing to the driver. */
static void add_event(struct state_file *file, unsigned gpu, uint32_t xid)
{
    const struct machine_fault fault = {.kind = FAULT_XID, .gpu = (int)gpu, .code = xid};

    state_inject(file, &fault);
}

static const struct machine_fault hang_gpu_0 = {.kind = FAULT_HANG, .gpu = 0};

static void write_for_ever(struct state_file *file, int ready)
{
    for (unsigned i = 0;; i++) {
        state_add_process(file, &(struct machine_process){.pid = 1 + i % 50, .memory_bytes = 1});
        add_event(file, 0, 1000 + i % 100);
        state_inject(file, &hang_gpu_0);
        state_clear(file, FAULT_HANG, "", 0);
        state_remove_process(file, 0, 1 + i % 50);
        if (i == 0 && write(ready, "", 1) != 1)
            _exit(1);
    }
}

/* Starts a writer, kills it once it writes (or, for a fresh file, while it makes it). */
static void kill_a_writer(bool while_making)
{
    int ready[2], status;
    pid_t pid;
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct state_file file = STATE_FILE_INIT;

        if (while_making && write(ready[1], "", 1) != 1)
            _exit(1);
        if (state_open(machine_path, NULL, &file, NULL) < 0)
            _exit(1);
        write_for_ever(&file, ready[1]);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void test_survives_the_death_of_writers(void **state)
{
    for (int i = 0; i < 50; i++) {
        cleanup_state_file struct state_file file = STATE_FILE_INIT;
        struct state_happening event;
        uint64_t next;

        if (i % 5 == 0)
            unlink(state_file_path);
        kill_a_writer(i % 5 == 0);
        file = open_state();
        state_clear(&file, FAULT_HANG, "", MACHINE_ALL_GPUS);
        next = state_next_event(file.state);
        add_event(&file, 1, 4711);
        assert_true(state_event(file.state, next, &event));
        assert_int_equal(event.gpu, 1);
        assert_int_equal(event.data, 4711);
        assert_int_equal(state_meet(&file, "nvmlDeviceGetName", 0), NVML_SUCCESS);
    }
}

static void test_foreign_files_are_refused(void **state)
{
    char garbage[100];

    memset(garbage, 'x', sizeof(garbage));
    assert_int_equal(file_write_atomic(state_file_path, garbage, sizeof(garbage), 0600, NULL), 0);
    assert_refused("is no state of this simulator");
    assert_int_equal(truncate(state_file_path, sizeof(struct state)), 0);
    assert_refused("is no state of this simulator");
}

static void corrupt(size_t offset, uint32_t value)
{
    int fd = open(state_file_path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &value, sizeof(value), (off_t)offset), sizeof(value));
    close(fd);
}

static void test_corrupt_states_are_refused(void **state)
{
    static const struct {
        size_t offset;
        uint32_t value;
    } table[] = {
        {offsetof(struct state, magic), 1},
        {offsetof(struct state, machine.n_gpus), MACHINE_MAX_GPUS + 1},
        {offsetof(struct state, machine.gpus[1].node), 3},
        {offsetof(struct state, machine.gpus[0].model.nvlink_count), 99},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct state_file file;

        unlink(state_file_path);
        file = open_state();
        state_close(&file);
        corrupt(table[i].offset, table[i].value);
        assert_refused("is no state of this simulator");
    }
}

static void test_another_version_needs_a_reset(void **state)
{
    struct state_file file;

    for (int i = 0; i < 2; i++) {
        file = open_state();
        state_close(&file);
        if (i == 0)
            corrupt(offsetof(struct state, version), STATE_VERSION + 1);
        else
            assert_int_equal(truncate(state_file_path, sizeof(struct state) - 8), 0);
        assert_refused("is a state of another version of this simulator");
        assert_refused(state_file_path);
        assert_int_equal(state_reset(machine_path, NULL, NULL), 0);
    }
    file = open_state();
    state_close(&file);
}

static void test_another_machine_needs_a_reset(void **state)
{
    struct state_file file = open_state();

    state_close(&file);
    write_machine("processes: [{gpu: 0, pid: 7, memory: 5}]\n");
    assert_refused("belongs to another machine file");
    assert_int_equal(state_reset(machine_path, NULL, NULL), 0);
    file = open_state();
    assert_int_equal(state_used_bytes(file.state, 0), 5);
    state_close(&file);
}

static void test_bad_machine_file_tells_its_problems(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct state_file file = STATE_FILE_INIT;
    struct error err = ERROR_INIT;

    write_machine("nonsense: 1\n");
    assert_int_equal(state_open(machine_path, &problems, &file, &err), -EBADMSG);
    assert_int_equal(problems.n_items, 1);
    write_machine(""); /* mended: what was half made is no obstacle */
    file = open_state();
    state_close(&file);
}

static void test_rules(void **state)
{
    cleanup_state_file struct state_file file = open_state();
    struct machine_fault error = {
        .kind = FAULT_ERROR, .gpu = 1, .code = NVML_ERROR_TIMEOUT, .call = "nvmlDeviceGetName"};
    struct machine_fault missing = {
        .kind = FAULT_MISSING, .gpu = MACHINE_ALL_GPUS, .call = "nvmlDeviceGetUUID"};

    assert_int_equal(state_inject(&file, &error), 0);
    assert_int_equal(state_inject(&file, &missing), 0);
    assert_int_equal(state_meet(&file, "nvmlDeviceGetName", 1), NVML_ERROR_TIMEOUT);
    assert_int_equal(state_meet(&file, "nvmlDeviceGetName", 0), NVML_SUCCESS);
    assert_int_equal(state_meet(&file, "nvmlDeviceGetUUID", 0), NVML_ERROR_FUNCTION_NOT_FOUND);
    assert_int_equal(state_meet(&file, "nvmlDeviceGetIndex", 1), NVML_SUCCESS);
    state_clear(&file, FAULT_ERROR, "", MACHINE_ALL_GPUS);
    assert_int_equal(state_meet(&file, "nvmlDeviceGetName", 1), NVML_SUCCESS);
    assert_int_equal(state_meet(&file, "nvmlDeviceGetUUID", 0), NVML_ERROR_FUNCTION_NOT_FOUND);
}

static void test_rules_are_bounded(void **state)
{
    cleanup_state_file struct state_file file = open_state();

    for (int i = 0; i < STATE_MAX_RULES; i++)
        assert_int_equal(state_inject(&file, &hang_gpu_0), 0);
    assert_int_equal(state_inject(&file, &hang_gpu_0), -ENOSPC);
    state_clear(&file, FAULT_HANG, "", 0);
    assert_int_equal(state_inject(&file, &hang_gpu_0), 0);
}

static void test_hang_holds_another_process_until_it_ends(void **state)
{
    cleanup_state_file struct state_file file = open_state();
    struct pollfd done;
    int through[2], status;
    pid_t pid;

    assert_int_equal(pipe(through), 0);
    assert_int_equal(state_inject(&file, &hang_gpu_0), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct state_file mine = STATE_FILE_INIT;

        if (state_open(machine_path, NULL, &mine, NULL) < 0 ||
            state_meet(&mine, "nvmlDeviceGetName", 1) != NVML_SUCCESS ||
            write(through[1], "a", 1) != 1)
            _exit(1);
        state_meet(&mine, "nvmlDeviceGetName", 0);
        _exit(write(through[1], "b", 1) == 1 ? 0 : 1);
    }
    done = (struct pollfd){.fd = through[0], .events = POLLIN};
    char byte = 0;

    assert_int_equal(read(through[0], &byte, 1), 1); /* GPU 1 is not concerned */
    assert_int_equal(byte, 'a');
    assert_int_equal(poll(&done, 1, 50), 0);
    state_clear(&file, FAULT_HANG, "", 0);
    assert_int_equal(read(through[0], &byte, 1), 1);
    assert_int_equal(byte, 'b');
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    close(through[0]);
    close(through[1]);
}

static void test_faults_come_due_by_the_clock(void **state)
{
    struct state_happening event;
    uint64_t began = clock_now_ms();

    write_machine("faults: [{at: 20ms, gpu: 1, xid: 79}, {at: 1h, gpu: 0, xid: 31}]\n");
    cleanup_state_file struct state_file file = open_state();
    unsigned seen = atomic_load(&file.state->events_changed);

    while (!state_event(file.state, 1, &event)) {
        assert_true(clock_now_ms() < began + 5000);
        state_wait_event(&file, seen, UINT64_MAX);
        seen = atomic_load(&file.state->events_changed);
    }
    assert_int_equal(event.gpu, 1);
    assert_int_equal(event.data, 79);
    assert_int_equal(atomic_load(&file.state->gpus[1].recovery_action),
                     NVML_GPU_RECOVERY_ACTION_NODE_REBOOT);
    state_tick(&file);
    assert_int_equal(state_next_event(file.state), 2); /* told once; the other is not due */
}

static void test_reset_of_a_gpu(void **state)
{
    cleanup_state_file struct state_file file = open_state();
    const struct machine_fault lost = {.kind = FAULT_LOST, .gpu = 0};
    const struct machine_fault dbe = {.kind = FAULT_XID, .gpu = 0, .code = 48};

    add_a_process(&file);
    state_add_process(&file, &(struct machine_process){.gpu = 0, .pid = 43, .memory_bytes = 10});
    assert_int_equal(state_inject(&file, &dbe), 0);
    assert_int_equal(state_inject(&file, &lost), 0);
    assert_int_equal(atomic_load(&file.state->gpus[0].lost), 1);
    assert_int_equal(atomic_load(&file.state->gpus[0].ecc_errors[1][0]), 1);
    state_reset_gpu(&file, 0);
    assert_int_equal(atomic_load(&file.state->gpus[0].lost), 0);
    assert_int_equal(atomic_load(&file.state->gpus[0].recovery_action), 0);
    assert_int_equal(atomic_load(&file.state->gpus[0].ecc_errors[1][0]), 0);
    assert_int_equal(atomic_load(&file.state->gpus[0].ecc_errors[1][1]), 1); /* for life */
    assert_int_equal(state_used_bytes(file.state, 0), 0);
    assert_int_equal(state_used_bytes(file.state, 1), 1000); /* the other GPU keeps its own */
}

static void test_ring_keeps_the_newest(void **state)
{
    cleanup_state_file struct state_file file = open_state();
    struct state_happening event;

    for (uint64_t i = 1; i <= STATE_MAX_EVENTS + 10; i++)
        add_event(&file, 0, 1000 + (uint32_t)i);
    assert_false(state_event(file.state, 10, &event));
    assert_true(state_event(file.state, 11, &event));
    assert_int_equal(event.data, 1011);
    assert_true(state_event(file.state, STATE_MAX_EVENTS + 10, &event));
    assert_false(state_event(file.state, STATE_MAX_EVENTS + 11, &event));
}

#define TEST(name) cmocka_unit_test_setup(name, each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_processes_share_it),
        TEST(test_used_memory_never_exceeds_what_there_is),
        TEST(test_survives_the_death_of_writers),
        TEST(test_foreign_files_are_refused),
        TEST(test_corrupt_states_are_refused),
        TEST(test_another_version_needs_a_reset),
        TEST(test_another_machine_needs_a_reset),
        TEST(test_bad_machine_file_tells_its_problems),
        TEST(test_rules),
        TEST(test_rules_are_bounded),
        TEST(test_hang_holds_another_process_until_it_ends),
        TEST(test_faults_come_due_by_the_clock),
        TEST(test_reset_of_a_gpu),
        TEST(test_ring_keeps_the_newest),
    };

    return cmocka_run_group_tests_name("sim/state", tests, setup_folder, remove_folder);
}
