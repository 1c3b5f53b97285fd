// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/source.h"
#include "cli/target.h"

/* What a shell completes after an option. */
enum completed {
    COMPLETE_NOTHING,
    COMPLETE_WORDS,
    COMPLETE_FILES,
    COMPLETE_MACHINES,
    COMPLETE_KEYS
};

/* The other programs: their options are in their own help. */
static const struct {
    const char *name, *verbs;
} sisters[] = {
    {"gpuslice-node", ""},
    {"gpuslice-sim", "list show check state path reset inject help"},
    {"gpuslice-kubelet", "run apply delete scale get logs wait help"},
};

#define OPTIONS_OF_HELP " --help 2>/dev/null | grep -oE -e '--[a-z][a-z-]+' | sort -u"

static enum completed completed(size_t option)
{
    static const enum completed values[N_OPTIONS] = {
        [OPTION_CONFIG] = COMPLETE_FILES,
        [OPTION_ROOT] = COMPLETE_FILES,
        [OPTION_ARBITER_DIR] = COMPLETE_FILES,
        [OPTION_RUN_ARBITER_DIR] = COMPLETE_FILES,
        [OPTION_MIG_FILE] = COMPLETE_FILES,
        [OPTION_PLAN_MIG_FILE] = COMPLETE_FILES,
        [OPTION_HOOKS] = COMPLETE_FILES,
        [OPTION_GENERATED_FILE] = COMPLETE_FILES,
        [OPTION_KEY] = COMPLETE_KEYS,
        [OPTION_MACHINE] = COMPLETE_MACHINES,
        [OPTION_MIG_MACHINE] = COMPLETE_MACHINES,
        [OPTION_USERDATA_MACHINE] = COMPLETE_MACHINES,
    };

    return option_rows[option].words ? COMPLETE_WORDS : values[option];
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
        if (!verb_second_word(&verbs[i]))
            printf("%s%s", i ? " " : "", verbs[i].name);
}

static bool takes_file(const struct verb *verb)
{
    return verb->operand && strstr(verb->operand, "FILE");
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

        if (!(verb->options & (1ull << i)) || !row->value)
            continue;
        printf("    '%s':--%s", verb->name, row->name);
        if (row->letter)
            printf(" | '%s':-%c", verb->name, row->letter);
        fputs(") ", stdout);
        if (completed(i) == COMPLETE_WORDS) {
            fputs("words=\"", stdout);
            put_words(row->value);
            fputs("\" ;;\n", stdout);
        } else if (completed(i) == COMPLETE_MACHINES) {
            fputs("words=\"$(gpuslice completion machines 2>/dev/null)\" files=1 ;;\n", stdout);
        } else if (completed(i) == COMPLETE_KEYS) {
            fputs("words=\"$(_gpuslice_keys)\" ;;\n", stdout);
        } else {
            fputs(completed(i) == COMPLETE_FILES ? "files=1 ;;\n" : ";;\n", stdout);
        }
    }
}

static void bash_verb(const struct verb *verb)
{
    printf("    '%s':*)\n        words=\"", verb->name);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (verb->options & (1ull << i))
            printf("--%s ", option_rows[i].name);
    if (!takes_file(verb))
        put_operands(verb);
    printf("\"%s\n        ;;\n", takes_file(verb) ? " files=1" : "");
}

