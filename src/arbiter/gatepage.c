// SPDX-License-Identifier: Apache-2.0
#include "arbiter/gatepage.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NS_PER_MS = 1000000 };

const struct turns_gate gatepage_open = {.gate = LIMITS_GATE_OPEN};

void gatepage_show_mode(const struct tenant *tenant, enum limits_compute mode)
{
    for (size_t i = 0; tenant->page.page && i < tenant->account->n_devices; i++) {
        limits_store(tenant->page.page->devices[i].share_ppm, tenant->shares_ppm[i]);
        limits_store(tenant->page.page->devices[i].compute, (uint32_t)mode);
    }
}

/* The page is ours alone to write. */
static bool is_shown(const struct limits_device *shown, const struct turns_gate *gate)
{
    return shown->gate == (uint32_t)gate->gate && shown->turn_end_ns == gate->turn_end_ns &&
           shown->in_flight_us == gate->in_flight_us;
}

/* A thread that waits for the number finds the rest written. A page is shared, so its waiters are
 * found by its file: other processes are woken as well. There may be any number of them, and each
 * takes our time: those that are left look again by themselves. */
static void write_gate(struct limits_device *shown, const struct turns_gate *gate)
{
    limits_store(shown->turn_end_ns, gate->turn_end_ns);
    limits_store(shown->in_flight_us, gate->in_flight_us);
    __atomic_store_n(&shown->gate, (uint32_t)gate->gate, __ATOMIC_RELEASE);
    __atomic_store_n(&shown->gate_number, shown->gate_number + 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &shown->gate_number, FUTEX_WAKE, GATEPAGE_WOKEN_MOST, NULL, NULL, 0);
}

bool gatepage_show(const struct tenant *tenant, size_t place, const struct turns_gate *gate,
                   bool is_news, uint64_t now_ns)
{
    struct limits_page *page = tenant->page.page;

    if (!page)
        return false;
    if (gate->gate != LIMITS_GATE_OPEN) /* before it is closed: who finds it so finds a beat */
        limits_store(page->beat_ms, (uint32_t)(now_ns / NS_PER_MS));
    if (is_news || !is_shown(&page->devices[place], gate))
        write_gate(&page->devices[place], gate);
    return gate->gate != LIMITS_GATE_OPEN;
}
