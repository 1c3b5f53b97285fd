// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"

/* What the process wrote to standard error since catch_start(), read back by catch_end(). */
static int terminal, caught;

static void catch_start(void)
{
    terminal = dup(STDERR_FILENO);
    caught = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(terminal >= 0 && caught >= 0);
    assert_true(dup2(caught, STDERR_FILENO) >= 0);
}

static const char *catch_end(void)
{
    static char output[2048];
    ssize_t n = pread(caught, output, sizeof(output) - 1, 0);

    dup2(terminal, STDERR_FILENO);
    close(terminal);
    close(caught);
    assert_true(n >= 0);
    output[n] = '\0';
    return output;
}

/* Checks the timestamp at the start of the line and returns what follows. */
static const char *after_time(const char *line, const char *head)
{
    unsigned year, month, day, hour, minute, second, ms;
    int end = 0;

    assert_memory_equal(line, head, strlen(head));
    assert_int_equal(sscanf(line + strlen(head), "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ%n", &year, &month,
                            &day, &hour, &minute, &second, &ms, &end),
                     7);
    assert_int_equal(end, 24);
    assert_true(year >= 2024 && month <= 12 && day <= 31 && hour < 24 && minute < 60);
    return line + strlen(head) + end;
}

static void test_logfmt(void **state)
{
    static const struct {
        const char *value, *written;
    } table[] = {
        {"GPU-1::0", "GPU-1::0"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"say \"x\"", "\"say \\\"x\\\"\""},
        {"a=b", "\"a=b\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"l1\nl2", "\"l1\\nl2\""},
        {"\x1b[2J", "\"\\u001b[2J\""}, /* a terminal would interpret it */
        {"a\rb\x7f", "\"a\\u000db\\u007f\""},
    };

    log_setup(LOG_INFO, LOG_LOGFMT);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char expected[128];

        snprintf(expected, sizeof(expected), " level=warning msg=\"device is back\" gpu=%s n=-3\n",
                 table[i].written);
        catch_start();
        log_warning("device is back", "gpu", table[i].value, "n", log_number(-3));
        assert_string_equal(after_time(catch_end(), "time="), expected);
    }
}

static void test_json(void **state)
{
    log_setup(LOG_INFO, LOG_JSON);
    catch_start();
    log_error("it \"broke\"", "file", "C:\\x", "text", "a\tb\n\x01");
    assert_string_equal(after_time(catch_end(), "{\"time\":\""),
                        "\",\"level\":\"error\",\"msg\":\"it \\\"broke\\\"\",\"file\":\"C:\\\\x\","
                        "\"text\":\"a\\u0009b\\n\\u0001\"}\n");
}

static void test_a_pair_without_a_value_is_dropped(void **state)
{
    log_setup(LOG_INFO, LOG_LOGFMT);
    catch_start();
    log_info("started", "resource", NULL, "gpu", "GPU-1");
    assert_string_equal(after_time(catch_end(), "time="), " level=info msg=started gpu=GPU-1\n");
}

static void test_below_the_level_nothing_is_written(void **state)
{
    log_setup(LOG_WARNING, LOG_LOGFMT);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARNING));
    catch_start();
    log_debug("x");
    log_info("x");
    assert_string_equal(catch_end(), "");
    log_setup(LOG_DEBUG, LOG_LOGFMT);
    catch_start();
    log_debug("x");
    assert_string_equal(after_time(catch_end(), "time="), " level=debug msg=x\n");
}

static void test_names(void **state)
{
    enum log_level level = LOG_ERROR;
    enum log_format format = LOG_LOGFMT;

    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_level_parse("error", &level));
    assert_int_equal(level, LOG_ERROR);
    assert_false(log_level_parse("loud", &level));
    assert_int_equal(level, LOG_ERROR);
    assert_true(log_format_parse("json", &format));
    assert_int_equal(format, LOG_JSON);
    assert_false(log_format_parse("JSON", &format));
    assert_int_equal(format, LOG_JSON);
}

static void test_words_of_options(void **state)
{
    struct error err = ERROR_INIT;

    assert_int_equal(log_check_words(NULL, NULL, &err), 0);
    assert_int_equal(log_check_words("debug", "json", &err), 0);
    assert_int_equal(log_check_words("loud", NULL, &err), -EINVAL);
    assert_string_equal(error_text(&err), "--log-level=loud: write debug, info, warning or error");
    assert_int_equal(log_check_words("info", "xml", &err), -EINVAL);
    assert_string_equal(error_text(&err), "--log-format=xml: write logfmt or json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logfmt),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_a_pair_without_a_value_is_dropped),
        cmocka_unit_test(test_below_the_level_nothing_is_written),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_words_of_options),
    };

    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
