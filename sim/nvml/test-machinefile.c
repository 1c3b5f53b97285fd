// SPDX-License-Identifier: Apache-2.0
#include "nvml/machinefile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
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
        {"p3.2xlarge", 1, 0},    {"p3.8xlarge", 4, 0},    {"p3.16xlarge", 8, 0},
        {"g4dn.xlarge", 1, 0},   {"g4dn.metal", 8, 0},    {"g4dn.12xlarge", 4, 0},
        {"g5.xlarge", 1, 0},     {"g5.12xlarge", 4, 0},   {"g6.12xlarge", 4, 0},
        {"g5.48xlarge", 8, 0},   {"p4d.24xlarge", 8, 6},  {"p5.48xlarge", 8, 4},
        {"p3dn.24xlarge", 8, 0}, {"p4de.24xlarge", 8, 6},
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

/* Every type of the catalog is a machine, with or without a file that knows more of it. */
static void test_every_type_of_the_catalog(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_free char *folder = machine_catalog_folder();

    assert_int_equal(catalog_load(folder, &problems, &catalog), 0);
    for (size_t i = 0; i < catalog.n_types; i++) {
        const struct instance_type *type = &catalog.types[i];
        unsigned n_linked = 0;

        load(type->name);
        assert_string_equal(machine.name, type->name);
        assert_int_equal(machine.n_gpus, type->n_gpus);
        assert_int_equal(machine.n_switches, type->n_switches);
        for (unsigned j = 0; j < machine.n_gpus; j++) {
            assert_string_equal(machine.gpus[j].model.name, catalog.models[type->model].name);
            n_linked += machine.gpus[j].links[0].end != LINK_NONE;
        }
        assert_int_equal(n_linked, type->wiring == GPU_WIRING_NONE ? 0 : type->n_gpus);
    }
}

static void test_names_of_the_catalog(void **state)
{
    static const struct {
        const char *name, *machine, *model;
        unsigned n_gpus, n_nodes;
    } table[] = {
        {"g5.2xlarge", "g5.2xlarge", "NVIDIA A10G", 1, 0},
        {"G5.2XLARGE", "g5.2xlarge", "NVIDIA A10G", 1, 0},
        {"P3.8xlarge", "p3.8xlarge", "Tesla V100-SXM2-16GB", 4, 1}, /* there is a file for it */
        {"4xA10G", "4xA10G", "NVIDIA A10G", 4, 0},
        {"16xnvidia-a10g", "16xA10G", "NVIDIA A10G", 16, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        load(table[i].name);
        assert_string_equal(machine.name, table[i].machine);
        assert_string_equal(machine.gpus[table[i].n_gpus - 1].model.name, table[i].model);
        assert_int_equal(machine.n_gpus, table[i].n_gpus);
        assert_int_equal(machine.n_nodes, table[i].n_nodes);
    }
    /* What is not known is not invented: no NUMA node, no NVLink. */
    assert_int_equal(machine.gpus[0].node, -1);
    assert_int_equal(machine.gpus[0].links[0].end, LINK_NONE);
}

#define HEAD                                                              \
    "machine: x\ndriver: {version: 1.2.3, cuda: 12.4}\nmodel: tesla-t4\n" \
    "gpus:\n- {pci: \"00:1b.0\"}\n- {pci: \"00:1c.0\"}\n"

static int parse(const char *text, struct problems *problems)
{
    return machine_parse(text, strlen(text), &(struct machine_source){.directory = machines()},
                         problems, &machine);
}

static void parse_well(const char *text)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    assert_int_equal(parse(text, &problems), 0);
    assert_int_equal(problems.n_items, 0);
}

