// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tables of options, and the loop that reads a YAML map by such a table into a struct.
 *
 * One row is one option: its path in the file, its type, its target, its default, and (for rows
 * with a flag) its names on the command line and in the environment. Dotted paths form sections;
 * the sections themselves are not listed.
 *
 * NVIDIA matches the keys of most objects case-insensitively, and of some exactly (`exact_keys`); a
 * key accepted despite its spelling gets a warning. Below `gpuslice:` keys match exactly.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"
#include "config/config.h"

struct option;
struct reader;
struct schema;

/* One type of value. Rows refer to these; kind.h has the generic ones. */
struct kind {
    const char *placeholder; /* in help, "WORD"; NULL = a switch without a value */
    /* From a file. Problems are added to the reader, and the slot stays unchanged. 0 or -ENOMEM. */
    int (*read)(struct reader *reader, const struct option *option, const struct yaml *node,
                void *slot);
    /* From a flag, a variable, or the table's default; NULL = only possible in a file. 0, -EINVAL
     * (err says what to write instead) or -ENOMEM. */
    int (*parse)(const struct option *option, const char *text, void *slot, struct error *err);
    bool takes_null;            /* read() handles null; for other kinds null means unset */
    bool owns_text;             /* the slot is a char * to free */
    bool is_list;               /* the flag may be repeated, its values are joined by commas */
    bool empty_is_value;        /* an empty environment variable counts as a value */
    const struct schema *below; /* the keys of its map, or of the maps in its list; NULL = none */
    bool is_list_of_maps;
};

struct word {
    const char *name;
    unsigned value;
};

/* Which struct an offset refers to. */
enum option_target { OPTION_CONFIG, OPTION_AGENT, OPTION_IGNORED };

struct option {
    const char *path; /* in the file, "flags.plugin.passDeviceSpecs"; NULL = flag only */
    const struct kind *kind;
    size_t offset;
    const void *detail;   /* for the kind: struct word[], terminated by a NULL name, and the like */
    const char *standard; /* the default, as one would write it; NULL = all zero */
    const char *help;     /* one sentence without a full stop */
    const char *flags;    /* "driver-root nvidia-driver-root": help shows the first; NULL = none */
    const char *variables; /* "GFD_ONESHOT": the first that is set wins; NULL = none */
    size_t place;  /* offset of a struct position, set if the file sets the option, and cleared if a
                      flag overrides it; 0 = not needed */
    bool required; /* required, if its section is an item of a list */
    const char *not_yet; /* what this release lacks, for those who set it; NULL = nothing */
    bool (*asks)(const void *slot); /* whether a value asks for that; NULL = every one does */
    const char *differs; /* from NVIDIA's programs, for those who set it; NULL = in nothing */
    enum option_target target;
};

struct schema {
    const struct option *options;
    size_t n_options;
    bool exact_keys; /* NVIDIA matches these keys exactly */
};

enum { SCHEMA_MAX_OPTIONS = 96, OPTION_KEY_SIZE = 32, READER_MAX_PROBLEMS = 500 };

/* State of reading one document: the current position, and the problems found. */
struct reader {
    struct problems *problems;
    enum config_strictness strictness;
    char path[160]; /* "sharing.timeSlicing.resources[0]" */
    size_t path_length;
    size_t n_problems; /* reported here; after READER_MAX_PROBLEMS further ones are dropped */
    int cut;           /* 1 + the highest dropped severity; 0 = none */
    const struct schema *root; /* where misplaced keys are looked up; NULL = nowhere */
};

/* Descends into a key or a list item; returns what reader_leave needs. */
size_t reader_enter(struct reader *reader, const char *key);
void reader_leave(struct reader *reader, size_t path_length);

/* A problem at any path; the other reader_... functions use the current one. */
void reader_report_at(struct reader *reader, enum problem_severity severity, struct position at,
                      const char *path, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* A problem at the current path. */
void reader_report(struct reader *reader, enum problem_severity severity, struct position at,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

#define reader_error(reader, at, ...)   reader_report(reader, PROBLEM_ERROR, at, __VA_ARGS__)
#define reader_warning(reader, at, ...) reader_report(reader, PROBLEM_WARNING, at, __VA_ARGS__)
#define reader_note(reader, at, ...)    reader_report(reader, PROBLEM_NOTE, at, __VA_ARGS__)

/* A warning for the agent, an error for `gpuslice check`. */
enum problem_severity reader_lenient(const struct reader *reader);

/* User text made safe for a one-line message: truncated, control characters masked. */
struct shown {
    char text[84];
};
struct shown show(const char *text);

/* "the text 'x'", "a list", "a map", "nothing": what was found instead of what was expected. */
struct shown show_node(const struct yaml *node);

/* True if the value of `node` was copied from an anchor that precedes container_at. */
void reader_check_alias(struct reader *reader, const struct yaml *node,
                        struct position container_at);

/*
 * Reads the map `node` into target by the rows whose path begins with `prefix` ("" or "flags."). 0
 * (problems were added to the reader) or -ENOMEM.
 */
int schema_read(struct reader *reader, const struct schema *schema, const char *prefix,
                const struct yaml *node, void *target);

/* True if `key` is a key of the outermost map, in whatever case. */
bool schema_knows(const struct schema *schema, const char *key);

/* Sets every default of the table. 0 or -ENOMEM; a default that does not parse is a bug
 * (aborts). */
int schema_set_defaults(const struct schema *schema, enum option_target target_kind, void *target);

/* Frees the texts owned by the table's rows. */
void schema_free_texts(const struct schema *schema, void *target);

/* Calls `read_item` for each item of a list, with the reader at it; reports a node that is no
 * list. */
int schema_read_list(struct reader *reader, const struct yaml *node, const char *item_name,
                     int (*read_item)(struct reader *reader, const struct yaml *item,
                                      void *context),
                     void *context);
