// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The verbs of `gpuslice`: one table, one file per verb (verb-<name>.c). Help, completion and
 * suggestions for misspelt words all use the table. Those of `mig` have names of two words.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct request;

enum option_id {
    OPTION_CONFIG,
    OPTION_KEY,
    OPTION_MACHINE,
    OPTION_NODE,
    OPTION_PLAN_OUTPUT,
    OPTION_CHECK_OUTPUT,
    OPTION_LABELS,
    OPTION_MIG,
    OPTION_PLAN_MIG_FILE,
    OPTION_ROOM,
    OPTION_ROOT,
    OPTION_MIG_FILE,
    OPTION_MIG_LABEL,
    OPTION_MODE_ONLY,
    OPTION_VALID_CONFIG,
    OPTION_HOOKS,
    OPTION_SKIP_RESET,
    OPTION_EXPORT_OUTPUT,
    OPTION_EXPORT_LABEL,
    OPTION_GENERATED_FILE,
    OPTION_MIG_MACHINE,
    OPTION_DEBUG,
    OPTION_COST,
    OPTION_WORKLOAD,
    OPTION_NAMES,
    OPTION_INSTANCE_TYPES,
    OPTION_AMI,
    OPTION_NO_STARTUP_TAINT,
    OPTION_USERDATA_MACHINE,
    OPTION_OS,
    OPTION_CLUSTER,
    OPTION_KUBECONFIG,
    OPTION_SLICES,
    OPTION_ARBITER_DIR,
    OPTION_PLAIN,
    OPTION_JSON,
    OPTION_RUN_ARBITER_DIR,
    OPTION_RUN_JSON,
    OPTION_OWN,
    OPTION_SHARE,
    OPTION_INTERVAL,
    OPTION_STATUS_OUTPUT,
    OPTION_MEMORY,
    OPTION_DEVICE,
    OPTION_HELP,
    N_OPTIONS,
};

/* The program's exit status. */
enum exit_status {
    EXIT_CLEAN = 0,
    EXIT_WARNINGS = 1,
    EXIT_MIG_FAILED = 1, /* of the verbs of `mig`, as of mig-parted: any failure */
    EXIT_ERRORS = 2,
    EXIT_UNREADABLE = 3, /* the file, the machine or the output failed */
    EXIT_USAGE = 64,     /* EX_USAGE of sysexits.h: invalid command line */
};

struct verb {
    const char *name;
    const char *operand;  /* "[FILE]" as help shows it, "PID..." for several; NULL = takes none */
    const char *summary;  /* one line for the list of verbs */
    const char *about;    /* the text of `gpuslice help VERB`; lines of at most 80 columns */
    const char *examples; /* whole commands, one per line, indented by two */
    unsigned long long options; /* set of 1ull << enum option_id */
    bool is_migparted; /* as NVIDIA's mig-parted: variables MIG_PARTED_..., status 1 on failure */
    enum exit_status (*run)(const struct request *request);
};

extern const struct verb verbs[];
extern const size_t n_verbs;

/* NULL if there is none of that name. */
const struct verb *verb_find(const char *name);

/* The one that the words at the start of a command line name: "plan", "mig" "apply". NULL if there
 * is none. */
const struct verb *verb_find_words(int argc, char *const argv[], int *ret_n_words);

/* The verb nearest to a misspelt word, or NULL. */
const struct verb *verb_suggest(const char *word);

/* "apply" of "mig apply"; NULL for a verb of one word. */
const char *verb_second_word(const struct verb *verb);

/* The first word alone, "mig": complains, and names what may follow. */
enum exit_status verb_group(const char *group, const char *word);

enum exit_status verb_plan(const struct request *request);
enum exit_status verb_check(const struct request *request);
enum exit_status verb_mig(const struct request *request);
enum exit_status verb_mig_apply(const struct request *request);
enum exit_status verb_mig_generate(const struct request *request);
enum exit_status verb_mig_plan(const struct request *request);
enum exit_status verb_mig_export(const struct request *request);
enum exit_status verb_mig_assert(const struct request *request);
enum exit_status verb_convert(const struct request *request);
enum exit_status verb_render(const struct request *request);
enum exit_status verb_render_karpenter(const struct request *request);
enum exit_status verb_render_autoscaler(const struct request *request);
enum exit_status verb_render_placeholders(const struct request *request);
enum exit_status verb_render_userdata(const struct request *request);
enum exit_status verb_top(const struct request *request);
enum exit_status verb_enforcement(const struct request *request);
enum exit_status verb_run(const struct request *request);
enum exit_status verb_verify(const struct request *request);
enum exit_status verb_audit(const struct request *request);
enum exit_status verb_who(const struct request *request);
enum exit_status verb_version(const struct request *request);
enum exit_status verb_help(const struct request *request);
enum exit_status verb_completion(const struct request *request);

/* The `help` pages: of the program, and of one verb. */
void help_program(FILE *out);
void help_verb(FILE *out, const struct verb *verb);

/* Prints "gpuslice: <sentence>" to standard error, on one line. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
