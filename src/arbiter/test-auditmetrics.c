// SPDX-License-Identifier: Apache-2.0
#include "arbiter/auditmetrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct audit_device devices[] = {
    {.device = {.uuid = "GPU-a", .mem_total_bytes = 100, .mem_reserved_bytes = 3},
     .used_bytes = 30,
     .free_bytes = 60},
    {.device = {.uuid = "GPU-b", .gpu = 1}},
};

/* A pod with a slice; a process of the node; one whose owner is not known. */
static struct audit_use uses[] = {
    {.owner = {.pod_uid = "uid-1",
               .namespace_ = "ml",
               .pod = "train",
               .container = "main",
               .process = "python"},
     .pid = 4711,
     .n_processes = 2,
     .used_bytes = 20,
     .resource = "nvidia.com/gpu",
     .n_slices = 1,
     .limit_bytes = 15,
     .verdict = AUDIT_OVER},
    {.owner = {.process = "dcgm"},
     .pid = 4712,
     .n_processes = 1,
     .used_bytes = 6,
     .verdict = AUDIT_HOST},
    {.owner = {.process = "ghost"},
     .pid = 4713,
     .n_processes = 1,
     .used_bytes = 4,
     .verdict = AUDIT_UNKNOWN},
};
static const struct audit audit = {.devices = devices, .n_devices = 2, .uses = uses, .n_uses = 3};
static struct violation items[] = {
    {.verdict = AUDIT_OVER,
     .device = "GPU-a",
     .owner = {.pod_uid = "uid-1", .namespace_ = "ml", .pod = "train", .container = "main"},
     .has_begun = true},
    {.verdict = AUDIT_ASKED_NOTHING, .device = "GPU-a", .owner = {.pod = "early"}},
    {.verdict = AUDIT_UNKNOWN, .device = "GPU-a", .pid = 4713, .has_begun = true},
};
static const struct violations violations = {.items = items, .n = 3};

static void expect(const struct text *page, const char *line)
{
    if (!strstr(text_string(page), line))
        fail_msg("%s is not in:\n%s", line, text_string(page));
}

static void pods_are_named_and_processes_of_the_node_are_not(void **state)
{
    const struct auditmetrics metrics = {.audit = &audit, .violations = &violations, .n_audits = 3};
    cleanup_text struct text page = TEXT_INIT;
    static const char *const secrets[] = {"4711", "4712", "4713", "dcgm", "ghost", "python"};

    (void)state;
    auditmetrics_add(&metrics, &page);
    expect(
        &page,
        "\ngpuslice_audit_memory_used_bytes{gpu=\"0\",uuid=\"GPU-a\",namespace=\"ml\",pod=\"train"
        "\",pod_uid=\"uid-1\",container=\"main\",resource=\"nvidia.com/gpu\"} 20\n");
    expect(&page, "container=\"main\",resource=\"nvidia.com/gpu\"} 15\n");
    expect(&page, "\ngpuslice_audit_other_processes{gpu=\"0\",uuid=\"GPU-a\"} 2\n");
    expect(&page, "\ngpuslice_audit_other_memory_used_bytes{gpu=\"0\",uuid=\"GPU-a\"} 10\n");
    expect(&page, "\ngpuslice_audit_device_memory_used_bytes{gpu=\"0\",uuid=\"GPU-a\"} 30\n");
    expect(&page, "\ngpuslice_audit_device_memory_bytes{gpu=\"0\",uuid=\"GPU-a\"} 100\n");
    expect(&page, "\ngpuslice_audit_device_memory_free_bytes{gpu=\"0\",uuid=\"GPU-a\"} 60\n");
    expect(&page, "\ngpuslice_audit_device_memory_reserved_bytes{gpu=\"0\",uuid=\"GPU-a\"} 3\n");
    expect(&page, "\ngpuslice_audit_device_memory_unlisted_bytes{gpu=\"0\",uuid=\"GPU-a\"} 7\n");
    assert_null(strstr(text_string(&page), "memory_unlisted_bytes{gpu=\"0\",uuid=\"GPU-b\"}"));
    assert_null(strstr(text_string(&page), "memory_free_bytes{gpu=\"0\",uuid=\"GPU-b\"}"));
    expect(&page, "\ngpuslice_audit_finding{finding=\"over\",uuid=\"GPU-a\",namespace=\"ml\"");
    expect(&page, "\ngpuslice_audits_total{result=\"done\"} 3\n");
    assert_null(strstr(text_string(&page), "early"));
    for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++)
        assert_null(strstr(text_string(&page), secrets[i]));
}

static void before_the_first_audit_nothing_is_said_of_devices(void **state)
{
    const struct auditmetrics metrics = {.violations = &violations};
    cleanup_text struct text page = TEXT_INIT;

    (void)state;
    auditmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_audits_total{result=\"done\"} 0\n");
    assert_null(strstr(text_string(&page), "gpuslice_audit_device"));
    assert_null(strstr(text_string(&page), "gpuslice_audit_age_seconds"));
}

/* An alert needs the age of an arbiter that never made an audit, too. */
static void a_driver_without_an_audit_has_an_age(void **state)
{
    const struct auditmetrics metrics = {
        .violations = &violations, .is_expected = true, .age_s = 400};
    cleanup_text struct text page = TEXT_INIT;

    (void)state;
    auditmetrics_add(&metrics, &page);
    expect(&page, "\ngpuslice_audit_age_seconds 400\n");
    assert_null(strstr(text_string(&page), "gpuslice_audit_device"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_are_named_and_processes_of_the_node_are_not),
        cmocka_unit_test(before_the_first_audit_nothing_is_said_of_devices),
        cmocka_unit_test(a_driver_without_an_audit_has_an_age),
    };

    return cmocka_run_group_tests_name("arbiter/auditmetrics", tests, NULL, NULL);
}
