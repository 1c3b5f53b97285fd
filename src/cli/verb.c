// SPDX-License-Identifier: Apache-2.0
#include "cli/verb.h"

#include <stdarg.h>

#include "base/array.h"
#include "base/text.h"

#define SOURCE_OPTIONS                                                                   \
    (1u << OPTION_CONFIG | 1u << OPTION_KEY | 1u << OPTION_MACHINE | 1u << OPTION_NODE | \
     1u << OPTION_HELP)

const struct verb verbs[] = {
    {
        .name = "plan",
        .operand = "[FILE]",
        .summary = "show what a node would offer under a configuration",
        .about = "Reads the GPUs of a machine and a configuration, and prints the resources\nthat "
                 "the node agent would register with the kubelet: which slice is on\nwhich GPU, "
                 "with which share and how much memory, and which GPUs are not\nused. Without a "
                 "configuration every GPU is offered whole.\n\nProblems go to standard error; like "
                 "the agent, it plans as much as it can.\n",
        .examples = "  gpuslice plan --config any.yaml --machine p3.8xlarge\n"
                    "  gpuslice plan time-slicing.yaml --node -o json\n"
                    "  kubectl -n kube-system get configmap nvidia-device-plugin -o yaml |\n"
                    "      gpuslice plan - --key any --machine p4d.24xlarge\n",
        .options = SOURCE_OPTIONS | 1u << OPTION_PLAN_OUTPUT | 1u << OPTION_LABELS,
        .run = verb_plan,
    },
    {
        .name = "check",
        .operand = "FILE|FOLDER...",
        .summary = "show what is wrong with configurations, and where",
        .about = "Reports every problem of configurations at once, each as\n"
                 "file:line:column: severity: path: sentence, with what to write instead.\n"
                 "Of a ConfigMap, and of the values of a Helm chart (config.map), it looks at\n"
                 "every key, of a folder at every .yaml, .yml and .json file. With a machine it\n"
                 "also reports what does not fit that machine. Notes show where NVIDIA's device\n"
                 "plugin treats the same file differently; they do not change the exit status.\n\n"
                 "Exit status: 0 clean, 1 warnings, 2 errors, 3 unreadable.\n",
        .examples = "  gpuslice check any.yaml\n"
                    "  gpuslice check --config configmap.yaml --key any --machine g5.12xlarge\n"
                    "  gpuslice check deploy/*.yaml values/\n"
                    "  helm template ... | gpuslice check - -o json\n",
        .options = SOURCE_OPTIONS | 1u << OPTION_CHECK_OUTPUT,
        .run = verb_check,
    },
    {
        .name = "who",
        .operand = "PID...",
        .summary = "name the pod of a process that nvidia-smi shows",
        .about =
            "Shows pod, container, and their ids for each process: from its cgroups, and\nfrom the "
            "names of the kubelet's log directories. It needs neither the API\nserver nor the "
            "container runtime, and runs on the node, or in a pod with\nhostPID that mounts the "
            "node's files.\n\nExit status: 0 every process has a pod, 1 one has none, or one whose "
            "name is\nunknown, 2 the cgroups of one contradict each other, 3 one does not exist.\n",
        .examples = "  gpuslice who 41309\n"
                    "  gpuslice who $(nvidia-smi --query-compute-apps=pid --format=csv,noheader)\n"
                    "  gpuslice who --root /host 41309 -o json\n",
        .options = 1u << OPTION_CHECK_OUTPUT | 1u << OPTION_ROOT | 1u << OPTION_HELP,
        .run = verb_who,
    },
    {
        .name = "version",
        .summary = "print the version",
        .about = "Prints the version of gpuslice.\n",
        .examples = "  gpuslice version\n",
        .options = 1u << OPTION_HELP,
        .run = verb_version,
    },
    {
        .name = "help",
        .operand = "[VERB]",
        .summary = "explain gpuslice, or one of its verbs",
        .about = "Prints the list of verbs, or the details of one verb.\n",
        .examples = "  gpuslice help\n  gpuslice help plan\n",
        .options = 1u << OPTION_HELP,
        .run = verb_help,
    },
    {
        .name = "completion",
        .operand = "bash|zsh|fish|machines|keys",
        .summary = "print the completion script of a shell",
        .about =
            "Prints a script that completes the command lines of gpuslice and its\nsister "
            "programs. `machines` prints the names that --machine accepts, one per\nline, `keys` "
            "the keys that --key accepts of the file of --config.\n",
        .examples = "  source <(gpuslice completion bash)\n"
                    "  gpuslice completion fish > ~/.config/fish/completions/gpuslice.fish\n"
                    "  gpuslice completion machines\n",
        .options = 1u << OPTION_CONFIG | 1u << OPTION_HELP,
        .run = verb_completion,
    },
};

const size_t n_verbs = ARRAY_SIZE(verbs);

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < n_verbs; i++)
        if (str_equal(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

const struct verb *verb_suggest(const char *word)
{
    const char *names[ARRAY_SIZE(verbs)], *near;

    for (size_t i = 0; i < n_verbs; i++)
        names[i] = verbs[i].name;
    near = str_suggest(word, names, n_verbs);
    return near ? verb_find(near) : NULL;
}

void complain(const char *format, ...)
{
    va_list args;

    /* Earlier output belongs before the error message if both go to one terminal. */
    fflush(stdout);
    fputs("gpuslice: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
