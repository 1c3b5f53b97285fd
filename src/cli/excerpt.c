// SPDX-License-Identifier: Apache-2.0
#include "cli/excerpt.h"

#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/yaml.h"
#include "cli/style.h"

enum { GUTTER = 8 }; /* columns before the line: "    4 | " */

unsigned excerpt_width(FILE *out)
{
    struct winsize size;

    if (ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

/* The byte after n characters, at most the end. */
static char *skip(char *text, size_t n)
{
    while (*text && n--) {
        text++;
        while (((unsigned char)*text & 0xc0) == 0x80)
            text++;
    }
    return text;
}

void excerpt_print(const char *text, size_t size, struct position at, unsigned width, FILE *out)
{
    cleanup_free char *line = NULL;
    size_t length, room, caret = at.column ? at.column - 1 : 0, hidden = 0;
    const char *start;
    char *shown;

    if (!at.line || !yaml_find_line(text, size, at.line, &start, &length) ||
        !(line = strndup(start, length)))
        return;
    for (char *c = line; *c; c++)
        if (*c == '\t')
            *c = ' ';
    str_make_line(line); /* one character remains one */
    room = width > GUTTER + 20 ? width - GUTTER : 20;
    if (caret >= room)
        hidden = caret - room / 2;
    shown = skip(line, hidden);
    *skip(shown, room) = '\0';
    fprintf(out, "%5u | %s\n      | %*s", at.line, shown, (int)(caret - hidden), "");
    style_begin(out, STYLE_BOLD);
    fputc('^', out);
    style_end(out);
    fputc('\n', out);
}
