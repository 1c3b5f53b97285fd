// SPDX-License-Identifier: Apache-2.0
#include "cli/mighooks.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/array.h"
#include "base/text.h"
#include "base/yamlmap.h"

enum { COMMANDS_MAX = 64 };

static const char *const names[N_MIGHOOKS] = {"apply-start", "pre-apply-mode", "pre-apply-config",
                                              "apply-exit"};

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

void mighooks_deinit(struct mighooks *hooks)
{
    for (size_t i = 0; i < N_MIGHOOKS; i++) {
        struct mighook_list *list = &hooks->lists[i];

        for (size_t j = 0; j < list->n_items; j++) {
            free(list->items[j].program);
            free_list(list->items[j].arguments);
            free_list(list->items[j].variables);
            free(list->items[j].folder);
        }
        free(list->items);
    }
    *hooks = (struct mighooks)MIGHOOKS_INIT;
}

/* --- reading --- */

struct reading {
    struct problems *problems;
    struct mighook_list *list;
    bool failed; /* out of memory */
};

static char *copy_text(struct reading *reading, const struct yaml *node, const char *path)
{
    char *copy;

    if (!yamlmap_check_kind(reading->problems, node, YAML_SCALAR, path))
        return NULL;
    copy = strdup(node->text);
    reading->failed |= !copy;
    return copy;
}

/* What is refused leaves no gap. */
static char **copy_arguments(struct reading *reading, const char *program, const struct yaml *list,
                             const char *path)
{
    size_t n = 0, n_wanted = list ? list->n_children : 0;
    char **arguments;

    if (list && list->kind != YAML_NULL &&
        !yamlmap_check_kind(reading->problems, list, YAML_LIST, path))
        n_wanted = 0;
    arguments = calloc(n_wanted + 2, sizeof(*arguments));
    if (arguments)
        arguments[n++] = strdup(program);
    reading->failed |= !arguments || !arguments[0];
    for (size_t i = 0; i < n_wanted && !reading->failed; i++) {
        arguments[n] = copy_text(reading, &list->children[i], path);
        n += arguments[n] != NULL;
    }
    return arguments;
}

static char **copy_variables(struct reading *reading, const struct yaml *map, const char *path)
{
    size_t n = 0, n_wanted = map ? map->n_children : 0;
    char **variables;

    if (map && map->kind != YAML_NULL &&
        !yamlmap_check_kind(reading->problems, map, YAML_MAP, path))
        n_wanted = 0;
    variables = calloc(n_wanted + 1, sizeof(*variables));
    reading->failed |= !variables;
    for (size_t i = 0; i < n_wanted && !reading->failed; i++) {
        const struct yaml *node = &map->children[i];

        if (!yamlmap_check_kind(reading->problems, node, YAML_SCALAR, path))
            continue;
        if (!*node->key || strchr(node->key, '='))
            yamlmap_refuse(reading->problems, node->key_at, path,
                           "'%.40s' cannot be the name of a variable", node->key);
        else if (asprintf(&variables[n], "%s=%s", node->key, node->text) < 0)
            reading->failed = true;
        else
            n++;
    }
    return variables;
}

static void read_command(void *context, const struct yaml *item, const char *path)
{
    static const char *const keys[] = {"command", "args", "envs", "workdir"};
    struct reading *reading = context;
    const struct yaml *program = yaml_get(item, "command"), *folder = yaml_get(item, "workdir");
    struct mighook_command *command;

    if (!yamlmap_check_kind(reading->problems, item, YAML_MAP, path))
        return;
    yamlmap_check_keys(reading->problems, item, path, keys, ARRAY_SIZE(keys));
    if (!program || program->kind != YAML_SCALAR || !*program->text) {
        yamlmap_refuse(reading->problems, item->at, path,
                       "'command' is missing: add the program to run");
        return;
    }
    command = array_push(&reading->list->items, &reading->list->n_items, &reading->list->capacity,
                         sizeof(*command));
    if (!command) {
        reading->failed = true;
        return;
    }
    command->program = copy_text(reading, program, path);
    command->arguments = copy_arguments(reading, program->text, yaml_get(item, "args"), path);
    command->variables = copy_variables(reading, yaml_get(item, "envs"), path);
    if (folder && folder->kind != YAML_NULL)
        command->folder = copy_text(reading, folder, path);
}

static void read_document(struct reading *reading, const struct yaml *document,
                          struct mighooks *hooks)
{
    static const char *const keys[] = {"version", "hooks"};
    const struct yaml *version = yaml_get(document, "version"), *map = yaml_get(document, "hooks");

