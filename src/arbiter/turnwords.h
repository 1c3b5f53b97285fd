// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Turns (turns.h) in words, as metrics, documents and tables have them. */

#include "arbiter/turns.h"

/* "free", "turns", "bounded", "full", "full-bounded" */
const char *turnwords_plan(enum turns_plan plan);

/* Why it is that plan, one word: "measured", for labels. */
const char *turnwords_reason(enum turns_reason reason);

/* The same for people: "the best by measured progress". */
const char *turnwords_explain(enum turns_reason reason);

/* "unjudged", "light", "heavy", "full" */
const char *turnwords_weight(enum turns_weight weight);
