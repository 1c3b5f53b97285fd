// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/nodeconfig.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/dirwatch.h"
#include "base/file.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/names.h"
#include "base/text.h"
#include "nodeconfig/configfile.h"
#include "nodeconfig/configselect.h"
#include "nodeconfig/nodeprofile.h"

enum {
    SETTLE_MS = 50,        /* a volume swap causes several events, and so do quick label changes */
    ABSENT_POLL_MS = 1000, /* a missing directory cannot be watched */
    LABEL_MAX = 4096,
};

struct nodeconfig {
    uv_loop_t *loop;
    const struct agent_flags *flags;
    nodeconfig_changed_fn *on_changed;
    void *userdata;
    struct dirwatch folder;
    uv_timer_t settle, patience;
    unsigned open_handles;
    char *taken;                  /* the last used file name; NULL = none, or no file */
    char *label;                  /* NULL = the Node does not have it */
    struct nodeprofile profile;   /* of the Node */
    bool node_known;              /* received, remembered, or timed out */
    bool node_received;           /* received from the cluster, and so remembered */
    bool waiting;                 /* nothing was used yet, and nothing can be */
    bool missing;                 /* ... since there is nothing */
    bool seen;                    /* there was a usable configuration */
    struct lograte absence;       /* of any configuration */
    struct configfile *file;      /* NULL while none is selected, and for an empty configuration */
    struct configfile *stand_in;  /* the fallback in force; NULL = none */
    char stand_in_path[PATH_MAX]; /* its; else stale */
    char path[PATH_MAX], fallback[PATH_MAX];
    char trouble[sizeof(((struct error *)NULL)->message)];
    char outranked[320];       /* see nodeconfig_outranked */
    char remembered[PATH_MAX]; /* the file with the label's last known value */
};

/* --- the label's last known value --- */

/* Two lines: "=value", or nothing for a Node without the label; the last used file name. */
static void recall(struct nodeconfig *config)
{
    cleanup_free char *data = NULL;
    char *rest, *label, *taken;
    size_t size;
    struct error err = ERROR_INIT;
    int r = file_read(config->remembered, LABEL_MAX, &data, &size, &err);

    if (r < 0 && r != -ENOENT)
        log_warning("the remembered label of this node is unreadable and ignored", "reason",
                    error_text(&err));
    if (r < 0)
        return;
    rest = data;
    label = strsep(&rest, "\n");
    taken = strsep(&rest, "\n");
    config->label = *label == '=' ? strdup(label + 1) : NULL;
    config->taken = taken && *taken ? strdup(taken) : NULL;
    config->node_known = true;
    if (config->flags->config_folder)
        log_info("using this node's label as remembered, until the cluster reports it", "label",
                 config->flags->node_label, "value", config->label, "last_used", config->taken);
}

static void remember(const struct nodeconfig *config)
{
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    int r = file_make_directory(config->flags->state_dir, &err);

    text_addf(&text, "%s%s\n%s\n", config->label ? "=" : "", config->label ? config->label : "",
              config->taken ? config->taken : "");
    if (r == 0 && !text_failed(&text))
        r = file_write_atomic(config->remembered, text.data, text.length, 0600, &err);
    if (r < 0)
        log_warning(error_text(&err), "hint",
                    "after a restart the agent will wait for what the cluster reports of its node");
}

/* --- the folder's files --- */

static bool is_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat found;

    return configselect_is_candidate(name) &&
           snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
           stat(path, &found) == 0 && !S_ISDIR(found.st_mode);
}

/* 0, or why the folder cannot be read. One that does not exist is empty: it may be created later.
 */
static int list_folder(const char *folder, struct names *names, struct error *err)
{
    DIR *stream = opendir(folder);
    struct dirent *entry;
    int r = 0;

    if (!stream)
        return errno == ENOENT ? 0 : error_set_errno(err, -errno, "cannot read %s", folder);
    while (r == 0 && (entry = readdir(stream)))
        if (is_file(folder, entry->d_name))
            r = names_add(names, entry->d_name, strlen(entry->d_name));
    closedir(stream);
    if (r < 0)
        return error_set_errno(err, r, "cannot read %s", folder);
    names_sort(names);
    return 0;
}

