// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The catalog: models of GPU, and the instance types that have them, as files of facts
 * (share/catalog; each fact there with its source).
 *
 *   models/NAME.yaml    one model (model.h)
 *   types/FAMILY.yaml   the instance types of one family
 *   prices.yaml         what they cost (prices.h), read only where that is wanted
 *
 * A catalog is read whole and strictly: any problem in any file refuses it, so that what is in
 * memory is right everywhere. Once loaded it does not change.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/problem.h"
#include "base/text.h"
#include "catalog/model.h"

enum { CATALOG_NAME = 32, CATALOG_MAX_GPUS = 16, CATALOG_MAX_SWITCHES = 16 };

enum catalog_outcome {
    CATALOG_UNKNOWN = 1, /* neither an instance type nor a count of a model */
};

/* What the NVLinks of its GPUs lead to. */
enum gpu_wiring { GPU_WIRING_NONE, GPU_WIRING_PEERS, GPU_WIRING_SWITCHES };

/* Of its processors. */
enum cpu_arch { CPU_AMD64, CPU_ARM64, N_CPU_ARCHS };

struct instance_type {
    char name[CATALOG_NAME];     /* "g5.12xlarge" */
    char family[CATALOG_NAME];   /* "g5" */
    size_t model;                /* index into the catalog's models */
    char gpu_name[CATALOG_NAME]; /* "a10g", as Karpenter's labels on EC2 have it; "" = none */
    uint32_t n_gpus, vcpus;
    uint32_t max_pods; /* that there are network addresses for; 0 = not known */
    uint64_t mem_bytes;
    uint32_t wiring; /* enum gpu_wiring */
    uint32_t n_switches;
    uint32_t arch; /* enum cpu_arch */
};

struct catalog {
    struct gpu_model *models;
    size_t n_models;
    struct instance_type *types; /* a family's in the order of its file */
    size_t n_types;
};

#define CATALOG_INIT   \
    {                  \
        .models = NULL \
    }

void catalog_deinit(struct catalog *catalog);
#define cleanup_catalog cleanup(catalog_deinit)

/* Reads a folder. 0, -EBADMSG when `problems` got an error, or -ENOMEM. */
int catalog_load(const char *folder, struct problems *problems, struct catalog *ret_catalog);

/* One file's text each, with the same results; a family's model must be there already. */
int catalog_add_model(struct catalog *catalog, const char *text, size_t size,
                      struct problems *problems);
int catalog_add_family(struct catalog *catalog, const char *text, size_t size,
                       struct problems *problems);

/* By name, without regard to case; NULL when there is none. */
const struct instance_type *catalog_find_type(const struct catalog *catalog, const char *name);
const struct gpu_model *catalog_find_model(const struct catalog *catalog, const char *name);

/* "arm64", as the label kubernetes.io/arch of nodes has it. */
const char *catalog_arch_name(uint32_t arch);

/* A machine that is known by its name alone. Borrows from the catalog. */
struct catalog_machine {
    char name[GPU_MODEL_NAME]; /* as the catalog spells it: "g5.12xlarge", "4xA10G" */
    uint32_t n_gpus;
    const struct gpu_model *model;
    const struct instance_type *type; /* NULL: just so many GPUs */
};

/*
 * An instance type, or a count of a model ("4xA10G"). 0; CATALOG_UNKNOWN when `word` has neither
 * form; -EINVAL or -ENOENT when it is a count of a model and the one or the other is wrong: err
 * then says so, and names the models that were perhaps meant.
 */
int catalog_find_machine(const struct catalog *catalog, const char *word,
                         struct catalog_machine *ret_machine, struct error *err);

/* The end of a sentence about a model or a machine that is not there: which are near. */
void catalog_add_near_models(const struct catalog *catalog, const char *word, struct text *text);
void catalog_add_near_machines(const struct catalog *catalog, const char *word, struct text *text);
