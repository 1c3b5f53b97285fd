// SPDX-License-Identifier: Apache-2.0
#include "base/exposition.h"

#include <stdarg.h>

void exposition_family(struct text *out, const char *name, const char *type, const char *help)
{
    text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_value(struct text *out, const char *value)
{
    for (; *value; value++)
        if (*value == '\n')
            text_add(out, "\\n");
        else if (*value == '"' || *value == '\\')
            text_addf(out, "\\%c", *value);
        else
            text_add_char(out, *value);
}

void exposition_sample(struct text *out, const char *name, double value, ...)
{
    const char *label, *separator = "{";
    va_list args;

    text_add(out, name);
    va_start(args, value);
    while ((label = va_arg(args, const char *))) {
        text_addf(out, "%s%s=\"", separator, label);
        add_value(out, va_arg(args, const char *));
        text_add_char(out, '"');
        separator = ",";
    }
    va_end(args);
    text_addf(out, "%s %.17g\n", *separator == ',' ? "}" : "", value);
}
