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

enum { REFUSAL_SIZE = sizeof(((struct agent *)NULL)->refusal) };

static int load_config(struct agent *agent, const char *path, struct config **ret_config,
                       char why[REFUSAL_SIZE])
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;
    int r = config_load(path, agent->flags->config_key, CONFIG_AGENT, agent->overrides, &problems,
                        ret_config, &err);

    agent_log_problems(&problems);
    if (r < 0 && r != -EBADMSG)
        log_error(error_text(&err));
    if (r == -EBADMSG)
        problems_describe(&problems, why, REFUSAL_SIZE);
    else if (r < 0)
        snprintf(why, REFUSAL_SIZE, "%s", error_text(&err));
    return r;
}

/* A pipe or device in the file's place could hold up the agent until somebody writes to it. */
static bool may_block(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode);
}

static int load_again(struct agent *agent, const char *path, struct config **ret_config,
                      char why[REFUSAL_SIZE])
{
    if (!may_block(path))
        return load_config(agent, path, ret_config, why);
    snprintf(why, REFUSAL_SIZE, "%s is no file any more", path);
    return -EINVAL;
}

/* Owns config from here on. */
static void put_to_use(struct agent *agent, struct config *config, const char *path)
{
    snprintf(agent->config_path, sizeof(agent->config_path), "%s", path);
    agent->config_taken_at = time(NULL);
    agent_adopt(agent, config);
}

static void take_config(struct agent *agent, struct config *config, const char *path)
{
    char message[PATH_MAX + 64];

    agent->counters.reloads++;
    agent->refusal[0] = '\0';
    log_info("configuration taken", "file", *path ? path : NULL);
    snprintf(message, sizeof(message), "configuration taken: %s", *path ? path : "an empty one");
    publisher_event(agent->publisher, false, "ConfigurationTaken", message, NULL, 0);
    put_to_use(agent, config, path);
    nodeconfig_applied(agent->nodeconfig);
}

static void refuse_config(struct agent *agent, const char *path, const char *why)
{
    agent->counters.failed_reloads++;
    snprintf(agent->refusal, sizeof(agent->refusal), "%s", why);
    log_error("the new configuration is refused, the old one stays in force", "file",
              *path ? path : NULL, "reason", why);
    publisher_event(agent->publisher, true, "ConfigurationRefused", why, NULL, 0);
}

static void stand_in(struct agent *agent, struct config *config, const char *path,
                     const char *refusal)
{
    snprintf(agent->refusal, sizeof(agent->refusal), "%s", refusal);
    log_error("this node's configuration cannot be used; another one stands in", "file",
              *path ? path : NULL, "reason", refusal);
    publisher_event(agent->publisher, true, "ConfigurationRefused", refusal, NULL, 0);
    put_to_use(agent, config, path);
}

/* Nothing is in force yet, and what is meant cannot be: better another one than no slices. */
static int start_with_stand_in(struct agent *agent, const char *refusal)
{
    for (unsigned which = 0; which < NODECONFIG_FALLBACKS; which++) {
        const char *path = nodeconfig_fallback(agent->nodeconfig, which);
        char why[REFUSAL_SIZE];
        struct config *config;

        if (path && load_config(agent, path, &config, why) == 0) {
            stand_in(agent, config, path, refusal);
            return 0;
        }
    }
    log_error("the configuration cannot be used, so the agent does not start", "reason", refusal,
              "hint", "`gpuslice check` shows every problem of a file");
    return -EINVAL;
}

int reload_first(struct agent *agent)
{
    const char *path = nodeconfig_path(agent->nodeconfig);
    char why[REFUSAL_SIZE];
    struct config *config;

    if (nodeconfig_is_waiting(agent->nodeconfig))
        return 0;
    snprintf(why, sizeof(why), "%s", nodeconfig_problem(agent->nodeconfig));
    if (*why || load_config(agent, path, &config, why) < 0)
        return start_with_stand_in(agent, why);
    if (agent->flags->config_folder)
        log_info("configuration chosen", "file", *path ? path : "(empty)");
    put_to_use(agent, config, path);
    nodeconfig_applied(agent->nodeconfig);
    return 0;
}

/* What was waited for is there. */
static void start_late(struct agent *agent)
{
    if (reload_first(agent) < 0)
        agent_stop(agent, 1);
}

void reload_now(struct agent *agent)
{
    const char *path = nodeconfig_path(agent->nodeconfig);
    char why[REFUSAL_SIZE];
    struct config *config;

    snprintf(why, sizeof(why), "%s", nodeconfig_problem(agent->nodeconfig));
    if (!agent->offer && !agent->next_config)
        start_late(agent);
    else if (!*why && load_again(agent, path, &config, why) == 0)
        take_config(agent, config, path);
    else
        refuse_config(agent, path, why);
    publisher_touch(agent->publisher);
}
