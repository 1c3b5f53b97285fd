// SPDX-License-Identifier: Apache-2.0
#include "node/devicereport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/log.h"

/* GPU 2 whole, and on GPU 3 the MIG device 3:1. */
static struct gpu gpus[] = {{.index = 2, .uuid = "GPU-c"}, {.index = 3, .uuid = "GPU-d"}};
static struct plan_device devices[] = {
    {.device = {.uuid = "GPU-c", .gpu = 0}, .left_out = "it is lost"},
    {.device = {.uuid = "MIG-1", .kind = DEVICE_MIG, .gpu = 1, .mig_index = 1, .profile = "1g.5gb"},
     .left_out = "it is lost"},
};
static const struct plan plan = {.gpus = gpus, .n_gpus = 2, .devices = devices, .n_devices = 2};

static void sentences(void **state)
{
    static const struct {
        size_t device;
        bool healthy;
        const char *reason, *sentence;
    } rows[] = {
        {0, false, "XID 79: off the bus", "GPU 2 (GPU-c) is Unhealthy: XID 79: off the bus"},
        {0, false, "", "GPU 2 (GPU-c) is Unhealthy"},
        {0, true, "", "GPU 2 (GPU-c) is usable again"},
        {0, true, "an old reason", "GPU 2 (GPU-c) is usable again"},
        {1, false, "XID 48", "MIG device 3:1 (MIG-1) is Unhealthy: XID 48"},
        {1, true, "", "MIG device 3:1 (MIG-1) is usable again"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char buffer[DEVICEREPORT_SIZE];

        devicereport_format(&plan, &devices[rows[i].device], rows[i].healthy, rows[i].reason,
                            buffer);
        assert_string_equal(buffer, rows[i].sentence);
    }
}

/* One sentence for all that have one reason. */
static void left_out(void **state)
{
    static struct plan_device several[] = {
        {.device = {.uuid = "GPU-c", .gpu = 0}, .left_out = "it is lost"},
        {.device = {.uuid = "GPU-e", .gpu = 1}, .left_out = "it is broken"},
        {.device = {.uuid = "GPU-d", .gpu = 1}, .left_out = "it is lost"},
        {.device = {.uuid = "GPU-f", .gpu = 1}},
    };
    static const struct plan of_several = {
        .gpus = gpus, .n_gpus = 2, .devices = several, .n_devices = ARRAY_SIZE(several)};
    bool meant[ARRAY_SIZE(several)] = {false};
    char buffer[DEVICEREPORT_SIZE];

    (void)state;
    devicereport_format_left_out(&of_several, &several[0], meant, buffer);
    assert_string_equal(buffer, "GPUs 2, 3 are not offered: it is lost");
    devicereport_format_left_out(&of_several, &several[1], meant, buffer);
    assert_string_equal(buffer, "GPU 3 (GPU-e) is not offered: it is broken");
    meant[0] = true;
    devicereport_format_left_out(&of_several, &several[2], meant, buffer);
    assert_string_equal(buffer, "GPU 3 (GPU-d) is not offered: it is lost");
}

/* What `log` writes to stderr, without the time. */
static void assert_logged(void (*log)(void), const char *expected)
{
    char text[512] = "";
    FILE *caught = tmpfile();
    int terminal = dup(STDERR_FILENO);
    const char *level;
    size_t n;

    assert_non_null(caught);
    fflush(stderr);
    dup2(fileno(caught), STDERR_FILENO);
    log();
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    rewind(caught);
    n = fread(text, 1, sizeof(text) - 1, caught);
    text[n] = '\0';
    fclose(caught);
    level = strstr(text, "level=");
    assert_non_null(level);
    assert_string_equal(level, expected);
}

static void log_gpu_unhealthy(void)
{
    devicereport_log_health(&plan, &devices[0], false, "XID 79");
}

static void log_gpu_healthy(void)
{
    devicereport_log_health(&plan, &devices[0], true, "an old reason");
}

static void log_gpu_left_out(void)
{
    devicereport_log_left_out(&plan, &devices[0]);
}

static void log_mig_unhealthy(void)
{
    devicereport_log_health(&plan, &devices[1], false, NULL);
}

static void log_mig_healthy(void)
{
    devicereport_log_health(&plan, &devices[1], true, NULL);
}

static void log_mig_left_out(void)
{
    devicereport_log_left_out(&plan, &devices[1]);
}

static void lines(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    assert_logged(log_gpu_unhealthy, "level=warning msg=\"GPU is Unhealthy\" gpu=GPU-c index=2 "
                                     "reason=\"XID 79\"\n");
    assert_logged(log_gpu_healthy, "level=info msg=\"GPU is Healthy\" gpu=GPU-c index=2\n");
    assert_logged(log_gpu_left_out, "level=warning msg=\"GPU left out\" gpu=GPU-c index=2 "
                                    "reason=\"it is lost\"\n");
    assert_logged(log_mig_unhealthy, "level=warning msg=\"MIG device is Unhealthy\" device=MIG-1 "
                                     "gpu=GPU-d index=3:1 profile=1g.5gb\n");
    assert_logged(log_mig_healthy, "level=info msg=\"MIG device is Healthy\" device=MIG-1 "
                                   "gpu=GPU-d index=3:1 profile=1g.5gb\n");
    assert_logged(log_mig_left_out, "level=warning msg=\"MIG device left out\" device=MIG-1 "
                                    "gpu=GPU-d index=3:1 profile=1g.5gb reason=\"it is lost\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences),
        cmocka_unit_test(left_out),
        cmocka_unit_test(lines),
    };

    return cmocka_run_group_tests_name("node/devicereport", tests, NULL, NULL);
}
