// SPDX-License-Identifier: Apache-2.0

/*
 * usage: latency SOCKET allocate|burst|prefer N ID...
 *
 * Calls a device plugin N times, one call after the other, as the kubelet would for one container
 * with the first ID (allocate) or for one of all IDs (prefer); or N times at once (burst: allocate,
 * and the time of each answer counts from the first call). Prints microseconds as JSON:
 * {"p50": 25.1, "p99": 38.5, "calls": 10000}. The same client measures every peer.
 */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "rpc/client.h"
#include "rpc/message.h"

enum { WARM_UP = 200 };

struct run {
    struct rpc_client *client;
    const char *method;
    void *request;
    size_t request_size, n, done;
    uint64_t began_ns, *took_ns;
    bool is_burst;
};

static int next(struct run *run, struct error *err);

static void on_done(struct rpc_request *request, enum rpc_status status, const char *text,
                    const void *message, size_t size, void *userdata)
{
    struct run *run = userdata;
    struct error err = ERROR_INIT;

    (void)request, (void)message, (void)size;
    if (status != RPC_OK) {
        fprintf(stderr, "latency: %s: %s\n", run->method, text);
        exit(1);
    }
    if (run->done >= WARM_UP)
        run->took_ns[run->done - WARM_UP] = clock_now_ns() - run->began_ns;
    if (++run->done == run->n + WARM_UP) {
        rpc_client_free(TAKE_PTR(run->client));
    } else if (next(run, &err) < 0) {
        fprintf(stderr, "latency: %s\n", error_text(&err));
        exit(1);
    }
}

static int call(struct run *run, struct error *err)
{
    struct rpc_request *request;

    run->began_ns = clock_now_ns();
    return rpc_client_call(run->client,
                           &(struct rpc_invocation){.method = run->method,
                                                    .message = run->request,
                                                    .size = run->request_size,
                                                    .on_done = on_done,
                                                    .userdata = run},
                           &request, err);
}

/* After the warm-up of a burst all calls begin together, and then none. */
static int next(struct run *run, struct error *err)
{
    uint64_t began_ns = clock_now_ns();
    size_t n = !run->is_burst || run->done < WARM_UP ? 1 : run->done == WARM_UP ? run->n : 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = call(run, err);
    if (n)
        run->began_ns = began_ns;
    return r;
}

static int encode(struct run *run, const char *what, char **ids, size_t n_ids)
{
    v1beta1_ContainerAllocateRequest one = {.devices_ids = ids, .devices_ids_count = 1};
    v1beta1_AllocateRequest allocate = {.container_requests = &one, .container_requests_count = 1};
    v1beta1_ContainerPreferredAllocationRequest choice = {
        .available_deviceIDs = ids,
        .available_deviceIDs_count = (pb_size_t)n_ids,
        .allocation_size = 1,
    };
    v1beta1_PreferredAllocationRequest prefer = {.container_requests = &choice,
                                                 .container_requests_count = 1};

    run->is_burst = strcmp(what, "burst") == 0;
    if (run->is_burst || strcmp(what, "allocate") == 0) {
        run->method = "/v1beta1.DevicePlugin/Allocate";
        return message_encode(v1beta1_AllocateRequest_fields, &allocate, &run->request,
                              &run->request_size);
    }
    run->method = "/v1beta1.DevicePlugin/GetPreferredAllocation";
    return message_encode(v1beta1_PreferredAllocationRequest_fields, &prefer, &run->request,
                          &run->request_size);
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static void print(const struct run *run)
{
    qsort(run->took_ns, run->n, sizeof(*run->took_ns), by_value);
    printf("{\"p50\": %.1f, \"p99\": %.1f, \"calls\": %zu}\n",
           (double)run->took_ns[run->n / 2] / 1e3, (double)run->took_ns[run->n * 99 / 100] / 1e3,
           run->n);
}

int main(int argc, char *argv[])
{
    struct error err = ERROR_INIT;
    struct run run = {.n = argc > 4 ? strtoul(argv[3], NULL, 10) : 0};

    if (run.n == 0) {
        fputs("usage: latency SOCKET allocate|burst|prefer N ID...\n", stderr);
        return 64;
    }
    run.took_ns = calloc(run.n, sizeof(*run.took_ns));
    if (!run.took_ns || encode(&run, argv[2], argv + 4, (size_t)argc - 4) < 0)
        return 1;
    if (rpc_client_new(uv_default_loop(), argv[1], &run.client, &err) < 0 || call(&run, &err) < 0) {
        fprintf(stderr, "latency: %s\n", error_text(&err));
        return 1;
    }
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    print(&run);
    free(run.took_ns);
    free(run.request);
    return 0;
}
