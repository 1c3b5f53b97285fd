// SPDX-License-Identifier: Apache-2.0

/*
 * A minimal device plugin on src/rpc, to run the interop suites against that layer alone.
 *
 *     echo-plugin DIR
 *
 * Serves DIR/gpuslice-echo.sock, registers `example.com/echo` at DIR/kubelet.sock, and again
 * whenever that socket is recreated. 16 devices, echo-0 to echo-15. SIGUSR1 toggles echo-0's
 * health, which sends a list. Allocate of the device "slow" never returns. SIGTERM stops it.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <malloc.h>
#include <uv.h>

#include "base/array.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "rpc/server.h"

enum { N_DEVICES = 16, REGISTER_DEADLINE_MS = 5000 };

DEFINE_MESSAGE_CLEANUP(v1beta1_AllocateRequest)
DEFINE_MESSAGE_CLEANUP(v1beta1_PreferredAllocationRequest)

struct watcher {
    struct watcher *next;
    struct rpc_call *call;
};

struct plugin {
    uv_loop_t loop;
    uv_signal_t term, usr1;
    uv_fs_event_t folder_watch;
    char folder[96], socket[128], kubelet[128];
    struct rpc_server *server;
    struct rpc_client *client; /* while registering */
    struct watcher *watchers;
    bool ailing; /* echo-0 */
};

static void reply(struct rpc_call *call, const pb_msgdesc_t *fields, const void *message)
{
    cleanup_free void *data = NULL;
    size_t size;

    if (message_encode(fields, message, &data, &size) < 0)
        rpc_call_finish(call, RPC_INTERNAL, "cannot encode the answer");
    else
        rpc_call_reply(call, data, size);
}

static void get_options(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    v1beta1_DevicePluginOptions options = {.get_preferred_allocation_available = true};

    (void)request;
    (void)size;
    (void)userdata;
    reply(call, v1beta1_DevicePluginOptions_fields, &options);
}

static void send_list(struct plugin *plugin, struct rpc_call *call)
{
    char ids[N_DEVICES][16];
    v1beta1_Device devices[N_DEVICES];
    v1beta1_ListAndWatchResponse list = {.devices_count = N_DEVICES, .devices = devices};
    cleanup_free void *data = NULL;
    size_t size;

    for (unsigned i = 0; i < N_DEVICES; i++) {
        snprintf(ids[i], sizeof(ids[i]), "echo-%u", i);
        devices[i] = (v1beta1_Device){
            .ID = ids[i],
            .health = message_lend(plugin->ailing && i == 0 ? "Unhealthy" : "Healthy"),
        };
    }
    if (message_encode(v1beta1_ListAndWatchResponse_fields, &list, &data, &size) == 0)
        rpc_call_send(call, data, size);
}

static void on_watcher_gone(struct rpc_call *call, void *call_data)
{
    struct plugin *plugin = rpc_call_userdata(call);

    for (struct watcher **p = &plugin->watchers; *p; p = &(*p)->next) {
        if (*p == call_data) {
            *p = (*p)->next;
            break;
        }
    }
    free(call_data);
}

static void list_and_watch(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct plugin *plugin = userdata;
    struct watcher *watcher = calloc(1, sizeof(*watcher));

    (void)request;
    (void)size;
    if (!watcher) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "no memory");
        return;
    }
    watcher->call = call;
    watcher->next = plugin->watchers;
    plugin->watchers = watcher;
    rpc_call_keep(call, watcher, on_watcher_gone);
    send_list(plugin, call);
}

