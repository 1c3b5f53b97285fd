// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/verb.h"

#define STRING(field) offsetof(struct request, field)

const struct option_row option_rows[N_OPTIONS] = {
    [OPTION_CONFIG] = {"config", 'c', "FILE", false, STRING(config),
                       "the configuration: a file for NVIDIA's device plugin (YAML or JSON) or a "
                       "ConfigMap manifest; - reads standard input"},
    [OPTION_KEY] = {"key", 'k', "KEY", false, STRING(key),
                    "data key of the ConfigMap; of several, plan needs one, and check looks at all "
                    "without it"},
    [OPTION_MACHINE] = {"machine", 'm', "NAME|FILE", false, STRING(machine),
                        "a simulated machine, by instance type (p3.8xlarge), count of a GPU model "
                        "(4xA10G), or machine file"},
    [OPTION_NODE] = {"node", 'n', NULL, false, STRING(node),
                     "this machine, queried through its driver (libnvidia-ml.so.1)"},
    [OPTION_PLAN_OUTPUT] = {"output", 'o', "table|json|yaml", true, STRING(output),
                            "output format of the plan; the default is a table for people"},
    [OPTION_CHECK_OUTPUT] = {"output", 'o', "text|json", true, STRING(output),
                             "output format of the findings; the default is text for people"},
    [OPTION_LABELS] = {"labels", 'l', NULL, false, STRING(labels), "also list the node's labels"},
    [OPTION_ROOT] =
        {"root", 'r', "FOLDER", false, STRING(root),
         "root of the node's files, such as /host in a debugging pod; the default is /"},
    [OPTION_HELP] = {"help", 'h', NULL, false, STRING(help), "print this help and exit"},
};

#undef STRING

static bool has_option(const struct verb *verb, size_t id)
{
    return verb->options & (1u << id);
}

/* One argument, split up: "--name=value", "-x", "-xvalue". */
struct argument {
    const struct option_row *row;
    const char *shown; /* as the user wrote it */
    const char *value; /* attached to it, or NULL */
};

static bool is_word(const char *words, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (length && !strncmp(at, word, length) && (at[length] == '|' || !at[length]))
            return true;
    return false;
}

static int unknown_option(const struct verb *verb, const char *text, struct error *err)
{
    const char *names[N_OPTIONS], *near;
    size_t n_names = 0;
    char word[64];

    for (size_t i = 0; i < N_OPTIONS; i++)
        if (has_option(verb, i))
            names[n_names++] = option_rows[i].name;
    snprintf(word, sizeof(word), "%.*s", (int)strcspn(text + strspn(text, "-"), "="),
             text + strspn(text, "-"));
    near = str_suggest(word, names, n_names);
    if (near)
        return error_set(err, -EINVAL, "'%s' has no option %.*s; did you mean --%s?", verb->name,
                         (int)strcspn(text, "="), text, near);
    return error_set(err, -EINVAL, "'%s' has no option %.*s; 'gpuslice help %s' lists its options",
                     verb->name, (int)strcspn(text, "="), text, verb->name);
}

static const struct option_row *find_by_name(const struct verb *verb, const char *name,
                                             size_t length)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (has_option(verb, i) && strlen(option_rows[i].name) == length &&
            strncmp(option_rows[i].name, name, length) == 0)
            return &option_rows[i];
    return NULL;
}

static const struct option_row *find_by_letter(const struct verb *verb, char letter)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (has_option(verb, i) && option_rows[i].letter == letter)
            return &option_rows[i];
    return NULL;
}

static int set_switch(const struct argument *argument, struct request *request, struct error *err)
{
    bool *field = (bool *)((char *)request + argument->row->offset);

    if (argument->value)
        return error_set(err, -EINVAL, "--%s takes no value; write --%s alone", argument->row->name,
                         argument->row->name);
    *field = true;
    return 0;
}

static int set_value(const struct argument *argument, struct request *request, struct error *err)
{
    const struct option_row *row = argument->row;
    const char **field = (const char **)((char *)request + row->offset);

    if (*field)
        return error_set(err, -EINVAL, "--%s is given twice ('%s' and '%s'); give it once",
                         row->name, *field, argument->value);
    if (!*argument->value)
        return error_set(err, -EINVAL, "--%s has an empty value; write --%s %s", row->name,
                         row->name, row->value);
    if (row->words && !is_word(row->value, argument->value))
        return error_set(err, -EINVAL, "--%s cannot be '%s'; use one of %s", row->name,
                         argument->value, row->value);
    *field = argument->value;
    return 0;
}

