// SPDX-License-Identifier: Apache-2.0
#include "kube/kubeconfig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

#define FILE_NAME "/etc/kube/config"
/* A file whose current context leads to this cluster and this user, each on a line of its own. */
#define HEAD                                             \
    "apiVersion: v1\nkind: Config\ncurrent-context: x\n" \
    "contexts: [{name: y, context: {cluster: z}},\n"     \
    " {name: x, context: {cluster: c, user: u, namespace: gpus}}]\n"
#define CONFIG(cluster, user)                                                                      \
    HEAD "clusters: [{name: c, cluster: \n  " cluster "}]\nusers: [{name: u, user: \n  " user "}]" \
         "\n"
#define CLUSTER "{server: 'https://h:6443'}"
#define PEM     "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" /* "-----BEGIN CERTIFICATE-----\n" */

static int read_text(const char *text, struct kube_access *access, struct error *err)
{
    return kubeconfig_read(FILE_NAME, text, strlen(text), access, err);
}

static void check_text(const char *text, const char *expected)
{
    if (expected)
        assert_string_equal(text, expected);
    else
        assert_null(text);
}

static void test_a_token(void **state)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    struct error err = ERROR_INIT;

    (void)state;
    if (read_text(CONFIG("{server: 'https://h:6443/', certificate-authority-data: " PEM "}",
                         "{token: secret}"),
                  &access, &err) < 0)
        fail_msg("%s", error_text(&err));
    assert_string_equal(access.server, "https://h:6443");
    assert_string_equal(access.ca_data, "-----BEGIN CERTIFICATE-----\n");
    assert_string_equal(access.token, "secret");
    assert_string_equal(access.namespace, "gpus");
    assert_null(access.ca_file);
    assert_false(access.insecure);
}

static void test_precedence_and_relative_names(void **state)
{
    static const struct {
        const char *cluster, *user;
        struct {
            const char *cert_file, *cert_data, *key_file, *key_data, *token, *token_file, *username,
                *password, *ca_file, *ca_data, *server_name, *proxy;
            bool insecure;
        } want;
    } cases[] = {
        {CLUSTER,
         "{client-certificate: a.crt, client-key: /b.key}",
         {.cert_file = "/etc/kube/a.crt", .key_file = "/b.key"}},
        {CLUSTER,
         "{client-certificate: a, client-certificate-data: " PEM ", client-key: b}",
         {.cert_data = "-----BEGIN CERTIFICATE-----\n", .key_file = "/etc/kube/b"}},
        {CLUSTER, "{token: a, tokenFile: b}", {.token_file = "/etc/kube/b"}},
        {CLUSTER, "{token: '', username: a, password: b}", {.username = "a", .password = "b"}},
        {CLUSTER, "{exec: null, token: ~}", {0}},
        {"{server: 'https://h:6443', certificate-authority: ../ca, certificate-authority-data: " PEM
         "}",
         "{}",
         {.ca_data = "-----BEGIN CERTIFICATE-----\n"}},
        {"{server: 'https://h:6443', tls-server-name: a, proxy-url: 'http://p', "
         "insecure-skip-tls-verify: true}",
         "{}",
         {.server_name = "a", .proxy = "http://p", .insecure = true}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_kube_access struct kube_access got = KUBE_ACCESS_INIT;
        cleanup_free char *text = NULL;
        struct error err = ERROR_INIT;

        assert_true(asprintf(&text, CONFIG("%s", "%s"), cases[i].cluster, cases[i].user) > 0);
        if (read_text(text, &got, &err) < 0)
            fail_msg("%s", error_text(&err));
        check_text(got.cert_file, cases[i].want.cert_file);
        check_text(got.cert_data, cases[i].want.cert_data);
        check_text(got.key_file, cases[i].want.key_file);
        check_text(got.key_data, cases[i].want.key_data);
        check_text(got.token, cases[i].want.token);
        check_text(got.token_file, cases[i].want.token_file);
        check_text(got.username, cases[i].want.username);
        check_text(got.password, cases[i].want.password);
        check_text(got.ca_file, cases[i].want.ca_file);
        check_text(got.ca_data, cases[i].want.ca_data);
        check_text(got.server_name, cases[i].want.server_name);
        check_text(got.proxy, cases[i].want.proxy);
        assert_int_equal(got.insecure, cases[i].want.insecure);
    }
}

static void test_base64_in_several_lines(void **state)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;

    (void)state;
    assert_int_equal(read_text(CONFIG("{server: 'https://h', certificate-authority-data: "
                                      "\"LS0tLS1CRUdJTiBD\\nRVJUSUZJQ0FURS0tLS0tCg==\\n\"}",
                                      "{}"),
                               &access, NULL),
                     0);
    assert_string_equal(access.ca_data, "-----BEGIN CERTIFICATE-----\n");
}

