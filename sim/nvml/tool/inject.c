// SPDX-License-Identifier: Apache-2.0
#include "nvml/tool/inject.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "nvml/migstate.h"

enum { MAX_WORDS = 6 };

/* arguments after the name; absent ones are NULL. */
struct request {
    struct state_file *file;
    char *words[MAX_WORDS];
    struct error *err;
};

/* A GPU, or a part of it; STATE_NO_INSTANCE: all of it. */
struct place {
    unsigned gpu;
    uint32_t instance, compute;
};

static unsigned n_gpus(const struct request *q)
{
    return q->file->state->machine.n_gpus;
}

static int read_gpu(const struct request *q, const char *word, unsigned *ret_gpu)
{
    const struct machine *m = &q->file->state->machine;
    uint32_t index;

    for (unsigned i = 0; i < m->n_gpus; i++)
        if (str_equal(word, m->gpus[i].uuid)) {
            *ret_gpu = i;
            return 0;
        }
    if (!number_parse(word, &index) || index >= m->n_gpus)
        return error_set(q->err, -EINVAL, "'%s' is no GPU: write 0 to %u, or a UUID", word,
                         m->n_gpus ? m->n_gpus - 1 : 0);
    *ret_gpu = index;
    return 0;
}

static int read_gpu_or_all(const struct request *q, const char *word, int32_t *ret_gpu)
{
    unsigned gpu = 0;
    int r;

    if (!word || str_equal(word, "all")) {
        *ret_gpu = MACHINE_ALL_GPUS;
        return 0;
    }
    r = read_gpu(q, word, &gpu);
    if (r == 0)
        *ret_gpu = (int32_t)gpu;
    return r;
}

static int read_call(const struct request *q, const char *word, char to[MACHINE_NAME])
{
    const char *near;

    if (!word || str_equal(word, "all")) {
        to[0] = '\0';
        return 0;
    }
    if (word_is_call(word))
        return str_copy(to, MACHINE_NAME, word);
    near = word_suggest_call(word);
    if (near)
        return error_set(q->err, -EINVAL, "%s has no function '%s'; did you mean '%s'?",
                         word_library(word), word, near);
    return error_set(q->err, -EINVAL, "%s has no function '%s'", word_library(word), word);
}

static int read_number(const struct request *q, const char *word, uint32_t min, uint32_t max,
                       uint32_t *ret_number)
{
    if (!number_parse(word, ret_number) || *ret_number < min || *ret_number > max)
        return error_set(q->err, -EINVAL, "'%s': write a number from %u to %u", word, min, max);
    return 0;
}

static int read_size(const struct request *q, const char *word, uint64_t *ret_bytes)
{
    if (!number_parse_size(word, ret_bytes))
        return error_set(q->err, -EINVAL, "'%s': write a size such as 512Mi", word);
    return 0;
}

static int happen(const struct request *q, const struct machine_fault *fault)
{
    int r = state_inject(q->file, fault);

    if (r == -ENOSPC)
        return error_set(q->err, r, "%d rules are active already; end some first", STATE_MAX_RULES);
    return r;
}

/* A GPU, "0:7", its GPU instance 7, "0:7:0", the compute instance 0 of that, or a MIG device's
 * UUID. */
static int read_place(const struct request *q, const char *word, struct place *ret_place)
{
    cleanup_free char *copy = strdup(word);
    char *rest = copy;
    const char *gpu = copy ? strsep(&rest, ":") : NULL;
    const char *instance = rest ? strsep(&rest, ":") : NULL, *compute = rest;
    struct place place = {0, STATE_NO_INSTANCE, STATE_NO_INSTANCE};
    int r;

    if (!copy)
        return -ENOMEM;
    if (migstate_find(q->file->state, word, &place.gpu, &place.instance, &place.compute)) {
        *ret_place = place;
        return 0;
    }
    r = read_gpu(q, gpu, &place.gpu);
    if (r == 0 && instance &&
        (!number_parse(instance, &place.instance) || place.instance >= STATE_GPU_INSTANCES))
        r = error_set(q->err, -EINVAL, "'%s': write GPU:GI, such as 0:7", word);
    if (r == 0 && compute &&
        (!number_parse(compute, &place.compute) || place.compute >= STATE_COMPUTE_INSTANCES))
        r = error_set(q->err, -EINVAL, "'%s': write GPU:GI:CI, such as 0:7:0", word);
    if (r == 0)
        *ret_place = place;
    return r;
}

