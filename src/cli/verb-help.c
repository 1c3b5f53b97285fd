// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <string.h>

enum { WIDTH = 80, MEANING_AT = 30 };

/* Wraps `text` from column MEANING_AT on; the cursor is already there. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = MEANING_AT;

    while (*text) {
        size_t length = strcspn(text, " ");

        if (column > MEANING_AT && column + 1 + length > WIDTH) {
            fprintf(out, "\n%*s", MEANING_AT, "");
            column = MEANING_AT;
        } else if (column > MEANING_AT) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct option_row *row)
{
    char left[MEANING_AT + 32];

    char letter[] = {'-', row->letter, ',', '\0'};

    snprintf(left, sizeof(left), "  %-3s --%s%s%s", row->letter ? letter : "", row->name,
             row->value ? " " : "", row->value ? row->value : "");
    if (strlen(left) + 2 > MEANING_AT)
        fprintf(out, "%s\n%*s", left, MEANING_AT, "");
    else
        fprintf(out, "%-*s", MEANING_AT, left);
    print_wrapped(out, row->meaning);
}

void help_verb(FILE *out, const struct verb *verb)
{
    const char *operand = verb->operand ? verb->operand : "";
    const size_t width = strlen("Usage: gpuslice  [OPTION...] ") + strlen(verb->name);

    fprintf(out, "Usage: gpuslice %s [OPTION...]%s%s\n\n%s\nOptions:\n", verb->name,
            !*operand                         ? ""
            : width + strlen(operand) > WIDTH ? " \\\n           "
                                              : " ",
            operand, verb->about);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (verb->options & (1ull << i))
            print_option(out, &option_rows[i]);
    fprintf(out, "\nExamples:\n%s", verb->examples);
}

void help_program(FILE *out)
{
    fputs("Usage: gpuslice VERB [OPTION...] [FILE]\n\ngpuslice carves the GPUs of Kubernetes nodes "
          "into slices. This program shows,\nwithout a cluster, what the node agent would do with "
          "a configuration, and on a\nnode, which pods the processes on its GPUs belong "
          "to.\n\nVerbs:\n",
          out);
    for (size_t i = 0; i < n_verbs; i++)
        if (!verb_second_word(&verbs[i]))
            fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].summary);
    fputs("\n'gpuslice help VERB' explains a verb; the manual pages are gpuslice(1) "
          "and\ngpuslice.yaml(5). Colours are off when NO_COLOR is set and not empty.\n",
          out);
}

enum exit_status verb_help(const struct request *request)
{
    const struct verb *verb;

    if (!request->operand) {
        help_program(stdout);
        return EXIT_CLEAN;
    }
    verb = verb_find(request->operand);
    if (verb) {
        help_verb(stdout, verb);
        return EXIT_CLEAN;
    }
    verb = verb_suggest(request->operand);
    if (verb)
        complain("unknown verb '%s'; did you mean 'gpuslice help %s'?", request->operand,
                 verb->name);
    else
        complain("unknown verb '%s'; 'gpuslice help' lists the verbs", request->operand);
    return EXIT_USAGE;
}
