// SPDX-License-Identifier: Apache-2.0
#include "nvml/tool/partition.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "nvml/migstate.h"
#include "nvml/migword.h"

struct request {
    struct state_file *file;
    unsigned gpu;
    char **words; /* behind the GPU */
    int n_words;
    struct error *err;
};

static int fail(const struct request *q, int outcome, const char *what)
{
    switch (outcome) {
    case 0:
        return 0;
    case MIGSTATE_OFF:
        return error_set(q->err, -EINVAL, "GPU %u is not in MIG mode", q->gpu);
    case MIGSTATE_IN_USE:
        return error_set(q->err, -EBUSY, "GPU %u: %s is in use", q->gpu, what);
    case MIGSTATE_NO_ROOM:
        return error_set(q->err, -ENOSPC, "GPU %u has no room for %s", q->gpu, what);
    case MIGSTATE_UNKNOWN_PLACE:
        return error_set(q->err, -EINVAL, "%s cannot lie there", what);
    case MIGSTATE_RESET_REFUSED:
        return error_set(q->err, -EPERM, "GPU %u cannot be reset", q->gpu);
    default:
        return error_set(q->err, -ENOENT, "GPU %u has no %s", q->gpu, what);
    }
}

static const struct mig_board *board_of(const struct request *q)
{
    return migstate_board(q->file->state, q->gpu);
}

static int set_mode(const struct request *q, bool enabled)
{
    int r;

    if (!board_of(q)->n_slots)
        return error_set(q->err, -EINVAL, "GPU %u, %s, cannot be partitioned", q->gpu,
                         q->file->state->machine.gpus[q->gpu].model.name);
    r = migstate_set_mode(q->file, q->gpu, enabled);
    return r == MIGSTATE_RESET_REQUIRED ? 0 : fail(q, r, "it");
}

static int turn_on(const struct request *q)
{
    return set_mode(q, true);
}

static int turn_off(const struct request *q)
{
    return set_mode(q, false);
}

/* In the GPU instance with room for it, else in a new one. */
static int create_one(const struct request *q, const char *text)
{
    struct mig_layout layout;
    struct migstate_ref instance, compute;
    struct migword word;
    uint32_t start;
    bool found = false;
    int r = migword_parse(board_of(q), text, &word, q->err);

    if (r < 0)
        return r;
    migstate_read(q->file->state, q->gpu, &layout);
    for (uint32_t i = 0; i < layout.n_instances && word.compute != MIGWORD_NONE && !found; i++)
        found = layout.instances[i].profile == word.profile && word.start == MIGPLACE_ANY &&
                migplace_find_compute(board_of(q), &layout.instances[i], word.compute, MIGPLACE_ANY,
                                      &start) == 0 &&
                migstate_refer(q->file->state, q->gpu, layout.instances[i].id, STATE_NO_INSTANCE,
                               &instance) == 0;
    if (!found)
        r = migstate_create(q->file, q->gpu, word.profile, word.start, &instance);
    if (r == 0 && word.compute != MIGWORD_NONE)
        r = migstate_create_compute(q->file, &instance, word.compute, MIGPLACE_ANY, &compute);
    return fail(q, r, text);
}

static int create(const struct request *q)
{
    int r = 0;

    for (int i = 0; i < q->n_words && r == 0; i++)
        r = create_one(q, q->words[i]);
    return r;
}

static int destroy_instance(const struct request *q, const struct mig_instance *instance,
                            uint32_t only_compute)
{
    const struct state *state = q->file->state;
    struct migstate_ref ref;
    int r = 0;

    for (uint32_t i = 0; i < instance->n_computes && r == 0; i++) {
        const uint32_t id = instance->computes[i].id;

        if (only_compute == STATE_NO_INSTANCE || only_compute == id)
            r = migstate_refer(state, q->gpu, instance->id, id, &ref) == 0
                    ? migstate_destroy_compute(q->file, &ref)
                    : 0;
    }
    if (r == 0 && only_compute == STATE_NO_INSTANCE &&
        migstate_refer(state, q->gpu, instance->id, STATE_NO_INSTANCE, &ref) == 0)
        r = migstate_destroy(q->file, &ref);
    return fail(q, r, "an instance");
}

