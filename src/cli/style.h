// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Colours for people at a terminal: none in pipes and files, none when NO_COLOR is set and not
 * empty (no-color.org), none on a dumb terminal.
 */

#include <stdio.h>

enum style { STYLE_BOLD, STYLE_NOTE, STYLE_WARNING, STYLE_ERROR };

void style_begin(FILE *out, enum style style);
void style_end(FILE *out);
