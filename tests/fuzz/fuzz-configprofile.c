// SPDX-License-Identifier: Apache-2.0

/*
 * Any bytes as a ConfigMap: lines of annotations ("instance-types=p3.8xlarge") up to an empty one,
 * and then the text of a key. A SliceProfile that reads back, or none with a reason; every problem
 * is one line.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "karpenter/configprofile.h"
#include "karpenter/sliceprofile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns what follows them. */
static const char *add_annotations(json_t *annotations, const char *data, const char *end)
{
    while (data < end) {
        const char *line_end = memchr(data, '\n', (size_t)(end - data)), *equals;

        line_end = line_end ? line_end : end;
        equals = memchr(data, '=', (size_t)(line_end - data));
        if (line_end == data)
            return data + 1;
        if (equals) {
            json_t *name = json_sprintf("gpuslice.dev/%.*s", (int)(equals - data), data);

            if (name)
                json_object_set_new(annotations, json_string_value(name),
                                    json_stringn(equals + 1, (size_t)(line_end - equals - 1)));
            json_decref(name);
        }
        data = line_end < end ? line_end + 1 : end;
    }
    return end;
}

static void check_problems(const struct problems *problems)
{
    const struct problem *problem = NULL;
    char line[1024];

    while ((problem = problems_next(problems, problem))) {
        problem_format(problems, problem, line, sizeof(line));
        if (strpbrk(line, "\n\r\x1b"))
            abort();
    }
}

static void check_profile(const json_t *profile)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
    cleanup_free char *text = json_dumps(profile, 0);

    if (!text || sliceprofiles_parse(text, strlen(text), &problems, &profiles) != 0 ||
        profiles.n_items != 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *annotations = json_object(), *map, *profile = NULL;
    const char *end = (const char *)data + size,
               *text = add_annotations(annotations, (const char *)data, end);
    int r;

    map = json_pack("{s:{s:s, s:o}, s:{s:o*}}", "metadata", "name", "p", "annotations", annotations,
                    "data", "any", text < end ? json_stringn(text, (size_t)(end - text)) : NULL);
    r = configprofile_make(map, "any", &problems, &profile);
    if (r < 0 && r != -EBADMSG && r != -ENOMEM)
        abort();
    if (r != -ENOMEM && (r == -EBADMSG) != (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    if ((r == 0) != (profile != NULL))
        abort();
    check_problems(&problems);
    if (profile)
        check_profile(profile);
    json_decref(profile);
    json_decref(map);
    return 0;
}
