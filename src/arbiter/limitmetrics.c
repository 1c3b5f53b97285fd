// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitmetrics.h"

#include "arbiter/usemetrics.h"
#include "base/array.h"
#include "base/exposition.h"
#include "limits/mode.h"
#include "proc/arbitermessage.h"

/* --- containers --- */

static bool has_limit(const struct limituse *use)
{
    return use->limit_bytes > 0;
}

static bool has_account(const struct limituse *use)
{
    return !use->is_ungranted;
}

static bool is_granted(const struct limituse *use)
{
    return has_account(use) && has_limit(use);
}

static bool has_gap(const struct limituse *use)
{
    return use->has_gap;
}

static double gap(const struct limituse *use)
{
    return (double)use->gap_bytes;
}

static double limit(const struct limituse *use)
{
    return (double)use->limit_bytes;
}

static double charged(const struct limituse *use)
{
    return (double)use->charged_bytes;
}

static double overhead(const struct limituse *use)
{
    return (double)use->overhead_bytes;
}

static double peak(const struct limituse *use)
{
    return (double)use->peak_bytes;
}

static double denied(const struct limituse *use)
{
    return (double)use->n_denied;
}

static double unlimited(const struct limituse *use)
{
    return (double)limituse_count_unenforced(use);
}

static double starved(const struct limituse *use)
{
    return use->is_starved;
}

static const struct usemetric use_rows[] = {
    {"gpuslice_memory_limit_bytes", "gauge",
     "GPU memory that a container may use on a device, by its grants.", is_granted, limit},
    {"gpuslice_memory_charged_bytes", "gauge",
     "GPU memory that a container is charged on a device: reserved, or in use as the driver tells.",
     has_account, charged},
    {"gpuslice_memory_overhead_bytes", "gauge",
     "Of that, what no allocation asked for: contexts, modules, local memory.", has_account,
     overhead},
    {"gpuslice_memory_gap_bytes", "gauge",
     "What the driver showed of a container last, less what it was charged then: below 0 what is "
     "reserved and not in use, above 0 what nobody was charged for.",
     has_gap, gap},
    {"gpuslice_memory_peak_bytes", "gauge",
     "The highest charge since the arbiter knows of the container.", has_account, peak},
    {"gpuslice_memory_denials_total", "counter",
     "Allocations beyond the limit: refused, or those that would be in the mode observe.",
     has_account, denied},
    {"gpuslice_memory_unenforced_processes", "gauge",
     "Processes of a container with a limit that run without the library.", has_limit, unlimited},
    {"gpuslice_memory_starved", "gauge",
     "1 while a container gets no more memory, by --on-violation=starve.", has_account, starved},
};

/* --- the node --- */

static double is_off(const struct limitmetrics *metrics)
{
    return metrics->is_off;
}

static double overcommits(const struct limitmetrics *metrics)
{
    return metrics->overcommits;
}

static double has_library(const struct limitmetrics *metrics)
{
    return metrics->has_library;
}

static double sockets(const struct limitmetrics *metrics)
{
    return (double)metrics->counts.n_sockets;
}

static double connections(const struct limitmetrics *metrics)
{
    return (double)metrics->counts.n_connections;
}

static double refused(const struct limitmetrics *metrics)
{
    return (double)metrics->counts.n_refused;
}

static double malformed(const struct limitmetrics *metrics)
{
    return (double)metrics->counts.n_malformed;
}

static double events_dropped(const struct limitmetrics *metrics)
{
    return (double)metrics->n_events_dropped;
}

static const struct {
    const char *name, *type, *help;
    double (*value)(const struct limitmetrics *metrics);
} node_rows[] = {
    {"gpuslice_memory_limits_switched_off", "gauge", "1 while `gpuslice enforcement off` holds.",
     is_off},
    {"gpuslice_memory_overcommitted", "gauge",
     "1 if the limits of a device may add up to more than it has.", overcommits},
    {"gpuslice_memory_library_installed", "gauge",
     "1 if there is a library that new containers get.", has_library},
    {"gpuslice_memory_grant_sockets", "gauge", "Grants whose containers can reach the arbiter.",
     sockets},
    {"gpuslice_memory_connections", "gauge", "Processes that are connected.", connections},
    {"gpuslice_memory_refused_registrations_total", "counter",
     "Processes that connected to the socket of a grant that is not theirs.", refused},
    {"gpuslice_memory_malformed_connections_total", "counter",
     "Connections that were ended for what the process sent.", malformed},
    {"gpuslice_memory_events_dropped_total", "counter",
     "Events of containers that ended while no agent was connected, and were too many to keep.",
     events_dropped},
};

static void add_node(const struct limitmetrics *metrics, struct text *out)
{
    static const char mode[] = "gpuslice_memory_limits_mode";

    exposition_family(out, mode, "gauge", "Constant 1, labelled by the mode that holds.");
    exposition_sample(out, mode, 1, "mode", limits_mode_name(metrics->mode), NULL);
    for (size_t row = 0; row < ARRAY_SIZE(node_rows); row++) {
        exposition_family(out, node_rows[row].name, node_rows[row].type, node_rows[row].help);
        exposition_sample(out, node_rows[row].name, node_rows[row].value(metrics), NULL);
    }
}

void limitmetrics_add(const struct limitmetrics *metrics, struct text *out)
{
    add_node(metrics, out);
    usemetrics_add(use_rows, ARRAY_SIZE(use_rows), metrics->uses, metrics->n_uses, out);
}
