// SPDX-License-Identifier: Apache-2.0
#include "cli/userdata.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "slice/migkind.h"
#include "userdata-script.h"

#define BOUNDARY "gpuslice-mig"
#define LAYOUT   "layout=()\n" /* of the script */

static const char unit[] =
    "[Unit]\n"
    "Description=MIG layout of the GPUs (gpuslice render userdata)\n"
    "Before=nodeadm-run.service kubelet.service snap.kubelet-eks.daemon.service\n"
    "\n"
    "[Service]\n"
    "Type=oneshot\n"
    "RemainAfterExit=yes\n"
    "ExecStart=/usr/local/sbin/gpuslice-mig\n"
    "TimeoutStartSec=900\n"
    "\n"
    "[Install]\n"
    "WantedBy=multi-user.target\n";

static const char node_config[] = "Content-Type: application/node.eks.aws\n"
                                  "\n"
                                  "---\n"
                                  "# Karpenter and managed node groups fill this in. A "
                                  "self-managed node needs spec.cluster here:\n"
                                  "# name, apiServerEndpoint, certificateAuthority and cidr.\n"
                                  "apiVersion: node.eks.aws/v1alpha1\n"
                                  "kind: NodeConfig\n"
                                  "spec: {}\n"
                                  "\n"
                                  "--" BOUNDARY "\n";

/* Single quotes end inside of single quotes: nothing in a line has one, but a file may try. */
static void add_quoted(const char *line, struct text *text)
{
    text_add_char(text, '\'');
    for (const char *c = line; *c; c++)
        if (*c == '\'')
            text_add(text, "'\\''");
        else
            text_add_char(text, *c);
    text_add_char(text, '\'');
}

static void add_script(const struct miglines *lines, struct text *text)
{
    const char *at = strstr(userdata_script, LAYOUT);

    text_add_bytes(text, userdata_script, (size_t)(at - userdata_script));
    text_add(text, "layout=(\n");
    for (size_t i = 0; i < lines->n_items; i++) {
        text_add(text, "    ");
        add_quoted(lines->items[i].text, text);
        text_add_char(text, '\n');
    }
    text_add(text, ")\n");
    text_add(text, at + strlen(LAYOUT));
}

/* A failure is in the journal, and the kubelet starts all the same: a node without its layout can
 * be looked at, and repaired by an agent. */
static void add_installer(const struct miglines *lines, struct text *text)
{
    text_add(text, "#!/bin/bash\n"
                   "cat > /usr/local/sbin/gpuslice-mig <<'END_OF_SCRIPT'\n");
    add_script(lines, text);
    text_add(text, "END_OF_SCRIPT\n"
                   "chmod 755 /usr/local/sbin/gpuslice-mig\n"
                   "cat > /etc/systemd/system/gpuslice-mig.service <<'END_OF_UNIT'\n");
    text_add(text, unit);
    text_add(text, "END_OF_UNIT\n"
                   "systemctl daemon-reload\n"
                   "systemctl enable gpuslice-mig.service\n"
                   "systemctl start gpuslice-mig.service || :\n");
}

void userdata_add(enum userdata_image image, const struct miglines *lines, struct text *text)
{
    text_add(text, "MIME-Version: 1.0\n"
                   "Content-Type: multipart/mixed; boundary=\"" BOUNDARY "\"\n"
                   "\n"
                   "--" BOUNDARY "\n");
    if (image == USERDATA_AL2023)
        text_add(text, node_config);
    text_addf(text, "Content-Type: text/%s; charset=\"us-ascii\"\n\n",
              image == USERDATA_AL2023 ? "x-shellscript" : "cloud-boothook");
    add_installer(lines, text);
    text_add(text, "\n--" BOUNDARY "--\n");
}

/* --- Bottlerocket --- */

/* Models by the names of its settings (sources/nvidia-migmanager of bottlerocket-kernel-kit). */
static const struct {
    const char *model, *key;
} models[] = {
    {"NVIDIA A100-SXM4-40GB", "a100.40gb"},
    {"NVIDIA A100-SXM4-80GB", "a100.80gb"},
    {"NVIDIA H100 80GB HBM3", "h100.80gb"},
    {"NVIDIA H200", "h200.141gb"},
};

static const char *key_of(const struct gpu *gpu)
{
    for (size_t i = 0; i < ARRAY_SIZE(models); i++)
        if (str_equal(models[i].model, gpu->model))
            return models[i].key;
    return NULL;
}

/* The profile of which a GPU is to have as many as it can; NULL: it is to have something else. */
static const struct mig_profile *only_profile(const struct mig_board *board,
                                              const struct mig_want *want)
{
    const struct mig_profile *only = NULL;

    for (uint32_t i = 0; i < board->n_profiles; i++) {
        const struct mig_profile *profile = &board->profiles[i];

        if (want->counts[i][migkind_full_compute(profile)] == profile->max_count &&
            migwant_count(want) == profile->max_count)
            only = profile;
    }
    return only;
}

static int find_profile(const struct gpu *gpu, const struct mig_board *board,
                        const struct mig_want *want, const struct mig_profile **ret_profile,
                        struct error *err)
{
    const struct mig_profile *profile = board ? only_profile(board, want) : NULL;

    if (!key_of(gpu))
        return error_set(err, -ENOENT,
                         "GPU %u (%s) is none that Bottlerocket's settings can partition",
                         gpu->index, gpu->model);
    if (!profile)
        return error_set(err, -ENOENT,
                         "Bottlerocket divides each GPU into as many instances of one profile as "
                         "fit, such as all-%s; GPU %u is to have another layout",
                         board && board->n_profiles ? board->profiles[0].name : "1g.5gb",
                         gpu->index);
    *ret_profile = profile;
    return 0;
}

static void add_settings(const char *key, const char *profile, struct text *text)
{
    text_addf(text,
              "[settings.kubelet-device-plugins.nvidia]\n"
              "device-partitioning-strategy = \"%s\"\n",
              profile ? "mig" : "none");
    if (profile)
        text_addf(text,
                  "\n[settings.kubelet-device-plugins.nvidia.mig.profile]\n"
                  "\"%s\" = \"%s\"\n",
                  key, profile);
}

int userdata_add_bottlerocket(const struct migchoice *choice, const struct inventory *machine,
                              struct text *text, struct error *err)
{
    const struct mig_profile *profile = NULL;

    for (size_t i = 0; i < machine->n_gpus; i++) {
        const struct gpu *gpu = &machine->gpus[i];
        const struct mig_profile *other = NULL;
        struct error why = ERROR_INIT;
        struct mig_want want = {.enabled = false};
        int r = migchoice_want(choice, machine, gpu, &want, &why);

        if (r < 0)
            return error_set(err, r, "GPU %u (%s) %s", gpu->index, gpu->model, error_text(&why));
        if (r == 0 && want.enabled)
            r = find_profile(gpu, inventory_board(machine, gpu), &want, &other, err);
        if (r < 0)
            return r;
        if (i && other != profile)
            return error_set(err, -ENOENT,
                             "Bottlerocket partitions all GPUs of a node alike; this layout does "
                             "not");
        profile = other;
    }
    add_settings(machine->n_gpus ? key_of(&machine->gpus[0]) : NULL, profile ? profile->name : NULL,
                 text);
    return 0;
}
