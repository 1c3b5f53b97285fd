// SPDX-License-Identifier: Apache-2.0
#include "plugin/driverfiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"

#define VERSION "550.163.01"

static char folder[64];

static void make_file(const char *path)
{
    char whole[PATH_MAX];

    snprintf(whole, sizeof(whole), "%s%s", folder, path);
    *strrchr(whole, '/') = '\0';
    assert_int_equal(file_make_directory(whole, NULL), 0);
    snprintf(whole, sizeof(whole), "%s%s", folder, path);
    assert_int_equal(file_write_atomic(whole, "", 0, 0644, NULL), 0);
}

static void make_folder(void)
{
    strcpy(folder, "/tmp/gpuslice-files-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static void drop_folder(void)
{
    char command[96];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static int describe(const struct driverfile *file, void *userdata)
{
    static const char *const kinds[] = {"plain", "library", "socket"};

    text_addf(userdata, "%s %s %s\n", kinds[file->kind], file->host, file->container);
    return 0;
}

/* A file below the driver root, and where a container has it; NULL = it gets none. */
static const struct {
    const char *kind, *file, *container;
} rows[] = {
    {"library", "/usr/lib64/libcuda.so." VERSION, "/usr/lib64/libcuda.so." VERSION},
    {"library", "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so." VERSION,
     "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so." VERSION},
    {"library", "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so." VERSION,
     "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so." VERSION},
    {"library", "/lib64/libcuda.so." VERSION, "/lib64/libcuda.so." VERSION},
    {"library", "/glibc/lib/libcuda.so." VERSION, "/glibc/lib/libcuda.so." VERSION},
    {"library", "/usr/lib64/vdpau/libvdpau_nvidia.so." VERSION,
     "/usr/lib64/vdpau/libvdpau_nvidia.so." VERSION},
    {"library", "/usr/lib64/libnvidia-egl-gbm.so.1.1.2", "/usr/lib64/libnvidia-egl-gbm.so.1.1.2"},
    {"library", "/usr/lib64/libnvidia-egl-wayland.so.1.1.17",
     "/usr/lib64/libnvidia-egl-wayland.so.1.1.17"},
    {"library", "/usr/lib64/libnvidia-egl-xcb.so.1.0.1", "/usr/lib64/libnvidia-egl-xcb.so.1.0.1"},
    {"library", "/usr/lib64/libnvidia-nvvm70.so.4", "/usr/lib64/libnvidia-nvvm70.so.4"},
    {NULL, "/usr/lib64/libcuda.so.535.1", NULL},
    {NULL, "/usr/lib64/libc.so.6", NULL},
    {"plain", "/usr/lib64/nvidia/xorg/nvidia_drv.so", "/usr/lib64/nvidia/xorg/nvidia_drv.so"},
    {"plain", "/usr/lib64/nvidia/xorg/libglxserver_nvidia.so." VERSION,
     "/usr/lib64/nvidia/xorg/libglxserver_nvidia.so." VERSION},
    {"plain", "/usr/lib/xorg/modules/drivers/nvidia_drv.so",
     "/usr/lib/xorg/modules/drivers/nvidia_drv.so"},
    {"plain", "/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi"},
    {"plain", "/bin/nvidia-smi", "/bin/nvidia-smi"}, /* GKE */
    {"plain", "/usr/bin/nvidia-debugdump", "/usr/bin/nvidia-debugdump"},
    {"plain", "/usr/bin/nvidia-persistenced", "/usr/bin/nvidia-persistenced"},
    {"plain", "/usr/bin/nvidia-cuda-mps-control", "/usr/bin/nvidia-cuda-mps-control"},
    {"plain", "/usr/bin/nvidia-cuda-mps-server", "/usr/bin/nvidia-cuda-mps-server"},
    {"plain", "/usr/bin/nvidia-imex", "/usr/bin/nvidia-imex"},
    {"plain", "/usr/bin/nvidia-imex-ctl", "/usr/bin/nvidia-imex-ctl"},
    {"plain", "/etc/OpenCL/vendors/nvidia.icd", "/etc/OpenCL/vendors/nvidia.icd"},
    {"plain", "/usr/share/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json"},
    {"plain", "/etc/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json"},
    {"plain", "/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json"}, /* GKE */
    {"plain", "/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json",
     "/etc/vulkan/icd.d/nvidia_icd.x86_64.json"},
    {"plain", "/etc/vulkan/icd.d/nvidia_layers.json", "/etc/vulkan/icd.d/nvidia_layers.json"},
    {"plain", "/usr/share/vulkan/implicit_layer.d/nvidia_layers.json",
     "/etc/vulkan/implicit_layer.d/nvidia_layers.json"},
    {"plain", "/usr/share/glvnd/egl_vendor.d/10_nvidia.json",
     "/usr/share/glvnd/egl_vendor.d/10_nvidia.json"},
    {NULL, "/usr/share/glvnd/egl_vendor.d/50_mesa.json", NULL},
    {"plain", "/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json",
     "/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json"},
    {"plain", "/usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json",
     "/usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json"},
    {"plain", "/usr/local/share/egl/egl_external_platform.d/20_nvidia_xlib.json",
     "/usr/share/egl/egl_external_platform.d/20_nvidia_xlib.json"},
    {"plain", "/usr/share/nvidia/nvoptix.bin", "/usr/share/nvidia/nvoptix.bin"},
    {"plain", "/usr/share/X11/xorg.conf.d/10-nvidia.conf",
     "/usr/share/X11/xorg.conf.d/10-nvidia.conf"},
    {"plain", "/etc/X11/xorg.conf.d/nvidia-drm-outputclass.conf",
     "/usr/share/X11/xorg.conf.d/nvidia-drm-outputclass.conf"},
    {"plain", "/lib/firmware/nvidia/" VERSION "/gsp_ga10x.bin",
     "/lib/firmware/nvidia/" VERSION "/gsp_ga10x.bin"},
    {"plain", "/lib/firmware/updates/nvidia/" VERSION "/gsp_tu10x.bin",
     "/lib/firmware/updates/nvidia/" VERSION "/gsp_tu10x.bin"},
    {NULL, "/lib/firmware/nvidia/535.1/gsp_tu10x.bin", NULL},
    {"library", "/usr/lib/wsl/lib/libcuda.so.1.1", "/usr/lib/wsl/lib/libcuda.so.1.1"},
    {"library", "/usr/lib/wsl/lib/libdxcore.so", "/usr/lib/wsl/lib/libdxcore.so"},
    {"plain", "/usr/lib/wsl/lib/nvidia-smi", "/usr/bin/nvidia-smi"},
    {"folder", "/usr/lib/wsl/drivers/nv_dispi.inf_amd64_1/libcuda.so.1.1", "/usr/lib/wsl/drivers"},
    {"socket", "/run/nvidia-persistenced/socket", "/run/nvidia-persistenced/socket"},
    {"socket", "/var/run/nvidia-persistenced/socket", "/var/run/nvidia-persistenced/socket"},
    {"socket", "/run/nvidia-fabricmanager/socket", "/run/nvidia-fabricmanager/socket"},
    {"socket", "/tmp/nvidia-mps/control", "/tmp/nvidia-mps"},
};

static void each_file_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_text struct text got = TEXT_INIT, wanted = TEXT_INIT;
        struct driverroot root;
        const char *host = rows[i].file;

        make_folder();
        make_file(rows[i].file);
        driverroot_init(&root, folder, "/host", NULL);
        if (rows[i].container &&
            (str_equal(rows[i].kind, "socket") || str_equal(rows[i].kind, "folder")))
            host = rows[i].container;
        if (rows[i].container)
            text_addf(&wanted, "%s /host%s %s\n",
                      str_equal(rows[i].kind, "folder") ? "plain" : rows[i].kind, host,
                      rows[i].container);
        assert_int_equal(driverfiles_each(&root, VERSION, describe, &got), 0);
        if (!str_equal(text_string(&got), text_string(&wanted)))
            fail_msg("%s: got '%s'", rows[i].file, text_string(&got));
        drop_folder();
    }
}

/* A driver whose version is not known has no library that could be told from another driver's. */
static void without_a_version(void **state)
{
    cleanup_text struct text got = TEXT_INIT;
    struct driverroot root;

    (void)state;
    make_folder();
    make_file("/usr/lib64/libcuda.so." VERSION);
    make_file("/usr/lib64/libc.so.");
    make_file("/usr/bin/nvidia-smi");
    driverroot_init(&root, folder, "/", NULL);
    assert_int_equal(driverfiles_each(&root, "", describe, &got), 0);
    assert_string_equal(text_string(&got), "plain /usr/bin/nvidia-smi /usr/bin/nvidia-smi\n");
    drop_folder();
}

/* A file of a program or of a configuration is taken from the first folder that has it. */
/* The driver did not tell its version: the name of its library does. */
static void a_version_that_the_driver_did_not_tell(void **state)
{
    static const char *const names[] = {"libnvidia-ml.so.1", "libnvidia-ml.so." VERSION,
                                        "libcuda.so." VERSION, "libcuda.so.535.1"};
    cleanup_text struct text got = TEXT_INIT;
    struct driverroot root;

    (void)state;
    make_folder();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "/usr/lib64/%s", names[i]);
        make_file(path);
    }
    driverroot_init(&root, folder, "/host", NULL);
    assert_int_equal(driverfiles_each(&root, "", describe, &got), 0);
    assert_string_equal(text_string(&got), "library /host/usr/lib64/libcuda.so." VERSION
                                           " /usr/lib64/libcuda.so." VERSION
                                           "\nlibrary /host/usr/lib64/libnvidia-ml.so." VERSION
                                           " /usr/lib64/libnvidia-ml.so." VERSION "\n");
    drop_folder();
}

