// SPDX-License-Identifier: Apache-2.0
#include "config/flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "config/kind.h"
#include "config/load.h"
#include "config/options.h"
#include "config/overrides.h"

#define STANDARD_PLUGIN_DIR "/var/lib/kubelet/device-plugins"

/* The value set for one row, and its origin. */
struct setting {
    const char *text; /* borrowed; NULL = nothing */
    char origin[64];  /* "--mig-strategy" or "MIG_STRATEGY" */
    bool by_flag;
};

struct parse {
    struct setting setting[SCHEMA_MAX_OPTIONS];
    struct agent_flags flags;
    struct config_overrides *overrides;
    struct problems *problems;
    size_t n_errors;
};

static void parse_deinit(struct parse *parse)
{
    config_overrides_free(parse->overrides);
}
#define cleanup_parse cleanup(parse_deinit)

#define PROBLEM(parse, severity, origin, ...)                                                   \
    do {                                                                                        \
        (parse)->n_errors += (severity) == PROBLEM_ERROR;                                       \
        problem_add((parse)->problems, severity, (struct position){0, 0}, origin, __VA_ARGS__); \
    } while (0)

/* Iterates over the words of "driver-root nvidia-driver-root"; false after the last. */
static bool next_name(const char **names, const char **ret_name, size_t *ret_length)
{
    if (!*names)
        return false;
    *names += strspn(*names, " ");
    *ret_name = *names;
    *ret_length = strcspn(*names, " ");
    *names += *ret_length;
    return *ret_length > 0;
}

static bool has_name(const char *names, const char *wanted, size_t wanted_length)
{
    const char *name;
    size_t length;

    while (next_name(&names, &name, &length))
        if (length == wanted_length && strncmp(name, wanted, length) == 0)
            return true;
    return false;
}

static bool is_bool(const struct option *option)
{
    return option->kind == &kind_bool || option->kind == &kind_tristate ||
           option->kind == &kind_switch;
}

/* --- the environment --- */

static const char *find_variable(char *const envp[], const char *name, size_t length)
{
    for (; envp && *envp; envp++)
        if (strncmp(*envp, name, length) == 0 && (*envp)[length] == '=')
            return *envp + length + 1;
    return NULL;
}

/* Go's flag parser reads an empty boolean as false; an empty word or number counts as unset. */
static const char *read_empty(struct parse *parse, const struct option *option, const char *origin)
{
    if (option->target == OPTION_IGNORED)
        return NULL;
    if (option->kind->empty_is_value)
        return "";
    if (is_bool(option)) {
        PROBLEM(parse, PROBLEM_WARNING, origin, "is empty, which means false; write false");
        return "false";
    }
    PROBLEM(parse, PROBLEM_WARNING, origin, "is empty and counts as unset");
    return NULL;
}

static void read_variables(struct parse *parse, size_t i, char *const envp[])
{
    const struct option *option = &config_schema.options[i];
    const char *names = option->variables, *name;
    struct setting *setting = &parse->setting[i];
    size_t length;

    while (next_name(&names, &name, &length)) {
        const char *value = find_variable(envp, name, length);
        char origin[sizeof(setting->origin)];

        snprintf(origin, sizeof(origin), "%.*s", (int)length, name);
        if (value && !*value)
            value = read_empty(parse, option, origin);
        if (!value)
            continue;
        if (setting->text && !str_equal(setting->text, value))
            PROBLEM(parse, PROBLEM_WARNING, origin, "differs from %s, which takes precedence",
                    setting->origin);
        if (setting->text)
            continue;
        setting->text = value;
        memcpy(setting->origin, origin, sizeof(origin));
    }
}

/* --- the command line --- */

static size_t find_flag(const char *name, size_t length)
{
    size_t i = 0;

    while (i < config_schema.n_options && !has_name(config_schema.options[i].flags, name, length))
        i++;
    return i;
}

static void report_unknown_flag(struct parse *parse, const char *name, size_t length)
{
    char names[SCHEMA_MAX_OPTIONS * 2][40], word[80], origin[88];
    const char *candidates[ARRAY_SIZE(names)], *near, *each;
    size_t n = 0, each_length;

    for (size_t i = 0; i < config_schema.n_options; i++) {
        const char *rest = config_schema.options[i].flags;

        while (n < ARRAY_SIZE(names) && next_name(&rest, &each, &each_length)) {
            snprintf(names[n], sizeof(names[n]), "%.*s", (int)each_length, each);
            candidates[n] = names[n];
            n++;
        }
    }
    snprintf(word, sizeof(word), "%.*s", length < 79 ? (int)length : 79, name);
    snprintf(origin, sizeof(origin), "%s%s", length == 1 ? "-" : "--", show(word).text);
    near = str_suggest(word, candidates, n);
    PROBLEM(parse, PROBLEM_ERROR, origin, "unknown flag; %s%s%s",
            near ? "did you mean --" : "see --help", near ? near : "", near ? "?" : "");
}

