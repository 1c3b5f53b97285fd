// SPDX-License-Identifier: Apache-2.0
#include "nvml/library.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "nvml/symbols.h"

/* A handle is nothing but its position among the others. It has room: programs that pass it for
 * something else make the real library read there, too. */
struct nvmlDevice_st {
    char unused[128];
};

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint n_inits; /* initialised while above zero */
static struct state_file file = STATE_FILE_INIT;
static int trace_fd = -1;
static char *file_machine; /* the GPUSLICE_MACHINE that `file` is for */
static struct nvmlDevice_st handles[MACHINE_MAX_GPUS];

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

static unsigned driver_branch(const struct state *state)
{
    return (unsigned)strtoul(state->machine.driver, NULL, 10);
}

static int open_machine(const char *machine, struct problems *problems, struct state_file *ret_file,
                        struct error *err)
{
    cleanup_free char *path = NULL;
    int r = machine_find(machine, NULL, problems, &path);

    return r < 0 ? r : state_open(path, problems, ret_file, err);
}

/* A driver prints nothing, but a simulator with an invalid machine file should report the error. */
static nvmlReturn_t attach(const char *machine)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct state_file fresh = STATE_FILE_INIT;
    struct error err = ERROR_INIT;
    char *copy = strdup(machine);

    if (!copy)
        return NVML_ERROR_MEMORY;
    if (open_machine(machine, &problems, &fresh, &err) < 0) {
        complain(&problems, &err);
        free(copy);
        return NVML_ERROR_UNKNOWN;
    }
    state_close(&file);
    file = fresh;
    free(file_machine);
    file_machine = copy;
    return NVML_SUCCESS;
}

/* The mapping outlives nvmlShutdown, so that a program may init and shut down repeatedly. */
static bool is_current(const char *machine)
{
    struct error err = ERROR_INIT;
    cleanup_free char *path = NULL;
    cleanup_free char *state = NULL;

    return file.state && file_machine && str_equal(file_machine, machine) &&
           machine_find(machine, NULL, NULL, &path) == 0 && state_path(path, &state, &err) == 0 &&
           str_equal(state, file.path) && state_is_same_file(&file);
}

/* For programs that unload the library. The mapping stays: at exit another thread may still read
 * it. */
__attribute__((destructor)) static void forget_names(void)
{
    free(file_machine);
    free(file.path);
    file_machine = file.path = NULL;
}

static nvmlReturn_t initialise(const char *call)
{
    const char *machine = getenv("GPUSLICE_MACHINE");
    nvmlReturn_t r = NVML_SUCCESS;

    pthread_mutex_lock(&init_lock);
    if (!machine || !*machine)
        r = NVML_ERROR_DRIVER_NOT_LOADED;
    else if (atomic_load(&n_inits) == 0 && !is_current(machine))
        r = attach(machine);
    if (r == NVML_SUCCESS && atomic_load(&n_inits) == 0)
        symbols_apply(file.state, driver_branch(file.state));
    pthread_mutex_unlock(&init_lock);
    if (r != NVML_SUCCESS)
        return r;
    state_tick(&file);
    r = (nvmlReturn_t)state_meet(&file, call, MACHINE_ALL_GPUS);
    if (r == NVML_SUCCESS)
        atomic_fetch_add(&n_inits, 1);
    return r;
}

/* Before anybody can look a name up. What is wrong with the machine is for nvmlInit to report. */
__attribute__((constructor)) static void fit_symbols(void)
{
    const char *machine = getenv("GPUSLICE_MACHINE"), *path = getenv("GPUSLICE_SIM_TRACE");
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;

    if (path)
        trace_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (machine && *machine && open_machine(machine, &problems, &file, &err) == 0) {
        file_machine = strdup(machine);
        symbols_apply(file.state, driver_branch(file.state));
    }
}

nvmlReturn_t nvmlInit(void)
{
    return initialise(__func__);
}

nvmlReturn_t nvmlInit_v2(void)
{
    return initialise(__func__);
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    return initialise(__func__);
}

