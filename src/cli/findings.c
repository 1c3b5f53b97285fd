// SPDX-License-Identifier: Apache-2.0
#include "cli/findings.h"

#include "base/array.h"
#include "base/text.h"
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

/* Problems of the machine are unrelated to the file, so its name is left out. */
static void print_line(const struct problems *problems, const struct problem *problem, FILE *out)
{
    static const struct problems no_file = PROBLEMS_INIT;
    bool in_file = problem->at.line || *problem->path;
    char line[2048];

    problem_format(in_file ? problems : &no_file, problem, line, sizeof(line));
    fprintf(out, "%s\n", line);
}

static void print_group(const struct problems *problems, size_t group, FILE *out)
{
    size_t n = problems_count(problems, groups[group].severity);
    const struct problem *problem = NULL;

    if (!n)
        return;
    style_begin(out, groups[group].style);
    fprintf(out, "%s:\n", n == 1 ? groups[group].one : groups[group].many);
    style_end(out);
    while ((problem = problems_next(problems, problem)))
        if (problem->severity == groups[group].severity)
            print_line(problems, problem, out);
}

static void print_summary(const struct problems *problems, FILE *out)
{
    const char *separator = ": ";

    fputs(problems->source ? problems->source : "configuration", out);
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        size_t n = problems_count(problems, groups[i].severity);

        if (!n)
            continue;
        fprintf(out, "%s%zu %s", separator, n, n == 1 ? groups[i].one : groups[i].many);
        separator = ", ";
    }
    fputs(str_equal(separator, ": ") ? ": clean\n" : "\n", out);
}

void findings_print(struct problems *problems, bool with_summary, FILE *out)
{
    problems_sort(problems);
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        print_group(problems, i, out);
    if (with_summary)
        print_summary(problems, out);
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
