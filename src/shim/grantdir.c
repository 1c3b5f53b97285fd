// SPDX-License-Identifier: Apache-2.0
#include "shim/grantdir.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limits/message.h"
#include "limits/mode.h"
#include "limits/uuid.h"

/* Who may set the environment of a container's process must not lead it elsewhere. */
static void visit_named(bool (*each)(const char *directory, void *userdata), void *userdata)
{
    const char *directory = secure_getenv(LIMITS_GRANT_VARIABLE);

    if (directory && directory[0] == '/')
        each(directory, userdata);
}

void grantdir_each(bool (*each)(const char *directory, void *userdata), void *userdata)
{
    DIR *all = opendir(LIMITS_CONTAINER);
    const struct dirent *entry;
    bool has_any = false, goes_on = true;
    char path[PATH_MAX];

    while (all && goes_on && (entry = readdir(all))) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, LIMITS_LIBRARY) == 0)
            continue;
        has_any = true;
        snprintf(path, sizeof(path), LIMITS_CONTAINER "/%s", entry->d_name);
        goes_on = each(path, userdata);
    }
    if (all)
        closedir(all);
    if (!has_any)
        visit_named(each, userdata);
}

static void add_device(struct grantdir_terms *terms, const uint8_t *uuid, uint64_t bytes)
{
    struct grantdir_device *device = terms->devices;

    while (device < terms->devices + terms->n_devices &&
           memcmp(device->uuid, uuid, LIMITS_UUID_SIZE) != 0)
        device++;
    if (device == terms->devices + LIMITS_DEVICES_MAX)
        return;
    if (device == terms->devices + terms->n_devices) {
        memcpy(device->uuid, uuid, LIMITS_UUID_SIZE);
        device->bytes = 0;
        terms->n_devices++;
    }
    device->bytes += bytes;
}

static void parse_line(const char *line, struct grantdir_terms *terms)
{
    enum limits_mode mode = LIMITS_ENFORCED; /* a word of a later release, too */
    uint8_t uuid[LIMITS_UUID_SIZE];
    unsigned long long bytes;
    char word[64], value[32];

    if (sscanf(line, "%63s %31s", word, value) != 2)
        return;
    if (strcmp(word, "mode") == 0) {
        (void)limits_parse_mode(value, &mode);
        terms->mode = mode > terms->mode ? mode : terms->mode;
    } else if (limits_parse_uuid(word, uuid) && sscanf(value, "%llu", &bytes) == 1)
        add_device(terms, uuid, bytes);
}

void grantdir_parse(const char *text, struct grantdir_terms *terms)
{
    char line[128];

    while (*text) {
        const size_t length = strcspn(text, "\n");

        snprintf(line, sizeof(line), "%.*s", (int)length, text);
        parse_line(line, terms);
        text += length + (text[length] == '\n');
    }
}

static bool read_directory(const char *directory, void *terms)
{
    char path[PATH_MAX], text[4096];
    ssize_t n;
    int fd;

    if (snprintf(path, sizeof(path), "%s/limits", directory) >= (int)sizeof(path))
        return true;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        text[n] = '\0';
        grantdir_parse(text, terms);
    }
    return true;
}

void grantdir_read(struct grantdir_terms *ret_terms)
{
    *ret_terms = (struct grantdir_terms){.mode = LIMITS_NONE};
    grantdir_each(read_directory, ret_terms);
}
