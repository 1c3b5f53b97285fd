// SPDX-License-Identifier: Apache-2.0
#include "kube/login.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static char *copy(const char *text)
{
    char *made = strdup(text);

    assert_non_null(made);
    return made;
}

/* A shell in place of a cloud's program. */
static struct kube_access access_by(const char *script)
{
    struct kube_access access = KUBE_ACCESS_INIT;

    access.exec_command = copy("sh");
    access.exec_version = copy("client.authentication.k8s.io/v1");
    assert_int_equal(names_add(&access.exec_args, "-c", 2), 0);
    assert_int_equal(names_add(&access.exec_args, script, strlen(script)), 0);
    assert_int_equal(names_add(&access.exec_env, "TOKEN=secret", 12), 0);
    return access;
}

/* What the program gets: its variables, ours, and what describes us. */
static void test_token(void **state)
{
    cleanup_kube_access struct kube_access access = access_by(
        "test -n \"$PATH\" || exit 4\n"
        "case $KUBERNETES_EXEC_INFO in *client.authentication.k8s.io/v1*) ;; *) exit 3;; esac\n"
        "echo '{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"'$TOKEN'\"}}'");

    assert_int_equal(kube_login(&access, NULL), 0);
    assert_string_equal(access.token, "secret");
}

static void test_no_program(void **state)
{
    struct kube_access access = KUBE_ACCESS_INIT;

    assert_int_equal(kube_login(&access, NULL), 0);
    assert_null(access.token);
}

static void test_failures(void **state)
{
    static const struct {
        const char *script, *words;
    } rows[] = {
        {"exit 7", "sh: it failed with status 7"},
        {"exec /nonexistent/login", "is not there"},
        {"kill -KILL $$", "ended by signal 9"},
        {"echo hello", "did not print an ExecCredential"},
        {"true", "did not print an ExecCredential"},
        {"echo '{\"status\":{}}'", "did not print an ExecCredential"},
        {"echo '{\"status\":{\"token\":7}}'", "did not print an ExecCredential"},
        {"yes", "cannot read what it prints"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        cleanup_kube_access struct kube_access access = access_by(rows[i].script);
        struct error err = ERROR_INIT;

        assert_true(kube_login(&access, &err) < 0);
        if (!strstr(error_text(&err), rows[i].words))
            fail_msg("'%s' is not in: %s", rows[i].words, error_text(&err));
    }
}

static void test_a_program_that_is_not_there(void **state)
{
    cleanup_kube_access struct kube_access access = access_by("true");
    struct error err = ERROR_INIT;

    free(access.exec_command);
    access.exec_command = copy("/nonexistent/login");
    assert_int_equal(kube_login(&access, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), "/nonexistent/login"));
}

static void test_certificate(void **state)
{
    static const char json[] =
        "{\"status\":{\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\"}}";
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;

    assert_int_equal(kube_login_read(json, strlen(json), &access, NULL), 0);
    assert_string_equal(access.cert_data, "C");
    assert_string_equal(access.key_data, "K");
    assert_null(access.token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token),       cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_failures),    cmocka_unit_test(test_a_program_that_is_not_there),
        cmocka_unit_test(test_certificate),
    };

    return cmocka_run_group_tests_name("kube/login", tests, NULL, NULL);
}
