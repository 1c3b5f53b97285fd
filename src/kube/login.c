// SPDX-License-Identifier: Apache-2.0
#include "kube/login.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

enum { OUTPUT_MAX = 1 << 20 };

static int copy_text(const json_t *status, const char *key, char **field)
{
    const char *text = json_string_value(json_object_get(status, key));
    char *copy = text && *text ? strdup(text) : NULL;

    if (text && *text && !copy)
        return -ENOMEM;
    if (copy) {
        free(*field);
        *field = copy;
    }
    return 0;
}

int kube_login_read(const char *json, size_t size, struct kube_access *access, struct error *err)
{
    json_t *tree = json_loadb(json, size, 0, NULL);
    const json_t *status = json_object_get(tree, "status");
    bool has_token = json_string_length(json_object_get(status, "token")) > 0,
         has_cert = json_string_length(json_object_get(status, "clientCertificateData")) > 0 &&
                    json_string_length(json_object_get(status, "clientKeyData")) > 0;
    int r = has_token || has_cert ? 0 : -EBADMSG;

    if (r == 0)
        r = copy_text(status, "token", &access->token);
    if (r == 0 && has_cert)
        r = copy_text(status, "clientCertificateData", &access->cert_data);
    if (r == 0 && has_cert)
        r = copy_text(status, "clientKeyData", &access->key_data);
    json_decref(tree);
    if (r == -EBADMSG)
        return error_set(err, r, "did not print an ExecCredential with a token or a certificate");
    return r < 0 ? error_set_errno(err, r, "cannot be read") : 0;
}

/* ---- the program ---- */

/* What the program wants to know: the version of this protocol, and that nobody is asked. */
static char *describe_us(const struct kube_access *access)
{
    char *text = NULL;
    json_t *info = json_pack("{s:s, s:s, s:{s:b}}", "apiVersion", access->exec_version, "kind",
                             "ExecCredential", "spec", "interactive", 0);
    char *json = json_dumps(info, JSON_COMPACT);

    json_decref(info);
    if (!json || asprintf(&text, "KUBERNETES_EXEC_INFO=%s", json) < 0)
        text = NULL;
    free(json);
    return text;
}

/* "NAME=" of an entry, and nothing else of it. */
static bool is_same_name(const char *a, const char *b)
{
    size_t length = strcspn(a, "=");

    return strncmp(a, b, length + 1) == 0;
}

static bool is_replaced(const char *entry, const char *info, const struct names *own)
{
    for (size_t i = 0; i < own->n_items; i++)
        if (is_same_name(own->items[i], entry))
            return true;
    return is_same_name(info, entry);
}

/* Our environment, the variables of the kubeconfig, and what describes us. Only the list is owned.
 */
static char **make_environment(const struct kube_access *access, char *info)
{
    size_t n = 0, n_outer = 0;
    char **all;

    while (environ[n_outer])
        n_outer++;
    all = calloc(n_outer + access->exec_env.n_items + 2, sizeof(*all));
    for (size_t i = 0; all && i < n_outer; i++)
        if (!is_replaced(environ[i], info, &access->exec_env))
            all[n++] = environ[i];
    for (size_t i = 0; all && i < access->exec_env.n_items; i++)
        all[n++] = access->exec_env.items[i];
    if (all)
        all[n] = info;
    return all;
}

/* The program first. Only the list is owned. */
static char **make_arguments(const struct kube_access *access)
{
    char **all = calloc(access->exec_args.n_items + 2, sizeof(*all));

    if (!all)
        return NULL;
    all[0] = access->exec_command;
    for (size_t i = 0; i < access->exec_args.n_items; i++)
        all[i + 1] = access->exec_args.items[i];
    return all;
}

/* Its standard output goes to the descriptor; what it says to people goes to ours. */
static int spawn(const struct kube_access *access, int output, pid_t *ret_pid)
{
    cleanup_free char *info = describe_us(access);
    cleanup_free char **env = info ? make_environment(access, info) : NULL;
    cleanup_free char **arguments = make_arguments(access);
    posix_spawn_file_actions_t actions;
    int r;

    if (!env || !arguments || posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (r == 0)
        r = posix_spawnp(ret_pid, access->exec_command, &actions, NULL, arguments, env);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int end(pid_t pid, int *ret_status)
{
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* The status by which shells say so; posix_spawn, too, where it cannot fail itself (under QEMU). */
enum { NOT_FOUND = 127 };

static int run(const struct kube_access *access, struct text *output, struct error *err)
{
    cleanup_close int ours = -1, its = -1;
    int pair[2], status = 0, r;
    pid_t pid = 0;

    if (pipe2(pair, O_CLOEXEC) < 0)
        return error_set_errno(err, -errno, "cannot start it");
    ours = pair[0];
    its = pair[1];
    r = spawn(access, its, &pid);
    if (r < 0)
        return error_set_errno(err, r, "cannot start it");
    close(TAKE_FD(its));
    r = file_read_all(ours, OUTPUT_MAX, output);
    if (r == -EFBIG) /* it prints without end */
        r = -EMSGSIZE;
    if (r < 0)
        kill(pid, SIGTERM);
    if (end(pid, &status) < 0 || r < 0)
        return error_set_errno(err, r < 0 ? r : -ECHILD, "cannot read what it prints");
    if (WIFSIGNALED(status))
        return error_set(err, -EIO, "it was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == NOT_FOUND)
        return error_set(err, -ENOENT, "it, or what it starts, is not there (status 127)");
    return WEXITSTATUS(status)
               ? error_set(err, -EIO, "it failed with status %d", WEXITSTATUS(status))
               : 0;
}

int kube_login(struct kube_access *access, struct error *err)
{
    cleanup_text struct text output = TEXT_INIT;
    struct error why = ERROR_INIT;
    int r;

    if (!access->exec_command)
        return 0;
    r = run(access, &output, &why);
    if (r < 0)
        return error_set(err, r, "the kubeconfig's credential program %s: %s", access->exec_command,
                         error_text(&why));
    r = kube_login_read(text_string(&output), output.length, access, &why);
    if (r < 0)
        return error_set(err, r, "the kubeconfig's credential program %s %s", access->exec_command,
                         error_text(&why));
    return 0;
}