static int inject_xid(const struct request *q)
{
    struct machine_fault fault = {.kind = FAULT_XID,
                                  .gpu = MACHINE_ALL_GPUS,
                                  .gpu_instance = STATE_NO_INSTANCE,
                                  .compute_instance = STATE_NO_INSTANCE};
    struct place place;
    int r = 0;

    if (!str_equal(q->words[0], "all")) {
        r = read_place(q, q->words[0], &place);
        if (r == 0) {
            fault.gpu = (int32_t)place.gpu;
            fault.gpu_instance = place.instance;
            fault.compute_instance = place.compute;
        }
    }
    if (r == 0)
        r = read_number(q, q->words[1], 1, 999, &fault.code);
    return r < 0 ? r : happen(q, &fault);
}

static int inject_simple(const struct request *q, uint32_t kind)
{
    struct machine_fault fault = {
        .kind = kind, .gpu_instance = STATE_NO_INSTANCE, .compute_instance = STATE_NO_INSTANCE};
    int r = read_gpu_or_all(q, q->words[0], &fault.gpu);

    return r < 0 ? r : happen(q, &fault);
}

static int inject_lost(const struct request *q)
{
    return inject_simple(q, FAULT_LOST);
}

static int inject_back(const struct request *q)
{
    return inject_simple(q, FAULT_BACK);
}

/* Each call, or only the nth from now on. */
static int inject_rule(const struct request *q, uint32_t kind)
{
    struct machine_fault fault = {.kind = kind};
    int r = read_gpu_or_all(q, q->words[0], &fault.gpu);

    if (r == 0)
        r = read_call(q, q->words[1], fault.call);
    if (r == 0 && q->words[2])
        r = read_number(q, q->words[2], 1, 1000000, &fault.nth);
    return r < 0 ? r : happen(q, &fault);
}

static int inject_hang(const struct request *q)
{
    return inject_rule(q, FAULT_HANG);
}

static int inject_death(const struct request *q)
{
    return inject_rule(q, FAULT_DEATH);
}

static int inject_reset_refused(const struct request *q)
{
    struct machine_fault fault = {.kind = FAULT_RESET_REFUSED};
    int r = read_gpu_or_all(q, q->words[0], &fault.gpu);

    if (r < 0)
        return r;
    fault.code = str_equal(q->words[1], "on");
    if (!fault.code && !str_equal(q->words[1], "off"))
        return error_set(q->err, -EINVAL, "'%s': write on or off", q->words[1]);
    return happen(q, &fault);
}

static int inject_unhang(const struct request *q)
{
    char call[MACHINE_NAME];
    int32_t gpu = 0;
    int r = read_gpu_or_all(q, q->words[0], &gpu);

    if (r == 0)
        r = read_call(q, q->words[1], call);
    if (r < 0)
        return r;
    state_clear(q->file, FAULT_HANG, call, gpu);
    return 0;
}

/* Also where the GPU is in use or its reset is refused: it has happened. */
static int inject_reset(const struct request *q)
{
    int32_t gpu = 0;
    int r = read_gpu_or_all(q, q->words[0], &gpu);

    if (r < 0)
        return r;
    for (unsigned i = 0; i < n_gpus(q); i++)
        if (gpu == MACHINE_ALL_GPUS || gpu == (int32_t)i)
            state_reset_gpu(q->file, i);
    return 0;
}

