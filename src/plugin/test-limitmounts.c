// SPDX-License-Identifier: Apache-2.0
#include "plugin/limitmounts.h"

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
#include "base/text.h"
#include "rpc/message.h"

struct world {
    char folder[32];
    struct limitmounts limits;
};

static const char *at(const struct world *world, const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", world->folder, name);
    return path;
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    strcpy(world->folder, "/tmp/gpuslice-test-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->limits.folder = world->folder;
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", world->folder);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static void install(const struct world *world, const char *version, const char *target)
{
    static const char *const files[] = {"libgpuslice.so", "ld.so.preload"};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char name[96];

        snprintf(name, sizeof(name), "lib/%s", version);
        assert_int_equal(file_make_directory(at(world, name), NULL), 0);
        snprintf(name, sizeof(name), "lib/%s/%s", version, files[i]);
        assert_int_equal(file_write_atomic(at(world, name), "", 0, 0644, NULL), 0);
    }
    (void)unlink(at(world, "lib/current"));
    assert_int_equal(symlink(target, at(world, "lib/current")), 0);
}

/* "host -> container", a line each, without the folder. */
static void assert_mounts(const struct world *world,
                          const v1beta1_ContainerAllocateResponse *answer, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;

    text_add(&text, "");
    for (pb_size_t i = 0; i < answer->mounts_count; i++) {
        const v1beta1_Mount *mount = &answer->mounts[i];

        assert_true(mount->read_only);
        assert_true(str_starts_with(mount->host_path, world->folder));
        text_addf(&text, "%s -> %s\n", mount->host_path + strlen(world->folder),
                  mount->container_path);
    }
    assert_string_equal(text_string(&text), expected);
}

/* The kubelet merges by the path in the container: what is the same for all has the same one. */
static void two_resources_of_a_container(void **state)
{
    const struct world *world = *state;
    v1beta1_ContainerAllocateResponse answer = v1beta1_ContainerAllocateResponse_init_zero;

    install(world, "1.0", "1.0");
    assert_int_equal(limitmounts_add(&world->limits, "nvidia.com/gpu", "0000000000000001", &answer),
                     0);
    assert_int_equal(
        limitmounts_add(&world->limits, "nvidia.com/gpu-half", "0000000000000002", &answer), 0);
    assert_mounts(world, &answer,
                  "/grants/0000000000000001 -> /opt/gpuslice/nvidia.com.gpu\n"
                  "/lib/1.0 -> /opt/gpuslice/lib\n"
                  "/lib/1.0/ld.so.preload -> /etc/ld.so.preload\n"
                  "/grants/0000000000000002 -> /opt/gpuslice/nvidia.com.gpu-half\n"
                  "/lib/1.0 -> /opt/gpuslice/lib\n"
                  "/lib/1.0/ld.so.preload -> /etc/ld.so.preload\n");
    message_release(v1beta1_ContainerAllocateResponse_fields, &answer);
}

/* As it is named on the node that is not ours: the arbiter may have mounted the folder elsewhere.
 */
static void the_current_version_counts(void **state)
{
    const struct world *world = *state;
    char library[PATH_MAX];

    install(world, "1.0", "1.0");
    install(world, "1.1", "/somewhere/lib/1.1");
    assert_int_equal(limitmounts_library(&world->limits, library), 0);
    assert_string_equal(library, at(world, "lib/1.1"));
}

/* A mount of what is not there would become an empty directory. */
static void without_a_whole_library_nothing_is_mounted(void **state)
{
    static const char *const missing[] = {"lib/1.0/ld.so.preload", "lib/1.0/libgpuslice.so"};
    const struct world *world = *state;
    v1beta1_ContainerAllocateResponse answer = v1beta1_ContainerAllocateResponse_init_zero;

    assert_int_equal(limitmounts_add(&world->limits, "nvidia.com/gpu", "0000000000000001", &answer),
                     LIMITMOUNTS_NO_LIBRARY);
    for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
        install(world, "1.0", "1.0");
        assert_int_equal(unlink(at(world, missing[i])), 0);
        assert_int_equal(
            limitmounts_add(&world->limits, "nvidia.com/gpu", "0000000000000001", &answer),
            LIMITMOUNTS_NO_LIBRARY);
    }
    install(world, "1.0", "0.9");
    assert_int_equal(limitmounts_add(&world->limits, "nvidia.com/gpu", "0000000000000001", &answer),
                     LIMITMOUNTS_NO_LIBRARY);
    assert_int_equal(answer.mounts_count, 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(two_resources_of_a_container),
        T(the_current_version_counts),
        T(without_a_whole_library_nothing_is_mounted),
    };

    return cmocka_run_group_tests_name("limitmounts", tests, NULL, NULL);
}
