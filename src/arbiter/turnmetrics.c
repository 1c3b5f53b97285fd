// SPDX-License-Identifier: Apache-2.0
#include "arbiter/turnmetrics.h"

#include "arbiter/turnwords.h"
#include "arbiter/usemetrics.h"
#include "base/array.h"
#include "base/exposition.h"
#include "limits/mode.h"

#define NS_PER_S 1e9
#define US_PER_S 1e6
#define ALL_PPM  1e6
#define P50      500
#define P99      990

/* --- containers --- */

static bool has_turns(const struct limituse *use)
{
    return use->has_turns;
}

static bool has_share(const struct limituse *use)
{
    return use->share_ppm > 0;
}

static bool has_waits(const struct limituse *use)
{
    return use->has_turns && claimspage_find_bin(&use->turns.claims, P50) < CLAIMS_WAIT_BINS;
}

static bool has_process(const struct limituse *use)
{
    return use->n_processes > 0 && !use->is_ungranted;
}

static double share(const struct limituse *use)
{
    return use->share_ppm / ALL_PPM;
}

static double entitled(const struct limituse *use)
{
    return (double)use->turns.turns.entitled_ns / NS_PER_S;
}

static double received(const struct limituse *use)
{
    return (double)use->turns.turns.received_ns / NS_PER_S;
}

static double borrowed(const struct limituse *use)
{
    return (double)use->turns.turns.borrowed_ns / NS_PER_S;
}

static double lent(const struct limituse *use)
{
    return (double)use->turns.turns.lent_ns / NS_PER_S;
}

static double waited(const struct limituse *use)
{
    return (double)use->turns.claims.waited_ns / NS_PER_S;
}

static double wait_p50(const struct limituse *use)
{
    return (double)claimspage_bin_us(claimspage_find_bin(&use->turns.claims, P50)) / US_PER_S;
}

static double wait_p99(const struct limituse *use)
{
    return (double)claimspage_bin_us(claimspage_find_bin(&use->turns.claims, P99)) / US_PER_S;
}

static double launched(const struct limituse *use)
{
    return (double)use->turns.claims.n_launched;
}

static double late(const struct limituse *use)
{
    return (double)use->turns.claims.n_late;
}

static double n_turns(const struct limituse *use)
{
    return (double)use->turns.turns.n_turns;
}

static double n_overdue(const struct limituse *use)
{
    return (double)use->turns.turns.n_overdue;
}

static double is_heavy(const struct limituse *use)
{
    return use->turns.turns.weight >= TURNS_HEAVY;
}

static double is_suspect(const struct limituse *use)
{
    return use->turns.turns.is_suspect;
}

static double unenforced(const struct limituse *use)
{
    return (double)use->n_unenforced_compute;
}

static const struct usemetric use_rows[] = {
    {"gpuslice_compute_share_ratio", "gauge",
     "The part of a device's time that a container may have, by its grants.", has_share, share},
    {"gpuslice_compute_entitled_seconds_total", "counter",
     "Time of a device that a container was entitled to while it had work.", has_turns, entitled},
    {"gpuslice_compute_received_seconds_total", "counter",
     "Time of a device that a container received.", has_turns, received},
    {"gpuslice_compute_borrowed_seconds_total", "counter",
     "Of that, what was beyond what it was entitled to.", has_turns, borrowed},
    {"gpuslice_compute_lent_seconds_total", "counter",
     "What it was entitled to, did not use, and others took.", has_turns, lent},
    {"gpuslice_compute_waited_seconds_total", "counter",
     "Time that threads of a container waited for its turn, as its processes say.", has_turns,
     waited},
    {"gpuslice_compute_wait_p50_seconds", "gauge", "Half of its waits were shorter.", has_waits,
     wait_p50},
    {"gpuslice_compute_wait_p99_seconds", "gauge", "99 % of its waits were shorter.", has_waits,
     wait_p99},
    {"gpuslice_compute_launched_total", "counter",
     "Commands that a container launched on a device, as its processes say.", has_turns, launched},
    {"gpuslice_compute_late_total", "counter",
     "Of those, what was launched while its gate was closed: in captures and callbacks.", has_turns,
     late},
    {"gpuslice_compute_turns_total", "counter", "Turns that it had.", has_turns, n_turns},
    {"gpuslice_compute_overdue_turns_total", "counter",
     "Of those, after so many its work took too long to finish.", has_turns, n_overdue},
    {"gpuslice_compute_heavy", "gauge",
     "1 while a container has work nearly all the time that it has the device for itself.",
     has_turns, is_heavy},
    {"gpuslice_compute_suspect", "gauge",
     "1 while a container's processes claim to be idle, and the progress of all others fell.",
     has_turns, is_suspect},
    {"gpuslice_compute_unenforced_processes", "gauge",
     "Processes of a container with a context on a device that cannot take part in turns there, or "
     "were refused: they launch whenever they like.",
     has_process, unenforced},
};

/* --- devices --- */

/* Whatever number of containers share it, it has one sample. */
static bool is_first_of_device(const struct turnmetrics *metrics, size_t place)
{
    if (!metrics->uses[place].has_turns)
        return false;
    for (size_t i = 0; i < place; i++)
        if (metrics->uses[i].has_turns &&
            str_equal(metrics->uses[i].uuid, metrics->uses[place].uuid))
            return false;
    return true;
}

static void add_devices(const struct turnmetrics *metrics, struct text *out)
{
    static const char plan[] = "gpuslice_compute_plan", trials[] = "gpuslice_compute_trials_total";

    exposition_family(out, plan, "gauge",
                      "Constant 1, labelled by how launches on a device are let through, and why.");
    for (size_t i = 0; i < metrics->n_uses; i++) {
        const struct turns_state *state = &metrics->uses[i].turns.device;

        if (is_first_of_device(metrics, i))
            exposition_sample(out, plan, 1, "uuid", metrics->uses[i].uuid, "plan",
                              turnwords_plan(state->plan), "reason",
                              turnwords_reason(state->reason), NULL);
    }
    exposition_family(out, trials, "counter",
                      "How often it was measured what is best for those who share a device.");
    for (size_t i = 0; i < metrics->n_uses; i++)
        if (is_first_of_device(metrics, i))
            exposition_sample(out, trials, (double)metrics->uses[i].turns.device.n_trials, "uuid",
                              metrics->uses[i].uuid, NULL);
}

void turnmetrics_add(const struct turnmetrics *metrics, struct text *out)
{
    static const char mode[] = "gpuslice_compute_mode";

    exposition_family(out, mode, "gauge", "Constant 1, labelled by the mode that holds.");
    exposition_sample(out, mode, 1, "mode", limits_compute_name(metrics->compute), NULL);
    if (metrics->compute == LIMITS_COMPUTE_NONE)
        return;
    add_devices(metrics, out);
    usemetrics_add(use_rows, ARRAY_SIZE(use_rows), metrics->uses, metrics->n_uses, out);
}
