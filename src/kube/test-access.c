// SPDX-License-Identifier: Apache-2.0
#include "kube/access.h"

#include "kube/kubeconfig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

struct pod {
    char folder[64];
};

static void path_of(const struct pod *pod, const char *name, char path[static 128])
{
    snprintf(path, 128, "%s/%s", pod->folder, name);
}

static void write_file(const struct pod *pod, const char *name, const char *text)
{
    char path[128];

    path_of(pod, name, path);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static int setup(void **state)
{
    static struct pod pod;

    snprintf(pod.folder, sizeof(pod.folder), "/tmp/test-access-XXXXXX");
    if (!mkdtemp(pod.folder))
        return -1;
    write_file(&pod, "token", "secret\n");
    write_file(&pod, "ca.crt", "-----BEGIN CERTIFICATE-----\n");
    write_file(&pod, "namespace", "gpus\n");
    setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    *state = &pod;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"token", "ca.crt", "namespace", "config"};
    char path[128];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        path_of(*state, names[i], path);
        unlink(path);
    }
    return rmdir(((struct pod *)*state)->folder);
}

static void test_servers_of_the_environment(void **state)
{
    static const struct {
        const char *host, *port, *server;
    } cases[] = {
        {"10.96.0.1", "443", "https://10.96.0.1:443"},
        {"fd00::1", "6443", "https://[fd00::1]:6443"},
        {"[fd00::1]", "6443", "https://[fd00::1]:6443"},
        {"kubernetes.default", "", "https://kubernetes.default:443"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;

        setenv("KUBERNETES_SERVICE_HOST", cases[i].host, 1);
        setenv("KUBERNETES_SERVICE_PORT", cases[i].port, 1);
        assert_int_equal(kube_access_of_pod(((struct pod *)*state)->folder, &access, NULL), 0);
        assert_string_equal(access.server, cases[i].server);
    }
}

static void test_a_pod_names_its_files(void **state)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    char path[128];

    assert_int_equal(kube_access_of_pod(((struct pod *)*state)->folder, &access, NULL), 0);
    path_of(*state, "token", path);
    assert_string_equal(access.token_file, path);
    path_of(*state, "ca.crt", path);
    assert_string_equal(access.ca_file, path);
    assert_string_equal(access.namespace, "gpus");
    assert_null(access.token);
    assert_false(access.insecure);
}

static void test_no_pod(void **state)
{
    struct kube_access access = KUBE_ACCESS_INIT;
    struct error err = ERROR_INIT;
    char path[128];

    path_of(*state, "token", path);
    unlink(path);
    assert_int_equal(kube_access_of_pod(((struct pod *)*state)->folder, &access, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), path));
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(kube_access_load("", &access, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), "KUBERNETES_SERVICE_HOST"));
    assert_null(access.server);
}

static void test_a_kubeconfig_file(void **state)
{
    cleanup_kube_access struct kube_access access = KUBE_ACCESS_INIT;
    char path[128], ca[128];
    struct error err = ERROR_INIT;

    path_of(*state, "config", path);
    path_of(*state, "sub/ca.crt", ca);
    assert_int_equal(kube_access_load(path, &access, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), path));
    write_file(*state, "config",
               "current-context: x\n"
               "contexts: [{name: x, context: {cluster: c}}]\n"
               "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority: "
               "sub/ca.crt}}]\n");
    assert_int_equal(kube_access_load(path, &access, &err), 0);
    assert_string_equal(access.server, "https://h");
    assert_string_equal(access.ca_file, ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_servers_of_the_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_pod_names_its_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_pod, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_kubeconfig_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