/* --- choosing --- */

/* As configselect_pick; the path is "" for an empty configuration. */
static int pick_in_folder(const struct nodeconfig *config, const char *label, char path[PATH_MAX],
                          bool *ret_empty_folder, struct error *err)
{
    const struct agent_flags *flags = config->flags;
    const struct configselect choice = {
        .folder = flags->config_folder,
        .label = flags->node_label,
        .value = label,
        .default_config = flags->default_config,
        .fallbacks = flags->fallback_strategies,
    };
    cleanup_names struct names names = NAMES_INIT;
    const char *name;
    int r;

    *ret_empty_folder = false;
    path[0] = '\0';
    r = list_folder(flags->config_folder, &names, err);
    if (r < 0)
        return r;
    *ret_empty_folder = names.n_items == 0;
    r = configselect_pick(&choice, names.items, names.n_items, &name, err);
    if (r == 0)
        snprintf(path, PATH_MAX, "%s/%s", flags->config_folder, name);
    return r;
}

static bool is_label_set(const struct nodeconfig *config)
{
    return config->flags->config_folder && config->label && *config->label;
}

/* The Node's profile decides. */
static bool follows_profile(const struct nodeconfig *config)
{
    return config->profile.name && !is_label_set(config);
}

/* 0 or CONFIGSELECT_EMPTY and the path; -ENODATA: the profile's configuration is to come yet; or
 * another negative errno. */
static int pick(const struct nodeconfig *config, char path[PATH_MAX], bool *ret_empty_folder,
                struct error *err)
{
    const struct agent_flags *flags = config->flags;

    *ret_empty_folder = false;
    if (follows_profile(config)) {
        snprintf(path, PATH_MAX, "%s", config->profile.path);
        return nodeprofile_check(&config->profile, err);
    }
    if (flags->config_folder)
        return pick_in_folder(config, config->label, path, ret_empty_folder, err);
    snprintf(path, PATH_MAX, "%s", flags->config_file ? flags->config_file : "");
    return 0;
}

static bool choose(struct nodeconfig *config);

static void on_file_changed(void *userdata)
{
    struct nodeconfig *config = userdata;

    bool chosen = choose(config);

    if (chosen || !*config->trouble) /* the file may be gone, which is reported once */
        config->on_changed(config->userdata);
}

static int follow(struct nodeconfig *config, const char *path, struct error *err)
{
    struct configfile *file = NULL;
    int r = *path ? configfile_new(config->loop, path, on_file_changed, config, &file, err) : 0;

    if (r < 0)
        return r;
    configfile_free(config->file);
    config->file = file;
    snprintf(config->path, sizeof(config->path), "%s", path);
    return 0;
}

/* True the first time. */
static bool log_waiting(struct nodeconfig *config)
{
    const char *sentence = "there is no configuration yet; waiting for one";
    const bool is_first = lograte_change(&config->absence, sentence);

    if (is_first)
        log_warning(sentence, "folder", config->flags->config_folder);
    return is_first;
}

/* Two that say what the node does: the label is the nearer one. */
static void compare_sources(struct nodeconfig *config)
{
    char before[sizeof(config->outranked)];

    memcpy(before, config->outranked, sizeof(before));
    config->outranked[0] = '\0';
    if (config->profile.name && is_label_set(config))
        snprintf(config->outranked, sizeof(config->outranked),
                 "the Node's label %s selects the configuration '%.64s', so that the slice profile "
                 "'%.64s' of this node has no effect; remove one of the two",
                 config->flags->node_label, config->label, config->profile.name);
    if (*config->outranked && !str_equal(config->outranked, before))
        log_warning(config->outranked);
}

static bool set_trouble(struct nodeconfig *config, const char *why)
{
    if (str_equal(config->trouble, why))
        return false;
    if (config->waiting)
        log_warning(why);
    snprintf(config->trouble, sizeof(config->trouble), "%s", why);
    return true;
}

