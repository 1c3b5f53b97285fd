// SPDX-License-Identifier: Apache-2.0

/* gpuslice-sim: inspects simulated machines, and changes them at run time. */

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/names.h"
#include "base/text.h"
#include "nvml/tool/inject.h"
#include "nvml/tool/partition.h"
#include "nvml/tool/procfs.h"
#include "nvml/tool/report.h"

enum { EXIT_WRONG = 1, EXIT_USAGE = 64 };

struct command {
    const char *machine;
    bool json;
    char **words; /* after the verb */
    int n_words;
};

static int complain(const struct problems *problems, const struct error *err)
{
    const struct problem *problem = NULL;
    char line[1024];

    if (err && err->code)
        fprintf(stderr, "gpuslice-sim: %s\n", error_text(err));
    while ((problem = problems_next(problems, problem))) {
        problem_format_severe(problems, problem, line, sizeof(line));
        fprintf(stderr, "%s%s\n", problems->source ? "" : "gpuslice-sim: ", line);
    }
    return EXIT_WRONG;
}

static int print(struct text *out)
{
    fputs(text_string(out), stdout);
    return text_failed(out) || fflush(stdout) ? EXIT_WRONG : 0;
}

static int is_machine(const struct dirent *entry)
{
    return str_ends_with(entry->d_name, ".yaml");
}

/* In an order that does not depend on where they come from. */
static void print_names(struct names *names)
{
    names_sort_by_version(names);
    for (size_t i = 0; i < names->n_items; i++)
        puts(names->items[i]);
}

static int list_directory(struct names *names, const char *directory)
{
    struct dirent **entries;
    int n = scandir(directory, &entries, is_machine, NULL), r = 0;

    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = names_add(names, entries[i]->d_name, strlen(entries[i]->d_name) - strlen(".yaml"));
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return r;
}

static bool was_before(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    for (const char *p = path; p < directory; p += strcspn(p, ":") + 1)
        if (strcspn(p, ":") == length && strncmp(p, directory, length) == 0)
            return true;
    return false;
}

/* Instance types without a machine file of their own. */
static int list_types(struct names *names)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_free char *folder = machine_catalog_folder();

    if (!folder || catalog_load(folder, &problems, &catalog) < 0)
        return complain(&problems, NULL);
    for (size_t i = 0; i < catalog.n_types; i++) {
        cleanup_free char *path = NULL;

        if (machine_find_file(catalog.types[i].name, NULL, &path) == -ENOENT &&
            names_add(names, catalog.types[i].name, strlen(catalog.types[i].name)) < 0)
            return EXIT_WRONG;
    }
    return 0;
}

static int run_list(const struct command *command)
{
    cleanup_free char *path = machine_search_path(), *copy = path ? strdup(path) : NULL;
    cleanup_names struct names names = NAMES_INIT;
    char *rest = copy, *directory;
    int status;

    if (!copy)
        return EXIT_WRONG;
    while ((directory = strsep(&rest, ":")))
        if (*directory && !was_before(path, path + (directory - copy)) &&
            list_directory(&names, directory) < 0)
            return EXIT_WRONG;
    status = list_types(&names);
    print_names(&names);
    return status;
}

static int load(const char *name, struct problems *problems, struct machine *machine)
{
    cleanup_free char *path = NULL;
    int r = machine_find(name, NULL, problems, &path);

    return r < 0 ? r : machine_load(path, problems, machine);
}

static int run_show(const struct command *command)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_free struct machine *machine = calloc(1, sizeof(*machine));
    cleanup_text struct text out = TEXT_INIT;

    if (!machine || load(command->words[0], &problems, machine) < 0)
        return complain(&problems, NULL);
    report_machine(&out, machine, command->json);
    return print(&out);
}

static int run_check(const struct command *command)
{
    cleanup_free struct machine *machine = calloc(1, sizeof(*machine));
    int status = 0;

    for (int i = 0; i < command->n_words && machine; i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        char line[1024];

        if (load(command->words[i], &problems, machine) < 0) {
            status = complain(&problems, NULL);
            continue;
        }
        snprintf(line, sizeof(line), "%s: clean", command->words[i]);
        str_make_line(line);
        puts(line);
    }
    return machine ? status : EXIT_WRONG;
}

static int open_machine(const struct command *command, struct state_file *file, char **ret_path)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;

    if (!command->machine || !*command->machine) {
        error_set(&err, -EINVAL, "name the machine: set GPUSLICE_MACHINE, or give --machine");
        complain(&problems, &err);
        return EXIT_USAGE;
    }
    if (machine_find(command->machine, NULL, &problems, ret_path) < 0 ||
        state_open(*ret_path, &problems, file, &err) < 0)
        return complain(&problems, &err);
    return 0;
}

