// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent of one node: observe, plan, apply, report.
 *
 * It observes the configuration, the machine (through gpu/driver.h, whose helper process makes all
 * driver calls), the kubelet's directory and our Node, and stores its observations in struct facts.
 * Whenever configuration or machine change it computes a new plan and applies the difference to the
 * services. Nothing in this process blocks.
 */

#include "config/agentflags.h"
#include "config/overrides.h"

/*
 * Runs until SIGTERM, SIGINT or SIGQUIT, or until it cannot start (logged). Returns the exit
 * status. flags and overrides are borrowed.
 */
int agent_run(const struct agent_flags *flags, const struct config_overrides *overrides);