/* Updates the selection. True if anything changed. */
static bool choose(struct nodeconfig *config)
{
    struct error err = ERROR_INIT;
    bool empty, was_seen = config->seen;
    char path[PATH_MAX];
    int r;

    if (!config->node_known)
        return false;
    compare_sources(config);
    r = pick(config, path, &empty, &err);
    config->missing = config->waiting = !config->seen && (empty || r == -ENODATA);
    if (config->waiting)
        return empty ? log_waiting(config) : set_trouble(config, error_text(&err));
    config->seen = true;
    if (r >= 0 && was_seen && !*config->trouble && str_equal(path, config->path))
        return false;
    if (r >= 0 && (!str_equal(path, config->path) || (*path && !config->file)))
        r = follow(config, path, &err);
    if (r < 0)
        return set_trouble(config, error_text(&err));
    config->trouble[0] = '\0';
    return true;
}

static void on_settled(uv_timer_t *timer);

/* An earlier pending check stays, or a busy directory would delay it indefinitely. */
static void schedule_check(struct nodeconfig *config, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)&config->settle) || uv_timer_get_due_in(&config->settle) > ms)
        uv_timer_start(&config->settle, on_settled, ms, 0);
}

static bool look(struct nodeconfig *config)
{
    if (config->flags->config_folder &&
        !dirwatch_watch(&config->folder, config->flags->config_folder))
        schedule_check(config, ABSENT_POLL_MS);
    return choose(config);
}

static void on_settled(uv_timer_t *timer)
{
    struct nodeconfig *config = timer->data;

    if (look(config))
        config->on_changed(config->userdata);
}

static void on_folder_changed(const char *name, void *userdata)
{
    (void)name;
    schedule_check(userdata, SETTLE_MS);
}

static void on_timeout(uv_timer_t *timer)
{
    struct nodeconfig *config = timer->data;

    if (config->node_known)
        return;
    log_warning("the cluster has not reported this node; treating it as one without labels",
                "label", config->flags->config_folder ? config->flags->node_label : NULL);
    config->node_known = true;
    schedule_check(config, 0);
}

/* --- life --- */

static int start_folder(struct nodeconfig *config, struct error *err)
{
    int r = dirwatch_init(&config->folder, config->loop, on_folder_changed, config);

    if (r < 0)
        return error_set_errno(err, r, "cannot watch %s", config->flags->config_folder);
    config->open_handles++;
    if (config->flags->config_file)
        log_warning("a directory of configurations is given, so the single file is ignored", "file",
                    config->flags->config_file, "folder", config->flags->config_folder);
    return 0;
}

/* What is remembered of the Node, or that it is waited for. */
static void start_node(struct nodeconfig *config)
{
    if (config->flags->node_name) {
        nodeprofile_init(&config->profile, config->flags->state_dir);
        recall(config);
    } else {
        config->node_known = true; /* there was no answer */
    }
    config->waiting = !config->node_known;
    if (config->waiting)
        uv_timer_start(&config->patience, on_timeout, NODECONFIG_TIMEOUT_MS, 0);
}

static int start(struct nodeconfig *config, struct error *err)
{
    uv_timer_t *const timers[] = {&config->settle, &config->patience};
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
        uv_timer_init(config->loop, timers[i]);
        timers[i]->data = config;
        config->open_handles++;
    }
    r = config->flags->config_folder ? start_folder(config, err) : 0;
    if (r < 0)
        return r;
    start_node(config);
    look(config);
    return 0;
}

int nodeconfig_new(uv_loop_t *loop, const struct agent_flags *flags,
                   nodeconfig_changed_fn *on_changed, void *userdata,
                   struct nodeconfig **ret_config, struct error *err)
{
    struct nodeconfig *config = calloc(1, sizeof(*config));
    int r;

    if (!config)
        return error_set_errno(err, -ENOMEM, "cannot watch the configuration");
    config->loop = loop;
    config->flags = flags;
    config->on_changed = on_changed;
    config->userdata = userdata;
    snprintf(config->remembered, sizeof(config->remembered), "%s/config-label", flags->state_dir);
    r = start(config, err);
    if (r < 0) {
        nodeconfig_free(config);
        return r;
    }
    *ret_config = config;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct nodeconfig *config = handle->data;

