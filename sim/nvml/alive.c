// SPDX-License-Identifier: Apache-2.0
#include "nvml/alive.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#define MIX UINT64_C(0x100000001b3)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char state_path[4096], file_path[4096];
static int file_fd = -1;

void alive_use(const char *path)
{
    char clients[sizeof(file_path)];

    if (snprintf(clients, sizeof(clients), "%s.clients", path) >= (int)sizeof(clients))
        return;
    pthread_mutex_lock(&lock);
    if (!str_equal(clients, file_path)) {
        memcpy(file_path, clients, sizeof(clients));
        snprintf(state_path, sizeof(state_path), "%s", path);
        file_fd = -1; /* not closed: see the header */
    }
    pthread_mutex_unlock(&lock);
}

/* Who may use the state may register in it: another user's container, where its owner let it. */
static int make_file(void)
{
    struct stat state, st;
    int fd = open(file_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0 && stat(state_path, &state) == 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
        (st.st_mode & 0666) != (state.st_mode & 0666))
        (void)fchmod(fd, state.st_mode & 0666);
    return fd;
}

/* -1 if nobody made the file yet. */
static int get_file(bool may_make)
{
    int fd;

    pthread_mutex_lock(&lock);
    if (file_fd < 0 && file_path[0])
        file_fd = may_make ? make_file() : open(file_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    fd = file_fd;
    pthread_mutex_unlock(&lock);
    return fd;
}

/* The time of its start, in ticks since the boot: the 22nd word of /proc/self/stat, of which the
 * second may contain blanks, and ends with the last parenthesis. */
static uint64_t start_ticks(void)
{
    cleanup_free char *text = NULL;
    size_t size;
    const char *word;

    if (file_read("/proc/self/stat", 4096, &text, &size, NULL) < 0)
        return 0;
    word = strrchr(text, ')');
    for (unsigned i = 2; word && i < 22; i++)
        word = strchr(word + 1, ' ');
    return word ? strtoull(word, NULL, 10) : 0;
}

uint64_t alive_self(void)
{
    static _Thread_local pid_t known_pid;
    static _Thread_local uint64_t known;
    struct stat namespace = {0};

    if (known_pid == getpid())
        return known;
    (void)stat("/proc/self/ns/pid", &namespace);
    known_pid = getpid();
    known = (namespace.st_ino * MIX + (uint64_t)known_pid) * MIX + start_ticks();
    return known;
}

static int set_lock(unsigned slot, short type)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};
    int fd = get_file(true);

    if (fd < 0)
        return -errno;
    return fcntl(fd, F_SETLK, &range) < 0 ? -EBUSY : 0;
}

int alive_hold(unsigned slot)
{
    return set_lock(slot, F_WRLCK);
}

void alive_release(unsigned slot)
{
    (void)set_lock(slot, F_UNLCK);
}

pid_t alive_holder(unsigned slot)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};
    int fd = get_file(false);

    if (fd < 0 || fcntl(fd, F_GETLK, &range) < 0 || range.l_type == F_UNLCK)
        return -ESRCH;
    return range.l_pid > 0 ? range.l_pid : 0;
}
