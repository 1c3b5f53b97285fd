// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A tree of values as text for other programs: JSON, or block-style YAML with the same content.
 *
 * Keys keep their insertion order. In YAML a text is quoted if any reader (of YAML 1.1 or 1.2)
 * might interpret it, so that both formats read back as the same tree.
 */

#include <jansson.h>
#include <stdio.h>

#include "base/text.h"

void emit_json(FILE *out, const json_t *tree);

void emit_yaml(struct text *out, const json_t *tree);
