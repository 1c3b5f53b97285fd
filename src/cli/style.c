// SPDX-License-Identifier: Apache-2.0
#include "cli/style.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"

static bool has_colour(FILE *out)
{
    const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return !(refused && *refused) && terminal && !str_equal(terminal, "dumb") &&
           isatty(fileno(out));
}

void style_begin(FILE *out, enum style style)
{
    static const char *const codes[] = {
        [STYLE_BOLD] = "1", [STYLE_NOTE] = "36", [STYLE_WARNING] = "33", [STYLE_ERROR] = "31"};

    if (has_colour(out))
        fprintf(out, "\033[%sm", codes[style]);
}

void style_end(FILE *out)
{
    if (has_colour(out))
        fputs("\033[0m", out);
}