static void first_folder_wins(void **state)
{
    cleanup_text struct text got = TEXT_INIT;
    struct driverroot root;

    (void)state;
    make_folder();
    make_file("/usr/bin/nvidia-smi");
    make_file("/bin/nvidia-smi");
    make_file("/etc/vulkan/icd.d/nvidia_icd.json");
    make_file("/usr/share/vulkan/icd.d/nvidia_icd.json");
    driverroot_init(&root, folder, "/", NULL);
    assert_int_equal(driverfiles_each(&root, VERSION, describe, &got), 0);
    assert_string_equal(text_string(&got), "plain /usr/bin/nvidia-smi /usr/bin/nvidia-smi\n"
                                           "plain /etc/vulkan/icd.d/nvidia_icd.json "
                                           "/etc/vulkan/icd.d/nvidia_icd.json\n");
    drop_folder();
}

static int describe_link(const struct driverlink *link, void *userdata)
{
    text_addf(userdata, "%s -> %s\n", link->path, link->target);
    return 0;
}

static void links_of_a_library(void **state)
{
    static const struct {
        const char *library, *links;
    } cases[] = {
        {"/usr/lib64/libcuda.so." VERSION, "/usr/lib64/libcuda.so -> libcuda.so.1\n"},
        {"/usr/lib64/libnvidia-opticalflow.so." VERSION,
         "/usr/lib64/libnvidia-opticalflow.so -> libnvidia-opticalflow.so.1\n"},
        {"/usr/lib64/libGLX_nvidia.so." VERSION,
         "/usr/lib64/libGLX_indirect.so.0 -> libGLX_nvidia.so." VERSION "\n"},
        {"/usr/lib64/libnvidia-allocator.so." VERSION,
         "/usr/lib64/gbm/nvidia-drm_gbm.so -> ../libnvidia-allocator.so.1\n"},
        {"/usr/lib64/libnvidia-vulkan-producer.so." VERSION,
         "/usr/lib64/libnvidia-vulkan-producer.so -> libnvidia-vulkan-producer.so." VERSION "\n"},
        {"/usr/lib64/nvidia/xorg/libglxserver_nvidia.so." VERSION,
         "/usr/lib64/nvidia/xorg/libglxserver_nvidia.so -> libglxserver_nvidia.so." VERSION "\n"},
        {"/usr/lib64/libnvidia-ml.so." VERSION, ""},
        {"/usr/lib64/libcudadebugger.so." VERSION, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_text struct text got = TEXT_INIT;

        assert_int_equal(driverfiles_each_link(cases[i].library, describe_link, &got), 0);
        assert_string_equal(text_string(&got), cases[i].links);
    }
}

static int describe_dri(const char *path, const struct driverlink *link, void *userdata)
{
    text_addf(userdata, "%s %s\n", path, link ? link->path : "-");
    return link ? describe_link(link, userdata) : 0;
}

/* Only the GPU's own nodes, and of those only what the host has. */
static void nodes_below_dri(void **state)
{
    cleanup_text struct text got = TEXT_INIT;
    struct driverroot root;
    char sysfs[96];

    (void)state;
    make_folder();
    snprintf(sysfs, sizeof(sysfs), "%s/sys", folder);
    setenv("GPUSLICE_SYSFS", sysfs, 1);
    make_file("/sys/bus/pci/devices/0000:00:1b.0/drm/card1/dev");
    make_file("/sys/bus/pci/devices/0000:00:1b.0/drm/renderD129/dev");
    make_file("/sys/bus/pci/devices/0000:00:1b.0/drm/version");
    make_file("/sys/bus/pci/devices/0000:00:1c.0/drm/card2/dev");
    make_file("/dev/dri/card0");
    make_file("/dev/dri/card1");
    make_file("/dev/dri/renderD129");
    make_file("/dev/dri/by-path/pci-0000:00:1b.0-card");
    driverroot_init(&root, folder, "/", NULL);
    assert_int_equal(driverfiles_each_dri_node(&root, "0000:00:1b.0", describe_dri, &got), 0);
    assert_string_equal(text_string(&got), "/dev/dri/card1 /dev/dri/by-path/pci-0000:00:1b.0-card\n"
                                           "/dev/dri/by-path/pci-0000:00:1b.0-card -> ../card1\n"
                                           "/dev/dri/renderD129 -\n");
    text_clear(&got);
    assert_int_equal(driverfiles_each_dri_node(&root, "0000:00:1c.0", describe_dri, &got), 0);
    assert_int_equal(driverfiles_each_dri_node(&root, "0000:00:1d.0", describe_dri, &got), 0);
    assert_int_equal(driverfiles_each_dri_node(&root, "", describe_dri, &got), 0);
    assert_string_equal(text_string(&got), "");
    unsetenv("GPUSLICE_SYSFS");
    drop_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_file_alone),
        cmocka_unit_test(without_a_version),
        cmocka_unit_test(first_folder_wins),
        cmocka_unit_test(links_of_a_library),
        cmocka_unit_test(nodes_below_dri),
        cmocka_unit_test(a_version_that_the_driver_did_not_tell),
    };

    return cmocka_run_group_tests_name("plugin/driverfiles", tests, NULL, NULL);
}