static void print_bash(void)
{
    fputs(
        "# bash completion for gpuslice; printed by `gpuslice completion bash`.\n"
        "_gpuslice_keys()\n"
        "{\n"
        "    local word file=\"\"\n"
        "    for word in \"${COMP_WORDS[@]:1}\"; do [[ -f $word ]] && file=$word; done\n"
        "    [[ -n $file ]] && gpuslice completion keys --config \"$file\" 2>/dev/null\n"
        "}\n"
        "_gpuslice_sister()\n"
        "{\n"
        "    local current=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
        "    local words=\"\"\n"
        "    case \"${1##*/}:$before\" in\n"
        "    gpuslice-sim:-m | gpuslice-sim:--machine | gpuslice-sim:show | gpuslice-sim:check)\n"
        "        words=\"$(gpuslice completion machines 2>/dev/null)\" ;;\n",
        stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sisters); i++)
        printf("    %s:*)\n        words=\"%s $(\"$1\"" OPTIONS_OF_HELP ")\" ;;\n", sisters[i].name,
               sisters[i].verbs);
    fputs(
        "    esac\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -f -- \"$current\")\n"
        "}\n"
        "_gpuslice()\n"
        "{\n"
        "    local current=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
        "    local words=\"\" files=\"\" verb=\"${COMP_WORDS[1]}\"\n"
        "    ((COMP_CWORD > 2)) && [[ $verb == @(mig|render) ]] && verb+=\" ${COMP_WORDS[2]}\"\n"
        "    COMPREPLY=()\n"
        "    if ((COMP_CWORD == 1)); then\n"
        "        words=\"",
        stdout);
    put_verbs();
    fputs("\"\n"
          "    else case \"$verb:$before\" in\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++)
        bash_option_values(&verbs[i]);
    for (size_t i = 0; i < n_verbs; i++)
        bash_verb(&verbs[i]);
    fputs("    esac; fi\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" ${files:+-f} -- \"$current\")\n"
          "}\n"
          "complete -o filenames -F _gpuslice gpuslice\n"
          "complete -o filenames -F _gpuslice_sister",
          stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sisters); i++)
        printf(" %s", sisters[i].name);
    putchar('\n');
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
    static const char *const actions[] = {[COMPLETE_NOTHING] = ":value: ",
                                          [COMPLETE_FILES] = ":file:_files",
                                          [COMPLETE_MACHINES] = ":machine:_gpuslice_machines",
                                          [COMPLETE_KEYS] = ":key:_gpuslice_keys"};
    const struct option_row *row = &option_rows[option];

    if (row->letter)
        printf("                '(-%c --%s)'{-%c,--%s}'[", row->letter, row->name, row->letter,
               row->name);
    else
        printf("                '--%s[", row->name);
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
    printf("        '%s')\n            _arguments \\\n", verb->name);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (verb->options & (1ull << i))
            zsh_option(i);
    if (takes_file(verb)) {
        printf("                '%s:file:_files'\n",
               str_ends_with(verb->operand, "...") ? "*" : "");
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
    fputs("#compdef gpuslice", stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sisters); i++)
        printf(" %s", sisters[i].name);
    fputs("\n"
          "# zsh completion for gpuslice; printed by `gpuslice completion zsh`.\n"
          "_gpuslice_machines()\n"
          "{\n"
          "    local -a machines\n"
          "    machines=(${(f)\"$(gpuslice completion machines 2>/dev/null)\"})\n"
          "    _describe machine machines\n"
          "    _files\n"
          "}\n"
          "_gpuslice_keys()\n"
          "{\n"
          "    local word file\n"
          "    local -a keys\n"
          "    for word in $words; do [[ -f $word ]] && file=$word; done\n"
          "    [[ -n $file ]] && keys=(${(f)\"$(gpuslice completion keys --config $file "
          "2>/dev/null)\"})\n"
          "    compadd -a keys\n"
          "}\n"
          "_gpuslice_sister()\n"
          "{\n"
          "    local -a found\n"
          "    found=(${(f)\"$($service" OPTIONS_OF_HELP ")\"})\n"
          "    case \"$service:${words[CURRENT - 1]}\" in\n"
          "    gpuslice-sim:(-m|--machine|show|check)) _gpuslice_machines; return ;;\n",
          stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sisters); i++)
        printf("    %s:*) found+=(%s) ;;\n", sisters[i].name, sisters[i].verbs);
    fputs("    esac\n"
          "    compadd -a found\n"
          "    _files\n"
          "}\n"
          "_gpuslice()\n"
          "{\n"
          "    if [[ $service != gpuslice ]]; then\n"
          "        _gpuslice_sister\n"
          "        return\n"
          "    fi\n"
          "    local -a verbs\n"
          "    verbs=(\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++) {
        if (verb_second_word(&verbs[i]))
            continue;
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
          "    if [[ $words[1] == (mig|render) ]] && ((CURRENT > 2)); then\n"
          "        local group=$words[1]\n"
          "        shift words\n"
          "        ((CURRENT--))\n"
          "        words[1]=\"$group $words[1]\"\n"
          "    fi\n"
          "    case \"$words[1]\" in\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++)
        zsh_verb(&verbs[i]);
    fputs("    esac\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _gpuslice ]; then _gpuslice \"$@\"; else compdef _gpuslice "
          "gpuslice",
          stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sisters); i++)
        printf(" %s", sisters[i].name);
    fputs("; fi\n", stdout);
}

