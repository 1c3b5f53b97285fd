// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which grants there are and whose they are: of this node's pods, as its kubelet and agent record
 * them, and of commands (localgrant.h), which stand where a container would; with --local-grant of
 * one command alone.
 */

#include <limits.h>
#include <sys/types.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/localgrants.h"
#include "arbiter/podcgroup.h"
#include "base/error.h"
#include "grant/podrecords.h"

/* Into empty ones. Blocks as long as the disk does. */
int noderecords_read(const struct arbiteroptions *options, struct podrecords *ret_records,
                     struct error *err);
int noderecords_read_commands(const struct arbiteroptions *options, struct localgrants *grants,
                              struct error *err);

/* The folder with a directory for each grant of a pod. */
int noderecords_grant_folder(const struct arbiteroptions *options, char path[PATH_MAX]);

/* The folder of localgrant.h; below it is the one with a directory for each grant of a command. */
int noderecords_command_folder(const struct arbiteroptions *options, char path[PATH_MAX]);

/* As procfs_read_pod; a process of a command has the pod of that one. */
int noderecords_read_pod(const struct arbiteroptions *options, pid_t pid, struct podcgroup *ret_pod,
                         struct error *err);