/* Each refusal names the place and what to write. */
static void test_refusals(void **state)
{
    static const struct {
        const char *text, *place, *sentence;
    } cases[] = {
        {"", "", "not a kubeconfig"},
        {"[]", "", "not a kubeconfig"},
        {"a: {", ":1:5", "not valid YAML"},
        {"kind: Config\n", "", "no current-context"},
        {"current-context: [x]\n", ":1:18", "should be a text"},
        {"current-context: x\n", ":1:18", "no context called x"},
        {"current-context: x\ncontexts: {}\n", ":2:11", "should be a list"},
        {"current-context: x\ncontexts: [{name: x}]\n", ":2:12", "x has no map 'context'"},
        {"current-context: x\ncontexts: [{name: x, context: {user: u}}]\n", ":2:31",
         "names no cluster"},
        {HEAD, ":5:31", "no cluster called c"},
        {HEAD "clusters: [{name: c, cluster: " CLUSTER "}]\n", ":5:40", "no user called u"},
        {CONFIG("{}", "{}"), ":7:3", "no server: write https://"},
        {CONFIG("{server: 'h:6443'}", "{}"), ":7:12", "write https://"},
        {CONFIG("{server: 'ftp://h'}", "{}"), ":7:12", "write https://"},
        {CONFIG("{server: 'https://'}", "{}"), ":7:12", "write https://"},
        {CONFIG("{server: 'https://user@h'}", "{}"), ":7:12", "write https://"},
        {CONFIG("{server: 'https://h?x'}", "{}"), ":7:12", "write https://"},
        {CONFIG("{server: {}}", "{}"), ":7:12", "server should be a text"},
        {CONFIG("{server: 'https://h', insecure-skip-tls-verify: perhaps}", "{}"), ":7:51",
         "true or false"},
        {CONFIG("{server: 'https://h', insecure-skip-tls-verify: true, certificate-authority: a}",
                "{}"),
         ":7:51", "remove one of them"},
        {CONFIG("{server: 'https://h', certificate-authority-data: '!'}", "{}"), ":7:53",
         "PEM file in base64"},
        {CONFIG("{server: 'https://h', certificate-authority-data: aGVsbG8=}", "{}"), ":7:53",
         "PEM file in base64"},
        {CONFIG("{server: 'https://h', certificate-authority-data: AAAA}", "{}"), ":7:53",
         "PEM file in base64"},
        {CONFIG("{server: 'https://h', certificate-authority-data: 'LS0=LS0='}", "{}"), ":7:53",
         "PEM file in base64"},
        {CONFIG(CLUSTER, "{exec: {command: aws}}"), ":9:10", "token"},
        {CONFIG(CLUSTER, "{auth-provider: {name: gcp}}"), ":9:19", "token"},
        {CONFIG(CLUSTER, "{token: a, as: b}"), ":9:18", "impersonation"},
        {CONFIG(CLUSTER, "{client-certificate: a}"), ":9:3", "client-key"},
        {CONFIG(CLUSTER, "{client-key: a}"), ":9:3", "client-certificate"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct kube_access access = KUBE_ACCESS_INIT;
        struct error err = ERROR_INIT;
        cleanup_free char *place = NULL;

        assert_true(asprintf(&place, "%s%s: ", FILE_NAME, cases[i].place) > 0);
        if (read_text(cases[i].text, &access, &err) != -EINVAL ||
            !str_starts_with(error_text(&err), place) ||
            !strstr(error_text(&err), cases[i].sentence))
            fail_msg("case %zu: %s", i, error_text(&err));
        assert_null(access.server);
    }
}

static struct kube_access access_with_exec(const char *user)
{
    cleanup_free char *text = NULL;
    struct kube_access access = KUBE_ACCESS_INIT;
    struct error err = ERROR_INIT;

    assert_true(asprintf(&text, CONFIG("%s", "%s"), CLUSTER, user) > 0);
    if (kubeconfig_read_user(FILE_NAME, text, strlen(text), &access, &err) < 0)
        fail_msg("%s", error_text(&err));
    return access;
}

/* A program that a person's kubeconfig names; without a slash it is looked for on PATH. */
static void test_credential_program(void **state)
{
    cleanup_kube_access struct kube_access aws = access_with_exec(
        "{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws, args: [eks, "
        "get-token], env: [{name: AWS_PROFILE, value: p}], interactiveMode: IfAvailable, "
        "provideClusterInfo: false}}");
    cleanup_kube_access struct kube_access near =
        access_with_exec("{exec: {apiVersion: v, command: ../login, args: null, env: null}}");

    assert_string_equal(aws.exec_command, "aws");
    assert_string_equal(aws.exec_version, "client.authentication.k8s.io/v1beta1");
    assert_int_equal(aws.exec_args.n_items, 2);
    assert_string_equal(aws.exec_args.items[1], "get-token");
    assert_string_equal(aws.exec_env.items[0], "AWS_PROFILE=p");
    assert_string_equal(near.exec_command, "/etc/kube/../login");
    assert_int_equal(near.exec_args.n_items, 0);
}

static void test_credential_programs_that_are_refused(void **state)
{
    static const struct {
        const char *exec, *sentence;
    } cases[] = {
        {"aws", "exec should be a map"},
        {"{command: aws}", "a command and an apiVersion"},
        {"{apiVersion: v}", "a command and an apiVersion"},
        {"{apiVersion: v, command: []}", "command should be a text"},
        {"{apiVersion: v, command: aws, args: eks}", "args should be a list"},
        {"{apiVersion: v, command: aws, args: [[eks]]}", "args should be texts"},
        {"{apiVersion: v, command: aws, env: {}}", "env should be a list"},
        {"{apiVersion: v, command: aws, env: [{name: a}]}", "a name and a value"},
        {"{apiVersion: v, command: aws, env: [{name: a=b, value: c}]}", "a name and a value"},
        {"{apiVersion: v, command: aws, provideClusterInfo: true}", "provideClusterInfo"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_free char *text = NULL;
        struct kube_access access = KUBE_ACCESS_INIT;
        struct error err = ERROR_INIT;

        assert_true(asprintf(&text, CONFIG("%s", "{exec: %s}"), CLUSTER, cases[i].exec) > 0);
        assert_int_equal(kubeconfig_read_user(FILE_NAME, text, strlen(text), &access, &err),
                         -EINVAL);
        if (!strstr(error_text(&err), cases[i].sentence))
            fail_msg("case %zu: %s", i, error_text(&err));
        assert_null(access.exec_command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token),
        cmocka_unit_test(test_precedence_and_relative_names),
        cmocka_unit_test(test_base64_in_several_lines),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_credential_program),
        cmocka_unit_test(test_credential_programs_that_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
