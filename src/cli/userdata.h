// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * User data of an instance by which its GPUs have their MIG layout before the kubelet starts.
 *
 * On Amazon Linux 2023 and Ubuntu it installs a script and a unit that runs it at each boot, before
 * the kubelet (userdata.sh); on Bottlerocket, which takes no scripts, settings ask NVIDIA's own
 * manager for it.
 */

#include "base/error.h"
#include "base/text.h"
#include "cli/miglines.h"

enum userdata_image {
    USERDATA_AL2023, /* a part for nodeadm, and a script that runs before nodeadm starts the kubelet
                      */
    USERDATA_UBUNTU, /* a boothook: cloud-init runs it at each boot, before the network is up */
};

/* Adds the user data for such an image. */
void userdata_add(enum userdata_image image, const struct miglines *lines, struct text *text);

/* Adds Bottlerocket's settings. 0, or -ENOENT with why they cannot express this layout. */
int userdata_add_bottlerocket(const struct migchoice *choice, const struct inventory *machine,
                              struct text *text, struct error *err);