nvmlReturn_t nvmlShutdown(void)
{
    nvmlReturn_t r = NVML_SUCCESS;

    pthread_mutex_lock(&init_lock);
    if (atomic_load(&n_inits) == 0)
        r = NVML_ERROR_UNINITIALIZED;
    if (r == NVML_SUCCESS && atomic_fetch_sub(&n_inits, 1) == 1) {
        event_shutdown();
        migdevice_shutdown();
    }
    pthread_mutex_unlock(&init_lock);
    return r;
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    return word_error_sentence((uint32_t)result);
}

/* One line for each call, so that what a program asks of a driver can be counted. */
static void trace(const char *call)
{
    if (trace_fd >= 0)
        dprintf(trace_fd, "%s\n", call);
}

static nvmlReturn_t meet(const char *call, int gpu)
{
    trace(call);
    if (atomic_load(&n_inits) == 0)
        return NVML_ERROR_UNINITIALIZED;
    if (symbols_is_too_new(call, driver_branch(file.state)))
        return NVML_ERROR_FUNCTION_NOT_FOUND; /* looked up when the machine was another */
    state_tick(&file);
    return (nvmlReturn_t)state_meet(&file, call, gpu);
}

nvmlReturn_t library_enter(const char *call, struct state_file **ret_file)
{
    nvmlReturn_t r = meet(call, MACHINE_ALL_GPUS);

    *ret_file = &file;
    return r;
}

static int index_of(nvmlDevice_t device)
{
    for (unsigned i = 0; i < MACHINE_MAX_GPUS; i++)
        if (device == &handles[i])
            return (int)i;
    return -1;
}

nvmlReturn_t library_enter_any(const char *call, nvmlDevice_t device, struct view *ret_view)
{
    int index = index_of(device);
    unsigned gpu = 0;
    const bool is_mig = index < 0 && migdevice_is_handle(device, &gpu);
    struct view view = {.is_mig = is_mig};
    nvmlReturn_t r;

    if (is_mig)
        index = (int)gpu;
    r = meet(call, index < 0 ? MACHINE_ALL_GPUS : index);
    if (r != NVML_SUCCESS)
        return r;
    if (index < 0 || (unsigned)index >= file.state->machine.n_gpus)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (atomic_load(&file.state->gpus[index].lost))
        return NVML_ERROR_GPU_IS_LOST;
    if (is_mig && !migdevice_describe(file.state, device, &view.mig))
        return NVML_ERROR_INVALID_ARGUMENT;
    view.index = (unsigned)index;
    view.file = &file;
    view.state = file.state;
    view.gpu = &file.state->machine.gpus[index];
    view.model = &view.gpu->model;
    view.now = &file.state->gpus[index];
    *ret_view = view;
    return NVML_SUCCESS;
}

nvmlReturn_t library_enter_device(const char *call, nvmlDevice_t device, struct view *ret_view)
{
    struct view view;
    nvmlReturn_t r = library_enter_any(call, device, &view);

    if (r != NVML_SUCCESS)
        return r;
    if (view.is_mig ? !migdevice_is_of_gpu(call)
                    : migdevice_is_refused(call) && migdevice_count_max(view.state, view.index) > 0)
        return NVML_ERROR_NOT_SUPPORTED;
    *ret_view = view;
    return NVML_SUCCESS;
}

nvmlDevice_t library_handle(const struct state *state, unsigned index)
{
    if (index >= state->machine.n_gpus || index >= MACHINE_MAX_GPUS)
        return NULL;
    return &handles[index];
}

nvmlDevice_t library_handle_at(unsigned index)
{
    return index < MACHINE_MAX_GPUS ? &handles[index] : NULL;
}

nvmlReturn_t library_give_text(char *to, unsigned length, const char *text)
{
    size_t needed = strlen(text) + 1;

    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (length < needed)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(to, text, needed);
    return NVML_SUCCESS;
}

bool library_driver_since(const struct state *state, unsigned branch)
{
    return driver_branch(state) >= branch;
}

unsigned long long library_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_nsec / 1000u;
}
