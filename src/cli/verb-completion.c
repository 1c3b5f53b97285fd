// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/target.h"

/* What a shell completes after an option. */
enum completed {
    COMPLETE_NOTHING,
    COMPLETE_WORDS,
    COMPLETE_FILES,
    COMPLETE_MACHINES,
    COMPLETE_ANY
};

static enum completed completed(size_t option)
{
    if (!option_rows[option].value)
        return COMPLETE_NOTHING;
    if (option_rows[option].words)
        return COMPLETE_WORDS;
    if (option == OPTION_CONFIG || option == OPTION_ROOT)
        return COMPLETE_FILES;
    return option == OPTION_MACHINE ? COMPLETE_MACHINES : COMPLETE_ANY;
}

/* "table|json|yaml" -> "table json yaml" */
static void put_words(const char *words)
{
    for (const char *c = words; *c; c++)
        putchar(*c == '|' ? ' ' : *c);
}

static void put_verbs(void)
{
    for (size_t i = 0; i < n_verbs; i++)
        printf("%s%s", i ? " " : "", verbs[i].name);
}

static bool takes_file(const struct verb *verb)
{
    return verb->operand && (verb->options & (1u << OPTION_CONFIG));
}

static bool takes_processes(const struct verb *verb)
{
    return verb->operand && str_starts_with(verb->operand, "PID");
}

/* For verbs that take no file: the possible words, or the verbs that `help` explains. */
static void put_operands(const struct verb *verb)
{
    if (!verb->operand || takes_processes(verb))
        return;
    if (strchr(verb->operand, '|'))
        put_words(verb->operand);
    else
        put_verbs();
}

static void bash_option_values(const struct verb *verb)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option_row *row = &option_rows[i];

        if (!(verb->options & (1u << i)) || !row->value)
            continue;
        printf("    %s:--%s | %s:-%c) ", verb->name, row->name, verb->name, row->letter);
        if (completed(i) == COMPLETE_WORDS) {
            fputs("words=\"", stdout);
            put_words(row->value);
            fputs("\" ;;\n", stdout);
        } else if (completed(i) == COMPLETE_MACHINES) {
            fputs("words=\"$(gpuslice completion machines 2>/dev/null)\" files=1 ;;\n", stdout);
        } else {
            fputs(completed(i) == COMPLETE_FILES ? "files=1 ;;\n" : ";;\n", stdout);
        }
    }
}

static void bash_verb(const struct verb *verb)
{
    printf("    %s:*)\n        words=\"", verb->name);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (verb->options & (1u << i))
            printf("--%s ", option_rows[i].name);
    if (!takes_file(verb))
        put_operands(verb);
    printf("\"%s\n        ;;\n", takes_file(verb) ? " files=1" : "");
}

