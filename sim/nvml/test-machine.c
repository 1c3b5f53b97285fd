// SPDX-License-Identifier: Apache-2.0
#include "nvml/machine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static struct machine machine;

static const char *machines(void)
{
    return getenv("GPUSLICE_TEST_MACHINES");
}

static void load(const char *name)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_free char *path = NULL;

    assert_int_equal(machine_find(name, machines(), &problems, &path), 0);
    assert_int_equal(machine_load(path, &problems, &machine), 0);
    assert_int_equal(problems.n_items, 0);
}

static unsigned links(unsigned from, unsigned to)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MACHINE_MAX_LINKS; i++)
        n += machine.gpus[from].links[i].end == LINK_GPU && machine.gpus[from].links[i].peer == to;
    return n;
}

static void test_p3_8xlarge(void **state)
{
    load("p3.8xlarge");
    assert_string_equal(machine.name, "p3.8xlarge");
    assert_int_equal(machine.n_gpus, 4);
    assert_string_equal(machine.driver, "550.163.01");
    assert_int_equal(machine.cuda, 12040);
    assert_string_equal(machine.gpus[3].model.name, "Tesla V100-SXM2-16GB");
    assert_int_equal(machine.gpus[3].model.pci_device, 0x1db110de);
    assert_int_equal(
        (machine.gpus[0].model.memory_bytes - machine.gpus[0].model.reserved_bytes) >> 20, 16160);
    assert_int_equal(machine.gpus[0].pci.device, 0x1b);
    assert_int_equal(links(0, 3), 2);
    assert_int_equal(links(3, 0), 2);
    assert_int_equal(links(0, 1), 1);
}

/* Every GPU of the hybrid cube mesh uses all of its six links. */
static void test_p3_16xlarge_mesh(void **state)
{
    load("p3.16xlarge");
    for (unsigned i = 0; i < 8; i++) {
        unsigned sum = 0;

        for (unsigned j = 0; j < 8; j++)
            sum += links(i, j);
        assert_int_equal(sum, 6);
    }
}

static void test_every_machine_is_sound(void **state)
{
    static const struct {
        const char *name;
        unsigned n_gpus, n_switches;
    } table[] = {
        {"p3.2xlarge", 1, 0},   {"p3.8xlarge", 4, 0},  {"p3.16xlarge", 8, 0},
        {"g4dn.xlarge", 1, 0},  {"g4dn.metal", 8, 0},  {"g4dn.12xlarge", 4, 0},
        {"g5.xlarge", 1, 0},    {"g5.12xlarge", 4, 0}, {"g6.12xlarge", 4, 0},
        {"p4d.24xlarge", 8, 6}, {"p5.48xlarge", 8, 4},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        load(table[i].name);
        assert_string_equal(machine.name, table[i].name);
        assert_int_equal(machine.n_gpus, table[i].n_gpus);
        assert_int_equal(machine.n_switches, table[i].n_switches);
        for (unsigned j = 0; j < machine.n_gpus; j++)
            assert_true(machine.gpus[j].model.memory_bytes > machine.gpus[j].model.reserved_bytes);
    }
}

static void test_uuids_are_the_same_everywhere(void **state)
{
    load("p3.8xlarge");
    assert_string_equal(machine.gpus[0].uuid, "GPU-86e5c145-84c6-5b96-8ec9-e2e7d3c1b1a4");
}

#define HEAD                                                              \
    "machine: x\ndriver: {version: 1.2.3, cuda: 12.4}\nmodel: tesla-t4\n" \
    "gpus:\n- {pci: \"00:1b.0\"}\n- {pci: \"00:1c.0\"}\n"

static int parse(const char *text, struct problems *problems)
{
    return machine_parse(text, strlen(text), machines(), problems, &machine);
}

static void test_faults_and_processes(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    assert_int_equal(parse(HEAD "faults:\n"
                                "- {at: 3s, gpu: 1, xid: 79}\n"
                                "- {hang: nvmlDeviceGetMemoryInfo_v2}\n"
                                "- {error: GPU_IS_LOST, call: nvmlDeviceGetName, gpu: 0}\n"
                                "- {missing: nvmlDeviceGetFieldValues}\n"
                                "processes:\n- {gpu: 1, pid: 42, memory: 1Gi, kind: mps}\n",
                           &problems),
                     0);
    assert_int_equal(machine.n_faults, 4);
    assert_int_equal(machine.faults[0].after_ns, 3000000000u);
    assert_int_equal(machine.faults[0].gpu, 1);
    assert_int_equal(machine.faults[0].code, 79);
    assert_int_equal(machine.faults[1].gpu, MACHINE_ALL_GPUS);
    assert_string_equal(machine.faults[1].call, "nvmlDeviceGetMemoryInfo_v2");
    assert_int_equal(machine.faults[2].code, 15);
    assert_int_equal(machine.faults[3].kind, FAULT_MISSING);
    assert_int_equal(machine.processes[0].kind, PROCESS_MPS);
}

