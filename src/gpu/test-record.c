// SPDX-License-Identifier: Apache-2.0
#include "gpu/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static void crosses_a_socket(void **state)
{
    struct record sent = {.version = 0}, received;
    int sockets[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sockets), 0);
    assert_int_equal(record_receive(sockets[1], &received), -EAGAIN);
    assert_int_equal(str_copy(sent.event.uuid, sizeof(sent.event.uuid), "GPU-1"), 0);
    sent.event.xid = 79;
    assert_int_equal(record_send(sockets[0], RECORD_EVENT, &sent), 0);
    assert_int_equal(record_receive(sockets[1], &received), 0);
    assert_int_equal(received.type, RECORD_EVENT);
    assert_string_equal(received.event.uuid, "GPU-1");
    assert_int_equal(received.event.xid, 79);
    /* Torn. */
    assert_true(send(sockets[0], &sent, 12, 0) == 12);
    assert_int_equal(record_receive(sockets[1], &received), -EBADMSG);
    close(sockets[0]);
    assert_int_equal(record_receive(sockets[1], &received), -ENODATA);
    assert_int_equal(record_send(sockets[1], RECORD_EVENT, &sent), -EPIPE);
    close(sockets[1]);
}

static void refuses_strangers(void **state)
{
    static const struct {
        uint32_t version, type;
        size_t cut; /* bytes less than the type has */
        int expected;
    } rows[] = {
        {RECORD_VERSION, RECORD_INVENTORY, 0, 0},
        {RECORD_VERSION, RECORD_ASK, 0, 0},
        {RECORD_VERSION + 1, RECORD_INVENTORY, 0, -EBADMSG},
        {RECORD_VERSION, RECORD_INVENTORY, 1, -EBADMSG},
        {RECORD_VERSION, 0, 0, -EBADMSG},
        {RECORD_VERSION, RECORD_ASK + 1, 0, -EBADMSG},
        {RECORD_VERSION, UINT32_MAX, 0, -EBADMSG},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct record record = {.version = rows[i].version, .type = rows[i].type};

        assert_int_equal(record_check(&record, record_size(rows[i].type) - rows[i].cut),
                         rows[i].expected);
    }
}

/* Bytes as a broken library might have left them. */
static void tames_wild_bytes(void **state)
{
    struct record record;

    memset(&record, 0xff, sizeof(record));
    record.version = RECORD_VERSION;
    record.type = RECORD_GPU;
    record.gpu.position = 3;
    assert_int_equal(record_check(&record, record_size(RECORD_GPU)), 0);
    assert_int_equal(strlen(record.gpu.gpu.uuid), sizeof(record.gpu.gpu.uuid) - 1);
    assert_true(record.gpu.gpu.mig_capable == 1);
    record.gpu.position = RECORD_GPUS_MAX;
    assert_int_equal(record_check(&record, record_size(RECORD_GPU)), -EBADMSG);

    memset(&record, 0xff, sizeof(record));
    record.version = RECORD_VERSION;
    record.type = RECORD_INVENTORY;
    assert_int_equal(record_check(&record, record_size(RECORD_INVENTORY)), -EBADMSG);
    record.type = RECORD_PROBE;
    assert_int_equal(record_check(&record, record_size(RECORD_PROBE)), -EBADMSG);
    record.type = RECORD_LINKS;
    record.links.position = 0;
    assert_int_equal(record_check(&record, record_size(RECORD_LINKS)), 0);
    assert_int_equal(record.links.links[7].path, GPU_PATH_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crosses_a_socket),
        cmocka_unit_test(refuses_strangers),
        cmocka_unit_test(tames_wild_bytes),
    };

    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
