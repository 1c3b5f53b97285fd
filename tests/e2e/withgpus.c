// SPDX-License-Identifier: Apache-2.0
// NVIDIA's container toolkit for pods on the simulator: the program that is named sees the GPUs
// that the device plugin gave its container, and no others.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *given = getenv("NVIDIA_VISIBLE_DEVICES");

    if (!given || strcmp(given, "void") == 0 || strcmp(given, "none") == 0) {
        given = "";
    }
    if (strcmp(given, "all") != 0) {
        setenv("CUDA_VISIBLE_DEVICES", given, 1);
    }
    if (argc > 1) {
        execv(argv[1], argv + 1);
    }
    return 127;
}
