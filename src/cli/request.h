// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the user requested on the command line: one table of options, one parser for all verbs.
 *
 * Strings are borrowed from argv. `--name VALUE`, `--name=VALUE`, `-x VALUE` and `-xVALUE` are
 * accepted, and switches may share a dash (`-nl`); but the name of an option behind one dash
 * (`-config`) is a mistake, not the file `onfig`. Giving an option twice is an error: nothing is
 * silently ignored.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/verb.h"

struct request {
    const char *config;      /* --config, or the operand of verbs that take a file */
    const char *key;         /* --key */
    const char *machine;     /* --machine */
    const char *output;      /* --output; NULL = the first word of the option's table row */
    const char *operand;     /* of `help` and `completion` */
    const char *root;        /* --root */
    const char *mig;         /* --mig */
    const char *mig_file;    /* --mig-config */
    const char *room;        /* --room */
    const char *label;       /* --selected-config, --config-label */
    const char *hooks;       /* --hooks-file */
    const char *cost;        /* --cost */
    const char *workload;    /* --workload */
    const char *names;       /* --names */
    const char *types;       /* --instance-types */
    const char *ami;         /* --ami */
    const char *image;       /* --os */
    const char *kubeconfig;  /* --kubeconfig */
    const char *slices;      /* --slices */
    const char *memory;      /* --memory */
    const char *share;       /* --share */
    const char *device;      /* --device */
    const char *arbiter_dir; /* --arbiter-dir */
    const char *interval;    /* --interval */
    const char **operands;   /* owned; of verbs whose operand ends with "..." */
    size_t n_operands;
    bool node;             /* --node */
    bool cluster;          /* --cluster */
    bool labels;           /* --labels */
    bool mode_only;        /* --mode-only */
    bool skip_reset;       /* --skip-reset */
    bool valid_config;     /* --valid-config */
    bool debug;            /* --debug */
    bool no_startup_taint; /* --no-startup-taint */
    bool plain;            /* --plain */
    bool json;             /* --json */
    bool own;              /* --own */
    bool help;             /* --help */
};

struct option_row {
    const char *name;  /* without dashes */
    char letter;       /* '\0' = none */
    const char *value; /* placeholder of the value in help; NULL = a switch */
    bool words;    /* the value is one of the words in `value`, separated by '|'; the first is the
                      default */
    size_t offset; /* into struct request: const char *, or bool for a switch */
    const char *meaning;  /* help, wrapped by the caller that prints it */
    const char *variable; /* of the environment, where the option is not given; NULL = none */
};

extern const struct option_row option_rows[N_OPTIONS];

#define REQUEST_INIT   \
    {                  \
        .config = NULL \
    }

void request_deinit(struct request *request);
#define cleanup_request cleanup(request_deinit)

/* argv[0...argc-1] is what follows the verb. 0, or -EINVAL with a message in err. */
int request_parse(const struct verb *verb, int argc, char *const argv[],
                  struct request *ret_request, struct error *err);

/* True if --output requests this format. */
bool request_wants(const struct request *request, const char *format);