/* Inside single quotes of fish. */
static void fish_quoted(const char *text)
{
    putchar('\'');
    for (const char *c = text; *c; c++)
        printf("%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
    putchar('\'');
}

/* A verb of `mig` may have the name of another: "mig plan". */
static void fish_condition(const struct verb *verb)
{
    const char *second = verb_second_word(verb);
    bool is_second = false;

    for (size_t i = 0; i < n_verbs && !is_second; i++)
        is_second =
            verb_second_word(&verbs[i]) && str_equal(verb_second_word(&verbs[i]), verb->name);
    printf("complete -c gpuslice -n '__fish_seen_subcommand_from %s", second ? second : verb->name);
    if (second)
        printf("; and __fish_seen_subcommand_from %.*s", (int)(second - 1 - verb->name),
               verb->name);
    else if (is_second)
        fputs("; and not __fish_seen_subcommand_from mig", stdout);
    putchar('\'');
}

static void fish_option(const struct verb *verb, size_t option)
{
    const struct option_row *row = &option_rows[option];

    fish_condition(verb);
    if (row->letter)
        printf(" -s %c", row->letter);
    printf(" -l %s", row->name);
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
    case COMPLETE_KEYS:
        fputs(" -x -a '(__gpuslice_keys)'", stdout);
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
    fish_condition(verb);
    putchar(' ');
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
          "function __gpuslice_keys\n"
          "    for word in (commandline -opc)[2..]\n"
          "        test -f $word; and set file $word\n"
          "    end\n"
          "    set -q file; and gpuslice completion keys --config $file 2>/dev/null\n"
          "end\n"
          "complete -c gpuslice -f\n",
          stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sisters); i++)
        printf("complete -c %s -a '%s (%s"
               "%s"
               ")'\n",
               sisters[i].name, sisters[i].verbs, sisters[i].name,
               " --help 2>/dev/null | string match -ra -- \"--[a-z][a-z-]+\"");
    fputs("complete -c gpuslice-sim -s m -l machine -x -a '(gpuslice completion machines)'\n",
          stdout);
    for (size_t i = 0; i < n_verbs; i++) {
        if (!verb_second_word(&verbs[i])) {
            printf("complete -c gpuslice -n __fish_use_subcommand -a %s -d ", verbs[i].name);
            fish_quoted(verbs[i].summary);
            putchar('\n');
        }
        for (size_t j = 0; j < N_OPTIONS; j++)
            if (verbs[i].options & (1ull << j))
                fish_option(&verbs[i], j);
        fish_operands(&verbs[i]);
    }
}

/* Of a file that cannot be read there are none. */
static void print_keys(const struct request *request)
{
    cleanup_source struct source source = SOURCE_INIT;
    cleanup_text struct text keys = TEXT_INIT;

    if (request->config && source_read(request, request->config, &source, NULL) == 0 &&
        config_list_keys(source.data, source.size, &keys) == 0)
        fputs(text_string(&keys), stdout);
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

    if (request->operand && str_equal(request->operand, "keys")) {
        print_keys(request);
        return EXIT_CLEAN;
    }
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
