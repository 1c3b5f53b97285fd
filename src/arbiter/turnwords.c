// SPDX-License-Identifier: Apache-2.0
#include "arbiter/turnwords.h"

static const struct {
    const char *word, *sentence;
} reasons[] = {
    [TURNS_OFF] = {"off", "the mode gives no turns"},
    [TURNS_NO_NEED] = {"no-need", "at most one heavy container has work"},
    [TURNS_NO_GAPS] = {"no-gaps", "heavy containers leave no gaps that others could fill"},
    [TURNS_NOT_TRIED] = {"not-tried", "what is best is not measured yet"},
    [TURNS_TRYING] = {"trying", "what is best is being measured"},
    [TURNS_MEASURED] = {"measured", "the best by measured progress"},
    [TURNS_UNDECIDED] = {"undecided", "too little was launched to tell what is best"},
    [TURNS_STRICT] = {"strict", "heavy containers get no more than their shares"},
};

const char *turnwords_plan(enum turns_plan plan)
{
    static const char *const words[] = {
        [TURNS_FREE] = "free",
        [TURNS_GIVEN] = "turns",
        [TURNS_BOUNDED] = "bounded",
        [TURNS_FULL] = "full",
        [TURNS_FULL_BOUNDED] = "full-bounded",
    };

    _Static_assert(sizeof(words) / sizeof(*words) == TURNS_N_PLANS, "a word for each");

    return words[plan];
}

const char *turnwords_reason(enum turns_reason reason)
{
    return reasons[reason].word;
}

const char *turnwords_explain(enum turns_reason reason)
{
    return reasons[reason].sentence;
}

const char *turnwords_weight(enum turns_weight weight)
{
    static const char *const words[] = {
        [TURNS_UNJUDGED] = "unjudged",
        [TURNS_LIGHT] = "light",
        [TURNS_HEAVY] = "heavy",
        [TURNS_FULLY] = "full",
    };

    return words[weight];
}
