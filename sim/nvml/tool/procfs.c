// SPDX-License-Identifier: Apache-2.0
#include "nvml/tool/procfs.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "nvml/migstate.h"

/* As an H200's driver (580) numbers them: 32 GPUs, 15 GPU instances, 8 compute instances of each.
 */
enum { GPUS = 32, FIRST_MINOR = 3, PER_INSTANCE = 1 + STATE_COMPUTE_INSTANCES };

static unsigned minor_of(unsigned gpu, unsigned instance, unsigned compute)
{
    const unsigned base = FIRST_MINOR + (gpu * STATE_GPU_INSTANCES + instance) * PER_INSTANCE;

    return compute == STATE_NO_INSTANCE ? base : base + 1 + compute;
}

static int write_below(const char *folder, const char *name, const char *text, struct error *err)
{
    char path[PATH_MAX], *slash;
    int r;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    slash = strrchr(path, '/');
    *slash = '\0';
    r = file_make_directory(path, err);
    *slash = '/';
    return r < 0 ? r : file_write_atomic(path, text, strlen(text), 0444, err);
}

static int write_minors(const char *folder, struct error *err)
{
    cleanup_text struct text text = TEXT_INIT;

    text_add(&text, "config 1\nmonitor 2\n");
    for (unsigned gpu = 0; gpu < GPUS; gpu++)
        for (unsigned gi = 0; gi < STATE_GPU_INSTANCES; gi++) {
            text_addf(&text, "gpu%u/gi%u/access %u\n", gpu, gi,
                      minor_of(gpu, gi, STATE_NO_INSTANCE));
            for (unsigned ci = 0; ci < STATE_COMPUTE_INSTANCES; ci++)
                text_addf(&text, "gpu%u/gi%u/ci%u/access %u\n", gpu, gi, ci, minor_of(gpu, gi, ci));
        }
    return write_below(folder, "driver/nvidia-caps/mig-minors", text_string(&text), err);
}

static int write_capability(const char *folder, const char *name, unsigned minor, unsigned mode,
                            struct error *err)
{
    char path[128], text[96];

    snprintf(path, sizeof(path), "driver/nvidia/capabilities/%s", name);
    snprintf(text, sizeof(text), "DeviceFileMinor: %u\nDeviceFileMode: %u\nDeviceFileModify: 1\n",
             minor, mode);
    return write_below(folder, path, text, err);
}

static void remove_capability(const char *folder, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/driver/nvidia/capabilities/%s", folder, name);
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

/* The file of one instance: there while that is. */
static int show(const char *folder, const struct state *state, unsigned gpu, uint32_t instance,
                uint32_t compute, struct error *err)
{
    const unsigned minor = state->machine.gpus[gpu].minor;
    struct migstate_ref ref;
    char name[64];

    if (compute == STATE_NO_INSTANCE)
        snprintf(name, sizeof(name), "gpu%u/mig/gi%u/access", minor, instance);
    else
        snprintf(name, sizeof(name), "gpu%u/mig/gi%u/ci%u/access", minor, instance, compute);
    if (migstate_refer(state, gpu, instance, compute, &ref) == 0)
        return write_capability(folder, name, minor_of(minor, instance, compute), 292, err);
    remove_capability(folder, name);
    return 0;
}

static int show_all(const char *folder, const struct state *state, unsigned gpu, struct error *err)
{
    int r = 0;

    for (uint32_t instance = 0; instance < STATE_GPU_INSTANCES && r == 0; instance++) {
        for (uint32_t compute = 0; compute < STATE_COMPUTE_INSTANCES && r == 0; compute++)
            r = show(folder, state, gpu, instance, compute, err);
        if (r == 0)
            r = show(folder, state, gpu, instance, STATE_NO_INSTANCE, err);
    }
    return r;
}

int procfs_write(const char *folder, const struct state *state, struct error *err)
{
    int r = write_below(folder, "modules",
                        "nvidia_uvm 4956160 0 - Live 0x0000000000000000\n"
                        "nvidia 56823808 1 nvidia_uvm, Live 0x0000000000000000\n",
                        err);

    if (r == 0)
        r = write_minors(folder, err);
    if (r == 0)
        r = write_capability(folder, "mig/config", 1, 256, err);
    if (r == 0)
        r = write_capability(folder, "mig/monitor", 2, 292, err);
    for (unsigned gpu = 0; gpu < state->machine.n_gpus && r == 0; gpu++)
        r = show_all(folder, state, gpu, err);
    return r;
}
