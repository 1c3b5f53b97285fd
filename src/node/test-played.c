// SPDX-License-Identifier: Apache-2.0
#include "node/test-played.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "node/publisher.h"

struct played played;

void played_reset(void)
{
    text_deinit(&played.done);
    text_deinit(&played.events);
    played = (struct played){.grants_problem = ""};
}

void played_assert_done(const char *expected)
{
    assert_string_equal(text_string(&played.done), expected);
    text_clear(&played.done);
}

void played_assert_events(const char *expected)
{
    assert_string_equal(text_string(&played.events), expected);
    text_clear(&played.events);
}

void played_node_init(struct played_node *node)
{
    node->services[0] = (struct service){.resource = "nvidia.com/gpu", .ready = true};
    node->services[1] = (struct service){.resource = "nvidia.com/gpu-half", .ready = true};
    for (size_t i = 0; i < ARRAY_SIZE(node->items); i++)
        node->items[i] = &node->services[i];
    node->set = (struct serviceset){.items = node->items, .n = ARRAY_SIZE(node->items)};
    node->facts = (struct facts){.services = &node->set,
                                 .machine = {.gpus = &node->gpu, .n_gpus = 1},
                                 .machine_known = true};
}

void grants_set_mode(struct grants *grants, const char *mode)
{
    (void)grants;
    text_addf(&played.done, "mode:%s ", mode);
}

/* --- services --- */

int service_new(const struct service_context *context, const char *resource,
                struct service **ret_service, struct error *err)
{
    struct service *service;

    (void)context;
    if (played.new_result < 0)
        return error_set(err, played.new_result, "no socket");
    service = calloc(1, sizeof(*service));
    snprintf(service->name, sizeof(service->name), "%s", resource);
    service->resource = service->name;
    text_addf(&played.done, "+%s ", resource);
    *ret_service = service;
    return 0;
}

void service_free(struct service *service)
{
    free(service);
}

void service_withdraw(struct service *service)
{
    text_addf(&played.done, "-%s ", service->resource);
    free(service);
}

void service_announce(struct service *service)
{
    text_addf(&played.done, "!%s ", service->resource);
}

void service_check(struct service *service, const char *name)
{
    text_addf(&played.done, "?%s:%s ", service->resource, name);
}

void service_node_changed(struct service *service)
{
    text_addf(&played.done, "node:%s ", service->resource);
}

bool service_is_ready(const struct service *service)
{
    return service->ready;
}

const char *service_foreign_plugin(const struct service *service)
{
    return service->foreign;
}

const char *service_resource(const struct service *service)
{
    return service->resource;
}

struct service_counters service_counters(const struct service *service)
{
    return service->counters;
}

/* --- grants --- */

bool grants_is_ready(const struct grants *grants)
{
    (void)grants;
    return !played.grants_wait;
}

const char *grants_problem(const struct grants *grants)
{
    (void)grants;
    return played.grants_problem;
}

const struct ledger *grants_ledger(const struct grants *grants)
{
    (void)grants;
    return NULL;
}

bool grants_holds(const struct grants *grants, const char *resource, const char *id)
{
    (void)grants, (void)resource, (void)id;
    return true;
}

bool grants_next_held(const struct grants *grants, size_t *position, struct ledger_held *ret_held)
{
    (void)grants, (void)position, (void)ret_held;
    return false;
}

bool grants_hold_as(const struct grants *grants, const char *uuid, const char *resource)
{
    char entry[GPU_UUID_SIZE + RESOURCE_NAME_SIZE + 4];

    (void)grants;
    snprintf(entry, sizeof(entry), "%s %s;", uuid, resource);
    return played.held && strstr(played.held, entry);
}

const char *grants_hold_other(const struct grants *grants, const struct device *device)
{
    (void)grants, (void)device;
    return NULL;
}

struct grants_counters grants_counters(const struct grants *grants)
{
    (void)grants;
    return (struct grants_counters){.log_bytes = 1};
}

void grants_kubelet_changed(struct grants *grants, const char *name)
{
    (void)grants, (void)name;
    text_addf(&played.done, "list ");
}

size_t grants_n_waiting(const struct grants *grants)
{
    (void)grants;
    return played.n_grants_waiting;
}

void grants_drain(struct grants *grants, void (*on_drained)(void *userdata), void *userdata)
{
    (void)grants;
    played.on_drained = on_drained;
    played.drained_userdata = userdata;
}

/* --- others --- */

void coexist_foreign_plugin(struct coexist *coexist, const char *resource, const char *socket)
{
    (void)coexist;
    if (socket)
        text_addf(&played.done, "%s:%s ", resource, socket);
}

void coexist_sync(struct coexist *coexist)
{
    (void)coexist;
}

const char *coexist_message(const struct coexist *coexist, const char *resource)
{
    (void)coexist;
    return str_equal(resource, "nvidia.com/gpu") ? played.coexist_message : NULL;
}

bool nodeconfig_is_missing(const struct nodeconfig *config)
{
    (void)config;
    return played.config_is_missing;
}

bool nodeconfig_is_profile(const struct nodeconfig *config)
{
    (void)config;
    return played.has_profile;
}

const char *nodeconfig_problem(const struct nodeconfig *config)
{
    (void)config;
    return played.config_problem ? played.config_problem : "";
}

void publisher_touch(struct publisher *publisher)
{
    (void)publisher;
}

void publisher_event(struct publisher *publisher, bool warning, const char *reason,
                     const char *message, const struct sync_pod *pods, size_t n_pods)
{
    (void)publisher, (void)pods, (void)n_pods;
    text_addf(&played.events, "%s%s: %s\n", warning ? "!" : "", reason, message);
}

void publisher_device_event(struct publisher *publisher, const char *uuid, bool warning,
                            const char *reason, const char *message)
{
    (void)uuid;
    publisher_event(publisher, warning, reason, message, NULL, 0);
}

bool publisher_has_cluster(const struct publisher *publisher)
{
    (void)publisher;
    return played.has_cluster;
}

bool publisher_is_connected(const struct publisher *publisher)
{
    (void)publisher;
    return true;
}

uint64_t publisher_lost_events(const struct publisher *publisher)
{
    (void)publisher;
    return 3;
}
