// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tables of options, and the loop that reads a YAML map by such a table into a struct.
 *
 * One row is one option: where it stands in the file, how its value reads, where it goes, what it
 * is without being given, and (for rows with a flag) its spellings on the command line and in the
 * environment. Paths with dots make sections; nobody lists the sections themselves.
 *
 * NVIDIA reads plain objects without regard to case and some objects exactly (`exact_keys`); what
 * is taken in spite of its spelling is warned about. Below `gpuslice:` only exact keys are known.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"
#include "config/config.h"

struct option;
struct reader;

/* How one type of value reads. Rows point to these; kind.h has the general ones. */
struct kind {
    const char *placeholder; /* in help, "WORD"; NULL = a switch that needs no value */
    /* From a file. Problems go to the reader and the slot stays as it was. 0 or -ENOMEM. */
    int (*read)(struct reader *reader, const struct option *option, const struct yaml *node,
                void *slot);
    /* From a flag, a variable, or the table's own default; NULL = only a file can give it.
     * 0, -EINVAL (err says what to write instead) or -ENOMEM. */
    int (*parse)(const struct option *option, const char *text, void *slot, struct error *err);
    bool takes_null;     /* read() wants to see null; others are not given then */
    bool owns_text;      /* the slot is a char * to free */
    bool is_list;        /* the flag may be repeated, its values are joined by commas */
    bool empty_is_value; /* an empty environment variable counts */
};

struct word {
    const char *name;
    unsigned value;
};

/* Whose struct an offset points into. */
enum option_target { OPTION_CONFIG, OPTION_AGENT, OPTION_IGNORED };

struct option {
    const char *path; /* in the file, "flags.plugin.passDeviceSpecs"; NULL = only a flag */
    const struct kind *kind;
    size_t offset;
    const void *detail;    /* for the kind: struct word[], ended by a NULL name, and the like */
    const char *standard;  /* the default, as one would write it; NULL = all bits zero */
    const char *help;      /* one sentence without a full stop */
    const char *flags;     /* "driver-root nvidia-driver-root": the first is shown; NULL = none */
    const char *variables; /* "GFD_ONESHOT": the first that is set wins; NULL = none */
    size_t place;          /* offset of a struct position, set when the file says the option, and
                              cleared when a flag outranks it; 0 = nobody asks */
    bool required;         /* must be there, when its section is an item of a list */
    const char *not_yet; /* a sentence for who gives it: what this release lacks; NULL = nothing */
    const char *differs; /* likewise: what it means here instead of what NVIDIA's programs do */
    enum option_target target;
};

struct schema {
    const struct option *options;
    size_t n_options;
    bool exact_keys; /* NVIDIA looks these keys up letter by letter */
};

enum { SCHEMA_MAX_OPTIONS = 96, OPTION_KEY_SIZE = 32, READER_MAX_PROBLEMS = 500 };

/* A walk through one document: where it stands, and what it has found. */
struct reader {
    struct problems *problems;
    enum config_strictness strictness;
    char path[160]; /* "sharing.timeSlicing.resources[0]" */
    size_t path_length;
    size_t n_problems; /* said here; after READER_MAX_PROBLEMS the rest is left unsaid */
    int cut;           /* 1 + the gravest severity left unsaid; 0 = none */
    const char
        *said_not_yet; /* the last such sentence: a section's rows may share one, said once */
};

/* Steps below a key or a list item; returns what reader_leave needs. */
size_t reader_enter(struct reader *reader, const char *key);
void reader_leave(struct reader *reader, size_t path_length);

/* A problem at any path; the other reader_... functions speak of where the reader stands. */
void reader_say_at(struct reader *reader, enum problem_severity severity, struct position at,
                   const char *path, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A problem of the place where the reader stands. */
void reader_say(struct reader *reader, enum problem_severity severity, struct position at,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

#define reader_error(reader, at, ...)   reader_say(reader, PROBLEM_ERROR, at, __VA_ARGS__)
#define reader_warning(reader, at, ...) reader_say(reader, PROBLEM_WARNING, at, __VA_ARGS__)
#define reader_note(reader, at, ...)    reader_say(reader, PROBLEM_NOTE, at, __VA_ARGS__)

/* What the agent must get along with and `gpuslice check` refuses. */
enum problem_severity reader_lenient(const struct reader *reader);

/* A person's text, fit for a one-line sentence: cut, control characters masked. */
struct shown {
    char text[84];
};
struct shown show(const char *text);

/* "the text 'x'", "a list", "a map", "nothing": what stands there instead of what was expected. */
struct shown show_node(const struct yaml *node);

/* True when the value of `node` was copied from an anchor that stands before `container_at`. */
void reader_check_alias(struct reader *reader, const struct yaml *node,
                        struct position container_at);

/*
 * Reads the map `node` by the rows whose path begins with `prefix` ("" or "flags.") into target.
 * 0 (problems went to the reader) or -ENOMEM.
 */
int schema_read(struct reader *reader, const struct schema *schema, const char *prefix,
                const struct yaml *node, void *target);

/* Sets every default of the table. 0 or -ENOMEM; a default that does not parse is a bug (abort). */
int schema_set_defaults(const struct schema *schema, enum option_target target_kind, void *target);

/* Frees the texts that the table's rows own. */
void schema_free_texts(const struct schema *schema, void *target);

/* Calls `read_item` for each item of a list, standing at it; says so when node is no list. */
int schema_read_list(struct reader *reader, const struct yaml *node, const char *item_name,
                     int (*read_item)(struct reader *reader, const struct yaml *item,
                                      void *context),
                     void *context);
