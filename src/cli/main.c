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

static enum exit_status run(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    const struct verb *verb;
    cleanup_request struct request request = REQUEST_INIT;

    if (argc < 2) {
        help_program(stderr);
        return EXIT_USAGE;
    }
    verb = verb_find(verb_name(argv[1]));
    if (!verb)
        return unknown_verb(argv[1]);
    if (request_parse(verb, argc - 2, argv + 2, &request, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_USAGE;
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
