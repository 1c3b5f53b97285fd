// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For the tests of this room: a folder with sockets in it, an offer, a kubelet that is registered
 * with and calls, and a clock that stands still until a test moves it. Asserts by cmocka.
 *
 * The clock is clock_gettime itself, for the whole program: libuv's timers run when bed_advance
 * comes past them, so a test of a minute takes no time and nothing depends on a busy machine.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/text.h"
#include "plugin/offer.h"
#include "rpc/client.h"
#include "rpc/server.h"

#define BED_UUID_0 "GPU-00000000-aaaa-5bbb-8ccc-000000000000"
#define BED_UUID_1 "GPU-11111111-aaaa-5bbb-8ccc-111111111111"

/* 2 GPUs, 4 slices each. */
#define BED_SHARED_BY_4 \
    "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n"

enum { BED_FOLDER_SIZE = 40, BED_PATH_SIZE = 108 };

struct bed {
    uv_loop_t loop;
    char folder[BED_FOLDER_SIZE];
    char kubelet_path[BED_PATH_SIZE]; /* kubelet.sock in the folder */
    struct rpc_server *kubelet;       /* NULL = there is none */
    unsigned n_registrations;         /* calls of Register so far */
    char told[160];      /* the last one: "version endpoint resource", " pre-start" if wanted */
    bool refuses, hangs; /* how it answers Register */
    struct rpc_call *registering; /* a call of Register that hangs; NULL = none */
};

void bed_init(struct bed *bed);

/* Checks that the loop has nothing left to wait for, and removes the folder. */
void bed_deinit(struct bed *bed);

void bed_path(const struct bed *bed, const char *name, char buffer[BED_PATH_SIZE]);

/* What a configuration with this text makes of two V100s; free it with bed_offer_free. */
struct offer *bed_offer(const char *yaml);
/* And of any other machine. */
struct offer *bed_offer_of(const struct inventory *inventory, const char *yaml);
void bed_offer_free(struct offer *offer);

/* Somebody listens on a socket of that name in the folder, with nobody behind it who answers. Close
 * it, and it is as if he was killed: the file stays. */
int bed_listen(const struct bed *bed, const char *name);
void bed_remove(const struct bed *bed, const char *name);

/* The kubelet starts: its socket is a new one. And it ends: the socket stays. */
void bed_start_kubelet(struct bed *bed);
void bed_stop_kubelet(struct bed *bed);

/* Answers the call of Register that hangs. */
void bed_answer_register(struct bed *bed);

/* Time goes on. */
void bed_advance(struct bed *bed, uint64_t ms);

/* What is under way goes on until nothing more happens, without any time passing. */
void bed_settle(struct bed *bed);

/* --- the kubelet's calls: a connection with one call on it --- */

struct bed_call {
    struct rpc_client *client;
    struct text lists; /* of a watch, "6+2 ": healthy and unhealthy devices of each list */
    bool done;
    enum rpc_status status;
    char text[200]; /* the sentence with it */
    void *answer;   /* NULL = none came */
    size_t answer_size;
};

/* Calls a method of DevicePlugin, like "Allocate", on that socket in the folder. End it with
 * bed_hang_up. */
void bed_call(struct bed *bed, struct bed_call *call, const char *socket, const char *method,
              const void *data, size_t size);
void bed_watch(struct bed *bed, struct bed_call *call, const char *socket);
void bed_hang_up(struct bed *bed, struct bed_call *call);
