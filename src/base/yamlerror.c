// SPDX-License-Identifier: Apache-2.0
#include "base/yamlerror.h"

#include <stdio.h>

#include "base/array.h"
#include "base/text.h"

#define TABS          "YAML does not allow tabs for indentation; use spaces instead"
#define TAG           "'!' begins a tag, and this is none; put the value in quotes"
#define ESCAPE        "\\x takes 2 hexadecimal digits, \\u 4 and \\U 8; write '\\\\' for a backslash"
#define ANCHOR        "'&' begins an anchor and '*' an alias; put a value that begins so in quotes"
#define NO_UTF8(what) "not UTF-8 text: " what "; save the file as UTF-8"
#define UTF16         "it looks like UTF-16; save it as UTF-8"
#define DIRECTIVE \
    "a line that begins with '%' is a directive, and this is none; remove it, or use quotes"

/* The problems of libyaml 0.2. Of two rows with one problem the first that fits the context wins.
 */
static const struct {
    const char *problem, *context; /* context NULL = any */
    const char *sentence;
    const char *begun; /* what began at the line of the context; NULL = that line does not help */
} rows[] = {
    {"mapping values are not allowed in this context", NULL,
     "a ':' cannot stand here; align this key with its neighbours, or put a value that contains "
     "': ' in quotes",
     NULL},
    {"mapping keys are not allowed in this context", NULL,
     "a key ('? ') cannot stand here; begin it on a line of its own", NULL},
    {"block sequence entries are not allowed in this context", NULL,
     "a list item ('- ') cannot stand here; begin it on a line of its own, below its key", NULL},
    {"could not find expected ':'", NULL,
     "a key without ':'; write 'key: value', or indent this line as part of the value above",
     "the key"},
    {"did not find expected key", "while parsing a block mapping",
     "this line does not fit the map above it; align the keys of one map, and close quotes and "
     "brackets",
     "the map"},
    {"did not find expected '-' indicator", NULL,
     "this line does not fit the list above it; begin an item with '- ', below the other items",
     "the list"},
    {"did not find expected ',' or ']'", NULL,
     "write ',' or ']' here, or earlier: a list in brackets is open", "the list"},
    {"did not find expected ',' or '}'", NULL,
     "write ',' or '}' here, or earlier: a map in braces is open", "the map"},
    {"did not find expected node content", NULL,
     "a value is missing before this; write one, or \"\" for an empty text", NULL},
    {"did not find expected <document start>", NULL,
     "this does not belong to the value above it; indent it like its neighbours, or begin another "
     "document with '---'",
     NULL},
    {"found unexpected end of stream", NULL, "a quoted text is not closed; write its last quote",
     "the text"},
    {"found unexpected document indicator", NULL,
     "'---' or '...' inside a quoted text; write its last quote before", "the text"},
    {"found unknown escape character", NULL,
     "an unknown escape; write '\\\\' for a backslash, or use single quotes", NULL},
    {"did not find expected hexdecimal number", NULL, ESCAPE, NULL},
    {"found invalid Unicode character escape code", NULL, "this escape is not a character", NULL},
    {"found character that cannot start any token", NULL,
     "a value cannot begin with this character; put the value in quotes", NULL},
    {"found unexpected ':'", NULL, "a ':' inside a value; put the value in quotes", NULL},
    {"found a tab character where an indentation space is expected", NULL, TABS, NULL},
    {"found a tab character that violates indentation", NULL, TABS, NULL},
    {"found an indentation indicator equal to 0", NULL,
     "the digit after '|' or '>' is the indentation, 1 to 9; leave it out", NULL},
    {"did not find expected comment or line break", "while scanning a block scalar",
     "text behind '|' or '>'; begin it on the next line, indented", NULL},
    {"did not find expected alphabetic or numeric character", NULL, ANCHOR, NULL},
    {"did not find expected '!'", "while scanning a tag directive", DIRECTIVE, NULL},
    {"did not find expected '!'", NULL, TAG, NULL},
    {"did not find the expected '>'", NULL, TAG, NULL},
    {"did not find expected tag URI", NULL, TAG, NULL},
    {"did not find URI escaped octet", NULL, TAG, NULL},
    {"found an incorrect leading UTF-8 octet", NULL, TAG, NULL},
    {"found an incorrect trailing UTF-8 octet", NULL, TAG, NULL},
    {"found undefined tag handle", NULL, TAG, NULL},
    {"did not find expected whitespace or line break", "while scanning a %TAG directive", DIRECTIVE,
     NULL},
    {"did not find expected whitespace or line break", NULL, TAG, NULL},
    {"did not find expected whitespace", NULL, DIRECTIVE, NULL},
    {"found unknown directive name", NULL, DIRECTIVE, NULL},
    {"could not find expected directive name", NULL, DIRECTIVE, NULL},
    {"found unexpected non-alphabetical character", NULL, DIRECTIVE, NULL},
    {"did not find expected comment or line break", NULL, DIRECTIVE, NULL},
    {"found extremely long version number", NULL, DIRECTIVE, NULL},
    {"did not find expected version number", NULL, DIRECTIVE, NULL},
    {"did not find expected digit or '.' character", NULL, DIRECTIVE, NULL},
    {"found incompatible YAML document", NULL,
     "only YAML 1.1 and 1.2 are supported; remove this line", NULL},
    {"found duplicate %TAG directive", NULL, "a second %TAG; remove it", NULL},
    {"found duplicate %YAML directive", NULL, "a second %YAML; remove it", NULL},
    /* Of the reader: bytes that are not characters. */
    {"control characters are not allowed", NULL,
     "a control character; remove it, or write it as an escape in double quotes", NULL},
    {"invalid leading UTF-8 octet", NULL, NO_UTF8("a byte that begins no character"), NULL},
    {"invalid trailing UTF-8 octet", NULL, NO_UTF8("an incomplete character"), NULL},
    {"incomplete UTF-8 octet sequence", NULL, NO_UTF8("an incomplete character"), NULL},
    {"invalid length of a UTF-8 sequence", NULL, NO_UTF8("an overlong character"), NULL},
    {"invalid Unicode character", NULL, NO_UTF8("a number that is no character"), NULL},
    /* After a byte order mark; without one a NUL is found before. */
    {"incomplete UTF-16 character", NULL, UTF16, NULL},
    {"unexpected low surrogate area", NULL, UTF16, NULL},
    {"expected low surrogate area", NULL, UTF16, NULL},
    {"incomplete UTF-16 surrogate pair", NULL, UTF16, NULL},
};

bool yamlerror_format(const char *problem, const char *context, unsigned context_line, char *buffer,
                      size_t size)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!str_equal(rows[i].problem, problem) ||
            (rows[i].context && !(context && str_equal(rows[i].context, context))))
            continue;
        if (rows[i].begun && context)
            snprintf(buffer, size, "%s; %s began at line %u", rows[i].sentence, rows[i].begun,
                     context_line);
        else
            snprintf(buffer, size, "%s", rows[i].sentence);
        return true;
    }
    snprintf(buffer, size, "%s%s%s", problem, context ? " " : "", context ? context : "");
    return false;
}