/* No library can remove a symbol from dlsym at run time: the call reports that it is missing, like
 * NVML itself when it is newer than its driver. */
static int inject_symbol(const struct request *q)
{
    struct machine_fault fault = {.kind = FAULT_MISSING, .gpu = MACHINE_ALL_GPUS};
    int r = read_call(q, q->words[0], fault.call);

    if (r < 0)
        return r;
    if (!fault.call[0])
        return error_set(q->err, -EINVAL, "name one function");
    if (str_equal(q->words[1], "missing"))
        return happen(q, &fault);
    if (!str_equal(q->words[1], "present"))
        return error_set(q->err, -EINVAL, "'%s': write missing or present", q->words[1]);
    state_clear(q->file, FAULT_MISSING, fault.call, MACHINE_ALL_GPUS);
    return 0;
}

static int inject_error(const struct request *q)
{
    struct machine_fault fault = {.kind = FAULT_ERROR};
    int r = read_call(q, q->words[0], fault.call);

    if (r == 0)
        r = read_gpu_or_all(q, q->words[2], &fault.gpu);
    if (r < 0)
        return r;
    if (str_equal(q->words[1], "none")) {
        state_clear(q->file, FAULT_ERROR, fault.call, fault.gpu);
        return 0;
    }
    if (q->words[3])
        r = read_number(q, q->words[3], 1, 1000000, &fault.nth);
    if (r < 0)
        return r;
    if (!word_error(fault.call, q->words[1], &fault.code))
        return error_set(q->err, -EINVAL,
                         "'%s' is no %s error: write its name, such as %s, its number, or none",
                         q->words[1], word_library(fault.call), word_error_example(fault.call));
    return happen(q, &fault);
}

static int inject_memory(const struct request *q)
{
    uint64_t bytes;
    unsigned gpu = 0;
    int r = read_gpu(q, q->words[0], &gpu);

    if (r == 0)
        r = read_size(q, q->words[1], &bytes);
    if (r == 0)
        atomic_store(&q->file->state->gpus[gpu].used_bytes, bytes);
    return r;
}

static int inject_utilization(const struct request *q)
{
    uint32_t percent, memory = 0;
    unsigned gpu = 0;
    int r = read_gpu(q, q->words[0], &gpu);

    if (r == 0)
        r = read_number(q, q->words[1], 0, 100, &percent);
    if (r == 0 && q->words[2])
        r = read_number(q, q->words[2], 0, 100, &memory);
    if (r < 0)
        return r;
    atomic_store(&q->file->state->gpus[gpu].utilization_gpu, percent);
    atomic_store(&q->file->state->gpus[gpu].utilization_memory, memory);
    return 0;
}

static int inject_temperature(const struct request *q)
{
    uint32_t celsius;
    unsigned gpu = 0;
    int r = read_gpu(q, q->words[0], &gpu);

    if (r == 0)
        r = read_number(q, q->words[1], 0, 150, &celsius);
    if (r == 0)
        atomic_store(&q->file->state->gpus[gpu].temperature_celsius, celsius);
    return r;
}

static int add_process(const struct request *q, const struct place *place, uint32_t pid)
{
    struct machine_process process = {.gpu = place->gpu,
                                      .gpu_instance = place->instance,
                                      .compute_instance = place->compute,
                                      .pid = pid};
    int r;

    if (!q->words[3])
        return error_set(q->err, -EINVAL, "say how much memory the process holds, such as 512Mi");
    r = read_size(q, q->words[3], &process.memory_bytes);
    if (r < 0)
        return r;
    if (q->words[4] && str_copy(process.name, sizeof(process.name), q->words[4]) < 0)
        return error_set(q->err, -EINVAL, "the name is longer than %d bytes", MACHINE_NAME - 1);
    if (q->words[5] && str_equal(q->words[5], "mps"))
        process.kind = PROCESS_MPS;
    else if (q->words[5] && str_equal(q->words[5], "graphics"))
        process.kind = PROCESS_GRAPHICS;
    else if (q->words[5] && str_equal(q->words[5], "client"))
        process.kind = PROCESS_CLIENT;
    else if (q->words[5] && str_equal(q->words[5], "raw"))
        process.kind = PROCESS_RAW;
    else if (q->words[5] && !str_equal(q->words[5], "compute"))
        return error_set(q->err, -EINVAL, "'%s': write compute, graphics, mps, client or raw",
                         q->words[5]);
    r = state_add_process(q->file, &process);
    return r < 0 ? error_set(q->err, r, "no room for more processes") : 0;
}