static int run_state(const struct command *command)
{
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    cleanup_text struct text out = TEXT_INIT;
    cleanup_free char *path = NULL;
    int status = open_machine(command, &file, &path);

    if (status)
        return status;
    state_tick(&file);
    report_state(&out, &file, command->json);
    return print(&out);
}

static int run_path(const struct command *command)
{
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    cleanup_free char *path = NULL;
    int status = open_machine(command, &file, &path);

    if (status == 0)
        puts(file.path);
    return status;
}

/* Also repairs what cannot be opened: a state of another machine file, or of an older version. */
static int run_reset(const struct command *command)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    cleanup_free char *path = NULL;
    struct error err = ERROR_INIT;

    if (!command->machine || !*command->machine)
        return open_machine(command, &file, &path);
    if (machine_find(command->machine, NULL, &problems, &path) < 0 ||
        state_reset(path, &problems, &err) < 0)
        return complain(&problems, &err);
    return 0;
}

static int run_inject(const struct command *command)
{
    cleanup_problems struct problems none = PROBLEMS_INIT;
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    cleanup_free char *path = NULL;
    struct error err = ERROR_INIT;
    int status = open_machine(command, &file, &path);
    int r;

    if (status)
        return status;
    r = inject(&file, command->words, command->n_words, &err);
    if (r < 0)
        complain(&none, &err);
    return r == -EINVAL ? EXIT_USAGE : r < 0 ? EXIT_WRONG : 0;
}

static int run_mig(const struct command *command)
{
    cleanup_problems struct problems none = PROBLEMS_INIT;
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    cleanup_text struct text out = TEXT_INIT;
    cleanup_free char *path = NULL;
    struct error err = ERROR_INIT;
    int status = open_machine(command, &file, &path);
    int r;

    if (status)
        return status;
    if (command->n_words == 1 && !str_equal(command->words[0], "list")) {
        fputs("gpuslice-sim: name the GPU, or all; see gpuslice-sim help\n", stderr);
        return EXIT_USAGE;
    }
    r = partition(&file, command->words, command->n_words, &out, &err);
    if (r < 0) {
        complain(&none, &err);
        return r == -EINVAL ? EXIT_USAGE : EXIT_WRONG;
    }
    return print(&out);
}

static int run_proc(const struct command *command)
{
    cleanup_problems struct problems none = PROBLEMS_INIT;
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    cleanup_free char *path = NULL;
    struct error err = ERROR_INIT;
    int status = open_machine(command, &file, &path);

    if (status)
        return status;
    state_tick(&file);
    return procfs_write(command->words[0], file.state, &err) < 0 ? complain(&none, &err) : 0;
}

static int run_help(const struct command *command);

static const struct {
    const char *name, *words, *help;
    int min_words, max_words;
    int (*run)(const struct command *command);
} verbs[] = {
    {"list", "", "the machines that can be named, beside COUNTxMODEL", 0, 0, run_list},
    {"show", "NAME|FILE", "a machine as its file has it", 1, 1, run_show},
    {"check", "NAME|FILE...", "every problem of machine files", 1, 1000, run_check},
    {"state", "", "the running machine", 0, 0, run_state},
    {"path", "", "where its state lies", 0, 0, run_path},
    {"reset", "", "reset the machine to its file", 0, 0, run_reset},
    {"inject", "WHAT ...", "make something happen to it", 1, 8, run_inject},
    {"mig", "WHAT GPU ...", "partition its GPUs", 1, 66, run_mig},
    {"proc", "FOLDER", "what the driver shows below /proc", 1, 1, run_proc},
    {"help", "", "this text", 0, 0, run_help},
};

static int run_help(const struct command *command)
{
    cleanup_text struct text out = TEXT_INIT;

    text_add(&out, "usage: gpuslice-sim [options] VERB ...\n\nVerbs:\n");
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        text_addf(&out, "  %-7s %-14s  %s\n", verbs[i].name, verbs[i].words, verbs[i].help);
    text_add(&out, "\nWhat can be injected (CALL: an NVML function, or all):\n");
    inject_usage(&out);
    text_add(&out, "\nHow GPUs are partitioned (PROFILE: 3g.20gb, 1c.3g.20gb, gi:3g.20gb):\n"
                   "  mig list\n");
    partition_usage(&out);
    text_add(&out, "\nOptions:\n"
                   "  -m, --machine NAME|FILE  which machine; default: $GPUSLICE_MACHINE\n"
                   "  -s, --state FILE         its state; default: $GPUSLICE_SIM_STATE\n"
                   "  -o, --output FORMAT      table or json\n"
                   "  -h, --help               this text\n"
                   "  -V, --version            the version\n");
    return print(&out);
}

