// SPDX-License-Identifier: Apache-2.0
#include "node/busmessage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"

/* What dbus-daemon 1.14 sent for a Hello, a signal, and a call of a service that there is not. */
static const char returned[] = "6c02010109000000010000003d00000006017300040000003a312e3000000000050"
                               "17500010000000801670001730000"
                               "07017300140000006f72672e667265656465736b746f702e444275730000000004"
                               "0000003a312e3000";
static const char signalled[] =
    "6c04010109000000020000008d00000001016f00150000002f6f72672f667265656465736b746f702f444275730000"
    "00"
    "02017300140000006f72672e667265656465736b746f702e4442757300000000030173000c0000004e616d65416371"
    "75"
    "697265640000000006017300040000003a312e300000000008016700017300000701730014"
    "0000006f72672e667265656465736b746f702e444275730000000004"
    "0000003a312e3000";
static const char refused[] =
    "6c0301014b000000030000007500000006017300040000003a312e300000000004017300290000006f72672e667265"
    "65"
    "6465736b746f702e444275732e4572726f722e53657276696365556e6b6e6f776e0000000000000005017500020000"
    "00"
    "080167000173000007017300140000006f72672e667265656465736b746f702e444275730000000046000000546865"
    "206e616d65206f72672e667265656465736b746f702e6c6f67696e3120776173206e6f742070726f76696465642062"
    "79"
    "20616e79202e736572766963652066696c657300";

static size_t from_hex(const char *hex, uint8_t *data)
{
    size_t n = 0;

    for (; hex[2 * n]; n++) {
        const char digits[] = {hex[2 * n], hex[2 * n + 1], '\0'};

        data[n] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return n;
}

static void assert_written(const struct bus_call *call, uint32_t serial, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT, hex = TEXT_INIT;

    busmessage_add_call(call, serial, &text);
    for (size_t i = 0; i < text.length; i++)
        text_addf(&hex, "%02x", (uint8_t)text.data[i]);
    assert_string_equal(text_string(&hex), expected);
}

/* Both were accepted by dbus-daemon. */
static void calls_are_written(void **state)
{
    const struct bus_call hello = {.destination = "org.freedesktop.DBus",
                                   .path = "/org/freedesktop/DBus",
                                   .interface = "org.freedesktop.DBus",
                                   .member = "Hello"};
    const struct bus_call reboot = {.destination = "org.freedesktop.login1",
                                    .path = "/org/freedesktop/login1",
                                    .interface = "org.freedesktop.login1.Manager",
                                    .member = "Reboot",
                                    .has_false = true};

    (void)state;
    assert_written(
        &hello, 1,
        "6c01000100000000010000006e00000001016f00150000002f6f72672f667265656465736b746f70"
        "2f4442757300000006017300140000006f72672e667265656465736b746f702e4442757300000000"
        "02017300140000006f72672e667265656465736b746f702e44427573000000000301730005000000"
        "48656c6c6f000000");
    assert_written(
        &reboot, 2,
        "6c01000104000000020000007f00000001016f00170000002f6f72672f667265656465736b746f70"
        "2f6c6f67696e310006017300160000006f72672e667265656465736b746f702e6c6f67696e310000"
        "020173001e0000006f72672e667265656465736b746f702e6c6f67696e312e4d616e616765720000"
        "03017300060000005265626f6f740000080167000162000000000000");
}

static void answers_are_read(void **state)
{
    uint8_t data[512];
    struct bus_reply reply;
    size_t size;

    (void)state;
    assert_int_equal(busmessage_read(data, from_hex(returned, data), &reply, NULL), 0);
    assert_int_equal(reply.kind, BUS_RETURN);
    assert_int_equal(reply.reply_to, 1);

    assert_int_equal(busmessage_read(data, from_hex(signalled, data), &reply, NULL), 0);
    assert_int_equal(reply.kind, BUS_OTHER);
    assert_int_equal(reply.reply_to, 0);

    size = from_hex(refused, data);
    assert_int_equal(busmessage_read(data, size, &reply, NULL), 0);
    assert_int_equal(reply.kind, BUS_ERROR);
    assert_int_equal(reply.reply_to, 2);
    assert_string_equal(reply.error, "org.freedesktop.DBus.Error.ServiceUnknown");
    assert_string_equal(reply.text,
                        "The name org.freedesktop.login1 was not provided by any .service files");
}

/* Cut at each byte, and with each byte changed: an error or an answer, and nothing is read behind
 * the end (the sanitizers look). */
static void what_is_broken_is_refused(void **state)
{
    uint8_t whole[512];
    const size_t size = from_hex(refused, whole);
    struct bus_reply reply;
    struct error err = ERROR_INIT;

    (void)state;
    for (size_t n = 0; n < size; n++) {
        cleanup_free uint8_t *part = malloc(n + 1);

        assert_non_null(part);
        memcpy(part, whole, n);
        assert_int_equal(busmessage_read(part, n, &reply, &err), -EBADMSG);
        assert_true(*error_text(&err));
    }
    for (size_t i = 0; i < 256 * size; i++) {
        uint8_t data[sizeof(whole)];

        memcpy(data, whole, size);
        data[i / 256] = (uint8_t)i;
        busmessage_read(data, size, &reply, NULL);
    }
}

static void a_message_without_measure_is_refused(void **state)
{
    uint8_t head[BUSMESSAGE_HEAD] = {'l', 2, 0, 1, [4] = 0xff, [5] = 0xff, [6] = 0xff, [7] = 0xff};
    size_t size = 7;

    (void)state;
    assert_int_equal(busmessage_size(head, &size, NULL), -EBADMSG);
    memset(head + 4, 0, 4);
    memset(head + 12, 0xff, 4);
    assert_int_equal(busmessage_size(head, &size, NULL), -EBADMSG);
    head[0] = 'B';
    memset(head + 12, 0, 4);
    assert_int_equal(busmessage_size(head, &size, NULL), -EBADMSG);
    assert_int_equal(size, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_written),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(what_is_broken_is_refused),
        cmocka_unit_test(a_message_without_measure_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
