// SPDX-License-Identifier: Apache-2.0
#include "plugin/registration.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "plugin/deviceplugin.h"
#include "rpc/client.h"
#include "rpc/message.h"

enum { DEADLINE_MS = 5000, WHY_SIZE = 256 };

static void on_answer(struct rpc_request *request, enum rpc_status status, const char *text,
                      const void *message, size_t size, void *userdata)
{
    struct registration *registration = userdata;
    char why[WHY_SIZE];

    (void)request, (void)message, (void)size;
    snprintf(why, sizeof(why), "%s: %s", rpc_status_name(status), text);
    registration_cancel(registration); /* this also frees text */
    registration->on_done(status == RPC_OK ? NULL : why, registration->userdata);
}

static int encode(const struct registration_setup *setup, void **ret_data, size_t *ret_size,
                  struct error *err)
{
    const v1beta1_RegisterRequest message = {
        .version = message_lend("v1beta1"),
        .endpoint = message_lend(setup->endpoint),
        .resource_name = message_lend(setup->resource),
        .has_options = true,
        .options = deviceplugin_options(setup->wants_pre_start),
    };
    int r = message_encode(v1beta1_RegisterRequest_fields, &message, ret_data, ret_size);

    return r < 0 ? error_set_errno(err, r, "cannot encode the registration") : 0;
}

int registration_call(struct registration *registration, const struct registration_setup *setup,
                      struct error *err)
{
    cleanup_free void *data = NULL;
    struct rpc_request *request;
    size_t size = 0;
    int r;

    registration_cancel(registration);
    r = rpc_client_new(setup->loop, setup->kubelet_path, &registration->client, err);
    if (r < 0)
        return r;
    registration->on_done = setup->on_done;
    registration->userdata = setup->userdata;
    r = encode(setup, &data, &size, err);
    if (r == 0)
        r = rpc_client_call(registration->client,
                            &(struct rpc_invocation){.method = "/v1beta1.Registration/Register",
                                                     .message = data,
                                                     .size = size,
                                                     .deadline_ms = DEADLINE_MS,
                                                     .on_done = on_answer,
                                                     .userdata = registration},
                            &request, err);
    if (r < 0)
        registration_cancel(registration);
    return r;
}

void registration_cancel(struct registration *registration)
{
    rpc_client_free(TAKE_PTR(registration->client));
}