/* A repeated list flag appends to its earlier values; any other overrides, as in Go. */
static int set_by_flag(struct parse *parse, size_t i, const char *origin, const char *value)
{
    struct setting *setting = &parse->setting[i];
    cleanup_text struct text joined = TEXT_INIT;

    if (setting->by_flag && config_schema.options[i].kind->is_list) {
        text_addf(&joined, "%s,%s", setting->text, value);
        value = text_failed(&joined)
                    ? NULL
                    : config_overrides_keep(parse->overrides, joined.data, joined.length);
        if (!value)
            return -ENOMEM;
    }
    setting->text = value;
    setting->by_flag = true;
    snprintf(setting->origin, sizeof(setting->origin), "%s", origin);
    return 0;
}

/* Reads the flag at argv[*at] with its value; *at becomes the last argument used. */
static int read_flag(struct parse *parse, int argc, char *const argv[], int *at)
{
    const char *name = argv[*at] + (argv[*at][1] == '-' ? 2 : 1), *value;
    size_t length = strcspn(name, "="), i = find_flag(name, length);
    char origin[64];

    if (i == config_schema.n_options) {
        report_unknown_flag(parse, name, length);
        /* What follows is its value: a second complaint about that would only confuse. */
        *at += !name[length] && *at + 1 < argc && argv[*at + 1][0] != '-';
        return 0;
    }
    snprintf(origin, sizeof(origin), "%s%.*s", length == 1 ? "-" : "--", (int)length, name);
    if (name[length] == '=') {
        value = name + length + 1;
    } else if (is_bool(&config_schema.options[i])) {
        value = "true";
    } else if (*at + 1 < argc) {
        value = argv[++*at];
    } else {
        PROBLEM(parse, PROBLEM_ERROR, origin, "needs a value: write %s=%s", origin,
                config_schema.options[i].kind->placeholder);
        return 0;
    }
    return set_by_flag(parse, i, origin, value);
}

static void report_stray(struct parse *parse, const char *before, const char *word)
{
    bool after_bool = before && *before == '-' && !strchr(before, '=') &&
                      (str_equal(word, "true") || str_equal(word, "false"));

    if (after_bool)
        PROBLEM(parse, PROBLEM_ERROR, show(before).text,
                "write %s=%s: a boolean flag takes its value only after '='", show(before).text,
                word);
    else
        PROBLEM(parse, PROBLEM_ERROR, "", "'%s' is not a flag; remove it, or write --NAME=VALUE",
                show(word).text);
}

