// SPDX-License-Identifier: Apache-2.0
#include "registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "checkpoint.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "kubelet.h"
#include "rpc/message.h"
#include "rpc/server.h"

DEFINE_MESSAGE_CLEANUP(v1beta1_RegisterRequest)

/* A registered plugin: connecting, then serving, until its stream ends. */
struct endpoint {
    struct registry *registry;
    struct plugin *plugin;
    struct rpc_call *call; /* its Register call, still pending */
    bool newest;           /* the most recently registered one of its resource */
};

struct registry {
    struct kubelet *kubelet;
    char *directory;
    struct rpc_server *server;
    struct endpoint **endpoints;
    size_t n_endpoints, capacity;
};

static struct endpoint *find_newest(const struct registry *registry, const char *resource)
{
    for (size_t i = 0; i < registry->n_endpoints; i++) {
        struct endpoint *endpoint = registry->endpoints[i];

        if (endpoint->newest && str_equal(plugin_resource(endpoint->plugin), resource))
            return endpoint;
    }
    return NULL;
}

struct plugin *registry_find(const struct registry *registry, const char *resource)
{
    const struct endpoint *endpoint = find_newest(registry, resource);

    return endpoint && plugin_is_connected(endpoint->plugin) ? endpoint->plugin : NULL;
}

static void answer(struct endpoint *endpoint, const char *error)
{
    struct rpc_call *call = TAKE_PTR(endpoint->call);

    if (call && error)
        rpc_call_finish(call, RPC_UNKNOWN, error);
    else if (call)
        rpc_call_reply(call, "", 0);
}

/* Removes it. The plugin is freed later, after the current callback. */
static void endpoint_drop(struct endpoint *endpoint)
{
    struct registry *registry = endpoint->registry;

    answer(endpoint, "the plugin was disconnected");
    for (size_t i = 0; i < registry->n_endpoints; i++)
        if (registry->endpoints[i] == endpoint) {
            registry->endpoints[i] = registry->endpoints[--registry->n_endpoints];
            break;
        }
    plugin_free(endpoint->plugin);
    free(endpoint);
}

static void changed(struct kubelet *kubelet)
{
    kubelet->checkpoint_dirty = true;
    kubelet_wake(kubelet);
}

/*
 * The real kubelet (1.36) calls, and disconnects, only the plugin that registered a resource last.
 * It forgets the earlier ones but keeps reading their streams: their lists count, too.
 */
static void become_newest(struct endpoint *endpoint)
{
    const struct registry *registry = endpoint->registry;

    for (size_t i = 0; i < registry->n_endpoints; i++) {
        struct endpoint *other = registry->endpoints[i];

        if (other != endpoint &&
            str_equal(plugin_resource(other->plugin), plugin_resource(endpoint->plugin)))
            other->newest = false;
    }
    endpoint->newest = true;
}

static void handle_connected(struct plugin *plugin, void *userdata)
{
    struct endpoint *endpoint = userdata;
    struct kubelet *kubelet = endpoint->registry->kubelet;

    manager_connect(&kubelet->manager, plugin_resource(plugin), plugin_offers_preference(plugin),
                    plugin_wants_pre_start(plugin));
    log_info("plugin registered", "resource", plugin_resource(plugin));
    answer(endpoint, NULL);
    changed(kubelet);
}

static void handle_failed(struct plugin *plugin, const char *text, void *userdata)
{
    struct endpoint *endpoint = userdata;

    log_warning("cannot connect to plugin", "resource", plugin_resource(plugin), "error", text);
    answer(endpoint, text);
    endpoint_drop(endpoint);
}

static void handle_listed(struct plugin *plugin, const struct managed_device *devices,
                          size_t n_devices, void *userdata)
{
    struct endpoint *endpoint = userdata;
    struct kubelet *kubelet = endpoint->registry->kubelet;
    const char *name = plugin_resource(plugin);
    const struct resource *resource;

    if (manager_set_devices(&kubelet->manager, name, devices, n_devices) < 0) {
        log_error("out of memory for a list of devices", "resource", name);
        return;
    }
    resource = manager_find(&kubelet->manager, name);
    log_info("devices listed", "resource", name, "capacity", log_number(manager_capacity(resource)),
             "allocatable", log_number(manager_allocatable(resource)));
    changed(kubelet);
}

/* Whichever stream of a resource ends, the real kubelet (1.36) disconnects the newest plugin. */
static void handle_ended(struct plugin *plugin, const char *text, void *userdata)
{
    struct endpoint *endpoint = userdata;
    struct registry *registry = endpoint->registry;
    struct kubelet *kubelet = registry->kubelet;
    struct endpoint *newest = find_newest(registry, plugin_resource(plugin));

    if (newest) {
        log_warning("plugin disconnected: its devices are now unhealthy", "resource",
                    plugin_resource(plugin), "error", text);
        manager_disconnect(&kubelet->manager, plugin_resource(plugin), clock_now_ms());
        changed(kubelet);
        if (newest != endpoint)
            endpoint_drop(newest);
    }
    endpoint_drop(endpoint);
}

