// SPDX-License-Identifier: Apache-2.0
#include "cli/findings.h"

#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/excerpt.h"
#include "cli/source.h"
#include "cli/style.h"

/* By descending severity. */
static const struct {
    enum problem_severity severity;
    enum style style;
    const char *one, *many;
} groups[] = {
    {PROBLEM_ERROR, STYLE_ERROR, "error", "errors"},
    {PROBLEM_WARNING, STYLE_WARNING, "warning", "warnings"},
    {PROBLEM_NOTE, STYLE_NOTE, "note", "notes"},
};

static enum style style_of(enum problem_severity severity)
{
    size_t i = 0;

    while (groups[i].severity != severity)
        i++;
    return groups[i].style;
}

/* The severity in its colour: its first occurrence behind the place. */
static void print_coloured(const char *line, const struct problem *problem, FILE *out)
{
    char severity[16];
    const char *at;

    snprintf(severity, sizeof(severity), "%s: ", problem_severity_name(problem->severity));
    at = strstr(line, severity);
    if (!at) { /* the name of the file fills the line */
        fprintf(out, "%s\n", line);
        return;
    }
    fprintf(out, "%.*s", (int)(at - line), line);
    style_begin(out, style_of(problem->severity));
    fprintf(out, "%.*s", (int)strlen(severity) - 1, at);
    style_end(out);
    fprintf(out, "%s\n", at + strlen(severity) - 1);
}

/* Problems of the machine are unrelated to the file, so its name is left out. */
static void print_problem(const struct problems *problems, const struct problem *problem,
                          const struct source *source, FILE *out)
{
    static const struct problems no_file = PROBLEMS_INIT;
    bool in_file = problem->at.line || *problem->path;
    char line[8192];

    problem_format_severe(in_file ? problems : &no_file, problem, line, sizeof(line));
    print_coloured(line, problem, out);
    if (source && source->data && isatty(fileno(out)))
        excerpt_print(source->data, source->size, problem->at, excerpt_width(out), out);
}

void findings_summarise(const size_t counts[PROBLEM_ERROR + 1], FILE *out)
{
    const char *separator = "";

    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        size_t n = counts[groups[i].severity];

        if (!n)
            continue;
        fprintf(out, "%s%zu %s", separator, n, n == 1 ? groups[i].one : groups[i].many);
        separator = ", ";
    }
    fputs(*separator ? "\n" : "clean\n", out);
}

static void print_summary(const struct problems *problems, FILE *out)
{
    size_t counts[PROBLEM_ERROR + 1];
    char name[1024];

    snprintf(name, sizeof(name), "%s", problems->source ? problems->source : "configuration");
    str_drop_partial(name);
    str_make_line(name);
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        counts[i] = problems_count(problems, (enum problem_severity)i);
    fprintf(out, "%s: ", name);
    findings_summarise(counts, out);
}

void findings_print(struct problems *problems, const struct source *source, bool with_summary,
                    FILE *out)
{
    const struct problem *problem = NULL;

    problems_sort(problems);
    while ((problem = problems_next(problems, problem)))
        if (problem->at.line)
            print_problem(problems, problem, source, out);
    while ((problem = problems_next(problems, problem)))
        if (!problem->at.line)
            print_problem(problems, problem, source, out);
    if (with_summary)
        print_summary(problems, out);
}

enum exit_status findings_status(const struct problems *problems)
{
    if (problems_count(problems, PROBLEM_ERROR))
        return EXIT_ERRORS;
    return problems_count(problems, PROBLEM_WARNING) ? EXIT_WARNINGS : EXIT_CLEAN;
}

static json_t *place(unsigned number)
{
    return number ? json_integer(number) : json_null();
}

json_t *findings_tree(struct problems *problems)
{
    const struct problem *problem = NULL;
    json_t *list = json_array();

    problems_sort(problems);
    while ((problem = problems_next(problems, problem)))
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:s, s:s}", "severity",
                                              problem_severity_name(problem->severity), "line",
                                              place(problem->at.line), "column",
                                              place(problem->at.column), "path", problem->path,
                                              "text", problem->text));
    return json_pack("{s:s?, s:I, s:I, s:I, s:o}", "file", problems->source, "errors",
                     (json_int_t)problems_count(problems, PROBLEM_ERROR), "warnings",
                     (json_int_t)problems_count(problems, PROBLEM_WARNING), "notes",
                     (json_int_t)problems_count(problems, PROBLEM_NOTE), "problems", list);
}
