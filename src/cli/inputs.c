// SPDX-License-Identifier: Apache-2.0
#include "cli/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"

void inputs_deinit(struct inputs *inputs)
{
    for (size_t i = 0; i < inputs->n_items; i++) {
        free(inputs->items[i].path);
        free(inputs->items[i].fault);
    }
    free(inputs->items);
    *inputs = (struct inputs)INPUTS_INIT;
}

static int push(struct inputs *inputs, const char *path, bool is_found, struct error *err)
{
    struct input *item;

    if (inputs->n_items == INPUTS_MAX)
        return error_set(err, -E2BIG, "more than %d files; name fewer", INPUTS_MAX);
    item = array_push(&inputs->items, &inputs->n_items, &inputs->capacity, sizeof(*item));
    if (item)
        *item = (struct input){.path = strdup(path), .is_found = is_found};
    if (!item || !item->path) {
        inputs->n_items -= item != NULL;
        return error_set_errno(err, -ENOMEM, "cannot list %s", path);
    }
    return 0;
}

static int push_fault(struct inputs *inputs, const char *path, const struct error *fault,
                      struct error *err)
{
    int r = push(inputs, path, true, err);
    char *text = r == 0 ? strdup(error_text(fault)) : NULL;

    if (r == 0 && !text)
        return error_set_errno(err, -ENOMEM, "cannot list %s", path);
    if (text)
        inputs->items[inputs->n_items - 1].fault = text;
    return r;
}

static bool is_folder(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* A file, or what opening it will report (a link to nothing). */
static bool may_be_file(const char *path)
{
    struct stat status;

    return stat(path, &status) < 0 || S_ISREG(status.st_mode);
}

static bool is_link(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

static bool has_suffix(const char *name)
{
    static const char *const suffixes[] = {".yaml", ".yml", ".json"};

    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
        if (str_ends_with(name, suffixes[i]))
            return true;
    return false;
}

static void free_entries(struct dirent **entries, int n)
{
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
}

static int add_folder(struct inputs *inputs, const char *path, unsigned depth, struct error *err);

/* Links to folders are not followed: they may form a loop. */
static int add_entry(struct inputs *inputs, const char *folder, const char *name, bool any_name,
                     unsigned depth, struct error *err)
{
    cleanup_free char *path = NULL;
    struct error fault = ERROR_INIT;

    if (name[0] == '.')
        return 0;
    if (asprintf(&path, "%s%s%s", folder, str_ends_with(folder, "/") ? "" : "/", name) < 0)
        return error_set_errno(err, -ENOMEM, "cannot list %s", folder);
    if (!is_folder(path))
        return (any_name || has_suffix(name)) && may_be_file(path) ? push(inputs, path, true, err)
                                                                   : 0;
    if (is_link(path))
        return 0;
    if (depth == INPUTS_MAX_DEPTH) {
        error_set(&fault, -ELOOP, "%s is deeper than %d folders; name it itself", path,
                  INPUTS_MAX_DEPTH);
        return push_fault(inputs, path, &fault, err);
    }
    return add_folder(inputs, path, depth + 1, err);
}

static int add_folder(struct inputs *inputs, const char *path, unsigned depth, struct error *err)
{
    struct dirent **entries = NULL;
    struct error fault = ERROR_INIT;
    bool any_name = false;
    int n = scandir(path, &entries, NULL, versionsort), r = 0;

    if (n < 0) {
        error_set_errno(&fault, -errno, "cannot read the folder %s", path);
        return push_fault(inputs, path, &fault, err);
    }
    for (int i = 0; i < n; i++)
        any_name |= str_equal(entries[i]->d_name, "..data");
    for (int i = 0; i < n && r == 0; i++)
        r = add_entry(inputs, path, entries[i]->d_name, any_name, depth, err);
    free_entries(entries, n);
    return r;
}

int inputs_add(struct inputs *inputs, const char *word, struct error *err)
{
    size_t n_before = inputs->n_items;
    struct error fault = ERROR_INIT;
    int r;

    if (str_equal(word, "-") || !is_folder(word))
        return push(inputs, word, false, err);
    r = add_folder(inputs, word, 0, err);
    if (r < 0 || inputs->n_items > n_before)
        return r;
    error_set(&fault, -ENOENT, "no .yaml, .yml or .json file is in the folder %s", word);
    return push_fault(inputs, word, &fault, err);
}
