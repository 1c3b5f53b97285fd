// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
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
    [OPTION_MIG] = {"mig", 'g', "LAYOUT", false, STRING(mig),
                    "plan as if the GPUs were partitioned: all-<profile> (all-1g.5gb), "
                    "all-balanced, all-enabled or all-disabled; or a label of --mig-config"},
    [OPTION_PLAN_MIG_FILE] = {"mig-config", '\0', "FILE", false, STRING(mig_file),
                              "a configuration of mig-parted, for --mig"},
    [OPTION_ROOM] = {"room", '\0', "PROFILE", false, STRING(room),
                     "also tell which MIG instances would have to move so that one more device of "
                     "this profile fits"},
    [OPTION_ROOT] =
        {"root", 'r', "FOLDER", false, STRING(root),
         "root of the node's files, such as /host in a debugging pod; the default is /"},
    [OPTION_MIG_FILE] = {"config-file", 'f', "FILE", false, STRING(config),
                         "a configuration of mig-parted (YAML or JSON), or a ConfigMap manifest "
                         "with it; - reads standard input",
                         "MIG_PARTED_CONFIG_FILE"},
    [OPTION_MIG_LABEL] = {"selected-config", 'c', "LABEL", false, STRING(label),
                          "which layout of the file; needed if there are several",
                          "MIG_PARTED_SELECTED_CONFIG"},
    [OPTION_MODE_ONLY] = {"mode-only", 'm', NULL, false, STRING(mode_only),
                          "only MIG mode, whatever the instances are",
                          "MIG_PARTED_MODE_CHANGE_ONLY"},
    [OPTION_VALID_CONFIG] = {"valid-config", 'a', NULL, false, STRING(valid_config),
                             "only whether the file is valid and has the label",
                             "MIG_PARTED_VALID_CONFIG"},
    [OPTION_HOOKS] = {"hooks-file", 'k', "FILE", false, STRING(hooks),
                      "a hooks file of mig-parted: commands to run before, between and after",
                      "MIG_PARTED_HOOKS_FILE"},
    [OPTION_SKIP_RESET] = {"skip-reset", 's', NULL, false, STRING(skip_reset),
                           "leave the reset that a new mode needs to somebody else",
                           "MIG_PARTED_SKIP_RESET"},
    [OPTION_EXPORT_OUTPUT] = {"output-format", 'o', "yaml|json", true, STRING(output),
                              "output format of the layout; the default is yaml",
                              "MIG_PARTED_OUTPUT_FORMAT"},
    [OPTION_EXPORT_LABEL] = {"config-label", 'l', "LABEL", false, STRING(label),
                             "the label of the printed layout; the default is current",
                             "MIG_PARTED_CONFIG_LABEL"},
    [OPTION_GENERATED_FILE] = {"config-file", 'f', "FILE", false, STRING(config),
                               "where to write it; the default is standard output",
                               "MIG_PARTED_OUTPUT_FILE"},
    [OPTION_MIG_MACHINE] = {"machine", '\0', "NAME|FILE", false, STRING(machine),
                            "a simulated machine instead of this node, as for plan"},
    [OPTION_DEBUG] = {"debug", 'd', NULL, false, STRING(debug), "explain each decision",
                      "MIG_PARTED_DEBUG"},
    [OPTION_COST] = {"cost", '\0', "SLICES", false, STRING(cost),
                     "of a SliceProfile: what a slice costs on each instance type, and the "
                     "cheapest nodes for that many"},
    [OPTION_WORKLOAD] = {"workload", '\0', "FILE", false, STRING(workload),
                         "a CSV file of pods and the share of a GPU that each wants: how many GPUs "
                         "they need, by how those are sliced, and the slices for which they need "
                         "the fewest"},
    [OPTION_NAMES] = {"names", '\0', "N", false, STRING(names),
                      "for --workload: at most so many kinds of slice; the default is 8"},
    [OPTION_INSTANCE_TYPES] = {"instance-types", 't', "TYPE,TYPE...", false, STRING(types),
                               "only these of the instance types that the profiles select"},
    [OPTION_AMI] = {"ami", '\0', "al2023|bottlerocket", true, STRING(ami),
                    "the images of an EC2NodeClass; the default is al2023"},
    [OPTION_NO_STARTUP_TAINT] = {"no-startup-taint", '\0', NULL, false, STRING(no_startup_taint),
                                 "nodes start without the taint gpuslice.dev/not-ready, for "
                                 "clusters in which nobody removes it"},
    [OPTION_USERDATA_MACHINE] = {"machine", 'm', "NAME|FILE", false, STRING(machine),
                                 "the machine that will start, by instance type (p4d.24xlarge), "
                                 "count of a GPU model (4xA30), or machine file"},
    [OPTION_OS] = {"os", '\0', "al2023|ubuntu|bottlerocket", true, STRING(image),
                   "the image that will start; the default is al2023"},
    [OPTION_CLUSTER] = {"cluster", '\0', NULL, false, STRING(cluster),
                        "a cluster instead of files: what its nodes are, what else is there, and "
                        "which guarantees hold; reads only"},
    [OPTION_KUBECONFIG] = {"kubeconfig", '\0', "FILE", false, STRING(kubeconfig),
                           "how to reach it; without it as kubectl: KUBECONFIG, ~/.kube/config, or "
                           "the pod's service account"},
    [OPTION_SLICES] = {"slices", '\0', "SLICES", false, STRING(slices),
                       "how many slices there are to be nodes for"},
    [OPTION_ARBITER_DIR] = {"arbiter-dir", '\0', "FOLDER", false, STRING(arbiter_dir),
                            "where the arbiter's socket is, below --root; the default is "
                            "/run/gpuslice/arbiter",
                            "GPUSLICE_ARBITER_DIR"},
    [OPTION_PLAIN] = {"plain", '\0', NULL, false, STRING(plain),
                      "one table, and end; so it is without a terminal too"},
    [OPTION_JSON] = {"json", '\0', NULL, false, STRING(json),
                     "one JSON document, and end; with --interval one a line"},
    [OPTION_RUN_ARBITER_DIR] = {"arbiter-dir", '\0', "FOLDER", false, STRING(arbiter_dir),
                                "where the socket of this node's arbiter is; the default is "
                                "/run/gpuslice/arbiter",
                                "GPUSLICE_ARBITER_DIR"},
    [OPTION_RUN_JSON] = {"json", '\0', NULL, false, STRING(json),
                         "what is granted and what was used, on standard error: one JSON document "
                         "a line, at the start and at the end"},
    [OPTION_OWN] = {"own", '\0', NULL, false, STRING(own),
                    "an arbiter for this command alone, also where this node has one that would "
                    "count it with the pods"},
    [OPTION_INTERVAL] = {"interval", 'i', "SECONDS", false, STRING(interval),
                         "how often it is read again, from 0.1 to 3600; the default is 1"},
    [OPTION_STATUS_OUTPUT] = {"output", 'o', "text|json", true, STRING(output),
                              "output format of the status; the default is text for people"},
    [OPTION_MEMORY] = {"memory", 'M', "SIZE", false, STRING(memory),
                       "how much memory of each device the command may use: 16Gi, 512Mi, 4G"},
    [OPTION_SHARE] = {"share", '\0', "PERCENT", false, STRING(share),
                      "which share of each device the command may have: of its time, where this "
                      "node gives turns, and without --memory of its memory; the default is the "
                      "part that the memory is of the device's"},
    [OPTION_DEVICE] =
        {"device", 'd', "UUID|INDEX", false, STRING(device),
         "the GPU or MIG device, by UUID or by index as nvidia-smi shows it, such as 1 or "
         "1:0; run has its command see no other, and without it all with that limit each"},
    [OPTION_HELP] = {"help", 'h', NULL, false, STRING(help), "print this help and exit"},
};