static void print_bash(void)
{
    fputs(
        "# bash completion for gpuslice; printed by `gpuslice completion bash`.\n"
        "_gpuslice()\n"
        "{\n"
        "    local current=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
        "    local words=\"\" files=\"\"\n"
        "    COMPREPLY=()\n"
        "    if ((COMP_CWORD == 1)); then\n"
        "        words=\"",
        stdout);
    put_verbs();
    fputs("\"\n"
          "    else case \"${COMP_WORDS[1]}:$before\" in\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++)
        bash_option_values(&verbs[i]);
    for (size_t i = 0; i < n_verbs; i++)
        bash_verb(&verbs[i]);
    fputs("    esac; fi\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" ${files:+-f} -- \"$current\")\n"
          "}\n"
          "complete -o filenames -F _gpuslice gpuslice\n",
          stdout);
}

/* Inside [...] of zsh's _arguments and inside its single quotes. */
static void zsh_meaning(const char *meaning)
{
    for (const char *c = meaning; *c; c++)
        if (*c == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:", *c))
            printf("\\%c", *c);
        else
            putchar(*c);
}

static void zsh_option(size_t option)
{
    static const char *const actions[] = {[COMPLETE_FILES] = ":file:_files",
                                          [COMPLETE_MACHINES] = ":machine:_gpuslice_machines",
                                          [COMPLETE_ANY] = ":key: "};
    const struct option_row *row = &option_rows[option];

    printf("                '(-%c --%s)'{-%c,--%s}'[", row->letter, row->name, row->letter,
           row->name);
    zsh_meaning(row->meaning);
    putchar(']');
    if (completed(option) == COMPLETE_WORDS) {
        fputs(":format:(", stdout);
        put_words(row->value);
        putchar(')');
    } else if (row->value) {
        fputs(actions[completed(option)], stdout);
    }
    fputs("' \\\n", stdout);
}

static void zsh_verb(const struct verb *verb)
{
    printf("        %s)\n            _arguments \\\n", verb->name);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (verb->options & (1u << i))
            zsh_option(i);
    if (takes_file(verb)) {
        fputs("                ':file:_files'\n", stdout);
    } else if (!verb->operand) {
        fputs("                ':nothing: '\n", stdout);
    } else if (takes_processes(verb)) {
        fputs("                '*:process:_pids'\n", stdout);
    } else {
        fputs("                ':word:(", stdout);
        put_operands(verb);
        fputs(")'\n", stdout);
    }
    fputs("            ;;\n", stdout);
}

static void print_zsh(void)
{
    fputs("#compdef gpuslice\n"
          "# zsh completion for gpuslice; printed by `gpuslice completion zsh`.\n"
          "_gpuslice_machines()\n"
          "{\n"
          "    local -a machines\n"
          "    machines=(${(f)\"$(gpuslice completion machines 2>/dev/null)\"})\n"
          "    _describe machine machines\n"
          "    _files\n"
          "}\n"
          "_gpuslice()\n"
          "{\n"
          "    local -a verbs\n"
          "    verbs=(\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++) {
        printf("        '%s:", verbs[i].name);
        zsh_meaning(verbs[i].summary);
        fputs("'\n", stdout);
    }
    fputs("    )\n"
          "    if ((CURRENT == 2)); then\n"
          "        _describe verb verbs\n"
          "        return\n"
          "    fi\n"
          "    shift words\n"
          "    ((CURRENT--))\n"
          "    case \"$words[1]\" in\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++)
        zsh_verb(&verbs[i]);
    fputs("    esac\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _gpuslice ]; then _gpuslice \"$@\"; else compdef _gpuslice "
          "gpuslice; fi\n",
          stdout);
}

/* Inside single quotes of fish. */
static void fish_quoted(const char *text)
{
    putchar('\'');
    for (const char *c = text; *c; c++)
        printf("%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
    putchar('\'');
}

static void fish_option(const struct verb *verb, size_t option)
{
    const struct option_row *row = &option_rows[option];

    printf("complete -c gpuslice -n '__fish_seen_subcommand_from %s' -s %c -l %s", verb->name,
           row->letter, row->name);
    switch (completed(option)) {
    case COMPLETE_NOTHING:
        break;
    case COMPLETE_WORDS:
        fputs(" -x -a '", stdout);
        put_words(row->value);
        putchar('\'');
        break;
    case COMPLETE_FILES:
        fputs(" -r -F", stdout);
        break;
    case COMPLETE_MACHINES:
        fputs(" -r -F -a '(gpuslice completion machines 2>/dev/null)'", stdout);
        break;
    case COMPLETE_ANY:
        fputs(" -x", stdout);
        break;
    }
    fputs(" -d ", stdout);
    fish_quoted(row->meaning);
    putchar('\n');
}

static void fish_operands(const struct verb *verb)
{
    if (!verb->operand)
        return;
    printf("complete -c gpuslice -n '__fish_seen_subcommand_from %s' ", verb->name);
    if (takes_file(verb)) {
        fputs("-F\n", stdout);
        return;
    }
    fputs("-a '", stdout);
    if (takes_processes(verb))
        fputs("(__fish_complete_pids)", stdout);
    put_operands(verb);
    fputs("'\n", stdout);
}

static void print_fish(void)
{
    fputs("# fish completion for gpuslice; printed by `gpuslice completion fish`.\n"
          "complete -c gpuslice -f\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++) {
        printf("complete -c gpuslice -n __fish_use_subcommand -a %s -d ", verbs[i].name);
        fish_quoted(verbs[i].summary);
        putchar('\n');
        for (size_t j = 0; j < N_OPTIONS; j++)
            if (verbs[i].options & (1u << j))
                fish_option(&verbs[i], j);
        fish_operands(&verbs[i]);
    }
}

static void print_machines(void)
{
    cleanup_text struct text names = TEXT_INIT;

    target_names(&names, "\n");
    if (names.length)
        puts(text_string(&names));
}

enum exit_status verb_completion(const struct request *request)
{
    static const struct {
        const char *word;
        void (*print)(void);
    } scripts[] = {{"bash", print_bash},
                   {"zsh", print_zsh},
                   {"fish", print_fish},
                   {"machines", print_machines}};
    const char *words[ARRAY_SIZE(scripts)], *near = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
        words[i] = scripts[i].word;
        if (request->operand && str_equal(words[i], request->operand)) {
            scripts[i].print();
            return EXIT_CLEAN;
        }
    }
    if (request->operand)
        near = str_suggest(request->operand, words, ARRAY_SIZE(words));
    if (near)
        complain("no completion for '%s'; did you mean '%s'?", request->operand, near);
    else
        complain("name a shell: gpuslice completion bash, zsh or fish");
    return EXIT_USAGE;
}