static int run_verb(const char *name, struct command *command)
{
    const char *names[ARRAY_SIZE(verbs)], *near;

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        names[i] = verbs[i].name;
        if (!str_equal(name, names[i]))
            continue;
        if (command->n_words < verbs[i].min_words || command->n_words > verbs[i].max_words) {
            fprintf(stderr, "gpuslice-sim: write: %s %s\n", name, verbs[i].words);
            return EXIT_USAGE;
        }
        return verbs[i].run(command);
    }
    near = str_suggest(name, names, ARRAY_SIZE(names));
    if (near)
        fprintf(stderr, "gpuslice-sim: no verb '%s'; did you mean '%s'?\n", name, near);
    else
        fprintf(stderr, "gpuslice-sim: no verb '%s'; see gpuslice-sim help\n", name);
    return EXIT_USAGE;
}

static int read_output(struct command *command, const char *format)
{
    if (str_equal(format, "json"))
        command->json = true;
    else if (!str_equal(format, "table"))
        return -EINVAL;
    return 0;
}

/* What lies beside a program that was moved with its prefix (make install DESTDIR=..., an image)
 * replaces what is not set; in a build folder there is nothing. */
static void find_moved(const char *variable, const char *relative)
{
    char program[PATH_MAX], path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    const char *slash;

    program[n < 0 ? 0 : n] = '\0';
    slash = strrchr(program, '/');
    if (!slash)
        return;
    snprintf(path, sizeof(path), "%.*s/../share/gpuslice/%s", (int)(slash - program), program,
             relative);
    if (access(path, R_OK) == 0)
        setenv(variable, path, 0);
}

/*
 * Called by the name nvidia-smi: what programs ask of it that NVML cannot do, a reset of GPUs
 * ("-r -i ID,ID", as NVIDIA/mig-parted writes it; "--gpu-reset -i ID"). 0, or nvidia-smi's status.
 */
static int run_as_nvidia_smi(int argc, char **argv)
{
    struct command command = {.machine = getenv("GPUSLICE_MACHINE")};
    char verb[] = "reset", *rest = argc == 4 ? argv[3] : NULL, *one;
    int status = 0;

    if (!rest || !(str_equal(argv[1], "-r") || str_equal(argv[1], "--gpu-reset")) ||
        !(str_equal(argv[2], "-i") || str_equal(argv[2], "--id"))) {
        fputs("nvidia-smi: the simulator's only does -r -i ID\n", stderr);
        return EXIT_WRONG;
    }
    while (status == 0 && (one = strsep(&rest, ","))) {
        command.words = (char *[]){verb, one};
        command.n_words = 2;
        status = run_mig(&command);
        if (status == 0)
            printf("GPU %s was successfully reset.\n", one);
    }
    return status ? EXIT_WRONG : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"machine", required_argument, NULL, 'm'}, {"state", required_argument, NULL, 's'},
        {"output", required_argument, NULL, 'o'},  {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0},
    };
    struct command command = {.machine = getenv("GPUSLICE_MACHINE")};
    int option;

    find_moved("GPUSLICE_MACHINE_PATH", "machines");
    find_moved("GPUSLICE_CATALOG", "catalog");
    if (str_ends_with(argv[0], "nvidia-smi"))
        return run_as_nvidia_smi(argc, argv);
    while ((option = getopt_long(argc, argv, "m:s:o:hV", options, NULL)) != -1) {
        if (option == 'm')
            command.machine = optarg;
        else if (option == 's')
            setenv("GPUSLICE_SIM_STATE", optarg, 1);
        else if (option == 'h')
            return run_help(&command);
        else if (option == 'V')
            return puts("gpuslice-sim " GPUSLICE_VERSION) < 0 ? EXIT_WRONG : 0;
        else if (option != 'o')
            return EXIT_USAGE; /* getopt has printed the reason */
        else if (read_output(&command, optarg) < 0) {
            fprintf(stderr, "gpuslice-sim: no output '%s': write table or json\n", optarg);
            return EXIT_USAGE;
        }
    }
    if (optind == argc) {
        fputs("gpuslice-sim: say what to do; see gpuslice-sim help\n", stderr);
        return EXIT_USAGE;
    }
    command.words = argv + optind + 1;
    command.n_words = argc - optind - 1;
    return run_verb(argv[optind], &command);
}