/* "7" or "7:0"; no word: all of them. */
static int destroy(const struct request *q)
{
    uint32_t instance = STATE_NO_INSTANCE, compute = STATE_NO_INSTANCE;
    struct mig_layout layout;
    bool found = q->n_words == 0;
    int r = 0;

    if (q->n_words) {
        char *colon = strchr(q->words[0], ':');

        if (colon)
            *colon = '\0';
        if (!number_parse(q->words[0], &instance) || (colon && !number_parse(colon + 1, &compute)))
            return error_set(q->err, -EINVAL, "write GI or GI:CI, such as 7 or 7:0");
    }
    migstate_read(q->file->state, q->gpu, &layout);
    for (uint32_t i = 0; i < layout.n_instances && r == 0; i++)
        if (instance == STATE_NO_INSTANCE || layout.instances[i].id == instance) {
            r = destroy_instance(q, &layout.instances[i], compute);
            found = true;
        }
    return r == 0 && !found ? fail(q, MIGSTATE_GONE, "such instance") : r;
}

static int reset(const struct request *q)
{
    return fail(q, migstate_reset(q->file, q->gpu), "it");
}

static const struct {
    const char *name, *usage;
    int min_words, max_words;
    int (*run)(const struct request *request);
} verbs[] = {
    {"on", "GPU|all", 0, 0, turn_on},
    {"off", "GPU|all", 0, 0, turn_off},
    {"create", "GPU|all PROFILE[@START]...", 1, 64, create},
    {"destroy", "GPU|all [GI[:CI]]", 0, 1, destroy},
    {"reset", "GPU|all", 0, 0, reset},
};

void partition_usage(struct text *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        text_addf(out, "  mig %-9s  %s\n", verbs[i].name, verbs[i].usage);
}

static bool names(const struct machine_gpu *gpu, const char *word)
{
    struct pci_address pci;

    return str_equal(word, gpu->uuid) ||
           (strchr(word, ':') && word_pci(word, &pci) && pci.domain == gpu->pci.domain &&
            pci.bus == gpu->pci.bus && pci.device == gpu->pci.device);
}

/* For each GPU that the word names: an index, a UUID, a PCI address, or all. */
static int run_on(struct request *q, const char *which, int (*run)(const struct request *request))
{
    const struct machine *m = &q->file->state->machine;
    uint32_t index = m->n_gpus;
    int r = 0;

    for (uint32_t i = 0; i < m->n_gpus; i++)
        if (names(&m->gpus[i], which))
            index = i;
    if (str_equal(which, "all"))
        index = 0;
    else if (index == m->n_gpus && (!number_parse(which, &index) || index >= m->n_gpus))
        return error_set(q->err, -EINVAL, "'%s' is no GPU: write 0 to %u, or all", which,
                         m->n_gpus ? m->n_gpus - 1 : 0);
    for (q->gpu = index; q->gpu < m->n_gpus && r == 0; q->gpu++) {
        r = run(q);
        if (!str_equal(which, "all"))
            break;
    }
    return r;
}

static int list(const struct state_file *file, struct text *out)
{
    for (unsigned gpu = 0; gpu < file->state->machine.n_gpus; gpu++)
        partition_list(out, file->state, gpu);
    return 0;
}

int partition(struct state_file *file, char **words, int n_words, struct text *out,
              struct error *err)
{
    struct request q = {.file = file, .words = words + 2, .n_words = n_words - 2, .err = err};