static void test_a_file_adds_to_a_type(void **state)
{
    parse_well("type: p4d.24xlarge\nfaults: [{gpu: 7, lost: true}]\n");
    assert_string_equal(machine.name, "p4d.24xlarge");
    assert_int_equal(machine.n_gpus, 8);
    assert_int_equal(machine.n_switches, 6);
    assert_int_equal(machine.faults[0].gpu, 7);
    assert_true(machine.driver[0] && machine.cuda);

    parse_well("type: P4D.24xlarge\nmachine: mine\ndriver: {version: 1.2, cuda: 11.0}\n"
               "model: h200\nnvlink: {}\n");
    assert_string_equal(machine.name, "mine");
    assert_string_equal(machine.driver, "1.2");
    assert_string_equal(machine.gpus[7].model.name, "NVIDIA H200");
    assert_int_equal(machine.gpus[7].links[0].end, LINK_NONE);

    parse_well("type: g5.12xlarge\ngpus: [{pci: \"00:1d.0\", model: l4}, {pci: \"00:1e.0\"}]\n");
    assert_int_equal(machine.n_gpus, 2);
    assert_string_equal(machine.gpus[0].model.name, "NVIDIA L4");
    assert_string_equal(machine.gpus[1].model.name, "NVIDIA A10G");
}

static void test_a_model_like_another(void **state)
{
    parse_well("type: g5.xlarge\nmodel: {like: L4, memory: 1Gi, power: {limit: 50}}\n");
    assert_string_equal(machine.gpus[0].model.name, "NVIDIA L4");
    assert_int_equal(machine.gpus[0].model.memory_bytes, 1 << 30);
    assert_int_equal(machine.gpus[0].model.power_limit_mw, 50000);
    assert_int_equal(machine.gpus[0].model.power_max_mw, 72000);
}

/* Without a mesh in the file, every link of a GPU still leads to another one. */
static void test_a_type_with_peers_but_no_mesh(void **state)
{
    static const struct {
        const char *text;
        unsigned n_gpus;
    } table[] = {{"type: p3.8xlarge\n", 4}, {"type: p3dn.24xlarge\n", 8}};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        parse_well(table[i].text);
        for (unsigned from = 0; from < table[i].n_gpus; from++) {
            unsigned sum = 0;

            for (unsigned to = 0; to < table[i].n_gpus; to++)
                sum += links(from, to);
            assert_int_equal(sum, 6);
            assert_int_equal(links(from, from), 0);
        }
    }
}

