// SPDX-License-Identifier: Apache-2.0
#include "controlclient.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "control.h"

DEFINE_CLEANUP(json_t *, json_decref)
#define cleanup_json cleanup(json_decref_p)

static int try_connect(const char *root_dir, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cleanup_text struct text path = TEXT_INIT;

    text_addf(&path, "%s/%s", root_dir, CONTROL_NAME);
    if (fd < 0)
        return -errno;
    if (str_copy(address.sun_path, sizeof(address.sun_path), text_string(&path)) < 0)
        return -ENAMETOOLONG;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Sets up the watch before connecting, so that a socket created in between is not missed. */
static int connect_with_timeout(const char *root_dir, uint64_t timeout_ms, int *ret_fd,
                                struct error *err)
{
    uint64_t end_ms = clock_now_ms() + timeout_ms;
    cleanup_close int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int r;

    if (timeout_ms && watch >= 0 && file_make_directory(root_dir, err) == 0)
        inotify_add_watch(watch, root_dir, IN_CREATE | IN_MOVED_TO | IN_ATTRIB);
    while ((r = try_connect(root_dir, ret_fd)) == -ENOENT || r == -ECONNREFUSED) {
        uint64_t now_ms = clock_now_ms();
        struct pollfd event = {.fd = watch, .events = POLLIN};
        char events[4096];

        if (now_ms >= end_ms || poll(&event, 1, (int)(end_ms - now_ms)) <= 0)
            break;
        (void)!read(watch, events, sizeof(events));
    }
    if (r < 0)
        return error_set_errno(err, r, "no gpuslice-kubelet is running under %s", root_dir);
    return 0;
}

static int send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

int controlclient_call(const char *root_dir, const json_t *request, uint64_t timeout_ms,
                       int *ret_status, char **ret_output, struct error *err)
{
    cleanup_text struct text answer = TEXT_INIT, line = TEXT_INIT;
    cleanup_free char *text = json_dumps(request, JSON_COMPACT);
    cleanup_json json_t *json = NULL;
    cleanup_close int fd = -1;
    const char *output;
    int r = connect_with_timeout(root_dir, timeout_ms, &fd, err);

    if (r < 0)
        return r;
    text_addf(&line, "%s\n", text ? text : "");
    r = text && !text_failed(&line) ? send_all(fd, line.data, line.length) : -ENOMEM;
    if (r == 0)
        r = file_read_all(fd, SIZE_MAX, &answer);
    if (r < 0)
        return error_set_errno(err, r, "cannot communicate with gpuslice-kubelet");
    json = json_loads(text_string(&answer), 0, NULL);
    if (json_unpack(json, "{s:i, s:s}", "status", ret_status, "output", &output) < 0)
        return error_set(err, -EPIPE, "gpuslice-kubelet closed the connection without a response");
    *ret_output = strdup(output);
    return *ret_output ? 0 : error_set_errno(err, -ENOMEM, "cannot store the response");
}
