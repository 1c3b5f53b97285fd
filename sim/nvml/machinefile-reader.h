// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How a machine file is read, piece by piece. Only machinefile*.c know this; everybody else asks
 * machinefile.h.
 *
 * The catalog is loaded when something of it is asked for: a file that brings its own models works
 * where no catalog is.
 */

#include "base/yamlmap.h"
#include "catalog/catalog.h"
#include "nvml/machinefile.h"

struct machine_reader {
    struct problems *problems;
    const char *directory; /* models/ is looked for here first; NULL = no models by name */
    struct machine *machine;
    const struct catalog *catalog; /* NULL = not loaded yet */
    struct catalog own_catalog;    /* what was loaded here */
    bool catalog_refused;
    struct gpu_model model; /* of GPUs that name none */
    bool has_model, model_refused;
};

/* A PCI address, wherever it stands. */
extern const struct yamlmap_field machine_pci_field;

/* NULL, and a problem the first time, when it cannot be loaded. Borrowed from the reader. */
const struct catalog *machine_reader_catalog(struct machine_reader *reader);

/* A model by its name or written out. False when it could not be read; the problems say why. */
bool machine_read_model(struct machine_reader *reader, const struct yaml *node, const char *path,
                        struct gpu_model *ret_model);

/* The whole document. */
void machine_read(struct machine_reader *reader, const struct yaml *root);

/* A machine of the catalog, with nominal addresses and driver. */
void machine_read_catalog(struct machine_reader *reader, const struct catalog_machine *found);

void machine_read_wiring(struct machine_reader *reader, const struct yaml *node);
void machine_read_faults(struct machine_reader *reader, const struct yaml *list);
void machine_read_processes(struct machine_reader *reader, const struct yaml *list);

/* The NVLinks of an instance type, with nominal ends. */
void machine_wire(struct machine *machine, const struct instance_type *type);