    if (--config->open_handles)
        return;
    free(config->label);
    free(config->taken);
    nodeprofile_deinit(&config->profile);
    free(config);
}

void nodeconfig_free(struct nodeconfig *config)
{
    if (!config)
        return;
    configfile_free(TAKE_PTR(config->file));
    configfile_free(TAKE_PTR(config->stand_in));
    if (config->open_handles == 3)
        uv_close((uv_handle_t *)&config->folder.watch, on_closed);
    uv_close((uv_handle_t *)&config->settle, on_closed);
    uv_close((uv_handle_t *)&config->patience, on_closed);
}

/* --- inputs and queries --- */

static bool set_label(struct nodeconfig *config, const char *value)
{
    bool alike = !value == !config->label && (!value || str_equal(value, config->label));

    if (alike)
        return false;
    free(config->label);
    config->label = value ? strdup(value) : NULL;
    return true;
}

void nodeconfig_node(struct nodeconfig *config, const struct nodeconfig_node *node)
{
    bool changed = !config->node_received;

    changed |= set_label(config, node->label);
    changed |= nodeprofile_set(&config->profile, node->profile, node->profile_config);
    if (!changed)
        return;
    config->node_known = config->node_received = true;
    remember(config);
    schedule_check(config, SETTLE_MS);
}

void nodeconfig_check(struct nodeconfig *config)
{
    if (look(config))
        config->on_changed(config->userdata);
    else if (config->file)
        configfile_check(config->file);
    if (config->stand_in)
        configfile_check(config->stand_in);
}

void nodeconfig_touch(struct nodeconfig *config)
{
    if (config->file)
        configfile_touch(config->file);
    else
        config->on_changed(config->userdata);
}

bool nodeconfig_is_waiting(const struct nodeconfig *config)
{
    return config->waiting;
}

bool nodeconfig_is_missing(const struct nodeconfig *config)
{
    return config->missing;
}

const char *nodeconfig_problem(const struct nodeconfig *config)
{
    return config->trouble;
}

const char *nodeconfig_outranked(const struct nodeconfig *config)
{
    return config->outranked;
}

const char *nodeconfig_path(const struct nodeconfig *config)
{
    return config->path;
}

bool nodeconfig_is_profile(const struct nodeconfig *config)
{
    return config && follows_profile(config);
}

void nodeconfig_applied(struct nodeconfig *config)
{
    const char *slash = strrchr(config->path, '/'), *name = slash ? slash + 1 : "";

    configfile_free(TAKE_PTR(config->stand_in));
    if (!config->flags->config_folder || follows_profile(config) ||
        str_equal(name, config->taken ? config->taken : ""))
        return;
    free(config->taken);
    config->taken = *name ? strdup(name) : NULL;
    if (config->node_received) /* an assumed label is not remembered */
        remember(config);
}

static void on_stand_in_changed(void *userdata)
{
    struct nodeconfig *config = userdata;

    config->on_changed(config->userdata);
}

void nodeconfig_fell_back(struct nodeconfig *config, const char *path)
{
    struct error err = ERROR_INIT;

    if (config->stand_in && str_equal(path, config->stand_in_path))
        return;
    configfile_free(TAKE_PTR(config->stand_in));
    snprintf(config->stand_in_path, sizeof(config->stand_in_path), "%s", path);
    if (*path && configfile_new(config->loop, path, on_stand_in_changed, config, &config->stand_in,
                                &err) < 0)
        log_warning(error_text(&err), "hint", "changes of the fallback have no effect");
}

const char *nodeconfig_fallback(struct nodeconfig *config, unsigned which)
{
    bool empty;
    int r = -ENOENT;

    if (!config->flags->config_folder || follows_profile(config))
        return NULL;
    if (which == 0 && config->taken)
        r = pick_in_folder(config, config->taken, config->fallback, &empty, NULL);
    if (which == 1)
        r = pick_in_folder(config, NULL, config->fallback, &empty, NULL);
    return r < 0 || (config->file && str_equal(config->fallback, config->path)) ? NULL
                                                                                : config->fallback;
}
