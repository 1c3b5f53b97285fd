// SPDX-License-Identifier: Apache-2.0
#include "node/reload.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "config/load.h"

enum { REFUSAL_SIZE = sizeof(((struct facts *)NULL)->refusal) };

static int load_config(const struct reload *reload, const char *path, struct config **ret_config,
                       char why[REFUSAL_SIZE])
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;
    int r = config_load(&(struct config_request){.source = path,
                                                 .key = reload->facts->flags->config_key,
                                                 .strictness = CONFIG_AGENT,
                                                 .overrides = reload->overrides},
                        &problems, ret_config, &err);

    problems_log(&problems);
    if (r < 0 && r != -EBADMSG)
        log_error(error_text(&err));
    if (r == -EBADMSG)
        problems_describe(&problems, why, REFUSAL_SIZE);
    else if (r < 0)
        snprintf(why, REFUSAL_SIZE, "%s", error_text(&err));
    return r;
}

/* A pipe or device in the file's place could block the agent until somebody writes to it. */
static bool may_block(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode);
}

static int load_again(const struct reload *reload, const char *path, struct config **ret_config,
                      char why[REFUSAL_SIZE])
{
    if (!may_block(path))
        return load_config(reload, path, ret_config, why);
    snprintf(why, REFUSAL_SIZE, "%s is no longer a file", path);
    return -EINVAL;
}

/* Takes ownership of config. */
static void put_in_force(const struct reload *reload, struct config *config, const char *path)
{
    snprintf(reload->facts->config_path, sizeof(reload->facts->config_path), "%s", path);
    reload->facts->config_taken_at = time(NULL);
    reload->apply(config, reload->userdata);
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
    put_in_force(reload, config, path);
    nodeconfig_applied(reload->nodeconfig);
}

static void refuse_config(const struct reload *reload, const char *path, const char *why)
{
    reload->facts->counters.failed_reloads++;
    snprintf(reload->facts->refusal, sizeof(reload->facts->refusal), "%s", why);
    log_error("the new configuration is rejected, the old one stays in force", "file",
              *path ? path : NULL, "reason", why);
    reload->event(true, "ConfigurationRefused", why, reload->userdata);
}

static void fall_back(const struct reload *reload, struct config *config, const char *path,
                      const char *refusal)
{
    snprintf(reload->facts->refusal, sizeof(reload->facts->refusal), "%s", refusal);
    log_error("this node's configuration is unusable; falling back to another one", "file",
              *path ? path : NULL, "reason", refusal);
    reload->event(true, "ConfigurationRefused", refusal, reload->userdata);
    put_in_force(reload, config, path);
}

/* Nothing is in force yet, and the selected one is unusable: better another one than no slices. */
static int start_with_fallback(const struct reload *reload, const char *refusal)
{
    for (unsigned which = 0; which < NODECONFIG_FALLBACKS; which++) {
        const char *path = nodeconfig_fallback(reload->nodeconfig, which);
        char why[REFUSAL_SIZE];
        struct config *config;

        if (path && load_config(reload, path, &config, why) == 0) {
            fall_back(reload, config, path, refusal);
            return 0;
        }
    }
    log_error("the configuration is unusable, so the agent does not start", "reason", refusal,
              "hint", "`gpuslice check` shows every problem of a file");
    return -EINVAL;
}

int reload_first(const struct reload *reload)
{
    const char *path = nodeconfig_path(reload->nodeconfig);
    char why[REFUSAL_SIZE];
    struct config *config;

    if (nodeconfig_is_waiting(reload->nodeconfig))
        return 0;
    snprintf(why, sizeof(why), "%s", nodeconfig_problem(reload->nodeconfig));
    if (*why || load_config(reload, path, &config, why) < 0)
        return start_with_fallback(reload, why);
    if (reload->facts->flags->config_folder)
        log_info("configuration selected", "file", *path ? path : "(empty)");
    put_in_force(reload, config, path);
    nodeconfig_applied(reload->nodeconfig);
    return 0;
}

int reload_now(const struct reload *reload)
{
    const char *path = nodeconfig_path(reload->nodeconfig);
    char why[REFUSAL_SIZE];
    struct config *config;

    if (!reload->facts->offer && !reload->facts->next_config)
        return reload_first(reload);
    snprintf(why, sizeof(why), "%s", nodeconfig_problem(reload->nodeconfig));
    if (!*why && load_again(reload, path, &config, why) == 0)
        take_config(reload, config, path);
    else
        refuse_config(reload, path, why);
    return 0;
}
