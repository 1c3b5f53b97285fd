// SPDX-License-Identifier: Apache-2.0
#include "proc/role.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BIT(capability) (UINT64_C(1) << (capability))
#define ALL             UINT64_MAX
#define ARBITER                                                                  \
    (BIT(CAP_KILL) | BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_MODULE) | BIT(CAP_MKNOD) | \
     BIT(CAP_DAC_OVERRIDE))

static const struct role_rights rights[ROLE_COUNT] = {
    [ROLE_AGENT] = {"agent", false, ALL},
    /* NVML may run nvidia-modprobe, which loads the kernel module and makes device nodes; MIG and
     * other settings ask for SYS_ADMIN; NVreg_DeviceFileUID gives the nodes to another user. */
    [ROLE_DRIVER] = {"driver", false,
                     BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_MODULE) | BIT(CAP_MKNOD) |
                         BIT(CAP_DAC_OVERRIDE)},
    [ROLE_HTTP] = {"http", true, 0},
    [ROLE_NODESYNC_START] = {"nodesync-start", false,
                             BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_DAC_READ_SEARCH)},
    [ROLE_NODESYNC] = {"nodesync", true, 0},
    [ROLE_NODESYNC_AS_ROOT] = {"nodesync-as-root", false, 0},
    [ROLE_PROBE] = {"probe", false, 0},
    /* What logind and systemd want of who asks, where no policy of the host's lets root. */
    [ROLE_REBOOT] = {"reboot", false, BIT(CAP_SYS_BOOT)},
    [ROLE_CONTROLLER] = {"controller", false, 0},
    /* To end processes of pods that run as another user; and what the helper of its driver keeps.
     */
    [ROLE_ARBITER] = {"arbiter", false, ARBITER},
    /* To give a socket to a group that it is no member of. */
    [ROLE_ARBITER_WITH_GROUP] = {"arbiter-with-group", false, ARBITER | BIT(CAP_CHOWN)},
};

const struct role_rights *role_rights(enum role role)
{
    return &rights[role];
}

/* What the kernel keeps in two words. */
struct capabilities {
    uint64_t effective, permitted, inheritable;
};

static int get_capabilities(struct capabilities *ret_capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    *ret_capabilities = (struct capabilities){
        .effective = data[0].effective | (uint64_t)data[1].effective << 32,
        .permitted = data[0].permitted | (uint64_t)data[1].permitted << 32,
        .inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32,
    };
    return 0;
}

static int set_capabilities(const struct capabilities *capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    for (int i = 0; i < 2; i++)
        data[i] = (struct __user_cap_data_struct){
            .effective = (uint32_t)(capabilities->effective >> (32 * i)),
            .permitted = (uint32_t)(capabilities->permitted >> (32 * i)),
            .inheritable = (uint32_t)(capabilities->inheritable >> (32 * i)),
        };
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* What no program executed later could get either. Needs SETPCAP; no_new_privs does without. */
static void drop_bounding_set(uint64_t kept)
{
    for (unsigned capability = 0; capability < ROLE_CAPABILITIES; capability++)
        if (!(kept & BIT(capability)) && prctl(PR_CAPBSET_READ, capability) == 1)
            prctl(PR_CAPBSET_DROP, capability);
}

static int become_nobody(void)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(ROLE_NOBODY, ROLE_NOBODY, ROLE_NOBODY) < 0 ||
        setresuid(ROLE_NOBODY, ROLE_NOBODY, ROLE_NOBODY) < 0)
        return errno == EPERM ? ROLE_USER_KEPT : -errno;
    return 0;
}

static int keep_capabilities(uint64_t kept)
{
    struct capabilities capabilities = {.effective = 0};
    int r = get_capabilities(&capabilities);

    if (r < 0)
        return r;
    capabilities.permitted &= kept;
    capabilities.effective &= kept;
    capabilities.inheritable = 0;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return set_capabilities(&capabilities);
}

int role_enter(enum role role, struct error *err)
{
    const struct role_rights *row = &rights[role];
    int r, outcome = 0;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(err, -errno, "cannot give up privileges to come");
    if (row->capabilities == ALL)
        return 0;
    drop_bounding_set(row->capabilities);
    if (row->becomes_nobody)
        outcome = become_nobody();
    if (outcome < 0)
        return error_set_errno(err, outcome, "cannot become user %d", ROLE_NOBODY);
    r = keep_capabilities(row->capabilities);
    return r < 0 ? error_set_errno(err, r, "cannot give up capabilities") : outcome;
}

int role_check_readable(const char *path)
{
    cleanup_close int fd = -1;
    int r;

    if (setgroups(0, NULL) < 0)
        return -errno;
    setfsgid(ROLE_NOBODY);
    setfsuid(ROLE_NOBODY); /* takes the capabilities for files along */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    r = fd < 0 ? -errno : 0;
    setfsuid(geteuid());
    setfsgid(getegid());
    return r;
}