static const struct plugin_events events = {
    .connected = handle_connected,
    .failed = handle_failed,
    .listed = handle_listed,
    .ended = handle_ended,
};

static void handle_gone(struct rpc_call *call, void *call_data)
{
    struct endpoint *endpoint = call_data;

    endpoint->call = NULL;
}

static void refuse(struct rpc_call *call, const struct text *text, const char *resource)
{
    log_warning("invalid registration", "resource", resource, "error", text_string(text));
    rpc_call_finish(call, RPC_UNKNOWN, text_string(text));
}

static int connect_plugin(struct registry *registry, const v1beta1_RegisterRequest *request,
                          struct rpc_call *call, struct error *err)
{
    cleanup_free struct endpoint *endpoint = calloc(1, sizeof(*endpoint));
    cleanup_text struct text path = TEXT_INIT;
    struct endpoint **slot;
    int r;

    text_addf(&path, "%s/%s", registry->directory, message_text(request->endpoint));
    if (!endpoint || text_failed(&path))
        return error_set_errno(err, -ENOMEM, "cannot process the registration");
    slot = array_push(&registry->endpoints, &registry->n_endpoints, &registry->capacity,
                      sizeof(struct endpoint *));
    if (!slot)
        return error_set_errno(err, -ENOMEM, "cannot process the registration");
    *slot = endpoint;
    endpoint->registry = registry;
    endpoint->call = call;
    r = plugin_new(registry->kubelet->loop, text_string(&path), request->resource_name, &events,
                   endpoint, &endpoint->plugin, err);
    if (r < 0) {
        registry->n_endpoints--;
        return r;
    }
    become_newest(endpoint);
    rpc_call_keep(call, endpoint, handle_gone);
    (void)TAKE_PTR(endpoint);
    return 0;
}

static void handle_register(struct rpc_call *call, const void *data, size_t size, void *userdata)
{
    cleanup(v1beta1_RegisterRequest_release_p) v1beta1_RegisterRequest request =
        v1beta1_RegisterRequest_init_zero;
    cleanup_text struct text error = TEXT_INIT;
    struct error err = ERROR_INIT;

    if (message_decode(v1beta1_RegisterRequest_fields, data, size, &request) < 0) {
        rpc_call_finish(call, RPC_INTERNAL, "grpc: error unmarshalling request");
        return;
    }
    if (!str_equal(message_text(request.version), "v1beta1"))
        text_addf(&error,
                  "requested API version \"%s\" is not supported by kubelet. Supported version is "
                  "[\"v1beta1\"]",
                  message_text(request.version));
    else if (!manager_is_extended_resource(message_text(request.resource_name)))
        text_addf(&error, "the ResourceName \"%s\" is invalid",
                  message_text(request.resource_name));
    else if (connect_plugin(userdata, &request, call, &err) < 0)
        text_add(&error, error_text(&err));
    if (error.length)
        refuse(call, &error, request.resource_name);
}

static const struct rpc_method methods[] = {{"/v1beta1.Registration/Register", handle_register}};

/* Plugins notice a new kubelet by their sockets disappearing. */
static void wipe(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        struct stat info;

        /* Other files stay (1.36, CleanupPluginDirectory); a link to a socket goes. */
        if (fstatat(dirfd(dir), entry->d_name, &info, 0) == 0 && S_ISSOCK(info.st_mode))
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

int registry_new(struct kubelet *kubelet, const char *directory, struct registry **ret_registry,
                 struct error *err)
{
    static const struct rpc_limits limits = {.allowed_uid = -1, .leaves_socket = true};
    struct registry *registry = calloc(1, sizeof(*registry));
    cleanup_text struct text path = TEXT_INIT;
    int r = file_make_directory(directory, err);

    if (r < 0) {
        free(registry);
        return r;
    }
    wipe(directory);
    text_addf(&path, "%s/kubelet.sock", directory);
    if (!registry || text_failed(&path)) {
        free(registry);
        return error_set_errno(err, -ENOMEM, "cannot listen in %s", directory);
    }
    registry->kubelet = kubelet;
    registry->directory = strdup(directory);
    r = registry->directory ? rpc_server_new(kubelet->loop, text_string(&path),
                                             &(struct rpc_service){.methods = methods,
                                                                   .n_methods = ARRAY_SIZE(methods),
                                                                   .limits = &limits,
                                                                   .userdata = registry},
                                             &registry->server, err)
                            : error_set_errno(err, -ENOMEM, "cannot listen in %s", directory);
    if (r < 0) {
        registry_free(registry);
        return r;
    }
    *ret_registry = registry;
    return 0;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    while (registry->n_endpoints)
        endpoint_drop(registry->endpoints[0]);
    rpc_server_free(registry->server);
    free(registry->endpoints);
    free(registry->directory);
    free(registry);
}
