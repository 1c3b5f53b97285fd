// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The parts of the machine file parser. Only machinefile*.c use this; everything else uses
 * machinefile.h.
 *
 * The catalog is loaded on demand: a file with its own models works without a catalog.
 */

#include "base/yamlmap.h"
#include "catalog/catalog.h"
#include "nvml/machinefile.h"

struct machine_reader {
    struct problems *problems;
    const char *directory; /* models/ is searched here first; NULL = no models by name */
    struct machine *machine;
    const struct catalog *catalog; /* NULL = not loaded yet */
    struct catalog own_catalog;    /* what was loaded here */
    bool catalog_refused;
    struct gpu_model model; /* of GPUs without a model */
    bool has_model, model_refused;
};

/* A PCI address, in any field. */
extern const struct yamlmap_field machine_pci_field;

/* NULL, and a problem the first time, if it cannot be loaded. Borrowed from the reader. */
const struct catalog *machine_reader_catalog(struct machine_reader *reader);

/* A model by name or inline. False if it could not be read; the problems have the reason. */
bool machine_read_model(struct machine_reader *reader, const struct yaml *node, const char *path,
                        struct gpu_model *ret_model);

/* The whole document. */
void machine_read(struct machine_reader *reader, const struct yaml *root);

/* A machine of the catalog, with nominal addresses and driver. */
void machine_read_catalog(struct machine_reader *reader, const struct catalog_machine *found);

void machine_read_wiring(struct machine_reader *reader, const struct yaml *node);
void machine_read_faults(struct machine_reader *reader, const struct yaml *list);
void machine_read_processes(struct machine_reader *reader, const struct yaml *list);
void machine_read_mig(struct machine_reader *reader, const struct yaml *list);

/* The NVLinks of an instance type, with nominal ends. */
void machine_wire(struct machine *machine, const struct instance_type *type);