static int read_arguments(struct parse *parse, int argc, char *const argv[])
{
    for (int i = 1; i < argc; i++) {
        int r = 0;

        if (str_equal(argv[i], "--") && i + 1 == argc)
            break;
        if (argv[i][0] == '-' && argv[i][1] && !str_equal(argv[i], "--"))
            r = read_flag(parse, argc, argv, &i);
        else
            report_stray(parse, i > 1 ? argv[i - 1] : NULL, argv[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- applying both --- */

/* Go's flag parser trims the items of a list. NULL without memory. */
static const char *trim_items(struct parse *parse, const char *list)
{
    static const char blanks[] = " \t\n\v\f\r";
    cleanup_text struct text trimmed = TEXT_INIT;

    if (!strpbrk(list, blanks))
        return list;
    while (true) {
        size_t length, end;

        list += strspn(list, blanks);
        length = end = strcspn(list, ",");
        while (end && strchr(blanks, list[end - 1]))
            end--;
        text_add_bytes(&trimmed, list, end);
        if (!list[length])
            break;
        text_add_char(&trimmed, ',');
        list += length + 1;
    }
    return text_failed(&trimmed)
               ? NULL
               : config_overrides_keep(parse->overrides, text_string(&trimmed), trimmed.length);
}

static int take(struct parse *parse, size_t i, struct config *scratch)
{
    const struct option *option = &config_schema.options[i];
    struct setting *setting = &parse->setting[i];
    void *target = option->target == OPTION_AGENT ? (void *)&parse->flags : scratch;
    struct error err = ERROR_INIT;
    int r;

    if (!setting->text)
        return 0;
    if (option->target == OPTION_IGNORED) {
        PROBLEM(parse, PROBLEM_WARNING, setting->origin, "has no effect here: %s", option->help);
        return 0;
    }
    if (option->kind->is_list && !(setting->text = trim_items(parse, setting->text)))
        return -ENOMEM;
    r = option->kind->parse(option, setting->text, (char *)target + option->offset, &err);
    if (r == -EINVAL) {
        PROBLEM(parse, PROBLEM_ERROR, setting->origin, "%s", error_text(&err));
        return 0;
    }
    if (option->differs)
        PROBLEM(parse, PROBLEM_NOTE, setting->origin, "%s", option->differs);
    if (r == 0 && option->not_yet &&
        (!option->asks || option->asks((char *)target + option->offset)))
        PROBLEM(parse, PROBLEM_WARNING, setting->origin, "has no effect yet: %s", option->not_yet);
    if (r == 0 && option->target == OPTION_CONFIG)
        r = config_overrides_add(parse->overrides, option, setting->text);
    return r;
}

static int take_all(struct parse *parse)
{
    struct config *scratch = calloc(1, sizeof(*scratch)); /* only to check whether values parse */
    int r = scratch ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < config_schema.n_options; i++)
        r = take(parse, i, scratch);
    config_free(scratch);
    return r;
}

/* Our sockets are created beside the kubelet's, wherever that is. */
static int fill_in(struct parse *parse)
{
    struct agent_flags *flags = &parse->flags;
    const char *slash = strrchr(flags->kubelet_socket, '/');

    const char **const optional[] = {
        &flags->config_file,         &flags->config_key,
        &flags->config_folder,       &flags->default_config,
        &flags->fallback_strategies, &flags->node_name,
        &flags->namespace_,          &flags->pod_name,
        &flags->kubeconfig,          &flags->pod_resources_socket,
        &flags->channel_dir,         &flags->mig_config_file,
    };

    for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
        if (*optional[i] && !**optional[i])
            *optional[i] = NULL;
    if (flags->plugin_dir && *flags->plugin_dir)
        return 0;
    if (!slash || slash == flags->kubelet_socket) {
        flags->plugin_dir = slash ? "/" : STANDARD_PLUGIN_DIR;
        return 0;
    }
    flags->plugin_dir = config_overrides_keep(parse->overrides, flags->kubelet_socket,
                                              (size_t)(slash - flags->kubelet_socket));
    return flags->plugin_dir ? 0 : -ENOMEM;
}

int flags_parse(int argc, char *const argv[], char *const envp[], struct agent_flags *ret_flags,
                struct config_overrides **ret_overrides, struct problems *problems)
{
    cleanup_parse struct parse parse = {.problems = problems, .overrides = config_overrides_new()};
    int r =
        parse.overrides ? schema_set_defaults(&config_schema, OPTION_AGENT, &parse.flags) : -ENOMEM;

    for (size_t i = 0; r == 0 && i < config_schema.n_options; i++)
        read_variables(&parse, i, envp);
    if (r == 0)
        r = read_arguments(&parse, argc, argv);
    if (r == 0)
        r = take_all(&parse);
    if (r == 0)
        r = fill_in(&parse);
    if (r < 0)
        return r;
    if (parse.n_errors && !parse.flags.help && !parse.flags.version)
        return -EINVAL;
    *ret_flags = parse.flags;
    *ret_overrides = TAKE_PTR(parse.overrides);
    return 0;
}

/* --- help --- */

static void join_names(char *buffer, size_t size, const char *names, bool dashes)
{
    const char *name;
    size_t length, n = 0;

    *buffer = '\0';
    while (n < size && next_name(&names, &name, &length))
        n += (size_t)snprintf(buffer + n, size - n, "%s%s%.*s", n ? ", " : "",
                              !dashes       ? ""
                              : length == 1 ? "-"
                                            : "--",
                              (int)length, name);
}

void flags_each(void (*visit)(const struct flag_info *info, void *context), void *context)
{
    for (size_t i = 0; i < config_schema.n_options; i++) {
        const struct option *option = &config_schema.options[i];
        bool has_words = option->kind == &kind_word || option->kind == &kind_word_text ||
                         option->kind == &kind_strategies || option->kind == &kind_words_text;
        struct flag_info info = {
            .placeholder = option->kind->placeholder ? option->kind->placeholder : "",
            .path = option->path ? option->path : "",
            .standard = option->standard ? option->standard : "",
            .help = option->help,
            .is_bool = is_bool(option),
            .ignored = option->target == OPTION_IGNORED,
            .not_yet = option->not_yet != NULL,
        };

        if (!option->flags && !option->variables)
            continue;
        join_names(info.flags, sizeof(info.flags), option->flags, true);
        join_names(info.variables, sizeof(info.variables), option->variables, false);
        if (has_words)
            snprintf(info.words, sizeof(info.words), "%s", list_words(option->detail).text);
        visit(&info, context);
    }
}

enum { HELP_INDENT = 6, HELP_WIDTH = 80 };

/* Prints words with an indent, wrapped before the last column. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t length = strcspn(text, " ");

        if (column && column + 1 + length > HELP_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column)
            fputc(' ', out);
        else
            fprintf(out, "%*s", HELP_INDENT, "");
        fwrite(text, 1, length, out);
        column += length + (column ? 1 : HELP_INDENT);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_one(const struct flag_info *info, void *context)
{
    cleanup_text struct text body = TEXT_INIT;
    const char *value = info->is_bool ? "[=BOOL]" : info->placeholder;
    FILE *out = context;

    if (*info->flags)
        fprintf(out, "  %s%s%s\n", info->flags, info->is_bool ? "" : " ",
                *info->placeholder ? value : "");
    else
        fprintf(out, "  %s=%s\n", info->variables, info->placeholder);
    text_addf(&body, "%s%s.", info->ignored ? "No effect here: " : "", info->help);
    if (*info->words)
        text_addf(&body, " One of: %s.", info->words);
    if (*info->standard)
        text_addf(&body, " Default: %s.", info->standard);
    if (info->not_yet)
        text_addf(&body, " No effect yet.");
    if (*info->flags && *info->variables)
        text_addf(&body, " [%s]", info->variables);
    print_wrapped(out, text_string(&body));
}

void flags_help(FILE *out)
{
    flags_each(print_one, out);
}
