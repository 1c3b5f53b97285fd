// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The helper process: the only one that calls into the driver. The agent starts it as `<program>
 * --part=driver [--library=PATH] [--container-driver-root=PATH --driver-root=PATH]
 * [--deadline-ms=N]
 * [--probe-ms=N]` with these descriptors; main()
 * hands over to helper_main when its first argument is HELPER_PART.
 *
 * A session with the driver lasts until a device is lost or does not respond, and one in which the
 * driver lists no device ends soon. Then the helper executes itself again, with a back-off, because
 * nothing else reliably ends a session: a lost device stays lost for the session that saw it, the
 * wait for events fails for all devices as long as a lost one is among them, and an upgraded driver
 * needs its new library. Process id, channel and timers stay.
 *
 * It ends when the channel closes, and is killed when the agent's loop thread ends.
 */

enum {
    HELPER_CHANNEL = 3,     /* records (record.h) */
    HELPER_PAGE = 4,        /* shared memory: struct guard_page */
    HELPER_TIMER_CALLS = 5, /* the guards' timers, by lane */
    HELPER_TIMER_EVENTS = 6,
    HELPER_MAX_BODY = 1 << 16, /* size of a record */
};

#define HELPER_PART "--part=driver"

/* The helper's main function; returns its exit status. argv as in main. */
int helper_main(int argc, char *argv[]);
