// SPDX-License-Identifier: Apache-2.0

/*
 * Replaces libFuzzer where it is missing: runs a harness once on every file in the given
 * directories, so that a corpus is an ordinary test under any compiler. A directory without files
 * fails: a test that ran nothing has shown nothing.
 */

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX_BYTES = 1 << 20 };

static void close_directory(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

static int run_file(const char *folder, const char *name)
{
    cleanup_free char *path = NULL, *data = NULL, *exact = NULL;
    struct error err = ERROR_INIT;
    size_t size;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return -ENOMEM;
    /* The last line of output names the input if the harness aborts. */
    fprintf(stderr, "%s\n", path);
    if (file_read(path, INPUT_MAX_BYTES, &data, &size, &err) < 0) {
        fprintf(stderr, "%s\n", error_text(&err));
        return err.code;
    }
    /* A copy without file_read's trailing NUL, so that reading past the end is detected. */
    exact = malloc(size ? size : 1);
    if (!exact)
        return -ENOMEM;
    memcpy(exact, data, size);
    return LLVMFuzzerTestOneInput((const uint8_t *)exact, size) < 0 ? -EINVAL : 0;
}

static int run_folder(const char *folder, unsigned *n_files)
{
    cleanup(close_directory) DIR *directory = opendir(folder);
    const struct dirent *entry;

    if (!directory) {
        perror(folder);
        return -errno;
    }
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.')
            continue;
        if (run_file(folder, entry->d_name) < 0)
            return -EIO;
        (*n_files)++;
    }
    return 0;
}

int main(int argc, char *argv[])
{
    unsigned n_files = 0;

    for (int i = 1; i < argc; i++)
        if (run_folder(argv[i], &n_files) < 0)
            return EXIT_FAILURE;
    fprintf(stderr, "%u inputs\n", n_files);
    return n_files ? EXIT_SUCCESS : EXIT_FAILURE;
}
