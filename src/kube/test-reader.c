// SPDX-License-Identifier: Apache-2.0
#include "kube/reader.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "kube/test-fake-api.h"

static struct kube_reader *reader;
static unsigned n_asked; /* of the page under test */

static int setup(void **state)
{
    const struct kube_access access = KUBE_ACCESS_INIT;

    fake_api_reset();
    n_asked = 0;
    return kube_reader_new(&access, "test", &reader, NULL);
}

static int teardown(void **state)
{
    kube_reader_free(reader);
    return 0;
}

static int add_name(const json_t *item, void *userdata)
{
    const char *name = json_string_value(json_object_get(item, "name"));

    text_addf(userdata, "%s ", name);
    return str_equal(name, "stop") ? -ECANCELED : 0;
}

static void assert_list(int result, const char *names, const char *why)
{
    cleanup_text struct text seen = TEXT_INIT;
    struct error err = ERROR_INIT;

    assert_int_equal(kube_read_list(reader, "/things", NULL, add_name, &seen, &err), result);
    assert_string_equal(text_string(&seen), names);
    if (!strstr(error_text(&err), why))
        fail_msg("'%s' is not in: %s", why, error_text(&err));
}

static struct fake_answer serve_pages(const struct kube_call *call)
{
    assert_string_equal(call->method, "GET");
    if (str_equal(call->path, "/things?limit=250"))
        return (struct fake_answer){
            200,
            "{\"metadata\":{\"continue\":\"a/b\"},\"items\":[{\"name\":\"1\"},{\"name\":\"2\"}]}"};
    assert_string_equal(call->path, "/things?limit=250&continue=a%2Fb");
    return (struct fake_answer){200, "{\"metadata\":{},\"items\":[{\"name\":\"3\"}]}"};
}

static void test_pages(void **state)
{
    fake_api_serve_by(serve_pages);
    assert_list(0, "1 2 3 ", "");
    assert_int_equal(fake_api_n_sent(), 2);
}

/* The version of the list has expired: the server says where to go on in a newer one. */
static struct fake_answer serve_expired(const struct kube_call *call)
{
    if (strstr(call->path, "continue=newer"))
        return (struct fake_answer){200, "{\"metadata\":{},\"items\":[{\"name\":\"2\"}]}"};
    if (strstr(call->path, "continue="))
        return (struct fake_answer){
            410, "{\"kind\":\"Status\",\"metadata\":{\"continue\":\"newer\"},\"code\":410}"};
    return (struct fake_answer){200,
                                "{\"metadata\":{\"continue\":\"x\"},\"items\":[{\"name\":\"1\"}]}"};
}

static void test_expired(void **state)
{
    fake_api_serve_by(serve_expired);
    assert_list(0, "1 2 ", "");
}

static struct fake_answer serve_expired_for_good(const struct kube_call *call)
{
    if (strstr(call->path, "continue="))
        return (struct fake_answer){410, "{\"kind\":\"Status\",\"metadata\":{},\"code\":410}"};
    return (struct fake_answer){200,
                                "{\"metadata\":{\"continue\":\"x\"},\"items\":[{\"name\":\"1\"}]}"};
}

static void test_expired_for_good(void **state)
{
    fake_api_serve_by(serve_expired_for_good);
    assert_list(-EIO, "1 ", "why");
}

static const struct fake_answer *next_answer;

static struct fake_answer serve_next(const struct kube_call *call)
{
    n_asked++;
    return *next_answer;
}

static void assert_answer(unsigned status, const char *body, int result)
{
    const struct fake_answer answer = {status, body};
    json_t *object = NULL;

    next_answer = &answer;
    fake_api_serve_by(serve_next);
    assert_int_equal(kube_read(reader, "/thing", &object, NULL), result);
    assert_int_equal(json_is_object(object), result == 0);
    json_decref(object);
}

static void test_outcomes(void **state)
{
    assert_answer(200, "{}", 0);
    assert_answer(200, "[]", -EBADMSG);
    assert_answer(200, "<html>", -EBADMSG);
    assert_answer(401, "{}", -EACCES);
    assert_answer(403, "{}", KUBE_READ_FORBIDDEN);
    assert_answer(404, "{}", KUBE_READ_ABSENT);
    assert_answer(500, "{}", -EIO);
    assert_answer(0, "", -ECONNREFUSED);
    assert_int_equal(n_asked, 8);
}

static void test_list_outcomes(void **state)
{
    const struct fake_answer forbidden = {403, "{}"}, odd = {200, "{\"items\":[7"},
                             none = {200, "{\"metadata\":{},\"items\":[]}"};

    fake_api_serve_by(serve_next);
    next_answer = &forbidden;
    assert_list(KUBE_READ_FORBIDDEN, "", "why");
    next_answer = &none;
    assert_list(0, "", "");
    next_answer = &odd;
    assert_list(-EBADMSG, "", "not answered with a list");
}

static void test_ends_early(void **state)
{
    const struct fake_answer answer = {
        200, "{\"items\":[{\"name\":\"1\"},{\"name\":\"stop\"},{\"name\":\"2\"}]}"};

    fake_api_serve_by(serve_next);
    next_answer = &answer;
    assert_list(-ECANCELED, "1 stop ", "");
}

/* A server that is busy is asked again. */
static struct fake_answer serve_busy(const struct kube_call *call)
{
    return n_asked++ ? (struct fake_answer){200, "{\"items\":[{\"name\":\"1\"}]}"}
                     : (struct fake_answer){429, "{}"};
}

static void test_busy(void **state)
{
    fake_api_serve_by(serve_busy);
    assert_list(0, "1 ", "");
    assert_int_equal(n_asked, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outcomes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_outcomes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
    };

    return cmocka_run_group_tests_name("kube/reader", tests, NULL, NULL);
}