    if (!yamlmap_check_kind(reading->problems, document, YAML_MAP, ""))
        return;
    yamlmap_check_keys(reading->problems, document, "", keys, ARRAY_SIZE(keys));
    if (version && (version->kind != YAML_SCALAR || !str_equal(version->text, "v1")))
        yamlmap_refuse(reading->problems, version->at, "version",
                       "only version v1 exists; write version: v1");
    if (!map || map->kind == YAML_NULL ||
        !yamlmap_check_kind(reading->problems, map, YAML_MAP, "hooks"))
        return;
    yamlmap_check_keys(reading->problems, map, "hooks", names, N_MIGHOOKS);
    for (size_t i = 0; i < N_MIGHOOKS; i++) {
        const struct yaml *list = yaml_get(map, names[i]);
        char path[YAMLMAP_PATH];

        yamlmap_join(path, "hooks", names[i]);
        reading->list = &hooks->lists[i];
        if (list && list->kind != YAML_NULL)
            yamlmap_read_list(reading->problems, list, path, COMMANDS_MAX, read_command, reading);
    }
}

int mighooks_parse(const char *data, size_t size, struct problems *problems,
                   struct mighooks *ret_hooks)
{
    cleanup_mighooks struct mighooks hooks = MIGHOOKS_INIT;
    struct reading reading = {.problems = problems};
    struct yaml *document;
    int r = yamlmap_parse_document(data, size, problems, &document);

    if (r < 0)
        return r;
    read_document(&reading, document, &hooks);
    yaml_free(document, 1);
    if (reading.failed)
        return -ENOMEM;
    if (problems_count(problems, PROBLEM_ERROR))
        return -EBADMSG;
    *ret_hooks = hooks;
    hooks = (struct mighooks)MIGHOOKS_INIT;
    return 0;
}

/* --- running --- */

static bool is_overridden(const char *variable, const char *const *by)
{
    size_t length = strcspn(variable, "=") + 1;

    for (; *by; by++)
        if (!strncmp(*by, variable, length))
            return true;
    return false;
}

/* The pointers are borrowed. NULL without memory. */
static const char **join_variables(char *const *own, const char *const *outer)
{
    size_t n = 0, n_own = 0, n_outer = 0;
    const char **all;

    while (own[n_own])
        n_own++;
    while (outer[n_outer])
        n_outer++;
    all = calloc(n_own + n_outer + 1, sizeof(*all));
    for (size_t i = 0; all && i < n_own; i++)
        if (!is_overridden(own[i], outer))
            all[n++] = own[i];
    for (size_t i = 0; all && i < n_outer; i++)
        all[n++] = outer[i];
    return all;
}

static int spawn(const struct mighook_command *command, const char *const *variables,
                 bool show_output, pid_t *ret_pid)
{
    cleanup_free const char **all = join_variables(command->variables, variables);
    posix_spawn_file_actions_t actions;
    int r;

    if (!all || posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    for (int fd = 1; fd <= 2 && r == 0 && !show_output; fd++)
        r = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
    if (r == 0 && command->folder && *command->folder)
        r = posix_spawn_file_actions_addchdir_np(&actions, command->folder);
    if (r == 0)
        r = posix_spawnp(ret_pid, command->program, &actions, NULL, command->arguments,
                         (char *const *)all);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int run_command(const struct mighook_command *command, const char *const *variables,
                       bool show_output, struct error *err)
{
    pid_t pid = 0;
    int status, r = spawn(command, variables, show_output, &pid);

    if (r < 0)
        return error_set_errno(err, r, "cannot start %s", command->program);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_set_errno(err, -errno, "cannot wait for %s", command->program);
    if (WIFSIGNALED(status))
        return error_set(err, -EIO, "%s was ended by signal %d", command->program,
                         WTERMSIG(status));
    if (WEXITSTATUS(status))
        return error_set(err, -EIO, "%s failed with status %d; --debug shows its output",
                         command->program, WEXITSTATUS(status));
    return 0;
}

int mighooks_run(const struct mighooks *hooks, enum mighook when, const char *const *variables,
                 bool show_output, struct error *err)
{
    for (size_t i = 0; i < hooks->lists[when].n_items; i++) {
        int r = run_command(&hooks->lists[when].items[i], variables, show_output, err);

        if (r < 0)
            return error_wrap(err, r, "hook %s", names[when]);
    }
    return 0;
}
