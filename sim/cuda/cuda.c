// SPDX-License-Identifier: Apache-2.0
#include "cuda/cuda.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "nvml/client.h"
#include "nvml/state.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_initialised;
static bool is_forked; /* this is the child of a process that had initialised the library */
static struct state_file file = STATE_FILE_INIT;
static struct cuda_device devices[MACHINE_MAX_GPUS];
static int n_devices;
static int trace_fd = -1;
static _Thread_local bool per_thread;

static void complain(const struct problems *problems, const struct error *err)
{
    const struct problem *problem = NULL;
    char line[600];

    if (err->code)
        fprintf(stderr, "gpuslice-sim: %s\n", error_text(err));
    while ((problem = problems_next(problems, problem))) {
        problem_format(problems, problem, line, sizeof(line));
        fprintf(stderr, "gpuslice-sim: %s\n", line);
    }
}

static CUresult attach(const char *machine)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_free char *path = NULL;
    struct error err = ERROR_INIT;
    int r = machine_find(machine, NULL, &problems, &path);

    if (r == 0)
        r = state_open(path, &problems, &file, &err);
    if (r < 0)
        complain(&problems, &err);
    return r < 0 ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

static void add_device(unsigned index)
{
    struct cuda_device *device = &devices[n_devices];

    for (int i = 0; i < n_devices; i++)
        if (devices[i].index == index)
            return;
    *device = (struct cuda_device){
        .index = index, .ordinal = n_devices, .gpu = &file.state->machine.gpus[index]};
    n_devices++;
}

/* The GPU of a word of CUDA_VISIBLE_DEVICES: its number, or the begin of its UUID. */
static bool find_gpu(const char *word, unsigned *ret_index)
{
    const struct machine *m = &file.state->machine;
    char *end;
    unsigned long number = strtoul(word, &end, 10);

    if (*word && !*end) {
        *ret_index = (unsigned)number;
        return number < m->n_gpus;
    }
    for (unsigned i = 0; i < m->n_gpus; i++)
        if (strncmp(word, "GPU-", 4) == 0 && strncmp(m->gpus[i].uuid, word, strlen(word)) == 0) {
            *ret_index = i;
            return true;
        }
    return false;
}

/* The first word that names no GPU ends the list, without an error. */
static void find_devices(void)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    cleanup_free char *words = visible ? strdup(visible) : NULL;
    char *rest = words, *word;
    unsigned index;

    n_devices = 0;
    for (unsigned i = 0; !visible && i < file.state->machine.n_gpus; i++)
        add_device(i);
    while (rest && (word = strsep(&rest, ",")) && find_gpu(word, &index))
        add_device(index);
}

static void forget_in_child(void)
{
    pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

    memcpy(&lock, &fresh, sizeof(lock));
    is_forked = true;
}

CUresult sim_cuInit(unsigned flags)
{
    const char *machine = getenv("GPUSLICE_MACHINE");
    CUresult r;

    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (is_initialised)
        return CUDA_SUCCESS;
    r = file.state ? CUDA_SUCCESS : machine && *machine ? attach(machine) : CUDA_ERROR_NO_DEVICE;
    if (r == CUDA_SUCCESS)
        find_devices();
    if (r != CUDA_SUCCESS || n_devices == 0)
        return CUDA_ERROR_NO_DEVICE;
    pthread_atfork(NULL, NULL, forget_in_child);
    is_initialised = true;
    return CUDA_SUCCESS;
}

CUresult sim_cuDriverGetVersion(int *version)
{
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = (int)cuda_version();
    return CUDA_SUCCESS;
}

struct state *cuda_state(void)
{
    return file.state;
}

/* Before cuInit as well, and then without a machine: the newest that is acted out. */
unsigned cuda_version(void)
{
    const char *machine = getenv("GPUSLICE_MACHINE");

    if (!file.state && machine && *machine)
        (void)attach(machine);
    return file.state ? file.state->machine.cuda : 13000;
}

/* One line for each call, so that what a program asks of a driver can be counted. */
static void trace(const char *call)
{
    if (trace_fd >= 0)
        dprintf(trace_fd, "%s\n", call);
}

__attribute__((constructor)) static void open_trace(void)
{
    const char *path = getenv("GPUSLICE_SIM_TRACE");

    if (path)
        trace_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static bool is_early(enum cuda_when when)
{
    return when == CUDA_EARLY || when == CUDA_EARLY_PTSZ;
}

bool cuda_is_missing(const char *call)
{
    return file.state && state_is_missing(file.state, call);
}

/* A fault that is due, or stays. It may hang: nothing is locked. */
static CUresult meet(const char *call)
{
    state_tick(&file);
    if (cuda_is_missing(call))
        return CUDA_ERROR_NOT_FOUND;
    return (CUresult)state_meet(&file, call, MACHINE_ALL_GPUS);
}

CUresult cuda_enter(const char *symbol, const char *call, enum cuda_when when, bool is_per_thread)
{
    CUresult r = CUDA_SUCCESS;

    trace(symbol);
    if (is_forked && !is_early(when))
        return CUDA_ERROR_NOT_INITIALIZED;
    if (is_forked && strcmp(call, "cuInit") == 0)
        return CUDA_ERROR_NOT_INITIALIZED;
    pthread_mutex_lock(&lock);
    if (!is_initialised && !is_early(when))
        r = CUDA_ERROR_NOT_INITIALIZED;
    pthread_mutex_unlock(&lock);
    if (r == CUDA_SUCCESS && file.state)
        r = meet(call);
    if (r != CUDA_SUCCESS)
        return r;
    pthread_mutex_lock(&lock);
    per_thread = is_per_thread;
    return CUDA_SUCCESS;
}

void cuda_leave(void)
{
    pthread_mutex_unlock(&lock);
}

void cuda_reenter(void)
{
    pthread_mutex_lock(&lock);
}

void cuda_wait(void)
{
    pthread_cond_wait(&changed, &lock);
}

void cuda_wake(void)
{
    pthread_cond_broadcast(&changed);
}

bool cuda_is_per_thread(void)
{
    return per_thread;
}

struct cuda_device *cuda_device(CUdevice ordinal)
{
    return ordinal >= 0 && ordinal < n_devices ? &devices[ordinal] : NULL;
}

CUresult cuda_charge(const struct cuda_device *device, uint64_t bytes)
{
    return client_charge(&file, device->index, bytes) < 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

void cuda_refund(const struct cuda_device *device, uint64_t bytes)
{
    client_refund(&file, device->index, bytes);
}

uint64_t cuda_total_bytes(const struct cuda_device *device)
{
    return device->gpu->model.memory_bytes - device->gpu->model.reserved_bytes;
}

uint64_t cuda_free_bytes(const struct cuda_device *device)
{
    return cuda_total_bytes(device) - state_used_bytes(file.state, device->index);
}
