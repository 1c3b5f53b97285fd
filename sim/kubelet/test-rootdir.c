// SPDX-License-Identifier: Apache-2.0

/* Which folders a stand-in may have: its own ones, and nothing of a node. */

#include "rootdir.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "checkpoint.h"

enum { MAX_ENTRIES = 4, MAX_LISTENERS = 4 };

/* A folder as it is found: "name/" is a directory, "=name" a socket somebody listens on, "-name"
 * one that nobody does any more, anything else a file. */
static const struct {
    const char *title, *entries[MAX_ENTRIES];
    int result;
    const char *sentence; /* NULL if it is accepted */
} cases[] = {
    {"an empty folder", {NULL}, 0, NULL},
    {"what a stand-in left",
     {"gpuslice-kubelet.state", "-gpuslice-kubelet.sock",
      "device-plugins/kubelet_internal_checkpoint", "pods/"},
     0,
     NULL},
    {"our plugin waits for a kubelet", {"=device-plugins/gpuslice-gpu.sock"}, 0, NULL},
    {"a killed stand-in's sockets",
     {"-device-plugins/kubelet.sock", "-pod-resources/kubelet.sock"},
     0,
     NULL},
    {"something that is not a kubelet's", {"notes.txt", "grants/"}, 0, NULL},

    {"a kubelet that serves",
     {"=device-plugins/kubelet.sock"},
     -EADDRINUSE,
     "a kubelet is listening on"},
    {"a kubelet that only lists pods",
     {"=pod-resources/kubelet.sock"},
     -EADDRINUSE,
     "a kubelet is listening on"},
    {"a kubelet where a stand-in was",
     {"gpuslice-kubelet.state", "=device-plugins/kubelet.sock"},
     -EADDRINUSE,
     "a kubelet is listening on"},
    {"another stand-in",
     {"gpuslice-kubelet.state", "=gpuslice-kubelet.sock"},
     -EADDRINUSE,
     "another gpuslice-kubelet is listening on"},
    {"a kubelet's checkpoint",
     {"device-plugins/kubelet_internal_checkpoint"},
     -EBUSY,
     "device-plugins/kubelet_internal_checkpoint is of another kubelet"},
    {"a plugin, between two kubelets",
     {"=device-plugins/nvidia-gpu.sock"},
     -EBUSY,
     "a plugin of another kubelet is listening on"},
    {"a kubelet's pods", {"pods/"}, -EBUSY, "has the pods of another kubelet"},
    {"a stopped kubelet", {"plugins_registry/"}, -EBUSY, "it has plugins_registry"},
    {"a node where a stand-in was", {"gpuslice-kubelet.state", "pki/"}, -EBUSY, "it has pki"},
    {"a node that kubeadm made",
     {"config.yaml", "kubeadm-flags.env"},
     -EBUSY,
     "it has config.yaml"},
};

static int listeners[MAX_LISTENERS];
static size_t n_listeners;

static void listen_on(const char *path, bool stays)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(str_copy(address.sun_path, sizeof(address.sun_path), path), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    if (stays)
        listeners[n_listeners++] = fd;
    else
        close(fd);
}

static void make_entry(const char *root, const char *entry)
{
    bool is_socket = *entry == '=' || *entry == '-';
    char path[256], *slash;

    snprintf(path, sizeof(path), "%s/%s", root, entry + is_socket);
    slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(file_make_directory(path, NULL), 0);
    *slash = '/';
    if (is_socket)
        listen_on(path, *entry == '=');
    else if (slash[1])
        assert_int_equal(file_write_atomic(path, "", 0, 0600, NULL), 0);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    return remove(path);
}

static void test_folders(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        char root[] = "/tmp/gpuslice-root-XXXXXX";

        assert_non_null(mkdtemp(root));
        for (size_t k = 0; k < MAX_ENTRIES && cases[i].entries[k]; k++)
            make_entry(root, cases[i].entries[k]);
        print_message("%s\n", cases[i].title);
        assert_int_equal(rootdir_check(root, NULL, &err), cases[i].result);
        if (cases[i].sentence) {
            assert_non_null(strstr(error_text(&err), cases[i].sentence));
            assert_non_null(strstr(error_text(&err), "another --root-dir"));
        }
        while (n_listeners)
            close(listeners[--n_listeners]);
        nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/* A root of our own does not vouch for a folder of plugins elsewhere. */
static void test_plugins_elsewhere(void **state)
{
    static const struct manager empty = MANAGER_INIT;
    char root[] = "/tmp/gpuslice-root-XXXXXX", plugins[] = "/tmp/gpuslice-plugins-XXXXXX";
    struct error err = ERROR_INIT;
    char path[128];

    assert_non_null(mkdtemp(root));
    assert_non_null(mkdtemp(plugins));
    assert_int_equal(rootdir_check(root, plugins, NULL), 0);
    make_entry(root, "gpuslice-kubelet.state");
    make_entry(plugins, "kubelet_internal_checkpoint");
    assert_int_equal(rootdir_check(root, plugins, &err), -EBUSY);
    assert_non_null(strstr(error_text(&err), "kubelet_internal_checkpoint is of another kubelet"));

    snprintf(path, sizeof(path), "%s/" CHECKPOINT_NAME, plugins);
    assert_int_equal(checkpoint_store(path, &empty, NULL), 0);
    assert_int_equal(rootdir_check(root, plugins, NULL), 0);

    make_entry(plugins, "=kubelet.sock");
    assert_int_equal(rootdir_check(root, plugins, &err), -EADDRINUSE);
    close(listeners[--n_listeners]);
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    nftw(plugins, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_a_folder_that_is_not_there(void **state)
{
    assert_int_equal(rootdir_check("/tmp/gpuslice-there-is-none", NULL, NULL), 0);
    assert_int_equal(access("/tmp/gpuslice-there-is-none", F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_plugins_elsewhere),
        cmocka_unit_test(test_a_folder_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
