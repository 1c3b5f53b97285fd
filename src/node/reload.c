// SPDX-License-Identifier: Apache-2.0
#include "node/reload.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "config/load.h"
#include "node/verdict.h"

enum { REFUSAL_SIZE = sizeof(((struct facts *)NULL)->refusal) };

/* Karpenter expects of the node of a slice profile what the profile says, and nothing else. */
static int load_config(const struct reload *reload, const char *path, struct config **ret_config,
                       char why[REFUSAL_SIZE])
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;
    int r = config_load(
        &(struct config_request){.source = path,
                                 .key = reload->facts->flags->config_key,
                                 .strictness = CONFIG_AGENT,
                                 .overrides = reload->overrides,
                                 .decides_slices = nodeconfig_is_profile(reload->nodeconfig)},
        &problems, ret_config, &err);

    problems_log(&problems);
    if (r == -EBADMSG)
        problems_describe(&problems, why, REFUSAL_SIZE);
    else if (r < 0)
        snprintf(why, REFUSAL_SIZE, "%s", error_text(&err));
    return r;
}

/* A pipe in the file's place could block the agent until somebody writes to it. */
static bool may_block(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode) &&
           !str_equal(path, "/dev/null");
}

/* 0, or a negative errno with the reason in `why`. */
static int load(const struct reload *reload, const char *path, struct config **ret_config,
                char why[REFUSAL_SIZE])
{
    if (!may_block(path))
        return load_config(reload, path, ret_config, why);
    snprintf(why, REFUSAL_SIZE, "%s is not a file", path);
    return -EINVAL;
}

static bool is_in_force(const struct facts *facts)
{
    return facts->offer || facts->next_config;
}

/* Takes ownership of config. */
static void put_in_force(const struct reload *reload, struct config *config, const char *path)
{
    snprintf(reload->facts->config_path, sizeof(reload->facts->config_path), "%s", path);
    reload->facts->config_taken_at = time(NULL);
    reload->apply(config, reload->userdata);
}

/* The selected one. Takes ownership of config. */
static void put_selected_in_force(const struct reload *reload, struct config *config,
                                  const char *path)
{
    reload->facts->is_fallback = false;
    put_in_force(reload, config, path);
    nodeconfig_applied(reload->nodeconfig);
}

static void take_config(const struct reload *reload, struct config *config, const char *path)
{
    char message[PATH_MAX + 64];

    reload->facts->counters.reloads++;
    reload->facts->refusal[0] = '\0';
    log_info("configuration applied", "file", *path ? path : NULL);
    snprintf(message, sizeof(message), "configuration applied: %s",
             *path ? path : "an empty configuration");
    reload->event(false, "ConfigurationTaken", message, reload->userdata);
    put_selected_in_force(reload, config, path);
}

static bool may_have_no_gpu(const struct facts *facts)
{
    return !facts->machine_known && !*facts->driver_problem;
}

static void report_refusal(struct reload *reload)
{
    reload->is_refusal_due = may_have_no_gpu(reload->facts);
    if (!reload->is_refusal_due)
        reload->event(true, VERDICT_REFUSED, reload->facts->refusal, reload->userdata);
}

void reload_report_refusal(struct reload *reload)
{
    if (reload->is_refusal_due && *reload->facts->refusal)
        reload->event(true, VERDICT_REFUSED, reload->facts->refusal, reload->userdata);
    reload->is_refusal_due = false;
}

/* Whatever is in force stays there: the previous one, or nothing yet. */
static void refuse_config(struct reload *reload, const char *path, const char *why)
{
    const char *sentence = is_in_force(reload->facts)
                               ? "the new configuration is rejected, the old one stays in force"
                               : "the configuration is rejected; nothing is offered until it is "
                                 "corrected";

    reload->facts->counters.failed_reloads++;
    snprintf(reload->facts->refusal, sizeof(reload->facts->refusal), "%s", why);
    log_error(sentence, "file", *path ? path : NULL, "reason", why, "hint",
              access(path, R_OK) == 0 ? "`gpuslice check` shows every problem of a file" : NULL);
    report_refusal(reload);
}

static void report_fallback(struct reload *reload, const char *path, const char *refusal)
{
    reload->facts->counters.failed_reloads += reload->facts->is_fallback; /* not at a start */
    snprintf(reload->facts->refusal, sizeof(reload->facts->refusal), "%s", refusal);
    log_error("this node's configuration is unusable; falling back to another one", "file",
              *path ? path : NULL, "reason", refusal);
    report_refusal(reload);
}

static void report_fallback_change(const struct reload *reload, const char *path)
{
    reload->facts->counters.reloads++;
    log_info("fallback configuration applied", "file", *path ? path : NULL);
}

/* Again, when one of the files changed. */
static void fall_back(struct reload *reload, struct config *config, const char *path,
                      const char *refusal)
{
    struct facts *facts = reload->facts;

    if (facts->is_fallback && str_equal(facts->refusal, refusal) &&
        str_equal(facts->config_path, path))
        report_fallback_change(reload, path);
    else
        report_fallback(reload, path, refusal);
    facts->is_fallback = true;
    put_in_force(reload, config, path);
    nodeconfig_fell_back(reload->nodeconfig, path);
}

/* The selected one is unusable, and none was usable since the start: better another one than no
 * slices. */
static int find_fallback(struct reload *reload, const char *refusal)
{
    for (unsigned which = 0; which < NODECONFIG_FALLBACKS; which++) {
        const char *path = nodeconfig_fallback(reload->nodeconfig, which);
        char why[REFUSAL_SIZE];
        struct config *config;

        if (path && load(reload, path, &config, why) == 0) {
            fall_back(reload, config, path, refusal);
            return 0;
        }
        if (path)
            log_warning("no configuration to fall back to", "file", path, "reason", why);
    }
    return -ENOENT;
}

/* Without an event: that a start finds its configuration is no news. */
static void start_with(const struct reload *reload, struct config *config, const char *path)
{
    if (reload->facts->flags->config_folder)
        log_info("configuration selected", "file", *path ? path : "(empty)");
    put_selected_in_force(reload, config, path);
}

void reload_now(struct reload *reload)
{
    const char *path = nodeconfig_path(reload->nodeconfig);
    const bool is_first = !is_in_force(reload->facts);
    char why[REFUSAL_SIZE];
    struct config *config;

    if (is_first && nodeconfig_is_waiting(reload->nodeconfig))
        return;
    snprintf(why, sizeof(why), "%s", nodeconfig_problem(reload->nodeconfig));
    if (*why || load(reload, path, &config, why) < 0) {
        if (!(is_first || reload->facts->is_fallback) || find_fallback(reload, why) < 0)
            refuse_config(reload, path, why);
    } else if (is_first && !*reload->facts->refusal) {
        start_with(reload, config, path);
    } else {
        take_config(reload, config, path);
    }
}
