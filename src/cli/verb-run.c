// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/environment.h"
#include "base/text.h"
#include "cli/arbiterclient.h"
#include "cli/paths.h"
#include "cli/runarbiter.h"
#include "cli/runcgroup.h"
#include "cli/runcommand.h"
#include "cli/runnode.h"
#include "cli/runreport.h"
#include "cli/target.h"
#include "config/quantity.h"
#include "limits/message.h"
#include "proc/arbitermessage.h"

#define MIB (UINT64_C(1) << 20)

enum { PERMILLE = 1000 };

/* Of each device. */
struct wanted {
    uint64_t bytes;    /* 0 = by the share */
    unsigned permille; /* of its time; 0 = as of its memory */
};

struct run {
    struct localgrant grant;
    struct runcgroup cgroup;
    struct runnode node;       /* the arbiter of this node, or ... */
    struct runarbiter arbiter; /* ... one of its own */
    struct runcommand command;
    char no_cgroup[512], no_node[256]; /* why; "" = there is one, or none to ask */
    bool is_one_device;                /* --device */
};

/* --- the limits --- */

/* total_bytes: 0 = the driver does not tell. */
static int fill_limit(const struct wanted *wanted, uint64_t total_bytes,
                      struct localgrant_limit *limit, struct error *err)
{
    if (!wanted->bytes && !total_bytes)
        return error_set(err, -EINVAL,
                         "the memory of %s is not known, so there is no share of it: write how "
                         "much with --memory",
                         limit->uuid);
    limit->bytes = wanted->bytes ? wanted->bytes
                                 : (uint64_t)((double)total_bytes * wanted->permille / PERMILLE);
    limit->share_permille = wanted->permille;
    if (!limit->share_permille && total_bytes)
        limit->share_permille =
            (unsigned)((double)limit->bytes / (double)total_bytes * PERMILLE + 0.5);
    if (!limit->share_permille)
        limit->share_permille = 1;
    return 0;
}

static int add_limit(struct localgrant *grant, const char *uuid, uint64_t total_bytes,
                     const struct wanted *wanted, struct error *err)
{
    if (grant->n_limits == LIMITS_DEVICES_MAX)
        return error_set(err, -E2BIG, "there are more than %d devices; choose one with --device",
                         LIMITS_DEVICES_MAX);
    if (total_bytes && wanted->bytes > total_bytes)
        return error_set(err, -EINVAL, "--memory: %s has only %" PRIu64 " MiB", uuid,
                         total_bytes / MIB);
    snprintf(grant->limits[grant->n_limits].uuid, GPU_UUID_SIZE, "%s", uuid);
    return fill_limit(wanted, total_bytes, &grant->limits[grant->n_limits++], err);
}

/* By UUID, or by index as nvidia-smi shows it: "1", "1:0". NULL is any. */
static bool is_wanted(const char *word, const char *uuid, const char *index)
{
    return !word || str_equal(word, uuid) || str_equal(word, index);
}

static int add_gpu(const struct inventory *machine, size_t i, const char *word,
                   const struct wanted *wanted, struct localgrant *grant, struct error *err)
{
    const struct gpu *gpu = &machine->gpus[i];
    char index[DEVICE_INDEX_SIZE];

    snprintf(index, sizeof(index), "%u", gpu->index);
    if (!is_wanted(word, gpu->uuid, index) || *gpu->unusable || !*gpu->uuid)
        return 0;
    if (!gpu->mig_enabled)
        return add_limit(grant, gpu->uuid, gpu->mem_total_bytes, wanted, err);
    if (word)
        return error_set(err, -EINVAL,
                         "GPU %s is partitioned: choose one of its MIG devices with --device",
                         index);
    return 0;
}