    state_tick(file);
    if (str_equal(words[0], "list"))
        return list(file, out);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!str_equal(words[0], verbs[i].name))
            continue;
        if (q.n_words < verbs[i].min_words || q.n_words > verbs[i].max_words)
            return error_set(err, -EINVAL, "write: mig %s %s", verbs[i].name, verbs[i].usage);
        return run_on(&q, words[1], verbs[i].run);
    }
    return error_set(err, -EINVAL, "'%s': write on, off, create, destroy, reset or list", words[0]);
}

/* Calls for each MIG device of the GPU, and for each GPU instance without one (compute: NULL). */
static void for_each(const struct state *state, unsigned gpu,
                     void (*visit)(struct text *out, const struct state *state, unsigned gpu,
                                   const struct mig_instance *instance,
                                   const struct mig_compute *compute),
                     struct text *out)
{
    struct mig_layout layout;

    migstate_read(state, gpu, &layout);
    for (uint32_t i = 0; i < layout.n_instances; i++) {
        const struct mig_instance *instance = &layout.instances[i];

        for (uint32_t j = 0; j < instance->n_computes; j++)
            visit(out, state, gpu, instance, &instance->computes[j]);
        if (!instance->n_computes)
            visit(out, state, gpu, instance, NULL);
    }
}

static void add_line(struct text *out, const struct state *state, unsigned gpu,
                     const struct mig_instance *instance, const struct mig_compute *compute)
{
    const struct mig_profile *profile = &migstate_board(state, gpu)->profiles[instance->profile];
    char name[STATE_UUID], uuid[STATE_UUID];

    if (!compute) {
        text_addf(out, "  GPU %u: GPU instance %u, %s at %u:%u, empty\n", gpu, instance->id,
                  profile->name, instance->start, profile->slots);
        return;
    }
    migstate_name(profile, compute->slices, name);
    migstate_uuid(state, gpu, instance->id, compute->id, uuid);
    text_addf(out, "  GPU %u: GPU instance %u at %u:%u, compute instance %u, %s, %s\n", gpu,
              instance->id, instance->start, profile->slots, compute->id, name, uuid);
}

void partition_list(struct text *out, const struct state *state, unsigned gpu)
{
    struct mig_layout layout;

    migstate_read(state, gpu, &layout);
    if (layout.enabled != layout.pending)
        text_addf(out, "  GPU %u: MIG mode is %s, and %s after a reset\n", gpu,
                  layout.enabled ? "on" : "off", layout.pending ? "on" : "off");
    else if (layout.enabled && !layout.n_instances)
        text_addf(out, "  GPU %u: MIG mode is on, no instances\n", gpu);
    for_each(state, gpu, add_line, out);
}

static void add_object(struct text *out, const struct state *state, unsigned gpu,
                       const struct mig_instance *instance, const struct mig_compute *compute)
{
    const struct mig_profile *profile = &migstate_board(state, gpu)->profiles[instance->profile];
    const char *end = text_string(out) + strlen(text_string(out));
    char name[STATE_UUID], uuid[STATE_UUID];

    text_addf(out, "%s{\"gi\": %u, \"start\": %u, \"size\": %u, ", end[-1] == '}' ? ", " : "",
              instance->id, instance->start, profile->slots);
    if (!compute) {
        text_addf(out, "\"profile\": \"%s\"}", profile->name);
        return;
    }
    migstate_name(profile, compute->slices, name);
    migstate_uuid(state, gpu, instance->id, compute->id, uuid);
    text_addf(out, "\"ci\": %u, \"profile\": \"%s\", \"uuid\": \"%s\"}", compute->id, name, uuid);
}

void partition_json(struct text *out, const struct state *state, unsigned gpu)
{
    struct mig_layout layout;

    migstate_read(state, gpu, &layout);
    text_addf(out, "{\"capable\": %s, \"current\": %s, \"pending\": %s, \"instances\": [",
              migstate_board(state, gpu)->n_slots ? "true" : "false",
              layout.enabled ? "true" : "false", layout.pending ? "true" : "false");
    for_each(state, gpu, add_object, out);
    text_add(out, "]}");
}