static int set_operand(const struct verb *verb, const char *text, struct request *request,
                       struct error *err)
{
    bool is_file = verb->operand && str_equal(verb->operand, "[FILE]");
    const char **field = is_file ? &request->config : &request->operand;

    if (!verb->operand)
        return error_set(err, -EINVAL, "'%s' takes no argument; remove '%s'", verb->name, text);
    if (str_ends_with(verb->operand, "...")) {
        request->operands[request->n_operands++] = text;
        return 0;
    }
    if (*field && is_file)
        return error_set(err, -EINVAL, "two files are given, '%s' and '%s'; give only one", *field,
                         text);
    if (*field)
        return error_set(err, -EINVAL, "'%s' takes one argument; remove '%s'", verb->name, text);
    *field = text;
    return 0;
}

static int check_together(const struct request *request, struct error *err)
{
    if (request->node && request->machine)
        return error_set(err, -EINVAL,
                         "--node and --machine exclude each other; give only one of them");
    if (request->key && !request->config && !request->n_operands)
        return error_set(err, -EINVAL, "--key selects a key of a file; give --config FILE as well");
    return 0;
}

/* The words of the command line that are still to be read. */
struct words {
    char *const *next;
    size_t n;
};

static int take_value(struct argument *argument, struct words *words, struct request *request,
                      struct error *err)
{
    if (!argument->row->value)
        return set_switch(argument, request, err);
    if (!argument->value && words->n) {
        argument->value = *words->next++;
        words->n--;
    }
    if (!argument->value)
        return error_set(err, -EINVAL, "%s needs a value; write --%s %s", argument->shown,
                         argument->row->name, argument->row->value);
    return set_value(argument, request, err);
}

static int take_long(const struct verb *verb, const char *text, struct words *words,
                     struct request *request, struct error *err)
{
    size_t length = strcspn(text + 2, "=");
    struct argument argument = {
        .row = find_by_name(verb, text + 2, length),
        .shown = text,
        .value = text[2 + length] ? text + 3 + length : NULL,
    };

    if (!argument.row)
        return unknown_option(verb, text, err);
    return take_value(&argument, words, request, err);
}

/* "-m NAME", "-mNAME", or switches behind one dash: "-nl". */
static int take_short(const struct verb *verb, const char *text, struct words *words,
                      struct request *request, struct error *err)
{
    int r = 0;

    if (text[2] && find_by_name(verb, text + 1, strcspn(text + 1, "=")))
        return unknown_option(verb, text, err);
    for (const char *letter = text + 1; *letter && r == 0; letter++) {
        struct argument argument = {.row = find_by_letter(verb, *letter), .shown = text};

        if (!argument.row)
            return unknown_option(verb, text, err);
        if (argument.row->value && letter[1] == '=')
            return error_set(err, -EINVAL, "after -%c no '=': write -%c %s or --%s=%s", *letter,
                             *letter, letter + 2, argument.row->name, letter + 2);
        if (argument.row->value && letter[1]) {
            argument.value = letter + 1;
            return take_value(&argument, words, request, err);
        }
        r = take_value(&argument, words, request, err);
    }
    return r;
}

static int take_word(const struct verb *verb, const char *text, struct words *words,
                     struct request *request, struct error *err)
{
    if (text[0] != '-' || !text[1])
        return set_operand(verb, text, request, err);
    return text[1] == '-' ? take_long(verb, text, words, request, err)
                          : take_short(verb, text, words, request, err);
}

int request_parse(const struct verb *verb, int argc, char *const argv[],
                  struct request *ret_request, struct error *err)
{
    cleanup_request struct request request = REQUEST_INIT;
    struct words words = {argv, argc > 0 ? (size_t)argc : 0};
    bool options_ended = false;
    int r = 0;

    request.operands = calloc(words.n + 1, sizeof(*request.operands));
    if (!request.operands)
        return error_set_errno(err, -ENOMEM, "cannot read the command line");
    while (words.n && r == 0) {
        const char *text = *words.next++;

        words.n--;
        if (options_ended)
            r = set_operand(verb, text, &request, err);
        else if (str_equal(text, "--"))
            options_ended = true;
        else
            r = take_word(verb, text, &words, &request, err);
    }
    if (r == 0 && !request.help)
        r = check_together(&request, err);
    if (r < 0)
        return r;
    *ret_request = request;
    request.operands = NULL;
    return 0;
}

void request_deinit(struct request *request)
{
    free(request->operands);
    *request = (struct request)REQUEST_INIT;
}

bool request_wants(const struct request *request, const char *format)
{
    return request->output && str_equal(request->output, format);
}