static int add_limits(const struct inventory *machine, const char *word,
                      const struct wanted *wanted, struct localgrant *grant, struct error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < machine->n_gpus; i++)
        r = add_gpu(machine, i, word, wanted, grant, err);
    for (size_t i = 0; r == 0 && i < machine->n_mig_devices; i++) {
        const struct device *device = &machine->mig_devices[i];
        char index[DEVICE_INDEX_SIZE];

        device_format_index(device, machine->gpus[device->gpu].index, index, sizeof(index));
        if (is_wanted(word, device->uuid, index) && !*device->unusable && *device->uuid)
            r = add_limit(grant, device->uuid, device->mem_total_bytes, wanted, err);
    }
    if (r == 0 && !grant->n_limits)
        r = word ? error_set(err, -ENODEV, "there is no usable GPU or MIG device '%.96s'", word)
                 : error_set(err, -ENODEV, "there is no usable GPU");
    return r;
}

static int choose_limits(const struct request *request, const struct wanted *wanted,
                         struct localgrant *grant, struct error *err)
{
    const struct request this_node = {.node = true};
    cleanup_target struct target target = TARGET_INIT;
    int r = target_observe(&this_node, NULL, &target, err);

    return r < 0 ? r : add_limits(&target.inventory, request->device, wanted, grant, err);
}

/* --- who belongs to it --- */

static void choose_members(struct run *run)
{
    struct error why = ERROR_INIT;

    if (runcgroup_make(&run->cgroup, &why) == 0) {
        str_copy(run->grant.cgroup, sizeof(run->grant.cgroup), run->cgroup.name);
        return;
    }
    /* Orphans become our children, and stay in the tree. */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    run->grant.tree = getpid();
    snprintf(run->no_cgroup, sizeof(run->no_cgroup), "%s", error_text(&why));
}

/* --- who keeps the limit --- */

static bool has_node_arbiter(const struct request *request)
{
    char path[PATH_MAX];

    return arbiterclient_find("", request->arbiter_dir, ARBITER_SOCKET, path, NULL) == 0 &&
           access(path, F_OK) == 0;
}

/* The arbiter of this node, unless it gives no limits or none to this user. What it refuses is not
 * taken elsewhere: then the node's memory would be promised twice. */
static int ask_node(struct run *run, const struct request *request, struct error *err)
{
    int r;

    if (request->own)
        return RUNNODE_ABSENT;
    r = runnode_begin(request->arbiter_dir, &run->grant, &run->node, err);
    if (r == RUNNODE_NOT_PERMITTED)
        snprintf(run->no_node, sizeof(run->no_node),
                 "the arbiter of this node gives limits to root, and to members of the group of "
                 "its --run-group");
    else if (r == RUNNODE_ABSENT && has_node_arbiter(request))
        snprintf(run->no_node, sizeof(run->no_node),
                 "the arbiter of this node gives no limits to commands");
    return r;
}

static int find_keeper(struct run *run, const struct request *request, struct error *err)
{
    const int r = ask_node(run, request, err);

    return r > 0 ? runarbiter_start(&run->grant, 1, LIMITS_COMPUTE_NONE, &run->arbiter, err) : r;
}

static int grant_folder(const struct run *run, char folder[PATH_MAX])
{
    return *run->node.id ? str_copy(folder, PATH_MAX, run->node.folder)
                         : runarbiter_grant_folder(&run->arbiter, LOCALGRANT_ID, folder);
}

/* --- the environment --- */

static int prepare_environment(struct run *run, struct error *err)
{
    struct runcommand_variable *variables = run->command.variables;
    const char *library = paths_library();
    char folder[PATH_MAX];

    if (access(library, R_OK) < 0)
        return error_set_errno(err, -errno, "cannot read the library %s", library);
    if (grant_folder(run, folder) < 0)
        return error_set_errno(err, -ENAMETOOLONG, "cannot name the grant's folder");
    variables[0] = (struct runcommand_variable){"LD_PRELOAD", paths_preload()};
    variables[1] = (struct runcommand_variable){LIMITS_GRANT_VARIABLE, strdup(folder)};
    if (!variables[0].value || !variables[1].value)
        return error_set_errno(err, -ENOMEM, "cannot set the command's environment");
    if (!run->is_one_device)
        return 0;
    variables[2] =
        (struct runcommand_variable){"CUDA_VISIBLE_DEVICES", strdup(run->grant.limits[0].uuid)};
    return variables[2].value
               ? 0
               : error_set_errno(err, -ENOMEM, "cannot set the command's environment");
}