static void test_each_problem_has_place_and_sentence(void **state)
{
    static const struct {
        const char *text, *line;
    } table[] = {
        {"", "1:1: the file is empty"},
        {"- a", "1:1: expected a map"},
        {"machine: x\ngpus: []\n", "1:1: 'driver' is missing"},
        {HEAD "faluts: []\n", "7:1: faluts: unknown key; did you mean 'faults'?"},
        {HEAD "faults: [{xid: 0}]\n", "7:16: faults[0].xid: expected a number from 1 to 999"},
        {HEAD "faults: [{gpu: 2, xid: 79}]\n",
         "7:16: faults[0]: expected the index of a GPU, or all"},
        {HEAD "faults: [{hang: nvmlDeviceGetNam}]\n",
         "7:17: faults[0].hang: NVML has no function 'nvmlDeviceGetNam'; did you mean "
         "'nvmlDeviceGetName'?"},
        {HEAD "faults: [{at: 1s}]\n",
         "7:10: faults[0]: expected one of xid, hang, lost, back, error, missing"},
        {HEAD "processes: [{gpu: 7, pid: 1, memory: 1Mi}]\n",
         "7:13: processes[0]: there is no GPU 7"},
        {HEAD "processes: [{gpu: 0, pid: 1, memory: 1Mi, kind: x}]\n",
         "7:49: processes[0].kind: expected one of compute, graphics, mps"},
        {HEAD "nvlink: {peers: {0-1: 1}}\n",
         "7:23: nvlink.peers.0-1: more links than the model has"},
        {HEAD "nvlink: {peers: {0-9: 1}}\n",
         "7:18: nvlink.peers.0-9: expected two of the GPUs, such as 0-1"},
        {HEAD "- {pci: \"00:1b.0\"}\n", "7:3: gpus[2]: has the PCI address of gpus[0]"},
        {HEAD "- {pci: \"00:1d.0\", node: 0}\n", "7:3: gpus[2]: there is no node 0 under 'nodes'"},
        {HEAD "- {pci: \"00:1d.0\", uuid: GPU-1}\n",
         "7:3: gpus[2]: a UUID looks like GPU-8dea5edf-1f2e-5a3b-8c4d-0123456789ab"},
        {HEAD "- {pci: \"00:1d.0\", model: tesla-t5}\n",
         "7:27: gpus[2].model: there is no model 'tesla-t5': no models/tesla-t5.yaml"},
        {HEAD "- {pci: \"00:1d.0\", model: ../secret}\n",
         "7:27: gpus[2].model: expected the name of a file in models/, without its .yaml"},
        {HEAD "nodes: [0-2000]\n",
         "7:9: nodes[0]: expected processors such as 0-15,32-47, below 1024"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        char line[300];
        const char *after;

        assert_int_equal(parse(table[i].text, &problems), -EBADMSG);
        assert_true(problems.n_items > 0);
        assert_int_equal(problems_set_source(&problems, "m"), 0);
        problem_format(&problems, &problems.items[0], line, sizeof(line));
        after = line + strlen("m:");
        assert_string_equal(after, table[i].line);
    }
}

static void test_all_problems_at_once(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    assert_int_equal(parse("machine: x\ndriver: {version: 1, cuda: 2}\ngpsu: []\n", &problems),
                     -EBADMSG);
    assert_int_equal(problems.n_items, 4); /* version, cuda, gpsu, and gpus missing */
}

static void test_unknown_name(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char *path = NULL;

    assert_int_equal(machine_find("p9.huge", machines(), &problems, &path), -ENOENT);
    assert_int_equal(problems.n_items, 1);
    assert_null(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p3_8xlarge),
        cmocka_unit_test(test_p3_16xlarge_mesh),
        cmocka_unit_test(test_every_machine_is_sound),
        cmocka_unit_test(test_uuids_are_the_same_everywhere),
        cmocka_unit_test(test_faults_and_processes),
        cmocka_unit_test(test_each_problem_has_place_and_sentence),
        cmocka_unit_test(test_all_problems_at_once),
        cmocka_unit_test(test_unknown_name),
    };

    return cmocka_run_group_tests_name("sim/machine", tests, NULL, NULL);
}
