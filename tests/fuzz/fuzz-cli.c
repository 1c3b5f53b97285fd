// SPDX-License-Identifier: Apache-2.0

/* Command lines of gpuslice: one argument per line, the first one is the verb. */

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/request.h"
#include "cli/verb.h"

enum { MAX_WORDS = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = strndup((const char *)data, size);
    char *words[MAX_WORDS], *rest = text;
    struct error err = ERROR_INIT;
    cleanup_request struct request request = REQUEST_INIT;
    const struct verb *verb;
    int n_words = 0;

    while (rest && n_words < MAX_WORDS)
        words[n_words++] = strsep(&rest, "\n");
    if (!n_words)
        return 0;
    verb = verb_find(words[0]);
    if (!verb)
        verb = verb_suggest(words[0]);
    if (!verb)
        return 0;
    if (request_parse(verb, n_words - 1, words + 1, &request, &err) == 0)
        assert(!err.code && !(request.node && request.machine && !request.help));
    else
        assert(err.code && *err.message);
    return 0;
}