/* --- the end --- */

static void end(struct run *run, enum exit_status status, bool is_json)
{
    cleanup_text struct text counts = TEXT_INIT;
    const bool has_killed = runcgroup_end(&run->cgroup) == RUNCGROUP_KILLED;

    if (*run->node.id)
        runnode_end(&run->node, &counts);
    else
        runarbiter_end(&run->arbiter, &counts);
    if (run->command.pid)
        runreport_end(&counts, (int)status, has_killed, is_json);
}

/* --- in order --- */

static void on_child_ended(pid_t pid, void *userdata)
{
    struct run *run = userdata;
    struct error err = ERROR_INIT;

    if (pid != run->arbiter.pid)
        return;
    complain("gpuslice-arbiter ended before the command; it is started again");
    if (runarbiter_restart(&run->arbiter, &err) < 0)
        complain("%s; the command goes on with what was free", error_text(&err));
}

static void report(const struct run *run, bool is_json)
{
    char folder[PATH_MAX] = "";
    const struct runreport_start start = {
        .grant = &run->grant,
        .folder = folder,
        .is_of_node = *run->node.id,
        .mode = *run->node.id ? run->node.mode : LIMITS_ENFORCED,
        .pid = run->command.pid,
        .no_cgroup = run->no_cgroup,
        .no_node = run->no_node,
    };

    (void)grant_folder(run, folder);
    runreport_start(&start, is_json);
}

static int start(struct run *run, const struct request *request, struct error *err)
{
    int r;

    choose_members(run);
    r = find_keeper(run, request, err);
    if (r == 0)
        r = prepare_environment(run, err);
    if (r == 0)
        r = runcommand_start(&run->command, (char *const *)request->operands, &run->cgroup, err);
    if (r == 0)
        report(run, request->json);
    return r;
}

/* As env(1) has it: a command that cannot be executed has statuses of its own. */
static enum exit_status failed(int r, const struct run *run, const struct error *err)
{
    complain("%s", error_text(err));
    if (!run->command.pid)
        return EXIT_UNREADABLE;
    return (enum exit_status)(r == -ENOENT ? RUNCOMMAND_NOT_FOUND : RUNCOMMAND_NOT_EXECUTABLE);
}

/* False: it is no size or no share, and the user has been told. */
static bool read_wanted(const struct request *request, struct wanted *wanted)
{
    struct error err = ERROR_INIT;

    if (!request->n_operands || (!request->memory && !request->share)) {
        complain("write how much memory and which command: gpuslice run --memory 16Gi -- CMD; or "
                 "which share of a GPU: gpuslice run --share 25%% -- CMD");
        return false;
    }
    if (request->memory && quantity_bytes(request->memory, &wanted->bytes, &err) < 0) {
        complain("--memory: %s", error_text(&err));
        return false;
    }
    if (request->share && quantity_percent(request->share, &wanted->permille, &err) < 0) {
        complain("--share: %s", error_text(&err));
        return false;
    }
    return true;
}

enum exit_status verb_run(const struct request *request)
{
    struct run run = {
        .grant = {.id = LOCALGRANT_ID}, .cgroup = RUNCGROUP_INIT, .arbiter = RUNARBITER_INIT};
    struct error err = ERROR_INIT;
    struct wanted wanted = {.bytes = 0};
    enum exit_status status;
    int r;

    if (!read_wanted(request, &wanted))
        return EXIT_USAGE;
    run.is_one_device = request->device;
    if (choose_limits(request, &wanted, &run.grant, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    runcommand_prepare(&run.command);
    r = start(&run, request, &err);
    status = r == 0 ? (enum exit_status)runcommand_wait(&run.command, on_child_ended, &run)
                    : failed(r, &run, &err);
    end(&run, status, request->json);
    runcommand_deinit(&run.command);
    return status;
}
