// SPDX-License-Identifier: Apache-2.0

/* gpuslice: plan and check, on any computer or on a node. */

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/request.h"
#include "cli/verb.h"

/* `gpuslice --help` and `gpuslice --version` are aliases of verbs. */
static const char *verb_name(const char *word)
{
    static const struct {
        const char *word, *verb;
    } aliases[] = {{"--help", "help"},
                   {"-h", "help"},
                   {"--version", "version"},
                   {"-V", "version"},
                   {"-v", "version"}};

    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (str_equal(aliases[i].word, word))
            return aliases[i].verb;
    return word;
}

static enum exit_status unknown_verb(const char *word)
{
    const struct verb *near = verb_suggest(word + strspn(word, "-"));

    if (near)
        complain("unknown verb '%s'; did you mean '%s'?", word, near->name);
    else
        complain("unknown verb '%s'; 'gpuslice help' lists the verbs", word);
    return EXIT_USAGE;
}

/* `gpuslice help mig assert` */
static const struct verb *find_explained(int argc, char *argv[])
{
    int n_words = 0;
    const struct verb *verb = argc == 4 && str_equal(verb_name(argv[1]), "help")
                                  ? verb_find_words(2, argv + 2, &n_words)
                                  : NULL;

    return n_words == 2 ? verb : NULL;
}

/* mig-parted takes --debug before its verb, too. */
static void move_debug(int argc, char *argv[])
{
    char *option = argc > 3 ? argv[2] : NULL;

    if (!option || !str_equal(argv[1], "mig") ||
        (!str_equal(option, "-d") && !str_equal(option, "--debug")))
        return;
    argv[2] = argv[3];
    argv[3] = option;
}

static enum exit_status run(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    const struct verb *verb;
    cleanup_request struct request request = REQUEST_INIT;
    int n_words;

    if (argc < 2) {
        help_program(stderr);
        return EXIT_USAGE;
    }
    verb = find_explained(argc, argv);
    if (verb) {
        help_verb(stdout, verb);
        return EXIT_CLEAN;
    }
    move_debug(argc, argv);
    verb = verb_find(verb_name(argv[1]));
    if (!verb)
        return unknown_verb(argv[1]);
    if (str_equal(verb->name, argv[1]))
        verb = verb_find_words(argc - 1, argv + 1, &n_words);
    else
        n_words = 1;
    if (request_parse(verb, argc - 1 - n_words, argv + 1 + n_words, &request, &err) < 0) {
        complain("%s", error_text(&err));
        return verb->is_migparted ? EXIT_MIG_FAILED : EXIT_USAGE;
    }
    if (request.help) {
        help_verb(stdout, verb);
        return EXIT_CLEAN;
    }
    return verb->run(&request);
}

int main(int argc, char *argv[])
{
    enum exit_status status;

    file_open_standard_streams();
    status = run(argc, argv);
    /* A full disk must not pass for a complete plan. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("cannot write the output: %s", strerror(errno));
        return EXIT_UNREADABLE;
    }
    return (int)status;
}