static int inject_process(const struct request *q)
{
    uint32_t pid = 0;
    struct place place = {.gpu = 0};
    int r = read_place(q, q->words[1], &place);

    if (r == 0)
        r = read_number(q, q->words[2], 1, INT32_MAX, &pid);
    if (r < 0)
        return r;
    if (str_equal(q->words[0], "add"))
        return add_process(q, &place, pid);
    if (!str_equal(q->words[0], "remove"))
        return error_set(q->err, -EINVAL, "'%s': write add or remove", q->words[0]);
    r = state_remove_process(q->file, place.gpu, pid);
    return r < 0 ? error_set(q->err, r, "GPU %u has no process %u", place.gpu, pid) : 0;
}

static const struct {
    const char *name, *usage;
    int min_words, max_words;
    int (*run)(const struct request *request);
} injections[] = {
    {"xid", "GPU[:GI[:CI]]|all NUMBER", 2, 2, inject_xid},
    {"hang", "GPU|all [CALL [NTH]]", 1, 3, inject_hang},
    {"unhang", "GPU|all [CALL]", 1, 2, inject_unhang},
    {"lost", "GPU", 1, 1, inject_lost},
    {"back", "GPU", 1, 1, inject_back},
    {"reset", "GPU|all", 1, 1, inject_reset},
    {"symbol", "CALL missing|present", 2, 2, inject_symbol},
    {"error", "CALL|all ERROR|none [GPU|all [NTH]]", 2, 4, inject_error},
    {"death", "GPU|all CALL [NTH]", 2, 3, inject_death},
    {"reset-refused", "GPU|all on|off", 2, 2, inject_reset_refused},
    {"memory", "GPU SIZE", 2, 2, inject_memory},
    {"utilization", "GPU PERCENT [MEMORY]", 2, 3, inject_utilization},
    {"temperature", "GPU CELSIUS", 2, 2, inject_temperature},
    {"process", "add GPU[:GI[:CI]] PID SIZE [NAME [KIND]]|remove GPU PID", 3, 6, inject_process},
};

void inject_usage(struct text *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(injections); i++)
        text_addf(out, "  inject %-13s %s\n", injections[i].name, injections[i].usage);
}

int inject(struct state_file *file, char **words, int n_words, struct error *err)
{
    struct request request = {.file = file, .err = err};
    const char *names[ARRAY_SIZE(injections)], *near;

    for (size_t i = 0; i < ARRAY_SIZE(injections); i++) {
        names[i] = injections[i].name;
        if (!str_equal(words[0], names[i]))
            continue;
        if (n_words - 1 < injections[i].min_words || n_words - 1 > injections[i].max_words)
            return error_set(err, -EINVAL, "write: inject %s %s", names[i], injections[i].usage);
        for (int j = 1; j < n_words; j++)
            request.words[j - 1] = words[j];
        return injections[i].run(&request);
    }
    near = str_suggest(words[0], names, ARRAY_SIZE(names));
    if (near)
        return error_set(err, -EINVAL, "cannot inject '%s'; did you mean '%s'?", words[0], near);
    return error_set(err, -EINVAL, "cannot inject '%s'; see gpuslice-sim help", words[0]);
}
