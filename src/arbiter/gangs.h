// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Turns of several devices at the same time: a container with slices of several of them may have
 * kernels that wait for each other, as those of NCCL do. Where each device gives turns by itself,
 * such a kernel spins on one device while another container has the turn on the other.
 *
 * The units of such a container (turns_tie) are a ring. One of its devices leads it: there it has
 * its turns as any other unit, waits while one of the ring waits, and its turn is over when nothing
 * of the ring is in flight. On its other devices it is led: it has the turn while it has it there,
 * and at no other time. In between, turns are those of units that the device decides on, and are
 * ended when the ring's turn begins.
 *
 * When a turn ends, one process of the ring may have launched a kernel whose counterpart waits at
 * the gate of another device. Until nothing is in flight, one that waits there and launched less
 * than another, or without which another does not get on, is behind: it launches one command, and
 * so on. The same holds for what a ring had in flight before its turn.
 *
 * A device leads before others where units of it alone have more of its time, since that limits the
 * ring most; and before all others when a unit waits too long there. A ring leads and is led only
 * where it takes turns and had work lately: a device on which it is idle or light holds it nowhere.
 *
 * Kernels of two rings that are in flight at once may wait for each other's slices of the hardware
 * for long. So rings never run free beside each other: one that begins while another is at work, or
 * was within a minute, waits until the arbiter has looked, and counts as heavy until its turns show
 * more; there are no probes, and no trials without turns. The plan is that of the device that
 * leads.
 */

#include <stddef.h>
#include <stdint.h>

#include "arbiter/turns.h"

/* As turns_run of each; their order decides where nothing else does. The array is sorted. Returns
 * the earliest of their times; UINT64_MAX: none. */
uint64_t gangs_run(struct turns **devices, size_t n, uint64_t now_ns);