static void prefer(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    cleanup(v1beta1_PreferredAllocationRequest_release_p) v1beta1_PreferredAllocationRequest asked =
        v1beta1_PreferredAllocationRequest_init_zero;
    v1beta1_ContainerPreferredAllocationResponse answer = {0};
    v1beta1_PreferredAllocationResponse response = {
        .container_responses_count = 1,
        .container_responses = &answer,
    };
    const v1beta1_ContainerPreferredAllocationRequest *first;

    (void)userdata;
    if (message_decode(v1beta1_PreferredAllocationRequest_fields, request, size, &asked) < 0 ||
        asked.container_requests_count != 1) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "one container request is wanted");
        return;
    }
    first = &asked.container_requests[0];
    answer.deviceIDs = first->available_deviceIDs;
    answer.deviceIDs_count = first->available_deviceIDs_count;
    if (first->allocation_size >= 0 && first->allocation_size < answer.deviceIDs_count)
        answer.deviceIDs_count = (pb_size_t)first->allocation_size;
    reply(call, v1beta1_PreferredAllocationResponse_fields, &response);
}

static bool is_slow(const v1beta1_AllocateRequest *asked)
{
    return asked->container_requests_count > 0 &&
           asked->container_requests[0].devices_ids_count > 0 &&
           strcmp(message_text(asked->container_requests[0].devices_ids[0]), "slow") == 0;
}

static void allocate(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    cleanup(v1beta1_AllocateRequest_release_p) v1beta1_AllocateRequest asked =
        v1beta1_AllocateRequest_init_zero;
    cleanup_free v1beta1_ContainerAllocateResponse *answers = NULL;
    cleanup_free v1beta1_ContainerAllocateResponse_EnvsEntry *envs = NULL;
    v1beta1_AllocateResponse response = {0};

    (void)userdata;
    if (message_decode(v1beta1_AllocateRequest_fields, request, size, &asked) < 0) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "not an AllocateRequest");
        return;
    }
    if (is_slow(&asked))
        return;
    if (message_entries(&answers, &response.container_responses_count,
                        asked.container_requests_count, sizeof(*answers)) < 0 ||
        !(envs = calloc((size_t)asked.container_requests_count + 1, sizeof(*envs)))) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "no memory");
        return;
    }
    response.container_responses = answers;
    for (size_t i = 0; i < asked.container_requests_count; i++) {
        const v1beta1_ContainerAllocateRequest *container = &asked.container_requests[i];

        envs[i].key = message_lend("ECHO_DEVICE");
        envs[i].value = container->devices_ids_count ? container->devices_ids[0] : message_lend("");
        answers[i].envs = &envs[i];
        answers[i].envs_count = 1;
    }
    reply(call, v1beta1_AllocateResponse_fields, &response);
}

static const struct rpc_method methods[] = {
    {"/v1beta1.DevicePlugin/GetDevicePluginOptions", get_options},
    {"/v1beta1.DevicePlugin/ListAndWatch", list_and_watch},
    {"/v1beta1.DevicePlugin/GetPreferredAllocation", prefer},
    {"/v1beta1.DevicePlugin/Allocate", allocate},
};

static void on_registered(struct rpc_request *request, enum rpc_status status, const char *text,
                          const void *message, size_t size, void *userdata)
{
    struct plugin *plugin = userdata;

    (void)request;
    (void)message;
    (void)size;
    if (status != RPC_OK)
        fprintf(stderr, "echo-plugin: registration: %s: %s\n", rpc_status_name(status), text);
    rpc_client_free(plugin->client);
    plugin->client = NULL;
}

static void try_to_register(struct plugin *plugin)
{
    v1beta1_RegisterRequest request = {
        .version = message_lend("v1beta1"),
        .endpoint = message_lend("gpuslice-echo.sock"),
        .resource_name = message_lend("example.com/echo"),
        .has_options = true,
        .options = {.get_preferred_allocation_available = true},
    };
    cleanup_free void *data = NULL;
    size_t size;

    rpc_client_free(plugin->client);
    plugin->client = NULL;
    if (message_encode(v1beta1_RegisterRequest_fields, &request, &data, &size) < 0 ||
        rpc_client_new(&plugin->loop, plugin->kubelet, &plugin->client, NULL) < 0)
        return;
    if (rpc_client_call(plugin->client,
                        &(struct rpc_invocation){.method = "/v1beta1.Registration/Register",
                                                 .message = data,
                                                 .size = size,
                                                 .deadline_ms = REGISTER_DEADLINE_MS,
                                                 .on_done = on_registered,
                                                 .userdata = plugin},
                        NULL, NULL) < 0) {
        rpc_client_free(plugin->client);
        plugin->client = NULL;
    }
}

