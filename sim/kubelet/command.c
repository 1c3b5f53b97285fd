// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "limits/message.h"

#define PRELOAD_FILE "/etc/ld.so.preload"
#define LIBRARY_PATH LIMITS_CONTAINER "/" LIMITS_LIBRARY
#define LIBRARY_FILE "libgpuslice.so"

void command_deinit(struct command *command)
{
    for (size_t i = 0; command->argv && command->argv[i]; i++)
        free(command->argv[i]);
    free(command->argv);
    for (size_t i = 0; i < command->n_pairs; i++) {
        free(command->pairs[i].key);
        free(command->pairs[i].value);
    }
    free(command->pairs);
    for (size_t i = 0; command->environment && command->environment[i]; i++)
        free(command->environment[i]);
    free(command->environment);
    *command = (struct command)COMMAND_INIT;
}

bool run_rule_parse(char *text, struct run_rule *ret_rule)
{
    char *equals = strchr(text, '=');

    if (!equals)
        return false;
    *equals = '\0';
    *ret_rule = (struct run_rule){text, equals + 1};
    return true;
}

/* A value may refer to variables set before it, so order matters, as in Kubernetes. */
static int set(struct command *command, const char *key, const char *value)
{
    struct pair *pair = NULL;
    char *copy = strdup(value);

    for (size_t i = 0; i < command->n_pairs && !pair; i++)
        if (str_equal(command->pairs[i].key, key))
            pair = &command->pairs[i];
    if (!pair) {
        pair =
            array_push(&command->pairs, &command->n_pairs, &command->pairs_capacity, sizeof(*pair));
        if (pair)
            pair->key = strdup(key);
    }
    if (!copy || !pair || !pair->key) {
        free(copy);
        return -ENOMEM;
    }
    free(pair->value);
    pair->value = copy;
    return 0;
}

static const char *find(const struct command *command, const char *key, size_t length)
{
    for (size_t i = 0; i < command->n_pairs; i++)
        if (strlen(command->pairs[i].key) == length && !memcmp(command->pairs[i].key, key, length))
            return command->pairs[i].value;
    return NULL;
}

/* `$(NAME)` becomes the value, `$$` a dollar sign; unknown names are left alone. */
static char *expand(const struct command *command, const char *string)
{
    struct text out = TEXT_INIT;
    char *result;

    text_add(&out, "");
    while (*string) {
        const char *close = string[0] == '$' && string[1] == '(' ? strchr(string, ')') : NULL;
        const char *value = close ? find(command, string + 2, (size_t)(close - string) - 2) : NULL;

        if (value) {
            text_add(&out, value);
            string = close + 1;
        } else {
            text_add_char(&out, *string);
            string += string[0] == '$' && string[1] == '$' ? 2 : 1;
        }
    }
    result = text_take(&out);
    text_deinit(&out);
    return result;
}

static int push(char ***list, size_t *n, char *string)
{
    char **more = string ? reallocarray(*list, *n + 2, sizeof(*more)) : NULL;

    if (!more) {
        free(string);
        return -ENOMEM;
    }
    *list = more;
    more[(*n)++] = string;
    more[*n] = NULL;
    return 0;
}

static const struct run_rule *find_rule(const struct command_options *options, const char *image)
{
    for (size_t i = 0; i < options->n_rules; i++)
        if (str_glob(options->rules[i].image_glob, image))
            return &options->rules[i];
    return NULL;
}

static bool is_waiter(const struct command_options *options, const struct container_spec *container)
{
    return !container->command && !find_rule(options, container->image);
}

/* The fields that the downward API can expose here. */
static const char *field_value(const struct command_options *options, const struct pod *pod,
                               const char *path)
{
    if (str_equal(path, "metadata.name"))
        return pod->name;
    if (str_equal(path, "metadata.namespace"))
        return pod->namespace;
    if (str_equal(path, "metadata.uid"))
        return pod->uid;
    if (str_equal(path, "spec.nodeName"))
        return options->node_name;
    return str_equal(path, "status.podIP") || str_equal(path, "status.hostIP") ? "127.0.0.1" : "";
}

