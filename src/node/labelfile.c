// SPDX-License-Identifier: Apache-2.0
#include "node/labelfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lineout.h"
#include "base/log.h"
#include "base/text.h"

static int compare_labels(const void *a, const void *b)
{
    return strcmp((*(const struct sync_label *const *)a)->key,
                  (*(const struct sync_label *const *)b)->key);
}

/* NULL without memory. */
static char *format_labels(const struct sync_label *labels, size_t n_labels)
{
    cleanup_free const struct sync_label **sorted = calloc(n_labels + 1, sizeof(*sorted));
    cleanup_text struct text text = TEXT_INIT;

    if (!sorted)
        return NULL;
    for (size_t i = 0; i < n_labels; i++)
        sorted[i] = &labels[i];
    qsort(sorted, n_labels, sizeof(*sorted), compare_labels);
    text_add(&text, "");
    for (size_t i = 0; i < n_labels; i++)
        text_addf(&text, "%s=%s\n", sorted[i]->key, sorted[i]->value);
    return text_take(&text);
}

static int put(const char *path, const char *content, struct error *err)
{
    static struct lineout standard_output = LINEOUT_INIT(STDOUT_FILENO);
    int r;

    if (*path)
        return file_write_atomic(path, content, strlen(content), 0644, err);
    r = lineout_write(&standard_output, content, strlen(content));
    if (r == LINEOUT_FULL)
        return error_set(err, -EAGAIN,
                         "cannot write the labels to standard output: nobody reads it");
    if (r < 0)
        return error_set_errno(err, r, "cannot write the labels to standard output");
    return 0;
}

static void write_content(struct labelfile *file, char *content)
{
    struct error err = ERROR_INIT;

    if (put(file->path, content, &err) < 0) {
        if (lograte_begin(&file->failure, error_text(&err), clock_now_ms()))
            log_error(error_text(&err), "hint",
                      "the label file is in a directory of node-feature-discovery, which must be "
                      "mounted");
        free(content);
        return;
    }
    if (lograte_end(&file->failure) || !file->content)
        log_info("labels written", "file", *file->path ? file->path : "standard output");
    free(file->content);
    file->content = content;
}

void labelfile_write(struct labelfile *file, const char *path, const struct sync_label *labels,
                     size_t n_labels)
{
    char *content;

    if (file->path && (!path || !str_equal(path, file->path)))
        labelfile_end(file, false);
    if (!path)
        return;
    content = format_labels(labels, n_labels);
    if (!file->path)
        file->path = strdup(path);
    if (!content || !file->path || (file->content && str_equal(content, file->content))) {
        free(content);
        return;
    }
    write_content(file, content);
}

void labelfile_end(struct labelfile *file, bool keep)
{
    if (file->content && *file->path && !keep)
        unlink(file->path);
    free(file->path);
    free(file->content);
    *file = (struct labelfile){.path = NULL};
}
