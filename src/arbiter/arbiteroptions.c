// SPDX-License-Identifier: Apache-2.0
#include "arbiter/arbiteroptions.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/environment.h"
#include "base/log.h"
#include "base/number.h"
#include "base/text.h"

enum { SECONDS_MOST = 86400, DRIVER_DEADLINE_S = 10 };

static const struct option flags[] = {
    {"mode", required_argument, NULL, 'm'},
    {"on-violation", required_argument, NULL, 'o'},
    {"grace", required_argument, NULL, 'g'},
    {"spare-namespaces", required_argument, NULL, 's'},
    {"root", required_argument, NULL, 'r'},
    {"state-dir", required_argument, NULL, 'S'},
    {"channel-dir", required_argument, NULL, 'c'},
    {"driver-root", required_argument, NULL, 'd'},
    {"container-driver-root", required_argument, NULL, 'D'},
    {"driver-deadline", required_argument, NULL, 't'},
    {"log-level", required_argument, NULL, 'v'},
    {"log-format", required_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

void arbiteroptions_help(void)
{
    puts("usage: gpuslice-arbiter [OPTION]...\n"
         "Watches who uses the memory of this node's GPUs, and reports pods that use more\n"
         "than their slices give, or that use a GPU without any slice.\n"
         "\n"
         "  --mode=audit            the only mode of this release: nothing is in any pod\n"
         "  --on-violation=WORD     report (default), or kill: such processes of pods,\n"
         "                          after the grace time; never a process of the node\n"
         "  --grace=S               seconds until a process is killed; default: 30\n"
         "  --spare-namespaces=NAME,...\n"
         "                          whose pods are only reported; default: kube-system\n"
         "  --root=DIR              below which the node's /proc, /var and /run are\n"
         "  --state-dir=DIR         where it notes what it has reported; default:\n"
         "                          /run/gpuslice\n"
         "  --channel-dir=DIR       where gpuslice-http finds us\n"
         "  --driver-root=DIR       the root of the driver's files, as the host sees it\n"
         "  --container-driver-root=DIR\n"
         "                          the same, as we see it\n"
         "  --driver-deadline=S     seconds until a call into the driver counts as hung\n"
         "  --log-level=LEVEL       debug, info, warning, error\n"
         "  --log-format=FORMAT     logfmt, json\n"
         "  --help, --version");
}

static int read_mode(const char *word, struct error *err)
{
    if (str_equal(word, "audit"))
        return 0;
    return error_set(err, -EINVAL, "--mode=%s: write audit, the only mode of this release", word);
}

static int read_violation(const char *word, struct arbiteroptions *options, struct error *err)
{
    options->policy.kills = str_equal(word, "kill");
    if (options->policy.kills || str_equal(word, "report"))
        return 0;
    if (str_equal(word, "starve"))
        return error_set(err, -EINVAL,
                         "--on-violation=starve needs a library in the pods, which this release "
                         "does not have: write report or kill");
    return error_set(err, -EINVAL, "--on-violation=%s: write report or kill", word);
}

static int read_seconds(const char *flag, const char *word, unsigned least, unsigned *to,
                        struct error *err)
{
    uint32_t number;

    if (!number_parse(word, &number) || number < least || number > SECONDS_MOST)
        return error_set(err, -EINVAL, "%s=%s: write a number of seconds from %u to %u", flag, word,
                         least, SECONDS_MOST);
    *to = number;
    return 0;
}

static int read_grace(const char *word, struct arbiteroptions *options, struct error *err)
{
    unsigned grace_s = 0;
    const int r = read_seconds("--grace", word, 0, &grace_s, err);

    if (r == 0)
        options->policy.grace_ms = grace_s * 1000ull;
    return r;
}

/* A name that is none would spare nobody, although its writer meant a namespace. */
static int check_spared(const char *list, struct error *err)
{
    const char *at = list;

    while (*list) {
        const size_t length = strcspn(at, ",");

        if (!length || strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
            return error_set(err, -EINVAL,
                             "--spare-namespaces=%s: '%.*s' is no namespace: write NAME,NAME,... "
                             "without blanks",
                             list, (int)length, at);
        if (!at[length])
            break;
        at += length + 1;
    }
    return 0;
}

/* Where the value of a flag is a text and nothing else; NULL = elsewhere. */
static const char **find_text(int flag, struct arbiteroptions *options)
{
    switch (flag) {
    case 's':
        return &options->policy.spared;
    case 'r':
        return &options->root;
    case 'S':
        return &options->state_dir;
    case 'c':
        return &options->channel_dir;
    case 'd':
        return &options->driver_root;
    case 'D':
        return &options->container_driver_root;
    case 'v':
        return &options->log_level;
    case 'f':
        return &options->log_format;
    default:
        return NULL;
    }
}

static int read_flag(int flag, struct arbiteroptions *options, struct error *err)
{
    const char **text = find_text(flag, options);

    if (text) {
        *text = optarg;
        return 0;
    }
    switch (flag) {
    case 'm':
        return read_mode(optarg, err);
    case 'o':
        return read_violation(optarg, options, err);
    case 'g':
        return read_grace(optarg, options, err);
    case 't':
        return read_seconds("--driver-deadline", optarg, 1, &options->driver_deadline_s, err);
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

int arbiteroptions_parse(int argc, char *argv[], struct arbiteroptions *ret_options,
                         struct error *err)
{
    struct arbiteroptions options = {
        .policy = {.grace_ms = (uint64_t)REAPER_GRACE_S * 1000, .spared = "kube-system"},
        .root = "",
        .state_dir = environment_get("GPUSLICE_STATE_DIR"),
        .driver_root = environment_get("NVIDIA_DRIVER_ROOT"),
        .container_driver_root = environment_get("CONTAINER_DRIVER_ROOT"),
        .driver_deadline_s = DRIVER_DEADLINE_S,
    };
    int flag, r = 0;

    if (!options.state_dir)
        options.state_dir = "/run/gpuslice";
    optind = 0; /* again from the start */
    opterr = 0;
    while (r == 0 && (flag = getopt_long(argc, argv, "", flags, NULL)) >= 0)
        r = read_flag(flag, &options, err);
    if (r < 0 && flag == '?')
        return error_set(err, -EINVAL, "%s: unknown, or without its value", argv[optind - 1]);
    if (r == 0 && optind < argc)
        r = error_set(err, -EINVAL, "%s: no such argument", argv[optind]);
    if (r == 0)
        r = check_spared(options.policy.spared, err);
    if (r == 0)
        r = log_check_words(options.log_level, options.log_format, err);
    if (r == 0)
        *ret_options = options;
    return r;
}
