// SPDX-License-Identifier: Apache-2.0
#include "cli/migchoice.h"

#include <errno.h>

#include "base/text.h"
#include "cli/findings.h"
#include "cli/source.h"
#include "config/load.h"

void migchoice_deinit(struct migchoice *choice)
{
    source_deinit(&choice->source);
    migconfig_free(choice->config);
    *choice = (struct migchoice)MIGCHOICE_INIT;
}

static int read_file(const struct request *request, struct migchoice *choice)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct source *source = &choice->source;
    struct error err = ERROR_INIT;
    int r = source_read(request, request->config, source, &err);

    if (r == 0)
        r = config_parse_mig(source->data, source->size,
                             &(struct config_request){.source = source->name, .key = source->key},
                             &problems, &choice->config, &err);
    findings_print(&problems, source, false, stderr);
    if (r == -EBADMSG)
        complain("%s has errors", source->name);
    else if (r < 0)
        complain("%s", error_text(&err));
    return r;
}

bool migchoice_lacks_all(const char *name)
{
    char builtin[128];

    snprintf(builtin, sizeof(builtin), "all-%s", name);
    return migwant_is_builtin(builtin);
}

int migchoice_read(const struct request *request, struct migchoice *ret_choice)
{
    cleanup_migchoice struct migchoice choice = {.name = request->label};
    struct error err = ERROR_INIT;
    int r;

    if (!request->config && request->label && migwant_is_builtin(request->label)) {
        *ret_choice = choice;
        return 0;
    }
    if (!request->config && request->label && migchoice_lacks_all(request->label)) {
        complain("there is no built-in layout '%s'; did you mean 'all-%s'?", request->label,
                 request->label);
        return -EINVAL;
    }
    if (!request->config && request->label) {
        complain("'%s' is no built-in layout (all-disabled, all-enabled, all-balanced, "
                 "all-<profile>, 2 x <profile>); give the file that has it with -f FILE",
                 request->label);
        return -EINVAL;
    }
    if (!request->config) {
        complain("give the file with -f FILE, or - for standard input");
        return -EINVAL;
    }
    r = read_file(request, &choice);
    if (r < 0)
        return r;
    r = miglabel_select(choice.config, request->label, &choice.label, &err);
    if (r < 0) {
        complain("%s: %s", request->config, error_text(&err));
        return r;
    }
    choice.name = choice.label->name;
    *ret_choice = choice;
    choice = (struct migchoice)MIGCHOICE_INIT;
    return 0;
}

int migchoice_want(const struct migchoice *choice, const struct inventory *machine,
                   const struct gpu *gpu, struct mig_want *ret_want, struct error *err)
{
    const struct mig_board *board = inventory_board(machine, gpu);
    static const struct mig_board none = {.n_slots = 0};

    if (choice->label)
        return miglabel_want(choice->label, gpu, board, ret_want, err);
    return migwant_builtin(board ? board : &none, choice->name, ret_want, err);
}