/* A file and a model beside it, as they were written before there was a catalog. */
static void test_a_file_that_brings_its_model_needs_no_catalog(void **state)
{
    static const char model[] =
        "name: Own One\nbrand: tesla\narchitecture: volta\ncompute: 7.0\ncores: 5120\n"
        "memory: 16384Mi\nreserved: 224Mi\nbar1: 16384Mi\nmemoryBus: 4096\n"
        "pciDevice: 0x1db110de\npciSubsystem: 0x121210de\npciClass: 0x0302\n"
        "pcie: {generation: 3, width: 16}\npower: {idle: 25, limit: 300, min: 150, max: 300}\n"
        "clocks: {graphics: 1530, memory: 877, video: 1372, idle: 135}\n"
        "temperature: {idle: 34, max: 83, slowdown: 87, shutdown: 90, memoryMax: 85}\n"
        "nvlink: {count: 6, version: 2.0, mbps: 25781}\nmig: {memorySlices: 0}\n";
    static const char text[] = "machine: x\ndriver: {version: 550.163.01, cuda: 12.4}\nmodel: own\n"
                               "nodes: [0-3]\ngpus: [{pci: \"0000:00:1e.0\", node: 0}]\n";
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char folder[] = "/tmp/test-machine-XXXXXX", models[64], file[64], path[64];

    assert_non_null(mkdtemp(folder));
    snprintf(models, sizeof(models), "%s/models", folder);
    snprintf(file, sizeof(file), "%s/own.yaml", models);
    snprintf(path, sizeof(path), "%s/x.yaml", folder);
    assert_int_equal(file_make_directory(models, NULL), 0);
    assert_int_equal(file_write_atomic(file, model, strlen(model), 0600, NULL), 0);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
    setenv("GPUSLICE_CATALOG", "/nowhere", 1);
    assert_int_equal(machine_load(path, &problems, &machine), 0);
    unsetenv("GPUSLICE_CATALOG");
    assert_string_equal(machine.gpus[0].model.name, "Own One");
    assert_true(remove(file) == 0 && remove(models) == 0 && remove(path) == 0 &&
                remove(folder) == 0);
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
         "7:10: faults[0]: expected one of xid, hang, lost, back, error, missing, death, "
         "resetRefused"},
        {HEAD "processes: [{gpu: 7, pid: 1, memory: 1Mi}]\n",
         "7:13: processes[0]: there is no GPU 7"},
        {HEAD "processes: [{gpu: 0, pid: 1, memory: 1Mi, kind: x}]\n",
         "7:49: processes[0].kind: expected one of compute, graphics, mps, client, raw"},
        {HEAD "nvlink: {peers: {0-1: 1}}\n",
         "7:23: nvlink.peers.0-1: more links than the model has"},
        {HEAD "nvlink: {peers: {0-9: 1}}\n",
         "7:18: nvlink.peers.0-9: expected two of the GPUs, such as 0-1"},
        {HEAD "- {pci: \"00:1b.0\"}\n", "7:3: gpus[2]: has the PCI address of gpus[0]"},
        {HEAD "- {pci: \"00:1d.0\", node: 0}\n", "7:3: gpus[2]: there is no node 0 under 'nodes'"},
        {HEAD "- {pci: \"00:1d.0\", uuid: GPU-1}\n",
         "7:3: gpus[2]: a UUID looks like GPU-8dea5edf-1f2e-5a3b-8c4d-0123456789ab"},
        {HEAD "- {pci: \"00:1d.0\", model: tesla-t5}\n",
         "7:27: gpus[2].model: there is no model 'tesla-t5'; the models are A10G, A30, "
         "A100-SXM4-40GB, "
         "A100-SXM4-80GB, B200, B300-SXM6-AC, GB200, GH200-144G-HBM3e, GH200-480GB, "
         "H100-80GB-HBM3, H100-96GB-HBM3, H100-NVL, H200, L4, L40S, "
         "RTX-PRO-4500-Blackwell-Server-Edition, RTX-PRO-6000-Blackwell-Server-Edition, T4, T4G, "
         "V100-SXM2-16GB, V100-SXM2-32GB"},
        {HEAD "- {pci: \"00:1d.0\", model: A100}\n",
         "7:27: gpus[2].model: there is no model 'A100'; did you mean one of A100-SXM4-40GB, "
         "A100-SXM4-80GB?"},
        {"type: g5.3xlarge\n", "1:7: type: no such instance type; the family g5 has g5.xlarge, "
                               "g5.2xlarge, g5.4xlarge, g5.8xlarge, g5.16xlarge, g5.12xlarge, "
                               "g5.24xlarge, g5.48xlarge"},
        {"type: g5.xlarge\nmodel: {like: A100}\n",
         "2:15: model.like: there is no model 'A100'; did you mean one of A100-SXM4-40GB, "
         "A100-SXM4-80GB?"},
        {"type: g5.xlarge\nmodel: {like: A10G, reserved: 1Ti}\n",
         "2:8: model: 'reserved' must be less than 'memory'"},
        {HEAD "nodes: [0-2000]\n",
         "7:9: nodes[0]: expected processors such as 0-15,32-47, below 1024"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        char line[400];
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
    assert_non_null(strstr(problems.items[0].text, "there is no machine 'p9.huge'; known are"));
    assert_null(path);
    assert_int_equal(machine_find("2xH100", machines(), NULL, &path), -ENOENT);
    assert_null(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p3_8xlarge),
        cmocka_unit_test(test_p3_16xlarge_mesh),
        cmocka_unit_test(test_every_machine_is_sound),
        cmocka_unit_test(test_every_type_of_the_catalog),
        cmocka_unit_test(test_names_of_the_catalog),
        cmocka_unit_test(test_a_file_adds_to_a_type),
        cmocka_unit_test(test_a_model_like_another),
        cmocka_unit_test(test_a_type_with_peers_but_no_mesh),
        cmocka_unit_test(test_a_file_that_brings_its_model_needs_no_catalog),
        cmocka_unit_test(test_uuids_are_the_same_everywhere),
        cmocka_unit_test(test_faults_and_processes),
        cmocka_unit_test(test_each_problem_has_place_and_sentence),
        cmocka_unit_test(test_all_problems_at_once),
        cmocka_unit_test(test_unknown_name),
    };

    return cmocka_run_group_tests_name("sim/machinefile", tests, NULL, NULL);
}