static int set_base(struct command *command, const struct command_options *options,
                    const struct pod *pod)
{
    int r = set(command, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

    if (r == 0)
        r = set(command, "HOME", "/root");
    if (r == 0)
        r = set(command, "HOSTNAME", pod->name);
    for (size_t i = 0; r == 0 && i < options->n_variables; i++) {
        const char *equals = strchr(options->variables[i], '=');
        cleanup_free char *name =
            strndup(options->variables[i], (size_t)(equals - options->variables[i]));

        r = name ? set(command, name, equals + 1) : -ENOMEM;
    }
    command->n_base = command->n_pairs;
    return r;
}

static const struct answer_mount *find_mount(const struct answer *answer, const char *path)
{
    for (size_t i = 0; i < answer->n_mounts; i++)
        if (str_equal(answer->mounts[i].container_path, path))
            return &answer->mounts[i];
    return NULL;
}

static const struct answer_mount *find_grant(const struct answer *answer)
{
    for (size_t i = 0; i < answer->n_mounts; i++)
        if (str_starts_with(answer->mounts[i].container_path, LIMITS_CONTAINER "/") &&
            !str_equal(answer->mounts[i].container_path, LIBRARY_PATH))
            return &answer->mounts[i];
    return NULL;
}

static int set_mounted(struct command *command, const struct answer *answer)
{
    const struct answer_mount *preload = find_mount(answer, PRELOAD_FILE),
                              *library = find_mount(answer, LIBRARY_PATH),
                              *grant = find_grant(answer);
    cleanup_text struct text path = TEXT_INIT;
    int r;

    if (!preload || !library || !grant)
        return 0;
    text_addf(&path, "%s/" LIBRARY_FILE, library->host_path);
    r = text_failed(&path) ? -ENOMEM : set(command, "LD_PRELOAD", text_string(&path));
    return r < 0 ? r : set(command, LIMITS_GRANT_VARIABLE, grant->host_path);
}

static int set_environment(struct command *command, const struct command_options *options,
                           const struct pod *pod, const struct container_spec *container,
                           const struct answer *answer)
{
    int r = set_base(command, options, pod);
    size_t n = 0;

    for (size_t i = 0; r == 0 && i < answer->n_envs; i++)
        r = set(command, answer->envs[i].key, answer->envs[i].value);
    if (r == 0 && !is_waiter(options, container))
        r = set_mounted(command, answer);
    for (size_t i = 0; r == 0 && i < container->n_variables; i++) {
        const struct variable *variable = &container->variables[i];
        cleanup_free char *value =
            expand(command, variable->value ? variable->value
                                            : field_value(options, pod, variable->field_path));

        r = value ? set(command, variable->name, value) : -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < command->n_pairs; i++) {
        struct text entry = TEXT_INIT;

        text_addf(&entry, "%s=%s", command->pairs[i].key, command->pairs[i].value);
        r = push(&command->environment, &n, text_take(&entry));
        text_deinit(&entry);
    }
    return r;
}

static int add_arguments(struct command *command, size_t *n, char *const *strings)
{
    int r = 0;

    for (size_t i = 0; r == 0 && strings && strings[i]; i++)
        r = push(&command->argv, n, expand(command, strings[i]));
    return r;
}

static int set_arguments(struct command *command, const struct command_options *options,
                         const struct container_spec *container)
{
    const struct run_rule *rule = find_rule(options, container->image);
    const char *const shell[] = {"/bin/sh", "-c", rule ? rule->command : "", container->name};
    const char *const waiter[] = {"/proc/self/exe", "pause"};
    const char *const *words = rule ? shell : waiter;
    size_t n = 0, n_words = rule ? ARRAY_SIZE(shell) : ARRAY_SIZE(waiter);
    int r = 0;

    if (container->command) {
        r = add_arguments(command, &n, container->command);
        return r < 0 ? r : add_arguments(command, &n, container->args);
    }
    for (size_t i = 0; r == 0 && i < n_words; i++)
        r = push(&command->argv, &n, strdup(words[i]));
    return r < 0 || !rule ? r : add_arguments(command, &n, container->args);
}

int command_build(const struct command_options *options, const struct pod *pod,
                  const struct container_spec *container, const struct answer *answer,
                  struct command *ret_command)
{
    cleanup_command struct command command = COMMAND_INIT;
    int r = set_environment(&command, options, pod, container, answer);

    if (r == 0)
        r = set_arguments(&command, options, container);
    if (r < 0)
        return r;
    *ret_command = command;
    command = (struct command)COMMAND_INIT;
    return 0;
}
