// SPDX-License-Identifier: Apache-2.0
// The process that keeps a pod's namespaces, and the only program of our test pods: it waits, and
// ends at once when asked to; with an argument it does not wait.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number)
{
    (void)number;
    _exit(0);
}

static void reap(int number)
{
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) { // an init container: exits immediately
        return 0;
    }
    signal(SIGINT, end);
    signal(SIGTERM, end);
    signal(SIGCHLD, reap);
    for (;;) {
        pause();
    }
}
