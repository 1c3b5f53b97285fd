// SPDX-License-Identifier: Apache-2.0
#include "controller/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/array.h"
#include "base/environment.h"
#include "base/log.h"
#include "base/number.h"
#include "base/text.h"
#include "controller/nodegate.h"
#include "kube/lease.h"

enum { LEASE_LEAST_S = 3, LEASE_MOST_S = 3600, LIMIT_MOST_S = 86400, REPLACE_MOST = 100 };

static const struct option flags[] = {
    {"drain-for-mig", required_argument, NULL, 'd'},
    {"profiles", required_argument, NULL, 'p'},
    {"node-limit", required_argument, NULL, 't'},
    {"replace-at-most", required_argument, NULL, 'r'},
    {"kubeconfig", required_argument, NULL, 'k'},
    {"namespace", required_argument, NULL, 'n'},
    {"lease", required_argument, NULL, 'l'},
    {"lease-duration", required_argument, NULL, 's'},
    {"identity", required_argument, NULL, 'i'},
    {"channel-dir", required_argument, NULL, 'c'},
    {"log-level", required_argument, NULL, 'v'},
    {"log-format", required_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

void options_help(void)
{
    puts(
        "usage: gpuslice-controller [OPTION]...\n"
        "What needs the view of the whole cluster: evicts the pods that a MIG layout waits for,\n"
        "keeps Karpenter's NodeOverlays and NodePools as SliceProfiles say, and opens nodes that\n"
        "have what was promised.\n"
        "\n"
        "  --drain-for-mig=WORD    on Nodes without the annotation " DRAINPLAN_ANNOTATION ":\n"
        "                          denied (default), allowed, or forced: also pods that no\n"
        "                          controller would create again\n"
        "  --profiles=WORD         SliceProfiles: off (default), keep, or leave: NodeOverlays and\n"
        "                          NodePools are taken back, and then it ends\n"
        "  --node-limit=S          seconds until a node that does not have what was promised is\n"
        "                          reported, and replaced if its SliceProfile wants that\n"
        "  --replace-at-most=N     such nodes at a time\n"
        "  --kubeconfig=FILE       instead of the pod's service account\n"
        "  --namespace=NAME        of the Lease and the ConfigMaps\n"
        "  --lease=NAME            the Lease by which one of the replicas leads\n"
        "  --lease-duration=S      seconds until another replica takes over\n"
        "  --identity=NAME         of this replica; default: the pod's name\n"
        "  --channel-dir=DIR       where gpuslice-http finds us\n"
        "  --log-level=LEVEL       debug, info, warning, error\n"
        "  --log-format=FORMAT     logfmt, json\n"
        "  --help, --version");
}

static const char *const profiles_words[PROFILES_MODES] = {
    [PROFILES_OFF] = "off", [PROFILES_KEPT] = "keep", [PROFILES_LEFT] = "leave"};

static int read_drain(const char *word, struct options *options, struct error *err)
{
    if (drain_consent_parse(word, &options->drain_for_mig))
        return 0;
    return error_set(err, -EINVAL, "--drain-for-mig=%s: write denied, allowed or forced", word);
}

static int read_profiles(const char *word, struct options *options, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(profiles_words); i++)
        if (str_equal(word, profiles_words[i])) {
            options->profiles = (enum profiles_mode)i;
            return 0;
        }
    return error_set(err, -EINVAL, "--profiles=%s: write off, keep or leave", word);
}

static int read_number(const char *flag, const char *word, unsigned least, unsigned most,
                       unsigned *to, struct error *err)
{
    uint32_t number;

    if (!number_parse(word, &number) || number < least || number > most)
        return error_set(err, -EINVAL, "%s=%s: write a number from %u to %u", flag, word, least,
                         most);
    *to = number;
    return 0;
}

static int read_flag(int flag, struct options *options, struct error *err)
{
    switch (flag) {
    case 'd':
        return read_drain(optarg, options, err);
    case 'p':
        return read_profiles(optarg, options, err);
    case 's':
        return read_number("--lease-duration", optarg, LEASE_LEAST_S, LEASE_MOST_S,
                           &options->lease_s, err);
    case 't':
        return read_number("--node-limit", optarg, 1, LIMIT_MOST_S, &options->node_limit_s, err);
    case 'r':
        return read_number("--replace-at-most", optarg, 1, REPLACE_MOST, &options->replace_at_most,
                           err);
    case 'k':
        options->kubeconfig = optarg;
        return 0;
    case 'n':
        options->namespace_ = optarg;
        return 0;
    case 'l':
        options->lease = optarg;
        return 0;
    case 'i':
        options->identity = optarg;
        return 0;
    case 'c':
        options->channel_dir = optarg;
        return 0;
    case 'v':
        options->log_level = optarg;
        return 0;
    case 'f':
        options->log_format = optarg;
        return 0;
    case 'h':
        options->help = true;
        return 0;
    case 'V':
        options->version = true;
        return 0;
    default:
        return error_set(err, -EINVAL, "unknown flag, or one without its value");
    }
}

int options_parse(int argc, char *argv[], struct options *ret_options, struct error *err)
{
    struct options options = {
        .kubeconfig = environment_get("KUBECONFIG"),
        .namespace_ = environment_get("NAMESPACE"),
        .identity = environment_get("POD_NAME"),
        .lease = OPTIONS_LEASE,
        .lease_s = LEASE_DURATION_S,
        .node_limit_s = NODEGATE_LIMIT_S,
        .replace_at_most = 1,
    };
    int flag, r = 0;

    optind = 0; /* again from the start */
    opterr = 0;
    while (r == 0 && (flag = getopt_long(argc, argv, "", flags, NULL)) >= 0)
        r = read_flag(flag, &options, err);
    if (r < 0 && flag == '?')
        return error_set(err, -EINVAL, "%s: unknown, or without its value", argv[optind - 1]);
    if (r == 0 && optind < argc)
        r = error_set(err, -EINVAL, "%s: no such argument", argv[optind]);
    if (r == 0)
        r = log_check_words(options.log_level, options.log_format, err);
    if (r == 0)
        *ret_options = options;
    return r;
}
