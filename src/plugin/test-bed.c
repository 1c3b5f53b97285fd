// SPDX-License-Identifier: Apache-2.0
#include "plugin/test-bed.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "rpc/message.h"

enum { SETTLE_TURNS = 40 };

/* --- the clock --- */

static uint64_t clock_ms = 1000000;

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *now)
{
    (void)id;
    now->tv_sec = (time_t)(clock_ms / 1000);
    now->tv_nsec = (long)(clock_ms % 1000) * 1000000;
    return 0;
}

void bed_settle(struct bed *bed)
{
    for (int i = 0; i < SETTLE_TURNS; i++)
        uv_run(&bed->loop, UV_RUN_NOWAIT);
}

void bed_advance(struct bed *bed, uint64_t ms)
{
    bed_settle(bed);
    clock_ms += ms;
    bed_settle(bed);
}

/* --- the folder --- */

void bed_path(const struct bed *bed, const char *name, char buffer[BED_PATH_SIZE])
{
    int n = snprintf(buffer, BED_PATH_SIZE, "%s/%s", bed->folder, name);

    assert_true(n > 0 && n < BED_PATH_SIZE);
}

void bed_init(struct bed *bed)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    *bed = (struct bed){.n_registrations = 0};
    snprintf(bed->folder, sizeof(bed->folder), "/tmp/gpuslice-test-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    bed_path(bed, "kubelet.sock", bed->kubelet_path);
    assert_int_equal(uv_loop_init(&bed->loop), 0);
}

void bed_deinit(struct bed *bed)
{
    char command[BED_FOLDER_SIZE + 8];

    rpc_server_free(TAKE_PTR(bed->kubelet));
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bed->loop), 0);
    snprintf(command, sizeof(command), "rm -r %s", bed->folder);
    assert_int_equal(system(command), 0);
}

/*
 * Waits until a file made now is younger than the one at path. A file system gives the inode of a
 * removed file to the next one, and kernels before 6.13 stamp files by a tick of up to 10 ms: made
 * within it, a socket could not be told from the one that it replaces.
 */
static void outlive(const struct bed *bed, const char *path)
{
    char probe_path[BED_FOLDER_SIZE + 8];
    struct stat old, probe;

    if (stat(path, &old) < 0)
        return;
    snprintf(probe_path, sizeof(probe_path), "%s-probe", bed->folder);
    do {
        int fd = open(probe_path, O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        assert_int_equal(fstat(fd, &probe), 0);
        close(fd);
        unlink(probe_path);
    } while (probe.st_ctim.tv_sec == old.st_ctim.tv_sec &&
             probe.st_ctim.tv_nsec == old.st_ctim.tv_nsec);
}

int bed_listen(const struct bed *bed, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    bed_path(bed, name, address.sun_path);
    outlive(bed, address.sun_path);
    unlink(address.sun_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

void bed_remove(const struct bed *bed, const char *name)
{
    char path[BED_PATH_SIZE];

    bed_path(bed, name, path);
    assert_int_equal(unlink(path), 0);
}

/* --- the kubelet --- */

static void on_register_gone(struct rpc_call *call, void *call_data)
{
    struct bed *bed = call_data;

    (void)call;
    bed->registering = NULL;
}

static void handle_register(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    v1beta1_RegisterRequest request;
    struct bed *bed = userdata;

    bed->n_registrations++;
    assert_int_equal(message_decode(v1beta1_RegisterRequest_fields, data, size, &request), 0);
    snprintf(bed->told, sizeof(bed->told), "%s %s %s%s", request.version, request.endpoint,
             request.resource_name, request.options.pre_start_required ? " pre-start" : "");
    message_release(v1beta1_RegisterRequest_fields, &request);
    if (bed->refuses)
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "not today");
    else if (!bed->hangs)
        rpc_call_reply(call, "", 0);
    else
        rpc_call_keep(call, bed, on_register_gone);
    bed->registering = bed->hangs ? call : NULL;
}

void bed_answer_register(struct bed *bed)
{
    assert_non_null(bed->registering);
    rpc_call_reply(bed->registering, "", 0);
    bed->registering = NULL;
    bed_settle(bed);
}

void bed_start_kubelet(struct bed *bed)
{
    static const struct rpc_method methods[] = {
        {"/v1beta1.Registration/Register", handle_register}};
    static const struct rpc_limits limits = {.allowed_uid = -1, .leaves_socket = true};

    bed_stop_kubelet(bed);
    outlive(bed, bed->kubelet_path);
    assert_int_equal(
        rpc_server_new(&bed->loop, bed->kubelet_path,
                       &(struct rpc_service){
                           .methods = methods, .n_methods = 1, .limits = &limits, .userdata = bed},
                       &bed->kubelet, NULL),
        0);
}

void bed_stop_kubelet(struct bed *bed)
{
    rpc_server_free(TAKE_PTR(bed->kubelet));
    bed_settle(bed);
}

/* --- its calls --- */

static void on_list(struct rpc_request *request, const void *message, size_t size, void *userdata)
{
    v1beta1_ListAndWatchResponse list;
    struct bed_call *call = userdata;
    unsigned n_healthy = 0;

    (void)request;
    assert_int_equal(message_decode(v1beta1_ListAndWatchResponse_fields, message, size, &list), 0);
    for (size_t i = 0; i < list.devices_count; i++)
        n_healthy += str_equal(list.devices[i].health, "Healthy");
    text_addf(&call->lists, "%u+%u ", n_healthy, (unsigned)list.devices_count - n_healthy);
    message_release(v1beta1_ListAndWatchResponse_fields, &list);
}

static void on_done(struct rpc_request *request, enum rpc_status status, const char *text,
                    const void *message, size_t size, void *userdata)
{
    struct bed_call *call = userdata;

    (void)request;
    assert_false(call->done);
    call->done = true;
    call->status = status;
    snprintf(call->text, sizeof(call->text), "%s", text);
    if (!message)
        return;
    call->answer = malloc(size + 1);
    call->answer_size = size;
    memcpy(call->answer, message, size);
}

static void start_call(struct bed *bed, struct bed_call *call, const char *socket,
                       const char *method, const void *data, size_t size,
                       rpc_message_fn *on_message)
{
    char path[BED_PATH_SIZE], full_method[80];
    struct rpc_request *request;

    *call = (struct bed_call){.done = false};
    bed_path(bed, socket, path);
    snprintf(full_method, sizeof(full_method), "/v1beta1.DevicePlugin/%s", method);
    assert_int_equal(rpc_client_new(&bed->loop, path, &call->client, NULL), 0);
    assert_int_equal(rpc_client_call(call->client,
                                     &(struct rpc_invocation){.method = full_method,
                                                              .message = data,
                                                              .size = size,
                                                              .on_message = on_message,
                                                              .on_done = on_done,
                                                              .userdata = call},
                                     &request, NULL),
                     0);
    bed_settle(bed);
}

void bed_call(struct bed *bed, struct bed_call *call, const char *socket, const char *method,
              const void *data, size_t size)
{
    start_call(bed, call, socket, method, data, size, NULL);
}

void bed_watch(struct bed *bed, struct bed_call *call, const char *socket)
{
    start_call(bed, call, socket, "ListAndWatch", "", 0, on_list);
}

void bed_hang_up(struct bed *bed, struct bed_call *call)
{
    rpc_client_free(TAKE_PTR(call->client));
    text_deinit(&call->lists);
    free(TAKE_PTR(call->answer));
    bed_settle(bed);
}
