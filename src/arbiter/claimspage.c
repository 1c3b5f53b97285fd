// SPDX-License-Identifier: Apache-2.0
#include "arbiter/claimspage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

_Static_assert(CLAIMS_SEALS == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW),
               "so that no word of it ever faults");

/* More between two readings is no work but a word that was written over. */
#define LAUNCHED_MAX (UINT64_C(1) << 32)
#define WAITED_MAX   (UINT64_C(1) << 40)

static uint64_t last_number;

/* --- life --- */

static int make_file(struct error *err)
{
    const struct claims header = {.magic = CLAIMS_MAGIC, .version = CLAIMS_VERSION};
    const size_t size = offsetof(struct claims, devices);
    cleanup_close int fd = memfd_create("gpuslice-claims", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, CLAIMS_SIZE) < 0 || fcntl(fd, F_ADD_SEALS, CLAIMS_SEALS) < 0 ||
        pwrite(fd, &header, size, 0) != (ssize_t)size)
        return error_set_errno(err, -errno, "cannot make a page of claims");
    return TAKE_FD(fd);
}

int claimspage_make(struct claimspage *page, size_t n_devices, struct error *err)
{
    cleanup_free struct claimspage_past *pasts = calloc(n_devices + 1, sizeof(*pasts));
    cleanup_close int fd = pasts ? make_file(err) : -ENOMEM;
    const struct claims *claims;

    if (!pasts)
        return error_set_errno(err, -ENOMEM, "cannot make a page of claims");
    if (fd < 0)
        return fd;
    claims = mmap(NULL, CLAIMS_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (claims == MAP_FAILED)
        return error_set_errno(err, -errno, "cannot map a page of claims");
    *page = (struct claimspage){.claims = claims,
                                .fd = TAKE_FD(fd),
                                .pasts = TAKE_PTR(pasts),
                                .n_devices = n_devices,
                                .number = ++last_number};
    return 0;
}

void claimspage_deinit(struct claimspage *page)
{
    if (page->claims)
        munmap((void *)page->claims, CLAIMS_SIZE);
    if (page->fd >= 0)
        close(page->fd);
    free(page->pasts);
    *page = (struct claimspage)CLAIMSPAGE_INIT;
}

/* --- reading --- */

static uint64_t advance(uint64_t *past, uint64_t now, uint64_t most)
{
    const uint64_t step = now > *past ? now - *past : 0;

    *past = now;
    return step < most ? step : 0;
}

/* Of 32 bits, which run over. */
static uint32_t advance_short(uint32_t *past, uint32_t now)
{
    const uint32_t step = now - *past;

    *past = now;
    return step <= INT32_MAX ? step : 0;
}

/* The sum of all lanes' fences that are passed; it runs over. */
static uint32_t read_lanes(const struct claims_device *device, bool *has_work)
{
    uint32_t n_passed = 0;

    for (size_t i = 0; i < CLAIMS_LANES; i++) {
        const uint32_t done = limits_load(device->lanes[i].done);

        *has_work = *has_work || limits_load(device->lanes[i].fence) != done;
        n_passed += done;
    }
    return n_passed;
}

static bool is_awaited(const struct claims_device *device, struct claimspage_past *past,
                       uint64_t now_ns)
{
    const uint32_t n_awaits = limits_load(device->n_awaits);

    if (n_awaits != past->n_awaits)
        past->awaits_ns = now_ns;
    past->n_awaits = n_awaits;
    return limits_load(device->n_awaiting) != 0 && past->awaits_ns &&
           now_ns - past->awaits_ns < CLAIMSPAGE_AWAIT_MS * UINT64_C(1000000);
}

void claimspage_read(struct claimspage *page, size_t device, uint64_t now_ns,
                     struct claimspage_sum *sum)
{
    const struct claims_device *from = &page->claims->devices[device];
    struct claimspage_past *past = &page->pasts[device];

    sum->n_launched += advance(&past->n_launched, limits_load(from->n_launched), LAUNCHED_MAX);
    sum->n_done += advance(&past->n_done, limits_load(from->n_done), LAUNCHED_MAX);
    sum->waited_ns += advance(&past->waited_ns, limits_load(from->waited_ns), WAITED_MAX);
    sum->n_late += advance_short(&past->n_late, limits_load(from->n_late));
    for (size_t i = 0; i < CLAIMS_WAIT_BINS; i++)
        sum->waits[i] += advance_short(&past->waits[i], limits_load(from->waits[i]));
    sum->n_waiting += limits_load(from->n_waiting) != 0;
    sum->is_in_flight = is_awaited(from, past, now_ns) || sum->is_in_flight;
    sum->n_passed += advance_short(&past->n_passed, read_lanes(from, &sum->is_in_flight));
}

/* --- waits --- */

unsigned claimspage_find_bin(const struct claimspage_sum *sum, unsigned permille)
{
    uint64_t n = 0, below = 0;
    unsigned bin = 0;

    for (size_t i = 0; i < CLAIMS_WAIT_BINS; i++)
        n += sum->waits[i];
    if (!n)
        return CLAIMS_WAIT_BINS;
    for (; bin < CLAIMS_WAIT_BINS - 1; bin++) {
        below += sum->waits[bin];
        if ((double)below * 1000 >= (double)n * permille)
            break;
    }
    return bin;
}

uint64_t claimspage_bin_us(unsigned bin)
{
    return UINT64_C(64) << bin;
}
