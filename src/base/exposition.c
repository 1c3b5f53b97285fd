// SPDX-License-Identifier: Apache-2.0
#include "base/exposition.h"

#include <stdarg.h>

/* `also`: what to escape besides newline and backslash. */
static void add_escaped(struct text *out, const char *string, char also)
{
    for (; *string; string++)
        if (*string == '\n')
            text_add(out, "\\n");
        else if (*string == '\\' || *string == also)
            text_addf(out, "\\%c", *string);
        else
            text_add_char(out, *string);
}

void exposition_family(struct text *out, const char *name, const char *type, const char *help)
{
    text_addf(out, "# HELP %s ", name);
    add_escaped(out, help, '\\');
    text_addf(out, "\n# TYPE %s %s\n", name, type);
}

void exposition_sample(struct text *out, const char *name, double value, ...)
{
    const char *label, *separator = "{";
    va_list args;

    text_add(out, name);
    va_start(args, value);
    while ((label = va_arg(args, const char *))) {
        text_addf(out, "%s%s=\"", separator, label);
        add_escaped(out, va_arg(args, const char *), '"');
        text_add_char(out, '"');
        separator = ",";
    }
    va_end(args);
    text_addf(out, "%s %.17g\n", *separator == ',' ? "}" : "", value);
}