static void on_retry_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_retry(uv_timer_t *timer)
{
    struct plugin *plugin = timer->data;

    if (!plugin->client)
        try_to_register(plugin);
    uv_close((uv_handle_t *)timer, on_retry_closed);
}

/* A socket file appears at bind but accepts connections only after listen, for which there is no
 * event: wait a little. */
static void on_folder(uv_fs_event_t *watch, const char *name, int events, int status)
{
    struct plugin *plugin = watch->data;
    uv_timer_t *timer;

    (void)events;
    (void)status;
    if (!name || strcmp(name, "kubelet.sock") != 0)
        return;
    timer = malloc(sizeof(*timer));
    if (!timer)
        return;
    uv_timer_init(&plugin->loop, timer);
    timer->data = plugin;
    uv_timer_start(timer, on_retry, 50, 0);
}

static void on_update(uv_signal_t *handle, int number)
{
    struct plugin *plugin = handle->data;

    (void)number;
    plugin->ailing = !plugin->ailing;
    for (struct watcher *w = plugin->watchers; w; w = w->next)
        send_list(plugin, w->call);
}

static void on_term(uv_signal_t *handle, int number)
{
    struct plugin *plugin = handle->data;

    (void)number;
    rpc_server_free(plugin->server);
    rpc_client_free(plugin->client);
    uv_close((uv_handle_t *)&plugin->term, NULL);
    uv_close((uv_handle_t *)&plugin->usr1, NULL);
    uv_close((uv_handle_t *)&plugin->folder_watch, NULL);
}

static void watch_world(struct plugin *plugin)
{
    uv_signal_init(&plugin->loop, &plugin->term);
    uv_signal_init(&plugin->loop, &plugin->usr1);
    uv_fs_event_init(&plugin->loop, &plugin->folder_watch);
    plugin->term.data = plugin->usr1.data = plugin->folder_watch.data = plugin;
    uv_signal_start(&plugin->term, on_term, SIGTERM);
    uv_signal_start(&plugin->usr1, on_update, SIGUSR1);
    uv_fs_event_start(&plugin->folder_watch, on_folder, plugin->folder, 0);
}

int main(int argc, char **argv)
{
    struct plugin plugin = {.ailing = false};
    struct error err = ERROR_INIT;

    if (argc != 2 || strlen(argv[1]) >= sizeof(plugin.folder)) {
        fprintf(stderr, "usage: echo-plugin DIR\n");
        return 2;
    }
    /* Otherwise glibc raises the threshold with each large message and keeps what it frees. */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    snprintf(plugin.folder, sizeof(plugin.folder), "%s", argv[1]);
    snprintf(plugin.socket, sizeof(plugin.socket), "%s/gpuslice-echo.sock", argv[1]);
    snprintf(plugin.kubelet, sizeof(plugin.kubelet), "%s/kubelet.sock", argv[1]);
    uv_loop_init(&plugin.loop);
    if (rpc_server_new(&plugin.loop, plugin.socket,
                       &(struct rpc_service){.methods = methods,
                                             .n_methods = ARRAY_SIZE(methods),
                                             .userdata = &plugin},
                       &plugin.server, &err) < 0) {
        fprintf(stderr, "echo-plugin: %s\n", err.message);
        return 1;
    }
    watch_world(&plugin);
    try_to_register(&plugin);
    uv_run(&plugin.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&plugin.loop) == 0 ? 0 : 1;
}