#undef STRING

static bool has_option(const struct verb *verb, size_t id)
{
    return verb->options & (1ull << id);
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

/* The words of Go's strconv.ParseBool, which reads mig-parted's variables. */
static int parse_bool(const char *name, const char *text, bool *ret_value, struct error *err)
{
    static const char *const words[] = {"0", "f", "F", "false", "False", "FALSE",
                                        "1", "t", "T", "true",  "True",  "TRUE"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (str_equal(text, words[i])) {
            *ret_value = i >= ARRAY_SIZE(words) / 2;
            return 0;
        }
    }
    return error_set(err, -EINVAL, "%s is '%.80s'; write true or false", name, text);
}

/* An option of the command line outranks its variable. */
static int read_variables(const struct verb *verb, struct request *request, struct error *err)
{
    int r = 0;

    for (size_t i = 0; i < N_OPTIONS && r == 0; i++) {
        const struct option_row *row = &option_rows[i];
        void *field = (char *)request + row->offset;
        const char *value = has_option(verb, i) && row->variable ? getenv(row->variable) : NULL;

        if (!value || !*value)
            continue;
        if (!row->value && !*(bool *)field)
            r = parse_bool(row->variable, value, field, err);
        else if (row->value && !*(const char **)field && row->words && !is_word(row->value, value))
            r = error_set(err, -EINVAL, "%s cannot be '%.80s'; use one of %s", row->variable, value,
                          row->value);
        else if (row->value && !*(const char **)field)
            *(const char **)field = value;
    }
    return r;
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
        r = read_variables(verb, &request, err);
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
